/**
 * Writes metrics in the OpenMetrics 1.0 format, the only one with exemplars. prom-client's own writer would rename the counters of the
 * process permanently.
 */
import type { Registry } from 'prom-client'
import type { PromMetric } from '../../activities/telemetry/prom-metrics.ts'

export const openMetricsType = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

/** Whether the `Accept` header of a scrape asks for OpenMetrics. */
export const wantsOpenMetrics = (accept: string | undefined): boolean =>
  accept?.includes('application/openmetrics-text') === true

const escaped = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')

const labelsOf = (labels: Readonly<Record<string, string | number>>): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`)
  return `{${pairs.join(',')}}`
}

const numberOf = (value: number): string => {
  if (Number.isNaN(value)) return 'NaN'
  if (Number.isFinite(value)) return String(value)
  return value > 0 ? '+Inf' : '-Inf'
}

export const readMetrics = async (registry: Registry): Promise<readonly PromMetric[]> =>
  (await registry.getMetricsAsJSON()) as unknown as readonly PromMetric[]

export function openMetricsText(metrics: readonly PromMetric[]): string {
  return `${metrics.map(family).join('')}# EOF\n`
}

function family({ name, help, type, values }: PromMetric): string {
  const isCounter = type === 'counter'
  const base = isCounter ? name.replace(/_total$/, '') : name
  const head = `# TYPE ${base} ${type}\n# HELP ${base} ${escaped(help)}\n`
  const lines = values.map(({ metricName, labels = {}, value, exemplar }) => {
    const series = isCounter ? `${base}_total` : (metricName ?? name)
    const shown = Object.keys(labels).length === 0 ? '' : labelsOf(labels)
    const more = exemplar
      ? ` # ${labelsOf(exemplar.labelSet)} ${exemplar.value} ${exemplar.timestamp.toFixed(3)}`
      : ''
    return `${series}${shown} ${numberOf(value)}${more}\n`
  })
  return head + lines.join('')
}
