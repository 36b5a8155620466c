/**
 * Reads what other systems measured of the two arms, window by window. Runs beside the looks of the watch, so that a slow source delays
 * neither a verdict nor the renewal of the exposure. Each window is read once and stored, so that another watcher continues with the same
 * evidence.
 */
import {
  externalTest,
  type ExternalEvidence,
  type ExternalReading,
  type ExternalTest,
} from '../../../domain/canary/external/external-metric.ts'
import { readPrometheusValue, readWebhookValue } from '../../../domain/canary/external/metric-answer.ts'
import type { ExternalMetric } from '../../../domain/canary/external/external-policy.ts'
import { reasonOf } from '../../../domain/errors.ts'
import type { CountedTick } from '../../../domain/release/evidence-builder.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import { readNow } from '../../../store/database/clock.ts'
import {
  readMetricSources,
  type MetricSource,
  askPostgres,
} from '../../../store/integrations/metric-sources.ts'
import { insertReading, listReadings, type StoredReading } from '../../../store/release/evidence.ts'
import type { Deps } from '../../deps.ts'
import { redactedOf } from '../../../domain/redact.ts'
import { percentDecoded } from '../../../domain/addresses/percent-decoded.ts'
import { sendRequest } from '../../../store/integrations/http-request.ts'
import { queryPrometheus } from '../../../store/integrations/prometheus.ts'

/** How long a look waits for sources that respond quickly. */
const graceMs = 500
/** The most windows of one metric that one look reads, for example after an outage of the worker. */
const maxWindows = 20

/** Returns the evidence of all metrics after this look. The counts tell in which windows both arms served. */
export type ExternalReader = (counted: readonly CountedTick[]) => Promise<ExternalEvidence>

interface ReadMetric {
  name: string
  metric: ExternalMetric
  test: ExternalTest
  /** The start of the next window. */
  nextMs: number
  unread: number
}

/** The arms that are compared. */
interface ComparedArms {
  model: string
  version: string
  baseline: string
}

type ReaderDeps = Pick<Deps, 'store' | 'config' | 'log'>

/** Undefined when no other system is configured, or while the arms do not serve side by side. */
export function externalReader(deps: ReaderDeps, state: ReleaseState): ExternalReader | undefined {
  const { id, model, version, baseline } = state
  const { external, alpha, restartMs } = state.policy.limits
  const fromMs = splitSince(state)
  if (external === undefined || alpha.external === undefined) return undefined
  if (baseline === undefined || fromMs === undefined) return undefined
  const arms = { model, version, baseline }
  const metrics = Object.entries(external).map(([name, metric]): ReadMetric => ({
    name,
    metric,
    test: externalTest(metric, restartMs),
    nextMs: Math.ceil(fromMs / metric.everyMs) * metric.everyMs,
    unread: 0,
  }))
  const add = ({ metric: name, ...reading }: StoredReading): void => {
    const found = metrics.find((each) => each.name === name)
    if (found === undefined) return
    found.test.add(reading)
    found.nextMs = Math.max(found.nextMs, reading.fromMs + found.metric.everyMs)
  }
  const readMetric = async (each: ReadMetric, starts: readonly number[]): Promise<void> => {
    each.unread = starts.length
    for (const atMs of starts.slice(0, maxWindows)) {
      const answered = await askArms(deps, each.metric, arms, atMs)
      add(await insertReading(deps.store, id, { ...answered, metric: each.name }))
      each.unread--
    }
  }
  const read = async (counted: readonly CountedTick[]): Promise<void> => {
    const nowMs = await readNow(deps.store)
    await Promise.all(metrics.map((each) => readMetric(each, dueWindows(each, arms, { counted, nowMs }))))
  }
  let begun: Promise<void> | undefined
  let reading: Promise<void> | undefined
  return async (counted) => {
    begun ??= listReadings(deps.store, id).then((stored) => stored.forEach(add))
    await begun
    reading ??= read(counted)
      // A later look reads the window again.
      .catch((error: unknown) =>
        deps.log.warn({ release: id, error: reasonOf(error) }, 'external metrics were not read'),
      )
      .finally(() => (reading = undefined))
    await orGrace(reading)
    return Object.fromEntries(metrics.map(({ name, test, unread }) => [name, test.figures(unread)]))
  }
}

/** Returns when the arms began to serve side by side; undefined before. */
function splitSince({ routings }: ReleaseState): number | undefined {
  const split = routings.filter(
    ({ stage, shareBp }) => (stage === 'canary' || stage === 'probation') && shareBp < 10_000,
  )
  return split.length === 0 ? undefined : Math.min(...split.map(({ startedMs }) => startedMs))
}

/** Asks the source of a metric for the window that begins at `atMs`. A metric with a limit needs no control. */
async function askArms(
  { config }: ReaderDeps,
  metric: ExternalMetric,
  { model, version, baseline }: ComparedArms,
  atMs: number,
): Promise<ExternalReading> {
  const window = { model, fromMs: atMs, toMs: atMs + metric.everyMs }
  try {
    const sources = await readMetricSources(config.metricSources)
    const [canary, control] = await Promise.all([
      askSource(sources, metric, { ...window, version, arm: 'canary' }),
      metric.limit === undefined
        ? askSource(sources, metric, { ...window, version: baseline, arm: 'control' })
        : null,
    ])
    return { fromMs: atMs, canary, control }
  } catch (error) {
    return { fromMs: atMs, canary: null, control: null, problem: reasonOf(error) }
  }
}

/** The windows that are complete and in which each requested arm had enough requests. */
function dueWindows(
  each: ReadMetric,
  { version, baseline }: ComparedArms,
  { counted, nowMs }: { counted: readonly CountedTick[]; nowMs: number },
): number[] {
  const { everyMs, delayMs, minRequests, limit } = each.metric
  const starts: number[] = []
  for (let atMs = each.nextMs; atMs + everyMs + delayMs <= nowMs; atMs += everyMs) {
    const inWindow = counted.filter(({ tickMs }) => tickMs >= atMs && tickMs < atMs + everyMs)
    const requests = (by: string) =>
      inWindow.reduce(
        (sum, tick) => sum + (tick.version === by && tick.arm !== 'targeted' ? tick.requests : 0),
        0,
      )
    const isServed = requests(version) >= minRequests
    if (isServed && (limit !== undefined || requests(baseline) >= minRequests)) starts.push(atMs)
    // A replica may not have reported the end of this window yet.
    else if (!counted.some(({ tickMs }) => tickMs >= atMs + everyMs)) break
    // Skips a window with too few requests. Windows after the first due one are checked again at the next look.
    else if (starts.length === 0) each.nextMs = atMs + everyMs
  }
  return starts
}

/** Waits for a reading, and not longer than a look may. */
async function orGrace(reading: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const grace = new Promise<void>((done) => (timer = setTimeout(done, graceMs)))
  await Promise.race([reading, grace]).finally(() => clearTimeout(timer))
}

// Asks a metric source for the value of one arm in one window. Any result other than one finite number is thrown, without secrets, so that
// the judge never takes it as evidence about the model.

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
  return readPrometheusValue(await queryPrometheus(source, { query: filled, atMs: toMs, maxMs: askMs }))
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
  const answer = await sendRequest<unknown>(source, {
    method: 'POST',
    path: '',
    body: { metric: query, model, version, arm, from, to },
  })
  return readWebhookValue(answer)
}
