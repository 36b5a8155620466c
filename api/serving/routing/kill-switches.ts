/**
 * Applies the kill switches on this replica. Every version that a kill switch may need is loaded ahead, because the database may be
 * unavailable when the switch is set.
 */
import { fallbackName } from '../../../domain/serving/kill-switch.ts'
import type { FallbackLevel } from '../../../domain/serving/fallback-level.ts'
import { championAlone, type Route } from '../../../domain/serving/route.ts'
import type { KillSwitchAcknowledgement } from '../../../store/serving/kill-switches.ts'
import type { FallbackRow, SwitchRow } from '../../../store/serving/routing.ts'
import { buildTable, type KillSwitchOverride } from './route-table.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

export type KillSwitches = ReturnType<typeof createKillSwitches>

export function createKillSwitches(counters: CounterRegistry) {
  let flags = new Map<string, SwitchRow>()
  let fallbacks = new Map<string, FallbackRow>()
  /** The loaded version, or why it could not be loaded, by version. */
  const spares = new Map<string, LoadedVersion | string>()
  /** Why the champion serves instead of the fallback, by model. */
  const unavailable = new Map<string, string>()
  const sentAcknowledgements = new Map<string, string>()
  let taken = ''

  const override = (route: Route, loaded: LoadedVersion, level: FallbackLevel): KillSwitchOverride => {
    const versions = new Map([[loaded.version, loaded]])
    const fallback = level === 'previous' || level === 'rule'
    const table = buildTable(championAlone(route, loaded.version), { versions, counters, fallback })
    return { table, outlivesLease: level !== 'champion', fallbackLevel: level }
  }
  /** Returns the override with the fallback of a model, or why it has none. */
  const fallbackOf = (route: Route, champion: LoadedVersion): KillSwitchOverride | string => {
    const row = fallbacks.get(route.model)
    if (row === undefined) return 'the model declares no fallback'
    const { fallback, previous } = row
    const rule = (outputs: number[]): KillSwitchOverride | string => {
      const loaded = constantVersion(champion, outputs)
      return typeof loaded === 'string' ? loaded : override(route, loaded, 'rule')
    }
    if (fallback.kind === 'answer') return rule(fallback.outputs)
    const spare = previous === null ? undefined : spares.get(previous)
    if (typeof spare === 'object') return override(route, spare, 'previous')
    if (fallback.otherwise !== undefined) return rule(fallback.otherwise)
    if (previous === null) return 'there is no earlier known good version to fall back on'
    return spare ?? `${previous} is not loaded yet`
  }
  return {
    /** Applies the rows of the database. Returns whether anything has changed. */
    take(nextFlags: readonly SwitchRow[], nextFallbacks: readonly FallbackRow[]): boolean {
      flags = new Map(nextFlags.map((flag) => [flag.model, flag]))
      fallbacks = new Map(nextFallbacks.map((each) => [each.model, each]))
      const text = JSON.stringify([nextFlags, nextFallbacks])
      const changed = text !== taken
      taken = text
      return changed
    },
    /**
     * Returns the version that serves a model instead of its route; undefined while the kill switch is normal. A champion on probation is
     * not `proven`.
     */
    overrideOf(
      route: Route,
      { champion, proven }: Record<'champion' | 'proven', LoadedVersion>,
    ): KillSwitchOverride | undefined {
      const serve = flags.get(route.model)?.serve ?? 'normal'
      unavailable.delete(route.model)
      if (serve === 'normal') return undefined
      if (serve === 'refuse') return override(route, proven, 'refused')
      if (serve === 'fallback') {
        const found = fallbackOf(route, champion)
        if (typeof found === 'object') return found
        unavailable.set(route.model, `its champion serves instead of its fallback: ${found}`)
      }
      return override(route, proven, 'champion')
    },
    /** Returns the version that serves when the champion's circuit breaker opens; undefined unless the model file allows it. */
    fallbackOverrideOf(route: Route, champion: LoadedVersion): KillSwitchOverride | undefined {
      if (fallbacks.get(route.model)?.fallback.automatic !== true) return undefined
      const found = fallbackOf(route, champion)
      return typeof found === 'string' ? undefined : found
    },
    /** The revision of the kill switch of a model that was last read; 0 before the first one. */
    readRevision: (model: string): number => flags.get(model)?.revision ?? 0,
    /** Returns a number that every change of the kill switch increments; undefined when the champion has no automatic fallback. */
    revisionOf: (model: string): number | undefined =>
      fallbacks.get(model)?.fallback.automatic === true ? (flags.get(model)?.revision ?? 0) : undefined,
    /** Loads the fallback versions and unloads previous ones. `load` throws for a version that cannot be served. */
    async loadFallbacks(load: (version: string) => Promise<LoadedVersion>): Promise<void> {
      const wanted = new Set(
        [...fallbacks.values()].flatMap(({ fallback, previous }) =>
          fallback.kind === 'previous' && previous !== null ? [previous] : [],
        ),
      )
      for (const version of spares.keys()) if (!wanted.has(version)) spares.delete(version)
      for (const version of wanted)
        if (typeof spares.get(version) !== 'object')
          spares.set(version, await load(version).catch((error: Error) => error.message))
    },
    /** Versions to keep in memory in addition to those of the routes. */
    kept: () => spares.keys(),
    /** Acknowledgements to store. */
    acknowledgements: (): KillSwitchAcknowledgement[] =>
      [...flags.values()]
        .map(({ model, revision }) => ({ model, revision, problem: unavailable.get(model) }))
        .filter((each) => sentAcknowledgements.get(each.model) !== JSON.stringify(each)),
    acknowledged: (each: KillSwitchAcknowledgement) =>
      void sentAcknowledgements.set(each.model, JSON.stringify(each)),
    /** Models whose kill switch is set, with its mode. */
    pinned: () =>
      [...flags.values()].flatMap(({ model, serve }) => (serve === 'normal' ? [] : [{ model, serve }])),
    remembered: () => ({ flags: [...flags.values()], fallbacks: [...fallbacks.values()] }),
  }
}

/** Returns a version that reads and writes like the champion and returns the same outputs for each row. */
function constantVersion(champion: LoadedVersion, answer: readonly number[]): LoadedVersion | string {
  const { predictor, model, manifest, format } = champion
  const outputs = Float32Array.from(answer)
  if (outputs.length !== predictor.outputs || format.issueOf(outputs, 0) !== undefined)
    return `the declared fallback does not fit ${model}: ${format.issueOf(outputs, 0) ?? `${outputs.length} numbers`}`
  // Without a profile its requests do not count for drift.
  const { profile: _profile, ...unprofiled } = manifest
  return {
    ...champion,
    version: fallbackName(model),
    manifest: unprofiled,
    invalidShare: 0,
    // Computed here, so that it also serves after the champion's worker thread has died.
    predictor: {
      inputs: predictor.inputs,
      outputs: predictor.outputs,
      run(_input, rows, into) {
        for (let row = 0; row < rows; row++) into.set(outputs, row * outputs.length)
      },
    },
  }
}
