/**
 * Watches every champion at the tick while the control worker runs: raises `champion_failing`, and rolls a failing champion back to the
 * last known good version that can serve. Outside of Temporal, because an activity for each model and tick would cost more than the models.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { sumOf } from '@tenure/sequential'
import { reasonOf } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import {
  freshWatch,
  isHealthy,
  isSuspect,
  isWorse,
  judgeFormer,
  shareOf,
  watchTick,
  watchTickMs,
  type FailingComparison,
  type WatchState,
} from '../../domain/monitoring/champion-watch.ts'
import { valuesOfLogged } from '../../domain/model/logged-rows.ts'
import { completeMonitorPolicy, defaultMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { counted, fourDigits, percentText, ratioOf } from '../../domain/figures.ts'
import { versionText } from '../../domain/monitoring/last-minute.ts'
import { timeText } from '../../domain/zoned-time.ts'
import { listOpenAlertKeys, lockAlert, resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import {
  claimFailing,
  listWatched,
  lockWatch,
  markDecided,
  measureSlow,
  storeWatched,
  type FailingChampion,
  type Judged,
  type Watched,
} from '../../store/registry/champion-watch.ts'
import type { Database } from '../../store/postgres.ts'
import { listRollbackTargets } from '../../store/registry/champions.ts'
import { findModel } from '../../store/registry/models.ts'
import { pinCommand, stepWithoutTarget } from '../../store/release/without-target.ts'
import { alertChampionRollback, rollBackChampion } from '../../store/release/rollback.ts'
import type { Deps } from '../deps.ts'
import { issueOfReturn, monitorActor, answersBy } from './decay.ts'
import { activateFallback } from './fallback.ts'
import { countFailureCodes, listFailedRequests } from '../../store/review/failed-requests.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { countVersionRequests } from '../../store/monitoring/monitor-windows.ts'

/** How often a new tick is looked for. */
const lookMs = 2_000
/** Champions about which one control worker decides at once; each may start a process. */
const maxDeciding = 2
/** How many former versions are tried. */
const maxTargets = 3

type WatchDeps = Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>

/** Answers the last failing requests of `from` by `to`. */
export type CompareFailing = (
  deps: WatchDeps,
  subject: { model: string; from: string; to: string; sinceMs: number },
) => Promise<FailingComparison>

/** Ends with the signal, and after the decisions that are under way. */
export async function watchChampions(
  deps: WatchDeps,
  signal: AbortSignal,
  compare: CompareFailing = compareFailing,
): Promise<void> {
  const { store, log } = deps
  const deciding = new Set<Promise<void>>()
  const failed = (error: unknown) => log.warn({ error: reasonOf(error) }, 'champions were not watched')
  let lastTick = 0
  while (!signal.aborted) {
    const tick = Math.floor(Date.now() / watchTickMs)
    try {
      await judgeChampions(deps)
      for (const failing of await claimFailing(store, maxDeciding - deciding.size)) {
        const decided: Promise<void> = decide(deps, failing, compare)
          .catch(failed)
          .finally(() => deciding.delete(decided))
        deciding.add(decided)
      }
      if (tick !== lastTick) await measureSlow(store)
      lastTick = tick
    } catch (error) {
      failed(error)
    }
    await pause(lookMs, undefined, { signal, ref: false }).catch(() => {})
  }
  await Promise.all(deciding)
}

/** Judges the new ticks of all champions, by a number of statements that does not grow with the models that do not fail. */
export async function judgeChampions({ store, log }: Pick<Deps, 'store' | 'log'>): Promise<void> {
  await store.transaction(async (database) => {
    if (!(await lockWatch(database))) return
    const watched = await listWatched(database)
    if (watched.length === 0) return
    const judged = watched.map((each) => ({ each, ...judgedBy(each) }))
    for (const { each, state, judgedMs } of judged) {
      const { model, version } = each
      if (state.isFailing && each.state?.isFailing !== true) {
        log.warn({ model, version, requests: state.requests, failed: state.failed }, 'the champion fails')
        state.toldShare = shareOf(state)
        await alertFailing(database, { ...each, state }, await planOf(database, each))
      } else if (isWorse(state)) {
        state.toldShare = shareOf(state)
        const { plan, next } = (await lockAlert(database, failingKey(model))) ?? {}
        const told = plan === undefined ? await planOf(database, each) : ({ plan, next } as Plan)
        await alertFailing(database, { ...each, state }, told)
      }
      if (isSuspect(state, judgedMs)) await alertSuspect(database, { ...each, state })
      if (state.isSlow && each.state?.isSlow !== true)
        await alertSlow(
          database,
          each,
          judged.filter((other) => other.each !== each).map((other) => other.state),
        )
    }
    await storeWatched(
      database,
      judged.map(({ each: { model, version }, ...found }) => ({ model, version, ...found })),
    )
    const open = new Set(await listOpenAlertKeys(database, ['champion_failing', 'service_latency']))
    for (const { each, state, judgedMs } of judged) {
      const { model } = each
      // A rollback resolves nothing: only requests of the version that serves now do.
      const isOver = !state.isFailing && isHealthy(state, judgedMs)
      if (isOver && open.has(failingKey(model)))
        await resolveAlert(
          database,
          failingKey(model),
          `${each.version}: its failures have been within the limit for three minutes`,
        )
      if (!state.isSlow && open.has(slowKey(model)))
        await resolveAlert(database, slowKey(model), `${each.version}: as fast as in its week`)
    }
  })
}

function judgedBy({ ticks, limit, state: before }: Watched): Pick<Judged, 'state' | 'judgedMs'> {
  let state = before
  let judgedMs = 0
  for (const tick of ticks) {
    judgedMs = tick.endMs
    state = watchTick(state ?? freshWatch(judgedMs), tick, limitOf(limit))
  }
  return { state: state ?? freshWatch(judgedMs), judgedMs }
}

const limitOf = (declared = defaultMonitorPolicy.service.errorAlarm): number => declared
const failingKey = (model: string): string => `champion_failing/${model}`
const slowKey = (model: string): string => `champion_slow/${model}`

/** What Tenure does about a failing champion, and the step for a person. Known before the decision, so that the first message says it. */
interface Plan {
  plan: string
  next: string
}

async function planOf(
  database: Database,
  { model, version }: Pick<Watched, 'model' | 'version'>,
): Promise<Plan> {
  const found = await findModel(database, model)
  const to = await findTarget(database, { model, version })
  const issue = await issueOfReturn({ store: database }, { model, version, toMs: Date.now() })
  const ifItServes = (step: string) => `If ${version} still serves in 30 s: ${step}.`
  if (to === undefined && found?.definition.fallback?.automatic === true)
    return {
      plan: 'There is no known good version to return to, so the fallback takes over',
      next: ifItServes(await pinCommand(database, model)),
    }
  if (to === undefined || issue !== undefined)
    return keptBecause(database, { model, version, why: issue ?? 'no known good version to return to' })
  if (completeMonitorPolicy(found?.definition.monitor).rollback)
    return { plan: `Tenure rolls back to ${to} now`, next: ifItServes(`\`tenure rollback ${model}\``) }
  return keptBecause(database, { model, version, why: 'the model file permits no automatic rollback' })
}

const findTarget = async (database: Database, { model, version }: Pick<Watched, 'model' | 'version'>) =>
  (await listRollbackTargets(database, { model, from: version })).find(({ issues }) => issues.length === 0)
    ?.version

/** `isAlike`: the former version fails too, so that a return helps no caller. */
async function keptBecause(
  database: Database,
  { model, version, why, isAlike }: Pick<Watched, 'model' | 'version'> & { why: string; isAlike?: boolean },
): Promise<Plan> {
  const to = isAlike === true ? undefined : await findTarget(database, { model, version })
  const next =
    to === undefined
      ? await stepWithoutTarget(database, model)
      : `Roll back to ${to}: \`tenure rollback ${model}\`.`
  return { plan: `Not rolled back: ${why}`, next }
}

/**
 * Tells the failures since they began: the minute before the alarm has the good requests before them, and a share of those says too little.
 * Tells them again once their share has doubled.
 */
async function alertFailing(
  database: Database,
  { model, version, limit, state: { sinceMs, toldShare } }: FailingChampion & Pick<Watched, 'limit'>,
  { plan, next }: Plan,
): Promise<void> {
  const { text, ...counts } = await figuresOf(database, { model, version, limit, sinceMs })
  await upsertAlert(database, {
    dedupeKey: failingKey(model),
    model,
    severity: 'critical',
    kind: 'champion_failing',
    message: `${text}; callers get HTTP 500 or 503. ${plan}.`,
    evidence: { ...counts, plan, next },
    // Another share to tell is another cause, so it is sent again.
    cause: `champion_failing/${version}/${toldShare ?? ''}`,
  })
}

/** The failures since the rate was last within the limit. */
async function figuresOf(
  database: Database,
  {
    model,
    version,
    limit: declared,
    sinceMs,
  }: Pick<Watched, 'model' | 'version' | 'limit'> & { sinceMs: number },
) {
  const span = { model, version, fromMs: sinceMs, toMs: Date.now() }
  const { requests, bad: failed } = await countVersionRequests(database, span)
  const codes = await countFailureCodes(database, { version, sinceMs })
  const limit = limitOf(declared)
  const since = timeText(sinceMs, 'UTC', 'second')
  const text = `${versionText({ version, requests, failed })} since ${since} UTC (${percentText(ratioOf(failed, requests))}), limit ${percentText(limit)}; ${failureText(version, codes)}`
  return { text, version, requests, failed, limit, since: new Date(sinceMs).toISOString() }
}

/** Tells failures that have lasted for minutes and are not proven. Nothing is done about them yet. */
async function alertSuspect(
  database: Database,
  { model, version, limit, state: { sinceMs } }: FailingChampion & Pick<Watched, 'limit'>,
): Promise<void> {
  const { text, ...counts } = await figuresOf(database, { model, version, limit, sinceMs })
  await upsertAlert(database, {
    dedupeKey: failingKey(model),
    model,
    severity: 'warning',
    kind: 'champion_failing',
    message: `${text}. It is not certain yet that its rate is above the limit; nothing is rolled back`,
    evidence: {
      ...counts,
      title: 'the champion may fail',
      next: `See the failed requests: \`tenure versions failures ${version}\`.`,
    },
    cause: `champion_failing/${version}/`,
  })
}

/** Names the most common code of the failed requests, of which each replica keeps a sample, and the command that lists them. */
function failureText(
  version: string,
  [most, ...others]: readonly { code: string; requests: number }[],
): string {
  const lists = `\`tenure versions failures ${version}\` lists them`
  if (most === undefined) return `no failed request is stored yet: ${lists}`
  const kept = others.reduce((sum, { requests }) => sum + requests, most.requests)
  const share = others.length === 0 ? 'all' : `${percentText(most.requests / kept)} of the stored ones`
  return `${share} with the code \`${most.code}\`: ${lists}`
}

/** Told and never rolled back: what slows a champion is more often its machine or its load than its version. */
async function alertSlow(
  database: Database,
  { model, version, slowUs = 0, ticks }: Watched,
  others: readonly WatchState[],
): Promise<void> {
  const share =
    sumOf(ticks.map(({ slow }) => slow ?? 0)) / Math.max(1, sumOf(ticks.map(({ requests }) => requests)))
  const slow = others.filter(({ isSlow }) => isSlow).length
  const beside =
    others.length === 0
      ? ''
      : `; ${slow} of ${counted(others.length, 'other champion')} with traffic ${slow === 1 ? 'is' : 'are'} slower too`
  await upsertAlert(database, {
    dedupeKey: slowKey(model),
    model,
    severity: 'warning',
    kind: 'service_latency',
    message: `${version} is slower than before: ${percentText(share)} of its newest requests took longer than ${fourDigits(slowUs / 1_000)} ms, before it was 1 %${beside}. Its machine or its load is a more frequent cause than the version`,
    evidence: { version },
  })
}

/** Rolls the champion back, activates the fallback, or keeps it and says why. */
async function decide(deps: WatchDeps, failing: FailingChampion, compare: CompareFailing): Promise<void> {
  const { store, log } = deps
  const { model, version } = failing
  const definition = (await findModel(store, model))?.definition
  const refusal = await rollBackUnlessRefused(deps, failing, definition, compare)
  await markDecided(store, failing)
  if (refusal === undefined) return
  const { why, isAlike } = refusal
  const isFallbackUseful = definition !== undefined && !(isAlike && definition.fallback?.kind === 'previous')
  const reason = `${version} fails, and is not rolled back: ${why}`
  const hasFallback =
    isFallbackUseful && (await activateFallback(deps, { definition, champion: version, reason }))
  log.warn({ model, version, why, hasFallback }, 'the failing champion is kept')
  const limit = completeMonitorPolicy(definition?.monitor).service.errorAlarm
  const kept = await keptBecause(store, { model, version, why, isAlike })
  const plan = hasFallback
    ? {
        plan: `${kept.plan}. The fallback serves all traffic`,
        next: `Find the cause: \`tenure versions failures ${version}\`.`,
      }
    : kept
  await alertFailing(store, { ...failing, limit }, plan)
}

interface Refusal {
  why: string
  /** Whether the former version fails at the same requests. */
  isAlike: boolean
}

/** Rolls back; otherwise returns why the champion stays. */
async function rollBackUnlessRefused(
  deps: WatchDeps,
  { model, version, state }: FailingChampion,
  definition: ModelDefinition | undefined,
  compare: CompareFailing,
): Promise<Refusal | undefined> {
  const { store, log } = deps
  const keep = (why: string): Refusal => ({ why, isAlike: false })
  if (!completeMonitorPolicy(definition?.monitor).rollback)
    return keep('the model file permits no automatic rollback')
  const issue = await issueOfReturn(deps, { model, version, toMs: Date.now() })
  if (issue !== undefined) return keep(issue)
  const targets = await listRollbackTargets(store, { model, from: version })
  const unfit = new Map<string, string>()
  for (const { version: to } of targets.filter(({ issues }) => issues.length === 0).slice(0, maxTargets)) {
    const { sinceMs } = state
    const compared = await compare(deps, { model, from: version, to, sinceMs }).catch((error: unknown) => {
      unfit.set(to, reasonOf(error))
    })
    if (compared === undefined) continue
    const former = judgeFormer(compared, { to, callers: state.callers })
    if (!former.isBetter) return { why: former.message, isAlike: former.isAlike }
    const reason = `${state.failed} of ${state.requests} requests failed; ${former.message}`
    const order = { model, by: monitorActor(model), reason, from: version }
    // In one transaction with its alert: a repeated decision finds another champion.
    const done = await store.transaction(async (database) => {
      const moved = await rollBackChampion(database, order, unfit)
      if ('outcome' in moved) return moved
      const facts = { matter: 'errors', harmed: state.failed, ...compared }
      const alert = { model, ...moved, severity: 'critical' } as const
      await alertChampionRollback(database, alert, `by its monitor: ${reason}`, facts)
      return moved
    })
    if ('outcome' in done) return keep(done.message)
    log.warn({ model, from: done.from, to: done.to, reason }, 'champion rolled back by its monitor')
    return undefined
  }
  const broken = [...unfit].map(([to, why]) => `${to} cannot serve: ${why}`)
  return keep(broken.length === 0 ? `no known good version to return to` : broken.join('; '))
}

// Asks another version the inputs that a version failed, so that a fault of the inputs is told from a fault of the version.

const maxRequests = 200

/**
 * Answers the newest failed requests of the version `from` since a time by the version `to`, in a process of its own. Older failures are
 * of another cause: a champion with few failures by chance would be rolled back in an outage that hits every version. Returns how many requests were
 * asked, and for how many of them `to` refuses a row or gives an invalid answer. A request of which not every row is kept is not asked. No
 * requests: no inputs are kept. Throws `artifact_invalid` when `to` cannot be opened.
 */
export async function compareFailing(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config'>,
  { model, from, to, sinceMs }: { model: string; from: string; to: string; sinceMs: number },
): Promise<FailingComparison> {
  const failed = await listFailedRequests(deps.store, { model, version: from, sinceMs, limit: maxRequests })
  const whole = failed.filter(({ inputs, instances }) => inputs.length === instances)
  const rows = whole.flatMap(({ inputs }) => inputs.map((row) => ({ row })))
  if (rows.length === 0) return { requests: 0, formerFailed: 0 }
  const target = await getVersion(deps.store, to)
  const values = valuesOfLogged(rows, Object.keys(target.manifest.features))
  if ('digested' in values) return { requests: 0, formerFailed: 0, ...values }
  const answers = await answersBy(deps, target, values)
  let at = 0
  const isFailed = ({ instances }: { instances: number }) =>
    answers.slice(at, (at += instances)).some((each) => each === null)
  return { requests: whole.length, formerFailed: whole.filter(isFailed).length }
}
