/**
 * Reads whether a collector of OpenTelemetry is configured, and which share of the requests is traced. The SDK reads all other variables of
 * OpenTelemetry; without a collector, it is not loaded.
 */

export interface TelemetrySettings {
  /** The share of requests to trace if the caller makes no sampling decision. */
  ratio: number
  /** Whether the caller's sampling decision applies. */
  followsParent: boolean
}

const endpoints = ['', 'TRACES_', 'METRICS_', 'LOGS_'].map((of) => `OTEL_EXPORTER_OTLP_${of}ENDPOINT`)
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
  if (!endpoints.some((name) => given(name) !== undefined)) return undefined
  const sampler = given('OTEL_TRACES_SAMPLER') ?? defaultSampler
  if (!(sampler in samplers))
    issues.push(`OTEL_TRACES_SAMPLER is one of ${Object.keys(samplers).join(', ')}, not "${sampler}"`)
  const ratio = samplers[sampler] ?? Number(given('OTEL_TRACES_SAMPLER_ARG') ?? defaultRatio)
  if (!(ratio >= 0 && ratio <= 1))
    issues.push(`OTEL_TRACES_SAMPLER_ARG is a number from 0 to 1, not "${given('OTEL_TRACES_SAMPLER_ARG')}"`)
  return { ratio, followsParent: sampler.startsWith('parentbased_') }
}
