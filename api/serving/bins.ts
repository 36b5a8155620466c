/**
 * Counts how often the values of each feature, and the scores, fall into the bins of the version's reference profile. Drift
 * is judged from these counts alone, so nothing else of what was asked has to be kept for it, and no row leaves the process.
 */
import type { Output } from '../../domain/features.ts'
import type { Manifest } from '../../domain/manifest.ts'
import { binNames, binner, type Profile } from '../../domain/profile.ts'
import type { FeatureCounts } from '../../store/feature-counts.ts'
import type { LoadedVersion } from './version.ts'

export type BinnedVersion = Pick<LoadedVersion, 'model' | 'version' | 'manifest'>

export interface Bins {
  /** Counts the rows of one answered request and what was answered to them, row by row. `atMs` is the database's time. */
  count(loaded: BinnedVersion, atMs: number, instances: readonly unknown[], outputs: Float32Array): void
  /** The hours that have changed since they were written last, each with its counts from the beginning. */
  due(): FeatureCounts[]
  /** What was due last is stored; hours that are over are forgotten. */
  wrote(): void
}

const hourMs = 3_600_000
/** Hours of versions kept while the database is away; beyond, the oldest are lost. */
const mostHours = 200

interface Hour {
  startMs: number
  /** Changed whenever one of the counts has. */
  changes: number
  written: number
  rows: FeatureCounts[]
}

interface Counter {
  features: { name: string; binOf: ReturnType<typeof binner> }[]
  scoreBinOf: ((outputs: Float32Array, row: number) => number) | undefined
  profiles: { kind: FeatureCounts['kind']; profile: Profile }[]
  hour: Hour | undefined
}

export function createBins(): Bins {
  const counters = new WeakMap<BinnedVersion, Counter>()
  const hours = new Map<string, Hour>()
  let pending: { hour: Hour; changes: number }[] = []

  const counterOf = (loaded: BinnedVersion): Counter => {
    const known = counters.get(loaded)
    if (known !== undefined) return known
    const made = compileCounter(loaded.manifest)
    counters.set(loaded, made)
    return made
  }
  const turnTo = (startMs: number, { model, version }: BinnedVersion, counter: Counter): Hour => {
    const key = `${version} ${startMs}`
    let hour = hours.get(key)
    if (hour === undefined) {
      const rows = counter.profiles.map(({ kind, profile }) => ({
        model,
        version,
        hourMs: startMs,
        kind,
        name: profile.name,
        counts: binNames(profile).map(() => 0),
      }))
      hours.set(key, (hour = { startMs, changes: 0, written: 0, rows }))
      const [oldest = key] = hours.keys()
      if (hours.size > mostHours) hours.delete(oldest)
    }
    counter.hour = hour
    return hour
  }

  return {
    count(loaded, atMs, instances, outputs) {
      const counter = counterOf(loaded)
      const { features, scoreBinOf, profiles } = counter
      if (profiles.length === 0) return
      const startMs = atMs - (atMs % hourMs)
      const hour = counter.hour?.startMs === startMs ? counter.hour : turnTo(startMs, loaded, counter)
      const { rows } = hour
      const { length } = features
      for (let row = 0; row < instances.length; row++) {
        const values = instances[row] as Record<string, number | string | null>
        for (let i = 0; i < length; i++) {
          const { name, binOf } = features[i]!
          rows[i]!.counts[binOf(values[name])]!++
        }
        if (scoreBinOf !== undefined) rows[length]!.counts[scoreBinOf(outputs, row)]!++
      }
      hour.changes++
    },
    due() {
      pending = [...hours.values()].flatMap((hour) =>
        hour.changes === hour.written ? [] : [{ hour, changes: hour.changes }],
      )
      return pending.flatMap(({ hour: { rows } }) => rows.map((row) => ({ ...row, counts: [...row.counts] })))
    },
    wrote() {
      for (const { hour, changes } of pending) hour.written = changes
      pending = []
      const newestMs = Math.max(...Array.from(hours.values(), ({ startMs }) => startMs))
      // The hour before the last one stays, for clocks that are set back a little.
      for (const [key, { startMs, written, changes }] of hours)
        if (written === changes && startMs < newestMs - hourMs) hours.delete(key)
    },
  }
}

/** Bins and their names in one order: the features of the profile, then the score. */
function compileCounter({ profile, output }: Manifest): Counter {
  const features = profile?.features ?? []
  const { score } = profile ?? {}
  return {
    features: features.map((each) => ({ name: each.name, binOf: binner(each) })),
    scoreBinOf: score && compileScore(score, output),
    profiles: [
      ...features.map((each) => ({ kind: 'feature' as const, profile: each })),
      ...(score === undefined ? [] : [{ kind: 'score' as const, profile: score }]),
    ],
    hour: undefined,
  }
}

/** The same score as in the profile: the likeliest class, or the number itself. */
function compileScore(score: Profile, output: Output): Counter['scoreBinOf'] {
  const binOf = binner(score)
  if (output.kind !== 'classes') return (outputs, row) => binOf(outputs[row])
  const bins = output.classes.map(binOf)
  const width = bins.length
  return (outputs, row) => {
    const start = row * width
    let best = 0
    for (let k = 1; k < width; k++) if (outputs[start + k]! > outputs[start + best]!) best = k
    return bins[best]!
  }
}
