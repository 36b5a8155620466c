/**
 * Asks a metric source for the value of one arm in one window. Any result other than one finite number is thrown, without secrets, so
 * that the judge never takes it as evidence about the model.
 */
import type { ExternalMetric } from '../../../domain/canary/external/external-policy.ts'
import { reasonOf } from '../../../domain/errors.ts'
import { redactedOf } from '../../../domain/redact.ts'
import { percentDecoded } from '../../../domain/addresses/percent-decoded.ts'
import { askPostgres } from '../../../store/integrations/ask-postgres.ts'
import type { MetricSource } from '../../../store/integrations/metric-sources.ts'
import { sendRequest } from '../../integrations/http-request.ts'

/** Timeout of one request. */
const askMs = 10_000
const maxProblem = 300

export interface MetricQuestion {
  model: string
  version: string
  arm: 'canary' | 'control'
  fromMs: number
  toMs: number
}

/** Returns the value of the arm in the window. Throws with the response of the source for any other result. */
export async function askSource(
  sources: Readonly<Record<string, MetricSource>>,
  metric: Pick<ExternalMetric, 'kind' | 'source' | 'query'>,
  question: MetricQuestion,
): Promise<number> {
  const source = sources[metric.source]
  if (source === undefined) throw new Error(`the file of metric sources names no ${metric.source}`)
  if (source.kind !== metric.kind)
    throw new Error(`the source ${metric.source} is of the kind ${source.kind}, not ${metric.kind}`)
  try {
    const value = await valueFrom(source, metric.query, question)
    if (!Number.isFinite(value)) throw new Error(`the answer is ${value}, not a finite number`)
    return value
  } catch (error) {
    const secrets = [
      'token' in source ? source.token : undefined,
      percentDecoded(new URL(source.url).password),
    ]
    throw new Error(redactedOf(reasonOf(error), secrets).slice(0, maxProblem), { cause: undefined })
  }
}

function valueFrom(source: MetricSource, query: string, question: MetricQuestion): Promise<number> {
  switch (source.kind) {
    case 'promql':
      return askPrometheus(source, query, question)
    case 'sql':
      return askSql(source.url, query, question)
    case 'webhook':
      return askWebhook(source, query, question)
    default:
      return source satisfies never
  }
}

/** https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries */
interface PrometheusAnswer {
  data?: { resultType?: string; result?: unknown }
}

async function askPrometheus(
  source: { url: string; token?: string },
  query: string,
  { model, version, arm, fromMs, toMs }: MetricQuestion,
): Promise<number> {
  const words: Record<string, string> = {
    model,
    version,
    arm,
    window: `${Math.max(1, Math.round((toMs - fromMs) / 1_000))}s`,
  }
  const filled = query.replaceAll(/\$(model|version|arm|window)\b/g, (_, word: string) => words[word]!)
  const parameters = new URLSearchParams({ query: filled, time: String(toMs / 1_000), timeout: `${askMs}ms` })
  const answer = await sendRequest<PrometheusAnswer | undefined>(source, {
    method: 'GET',
    path: `/api/v1/query?${parameters.toString()}`,
  })
  const { resultType, result } = answer?.data ?? {}
  if (resultType === 'scalar') return sampleValue(result)
  if (resultType !== 'vector' || !Array.isArray(result))
    throw new Error('the answer is neither a vector nor a scalar of Prometheus')
  if (result.length !== 1)
    throw new Error(
      `the query selects ${result.length} series, and exactly one is needed: aggregate with sum(…)`,
    )
  return sampleValue((result[0] as { value?: unknown } | null)?.value)
}

/** A Prometheus sample is a time and a value as text. */
function sampleValue(sample: unknown): number {
  const value: unknown = Array.isArray(sample) ? sample[1] : undefined
  if (typeof value !== 'string') throw new Error('the answer has no sample')
  return Number(value.replace(/^\+?Inf$/, 'Infinity').replace('-Inf', '-Infinity'))
}

async function askSql(url: string, query: string, question: MetricQuestion): Promise<number> {
  const values: Record<string, string> = {
    model: question.model,
    version: question.version,
    arm: question.arm,
    from: new Date(question.fromMs).toISOString(),
    to: new Date(question.toMs).toISOString(),
  }
  // Splitting by a capture group returns text and placeholder in turn.
  const parts = query.replace(/;\s*$/, '').split(/\$(model|version|arm|from|to)\b/)
  const strings = parts.filter((_, i) => i % 2 === 0)
  const words = parts.filter((_, i) => i % 2 === 1)
  const rows = await askPostgres(url, { strings, values: words.map((word) => values[word]) }, askMs)
  if (rows.length !== 1)
    throw new Error(
      `the query returns ${rows.length === 0 ? 'no row' : 'several rows'}, and exactly one is needed`,
    )
  if (rows[0] === null) throw new Error('the query returns null: no rows in the window')
  return rows[0]!
}

async function askWebhook(
  source: { url: string; token?: string },
  query: string,
  { model, version, arm, fromMs, toMs }: MetricQuestion,
): Promise<number> {
  const [from, to] = [new Date(fromMs).toISOString(), new Date(toMs).toISOString()]
  const answer = await sendRequest<{ value?: unknown } | null | undefined>(source, {
    method: 'POST',
    path: '',
    body: { metric: query, model, version, arm, from, to },
  })
  if (typeof answer?.value !== 'number') throw new Error('the answer has no number as its value')
  return answer.value
}
