/** Counts the rows and answers of an exported predictor in the bins of its version's training profile, as servers do for drift. */
import {
  binNames,
  binner,
  defaultCountMs,
  roundedProfile,
  sentWithinMs,
  type Profile,
} from '../../../domain/model/reference-profile.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'

/** What `manifest.json` says of an export with counters. */
export interface EdgeCounting {
  /** The period of the counters in milliseconds. Default: one hour. */
  everyMs?: number
  features: Profile[]
  /** The counted value of an answer: the likeliest of `names`, or the number at `place` of the outputs. */
  scores: { profile: Profile; place: number; names?: readonly string[] }[]
}

/** The counts of one period. */
export interface EdgeSpan {
  /** The start of the period, ISO 8601. */
  at: string
  features: Record<string, number[]>
  scores: Record<string, number[]>
}

/** Periods that are kept while they cannot be sent; the oldest are dropped, and those that a server takes no more. */
const maxSpans = 48

type Counted = { name: string; bins: number; binOf: (row: FeatureRow, outputs: Float32Array) => number }

export function createEdgeCounters(
  { everyMs = defaultCountMs, features, scores }: EdgeCounting,
  likeliest: (outputs: Float32Array) => number,
) {
  const counted = {
    features: features.map((profile): Counted => {
      const binOf = binner(roundedProfile(profile))
      const valueOf = (value: FeatureRow[string] | undefined) =>
        typeof value === 'number' ? Math.fround(value) : value
      return { ...sized(profile), binOf: (row) => binOf(valueOf(row[profile.name])) }
    }),
    scores: scores.map(({ profile, place, names }): Counted => {
      const binOf = binner(profile)
      const valueOf = (outputs: Float32Array) =>
        names === undefined ? outputs[place] : names[likeliest(outputs)]
      return { ...sized(profile), binOf: (_row, outputs) => binOf(valueOf(outputs)) }
    }),
  }
  const emptyOf = (each: readonly Counted[]) =>
    Object.fromEntries(each.map(({ name, bins }) => [name, Array.from({ length: bins }, () => 0)]))
  const spans = new Map<number, EdgeSpan>()
  const spanOf = (startMs: number): EdgeSpan => {
    const known = spans.get(startMs)
    if (known !== undefined) return known
    const span = {
      at: new Date(startMs).toISOString(),
      features: emptyOf(counted.features),
      scores: emptyOf(counted.scores),
    }
    spans.set(startMs, span)
    if (spans.size > maxSpans) spans.delete(Math.min(...spans.keys()))
    return span
  }
  return {
    count(row: FeatureRow, outputs: Float32Array): void {
      const now = Date.now()
      const span = spanOf(now - (now % everyMs))
      for (const kind of ['features', 'scores'] as const)
        for (const { name, binOf } of counted[kind]) span[kind][name]![binOf(row, outputs)]!++
    },
    /** The counts since the start, of each period that has not been sent since it ended. */
    spans(nowMs: number): EdgeSpan[] {
      for (const startMs of spans.keys()) if (startMs < nowMs - sentWithinMs) spans.delete(startMs)
      return structuredClone([...spans.values()])
    },
    /** Drops the periods of a list that had ended when it was read. The others are sent again, with what was counted since. */
    markSent(sent: readonly EdgeSpan[], readMs: number): void {
      for (const { at } of sent) if (Date.parse(at) <= readMs - everyMs) spans.delete(Date.parse(at))
    },
  }
}

const sized = (profile: Profile) => ({ name: profile.name, bins: binNames(profile).length })
