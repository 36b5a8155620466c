/** Queries Prometheus for values at one time. */
import { sendRequest } from './http-request.ts'

/** https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries */
interface PrometheusAnswer {
  data?: { resultType?: string; result?: unknown }
  /** Why a part of the data is missing. What need not be wrong is in `infos`. */
  warnings?: unknown[]
}

/** Throws as `sendRequest` does, and for an answer with warnings, which is partial. `atMs`: default now. */
export async function queryPrometheus(
  source: { url: string; token?: string },
  { query, atMs, maxMs }: { query: string; atMs?: number; maxMs: number },
): Promise<{ resultType?: string; result?: unknown }> {
  const parameters = new URLSearchParams({ query, timeout: `${maxMs}ms` })
  if (atMs !== undefined) parameters.set('time', String(atMs / 1_000))
  const path = `/api/v1/query?${parameters.toString()}`
  const answer = await sendRequest<PrometheusAnswer | undefined>(source, { method: 'GET', path, maxMs })
  const [warning] = answer?.warnings ?? []
  if (warning !== undefined) throw new Error(`the answer of Prometheus is partial: ${String(warning)}`)
  return answer?.data ?? {}
}

/** A sample is a time and a value as text. */
export function sampleValue(sample: unknown): number {
  const value: unknown = Array.isArray(sample) ? sample[1] : undefined
  if (typeof value !== 'string') throw new Error('the answer has no sample')
  return Number(value.replace(/^\+?Inf$/, 'Infinity').replace('-Inf', '-Infinity'))
}
