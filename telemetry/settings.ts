/**
 * Reads the environment variables of OpenTelemetry. Returns undefined without OTEL_EXPORTER_OTLP_ENDPOINT; no other file of this folder is
 * loaded then.
 */

export type Signal = 'traces' | 'metrics' | 'logs'

export interface TelemetrySettings {
  /** The address for each exported signal. */
  urls: Partial<Record<Signal, string>>
  headers: Record<string, string>
  /** Attributes of the process, including `service.name`. */
  resource: Record<string, string>
  /** The share of requests to trace if the caller makes no sampling decision. */
  ratio: number
  /** Whether the caller's sampling decision applies. */
  followsParent: boolean
  timeoutMs: number
  metricsMs: number
  /** Maximum delay before spans and logs are sent in one batch, and the limit of queued entries. */
  delayMs: number
  maxQueued: number
  maxBatch: number
}

const signals: readonly Signal[] = ['traces', 'metrics', 'logs']
/** Sampler → its share; undefined to use OTEL_TRACES_SAMPLER_ARG. */
const samplers: Readonly<Record<string, number | undefined>> = {
  always_on: 1,
  always_off: 0,
  traceidratio: undefined,
  parentbased_always_on: 1,
  parentbased_always_off: 0,
  parentbased_traceidratio: undefined,
}
/** The specification samples every request; predictions are too cheap for that. */
const defaultSampler = 'parentbased_traceidratio'
const defaultRatio = 0.01

export function readTelemetry(
  environment: Record<string, string | undefined>,
  issues: string[],
): TelemetrySettings | undefined {
  const given = (name: string): string | undefined => environment[name]?.trim() || undefined
  if (given('OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return undefined
  const endpoint = given('OTEL_EXPORTER_OTLP_ENDPOINT')
  const whole = (name: string, fallback: number, min: number): number => {
    const value = Number(given(name) ?? fallback)
    if (!Number.isInteger(value) || value < min || value > 86_400_000)
      issues.push(`${name} is a whole number from ${min} to 86400000, not "${given(name)}"`)
    return value
  }
  const urls: TelemetrySettings['urls'] = {}
  for (const signal of signals) {
    const name = signal.toUpperCase()
    const exporter = given(`OTEL_${name}_EXPORTER`) ?? 'otlp'
    if (exporter !== 'otlp' && exporter !== 'none')
      issues.push(`OTEL_${name}_EXPORTER is otlp or none, not "${exporter}"`)
    const own = given(`OTEL_EXPORTER_OTLP_${name}_ENDPOINT`)
    const url = own ?? (endpoint && `${endpoint.replace(/\/+$/, '')}/v1/${signal}`)
    if (url === undefined || exporter === 'none') continue
    if (!/^https?:\/\/./.test(url) || !URL.canParse(url))
      issues.push(
        `OTEL_EXPORTER_OTLP_${own === undefined ? '' : `${name}_`}ENDPOINT is an http:// or https:// address`,
      )
    else urls[signal] = url
  }
  if (Object.keys(urls).length === 0) return undefined
  const protocol = given('OTEL_EXPORTER_OTLP_PROTOCOL') ?? 'http/json'
  if (protocol !== 'http/json') issues.push(`OTEL_EXPORTER_OTLP_PROTOCOL is http/json, not "${protocol}"`)
  const sampler = given('OTEL_TRACES_SAMPLER') ?? defaultSampler
  if (!(sampler in samplers))
    issues.push(`OTEL_TRACES_SAMPLER is one of ${Object.keys(samplers).join(', ')}, not "${sampler}"`)
  const ratio = samplers[sampler] ?? Number(given('OTEL_TRACES_SAMPLER_ARG') ?? defaultRatio)
  if (!(ratio >= 0 && ratio <= 1))
    issues.push(`OTEL_TRACES_SAMPLER_ARG is a number from 0 to 1, not "${given('OTEL_TRACES_SAMPLER_ARG')}"`)
  const resource = pairsOf('OTEL_RESOURCE_ATTRIBUTES')
  return {
    urls,
    headers: pairsOf('OTEL_EXPORTER_OTLP_HEADERS'),
    resource: {
      ...resource,
      'service.name': given('OTEL_SERVICE_NAME') ?? resource['service.name'] ?? 'tenure',
    },
    ratio,
    followsParent: sampler.startsWith('parentbased_'),
    timeoutMs: whole('OTEL_EXPORTER_OTLP_TIMEOUT', 10_000, 1),
    metricsMs: whole('OTEL_METRIC_EXPORT_INTERVAL', 60_000, 100),
    delayMs: whole('OTEL_BSP_SCHEDULE_DELAY', 5_000, 1),
    maxQueued: whole('OTEL_BSP_MAX_QUEUE_SIZE', 2_048, 1),
    maxBatch: whole('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512, 1),
  }

  /** Parses `name=value,name=value`, percent-encoded as in the Baggage header. */
  function pairsOf(name: string): Record<string, string> {
    const pairs: Record<string, string> = {}
    for (const each of (given(name) ?? '').split(',').filter((text) => text.trim() !== '')) {
      const at = each.indexOf('=')
      try {
        if (at < 1) throw new Error('no name')
        pairs[each.slice(0, at).trim()] = decodeURIComponent(each.slice(at + 1).trim())
      } catch {
        // The value may be a key, so it is not shown.
        issues.push(`${name} is a list such as name=value,name=value`)
      }
    }
    return pairs
  }
}
