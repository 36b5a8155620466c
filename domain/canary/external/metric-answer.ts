/**
 * Reads the answers of metric sources. An answer that is partial, stale, failed or without one finite number is no evidence about a version,
 * whatever else it holds.
 */

type Fields = Readonly<Record<string, unknown>>

/** Fields by which the systems of others say that an answer is incomplete: VictoriaMetrics, Thanos, Elasticsearch, Druid, Datadog. */
const incomplete =
  /^(?:is_?)?(?:partial|incomplete|stale|truncated|degraded|timed_?out)(?:_?(?:response|results?|data))?$/i
const failed = /^(?:errors?|error_?type|error_?message|exceptions?|failures?|warnings?)$/i
const failing = /^(?:error|err|fail|partial|time|incomplete|stale|degraded|unknown|pending|running)/i

const fieldsOf = (given: unknown): Fields | undefined =>
  typeof given === 'object' && given !== null && !Array.isArray(given) ? (given as Fields) : undefined

const isSaid = (value: unknown): boolean =>
  !(
    value === undefined ||
    value === null ||
    value === false ||
    value === 0 ||
    (typeof value === 'string' && /^(?:false|0|no|none|null)?$/i.test(value.trim())) ||
    (Array.isArray(value) && value.length === 0) ||
    (fieldsOf(value) !== undefined && Object.keys(value as object).length === 0)
  )

function shown(value: unknown): string {
  const first: unknown = Array.isArray(value) ? value[0] : value
  return (typeof first === 'string' ? first : JSON.stringify(first ?? null)).slice(0, 200)
}

/** Throws for an answer that says that it failed, or that it holds a part of the data. */
export function refuseIncomplete(answer: unknown): void {
  const fields = fieldsOf(answer)
  if (fields === undefined) throw new Error('the answer is no object of JSON')
  const inner = ['data', 'stats', 'meta', '_shards'].map((name) => fieldsOf(fields[name]))
  const within = [fields, ...inner].filter((each) => each !== undefined)
  for (const each of within)
    for (const [name, value] of Object.entries(each)) {
      if (failed.test(name) && isSaid(value)) throw new Error(`the answer has ${name}: ${shown(value)}`)
      if (incomplete.test(name) && isSaid(value))
        throw new Error(`the answer is partial (${name}: ${shown(value)})`)
      if ((name === 'status' || name === 'state') && isFailing(value))
        throw new Error(`the answer has the ${name} ${shown(value)}`)
      if (name === 'seriesFetched' && Number(value) === 0)
        throw new Error('the answer is of no series (seriesFetched: 0)')
      if (each === fields['_shards'] && name === 'failed' && isSaid(value))
        throw new Error(`the answer is partial (failed shards: ${shown(value)})`)
    }
}

const isFailing = (value: unknown): boolean =>
  typeof value === 'number'
    ? value >= 400
    : value === false || (typeof value === 'string' && failing.test(value))

/** The part of an answer of Prometheus, VictoriaMetrics or Thanos that holds the data. Throws for one that is incomplete or failed. */
export function readPrometheusAnswer(answer: unknown): { resultType?: string; result?: unknown } {
  refuseIncomplete(answer)
  const { status, data } = answer as Fields
  if (status !== undefined && status !== 'success')
    throw new Error(`the answer has the status ${shown(status)}`)
  const found = fieldsOf(data)
  if (found === undefined) throw new Error('the answer has no data')
  return found
}

/** The value of a query that selects one series. */
export function readPrometheusValue(answer: { resultType?: string; result?: unknown }): number {
  const { resultType, result } = answer
  if (resultType === 'scalar') return finite(readSample(result))
  if (resultType !== 'vector' || !Array.isArray(result))
    throw new Error('the answer is neither a vector nor a scalar of Prometheus')
  if (result.length !== 1)
    throw new Error(
      `the query selects ${result.length} series, and exactly one is needed: aggregate with sum(…)`,
    )
  return finite(readSample(fieldsOf(result[0])?.['value']))
}

const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i
const special: Readonly<Record<string, number>> = {
  NaN: NaN,
  Inf: Infinity,
  '+Inf': Infinity,
  '-Inf': -Infinity,
}

/** A sample is a time and a value as text. */
export function readSample(sample: unknown): number {
  const [at, value] = Array.isArray(sample) && sample.length === 2 ? (sample as unknown[]) : []
  if (typeof at !== 'number' || typeof value !== 'string') throw new Error('the answer has no sample')
  if (value in special) return special[value]!
  if (!decimal.test(value))
    throw new Error(`the answer has the value ${JSON.stringify(value)}, which is no number`)
  return Number(value)
}

/** The value of a webhook. */
export function readWebhookValue(answer: unknown): number {
  if (fieldsOf(answer) === undefined) throw new Error('the answer has no number as its value')
  refuseIncomplete(answer)
  const { value } = answer as Fields
  if (typeof value !== 'number') throw new Error('the answer has no number as its value')
  return finite(value)
}

function finite(value: number): number {
  if (!Number.isFinite(value)) throw new Error(`the answer is ${value}, not a finite number`)
  return value
}
