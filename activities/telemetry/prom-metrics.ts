/** Gives the metrics of prom-client to the SDK's reader. */
import { ValueType, type HrTime } from '@opentelemetry/api'
import { hrTime, timeInputToHrTime } from '@opentelemetry/core'
import { emptyResource } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  DataPointType,
  type Histogram,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics'

/** A metric of prom-client. */
export interface PromMetric {
  name: string
  help: string
  type: string
  values: readonly {
    metricName?: string
    labels?: Readonly<Record<string, string | number>>
    value: number
    /** null in prom-client's own histograms. */
    exemplar?: PromExemplar | null | undefined
  }[]
}

export interface PromExemplar {
  labelSet: { trace_id: string; span_id: string }
  value: number
  /** Seconds since 1970. */
  timestamp: number
}

interface Times {
  startTime: HrTime
  endTime: HrTime
}

export function producerOf(read: () => Promise<readonly PromMetric[]>): MetricProducer {
  const startTime = timeInputToHrTime(performance.timeOrigin)
  return {
    async collect() {
      const times = { startTime, endTime: hrTime() }
      const metrics = (await read()).flatMap((metric) => metricData(metric, times))
      const scopeMetrics = metrics.length === 0 ? [] : [{ scope: { name: 'tenure' }, metrics }]
      return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] }
    },
  }
}

function metricData({ name, help, type, values }: PromMetric, times: Times): MetricData[] {
  // A collector cannot aggregate the quantiles of prom-client's summaries.
  if (values.length === 0 || type === 'summary') return []
  const described = {
    descriptor: { name, description: help, unit: '', valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  }
  if (type === 'histogram') {
    const dataPoints = histogramsOf(name, values).map((point) => ({ ...times, ...point }))
    return [{ ...described, dataPointType: DataPointType.HISTOGRAM, dataPoints }]
  }
  const dataPoints = values
    // JSON has no NaN, which is the mean of an empty summary.
    .filter(({ value }) => Number.isFinite(value))
    .map(({ labels = {}, value }) => ({ ...times, attributes: labels, value }))
  return [
    type === 'counter'
      ? { ...described, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
      : { ...described, dataPointType: DataPointType.GAUGE, dataPoints },
  ]
}

/** Converts histogram buckets. Prometheus counts cumulatively up to each bound; OpenTelemetry counts between two bounds. */
function histogramsOf(name: string, values: PromMetric['values']) {
  const series = new Map<
    string,
    { attributes: Record<string, string | number>; buckets: [number, number][]; sum: number }
  >()
  for (const { metricName, labels = {}, value } of values) {
    const { le, ...attributes } = labels
    const key = JSON.stringify(attributes)
    const found = series.get(key) ?? { attributes, buckets: [], sum: 0 }
    series.set(key, found)
    if (metricName === `${name}_sum`) found.sum = value
    else if (le !== undefined) found.buckets.push([le === '+Inf' ? Infinity : Number(le), value])
  }
  return [...series.values()].map(({ attributes, buckets, sum }) => {
    const sorted = buckets.sort(([one], [other]) => one - other)
    const value: Histogram = {
      buckets: {
        boundaries: sorted.map(([bound]) => bound).filter(Number.isFinite),
        counts: sorted.map(([, count], place) => count - (sorted[place - 1]?.[1] ?? 0)),
      },
      count: sorted.at(-1)?.[1] ?? 0,
      sum,
    }
    return { attributes, value }
  })
}
