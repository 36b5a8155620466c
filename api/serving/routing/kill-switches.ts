/**
 * The kill switches on this replica: which table answers a pinned model instead of its route. Everything a switch may need
 * is loaded while it is not thrown, because at the moment of need the database may be what is broken.
 */
import { fallbackName } from '../../../domain/serving/kill-switch.ts'
import type { FallbackLevel } from '../../../domain/serving/fallback-level.ts'
import { championAlone, type Route } from '../../../domain/serving/route.ts'
import type { KillSwitchAcknowledgement } from '../../../store/serving/kill-switches.ts'
import type { FallbackRow, SwitchRow } from '../../../store/serving/replicas.ts'
import { buildTable, type KillSwitchOverride } from './route-table.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

export interface KillSwitches {
  /** Takes in what the database says now. Answers whether anything is different. */
  take(flags: readonly SwitchRow[], fallbacks: readonly FallbackRow[]): boolean
  /** What answers a model instead of its route, given the champion's loaded version; undefined while nothing is pinned. */
  pinOf(route: Route, champion: LoadedVersion): KillSwitchOverride | undefined
  /** What answers by itself when the champion is found broken here; undefined where the model file has not said that it may. */
  spareOf(route: Route, champion: LoadedVersion): KillSwitchOverride | undefined
  /** Raised by every throw of the model's switch, 0 before the first; undefined where its champion never gives way by itself. */
  revisionOf(model: string): number | undefined
  /** Loads the versions that are fallbacks, and forgets those that no longer are. `load` throws for one that cannot be served. */
  loadFallbacks(load: (version: string) => Promise<LoadedVersion>): Promise<void>
  /** Versions to be kept in memory beside those of the routes. */
  kept(): Iterable<string>
  /** What is to be said to the database. */
  acknowledgements(): KillSwitchAcknowledgement[]
  acknowledged(acknowledgement: KillSwitchAcknowledgement): void
  /** Models that are pinned here, and to what. */
  pinned(): { model: string; serve: SwitchRow['serve'] }[]
  remembered(): { flags: SwitchRow[]; fallbacks: FallbackRow[] }
}

export function createKillSwitches(counters: CounterRegistry): KillSwitches {
  let flags = new Map<string, SwitchRow>()
  let fallbacks = new Map<string, FallbackRow>()
  /** Version → loaded, or why it cannot be. */
  const spares = new Map<string, LoadedVersion | string>()
  /** Model → why its champion answers although its fallback should. */
  const unmet = new Map<string, string>()
  const said = new Map<string, string>()
  let taken = ''

  const fallbackOf = (
    route: Route,
    champion: LoadedVersion,
  ): { loaded: LoadedVersion; fallbackLevel: FallbackLevel } | string => {
    const row = fallbacks.get(route.model)
    if (row === undefined) return 'the model declares no fallback'
    const { fallback, previous } = row
    const rule = (outputs: number[]) => {
      const loaded = constantVersion(champion, outputs)
      return typeof loaded === 'string' ? loaded : { loaded, fallbackLevel: 'rule' as const }
    }
    if (fallback.kind === 'answer') return rule(fallback.outputs)
    const spare = previous === null ? undefined : spares.get(previous)
    if (typeof spare === 'object') return { loaded: spare, fallbackLevel: 'previous' }
    if (fallback.otherwise !== undefined) return rule(fallback.otherwise)
    if (previous === null) return 'there is no earlier proven version to fall back on'
    return spare ?? `${previous} is not loaded yet`
  }
  const tableOf = (route: Route, loaded: LoadedVersion, fallback: boolean) => {
    const versions = new Map([[loaded.version, loaded]])
    return buildTable(championAlone(route, loaded.version), { versions, counters, fallback })
  }
  return {
    take(nextFlags, nextFallbacks) {
      flags = new Map(nextFlags.map((flag) => [flag.model, flag]))
      fallbacks = new Map(nextFallbacks.map((each) => [each.model, each]))
      const text = JSON.stringify([nextFlags, nextFallbacks])
      const changed = text !== taken
      taken = text
      return changed
    },
    pinOf(route, champion) {
      const flag = flags.get(route.model)
      unmet.delete(route.model)
      if (flag === undefined || flag.serve === 'normal') return undefined
      if (flag.serve === 'refuse')
        return { table: tableOf(route, champion, false), outlivesLease: true, fallbackLevel: 'refused' }
      if (flag.serve === 'fallback') {
        const found = fallbackOf(route, champion)
        if (typeof found === 'object')
          return {
            table: tableOf(route, found.loaded, true),
            outlivesLease: true,
            fallbackLevel: found.fallbackLevel,
          }
        unmet.set(route.model, `its champion answers instead of its fallback: ${found}`)
      }
      return { table: tableOf(route, champion, false), outlivesLease: false, fallbackLevel: 'champion' }
    },
    spareOf(route, champion) {
      if (fallbacks.get(route.model)?.fallback.automatic !== true) return undefined
      const found = fallbackOf(route, champion)
      if (typeof found === 'string') return undefined
      return {
        table: tableOf(route, found.loaded, true),
        outlivesLease: true,
        fallbackLevel: found.fallbackLevel,
      }
    },
    revisionOf: (model) =>
      fallbacks.get(model)?.fallback.automatic === true ? (flags.get(model)?.revision ?? 0) : undefined,
    async loadFallbacks(load) {
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
    kept: () => spares.keys(),
    acknowledgements: () =>
      [...flags.values()].flatMap((flag) => {
        const { model, revision } = flag
        const problem = unmet.get(model)
        const acknowledgement = { model, revision, problem }
        return said.get(model) === JSON.stringify(acknowledgement) ? [] : [acknowledgement]
      }),
    acknowledged(acknowledgement) {
      said.set(acknowledgement.model, JSON.stringify(acknowledgement))
    },
    pinned: () =>
      [...flags.values()].flatMap(({ model, serve }) => (serve === 'normal' ? [] : [{ model, serve }])),
    remembered: () => ({ flags: [...flags.values()], fallbacks: [...fallbacks.values()] }),
  }
}

/** Reads requests and writes answers as the champion does, and answers each row alike. */
function constantVersion(champion: LoadedVersion, answer: readonly number[]): LoadedVersion | string {
  const { predictor, model, manifest, format } = champion
  const outputs = Float32Array.from(answer)
  if (outputs.length !== predictor.outputs || format.issueOf(outputs, 0) !== undefined)
    return `the declared answer is none of ${model}: ${format.issueOf(outputs, 0) ?? `${outputs.length} numbers`}`
  // Nothing is learnt from it about the data that the model sees.
  const { profile: _profile, ...unprofiled } = manifest
  return {
    ...champion,
    version: fallbackName(model),
    manifest: unprofiled,
    invalidShare: 0,
    // Nothing is computed elsewhere for it: it answers also when what computes the champion has died.
    predictor: {
      inputs: predictor.inputs,
      outputs: predictor.outputs,
      run(_input, rows, into) {
        for (let row = 0; row < rows; row++) into.set(outputs, row * outputs.length)
      },
    },
  }
}
