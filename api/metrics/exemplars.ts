/** Keeps the latest sampled request of each latency bucket, so that a histogram bucket links to a trace. */
import type { PromExemplar } from '../../activities/telemetry/prom-metrics.ts'

export interface ArmLabels {
  model: string
  version: string
  arm: string
}

export interface TracedLatency {
  traceId: string
  spanId: string
  seconds: number
  atMs: number
}

export interface Exemplars {
  add(labels: ArmLabels, measured: TracedLatency): void
  /** Returns the exemplar of the bucket with this upper bound. */
  find(labels: ArmLabels, bound: number): PromExemplar | undefined
}

/** Limits the memory of a process that has served many versions. */
const maxSeries = 1_000

export function createExemplars(bounds: readonly number[]): Exemplars {
  const all = new Map<string, PromExemplar>()
  const keyOf = ({ model, version, arm }: ArmLabels, bound: number): string =>
    `${model}\n${version}\n${arm}\n${bound}`
  return {
    add(labels, { traceId, spanId, seconds, atMs }) {
      const bound = bounds.find((each) => seconds <= each) ?? Infinity
      if (all.size >= maxSeries) all.clear()
      const labelSet = { trace_id: traceId, span_id: spanId }
      all.set(keyOf(labels, bound), { labelSet, value: seconds, timestamp: atMs / 1_000 })
    },
    find: (labels, bound) => all.get(keyOf(labels, bound)),
  }
}
