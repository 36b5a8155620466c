/** Queries Prometheus for values at one time. */
import { readPrometheusAnswer } from '../../domain/canary/external/metric-answer.ts'
import { sendRequest } from './http-request.ts'

/**
 * Throws as `sendRequest` does, and for an answer that is partial or failed. `atMs`: default now.
 * https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
 */
export async function queryPrometheus(
  source: { url: string; token?: string },
  { query, atMs, maxMs }: { query: string; atMs?: number; maxMs: number },
): Promise<{ resultType?: string; result?: unknown }> {
  const parameters = new URLSearchParams({ query, timeout: `${maxMs}ms` })
  if (atMs !== undefined) parameters.set('time', String(atMs / 1_000))
  const path = `/api/v1/query?${parameters.toString()}`
  return readPrometheusAnswer(await sendRequest<unknown>(source, { method: 'GET', path, maxMs }))
}
