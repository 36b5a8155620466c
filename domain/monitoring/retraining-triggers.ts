/**
 * Decides when a model requests a retraining and when the request is delayed. Without a cooldown, a permanently changed feature would
 * train the same rejected model every hour.
 */
import { fourDigits } from '../figures.ts'
import { policyIssues } from '../policy-issues.ts'

export type TriggerReason = 'schedule' | 'manual' | 'trigger' | 'drift' | 'quality' | 'labels'

export interface Trigger {
  model: string
  reason: TriggerReason
  /** The same evidence starts at most one retraining. */
  dedupeKey: string
  /** One sentence with the figures. */
  message: string
  evidence: Record<string, number | string | null>
}

/** A retraining that a part of the system starts. Its first activity recognises it by the model file or by the stored window. */
export interface OwnRetraining {
  model: string
  reason: TriggerReason
  requestedBy: string
  dedupeKey?: string
  evidence?: Record<string, number | string | null>
}

export const scheduledRetraining = (model: string): OwnRetraining => ({
  model,
  reason: 'schedule',
  requestedBy: `schedule/${model}`,
})

/** The retraining that a monitor starts. */
export const triggeredRetraining = (trigger: Trigger): OwnRetraining => {
  const { model, reason, dedupeKey, message, evidence } = trigger
  return { model, reason, dedupeKey, requestedBy: `monitor/${model}`, evidence: { ...evidence, message } }
}

export interface TriggerPolicy {
  /**
   * The time after an automatic training before another one starts automatically, by reason. A quarter of it after a training of a user, a
   * schedule or a trigger of the model file, which has just read fresh data.
   */
  afterMs: {
    /** Because of drift. */
    drift: number
    /** Because of lost quality. */
    quality: number
    /** Because of new labels. */
    labels: number
  }
  /** The maximum cooldown after unsuccessful automatic trainings. */
  maxMs: number
  /** The maximum number of trainings per week that start automatically. Those of users and schedules do not count. */
  maxPerWeek: number
  /** The length of that week: seven days, less in accelerated tests. */
  weekMs: number
  /** New matured rows that request a retraining, as a share of the training rows. */
  newRowsShare: number
  /** New matured rows required after a rejected training, as a share of the training rows. */
  newRowsAfterRejectShare: number
  /** Consecutive unsuccessful automatic trainings after which the maximum cooldown applies at once. */
  rejectsToBreak: number
}

const hourMs = 3_600_000
const weekMs = 168 * hourMs

export const defaultTriggerPolicy: TriggerPolicy = {
  afterMs: { drift: 24 * hourMs, quality: 6 * hourMs, labels: 24 * hourMs },
  maxMs: weekMs,
  maxPerWeek: 4,
  weekMs,
  newRowsShare: 0.2,
  newRowsAfterRejectShare: 0.1,
  rejectsToBreak: 3,
}

/** The findings of the monitor in the window that ended at `windowEndMs`. */
export interface TriggerFacts {
  model: string
  champion: string
  windowEndMs: number
  /** On matured labels only. */
  quality?: {
    level: 'held' | 'lost' | 'insufficient'
    metric: string
    value: number | null
    baseline: number | null
    margin: number
    reasons: readonly string[]
  }
  /** The features, the score or the label that alarm, as named by the drift judge. */
  driftAlarms?: string[]
  /** Rows whose label became due since the champion was trained. */
  newMaturedRows?: number
  /** When that training, or a later one without a version, began. */
  lastTrainingMs?: number
  trainingRows?: number
}

/** The reasons for a retraining that the facts give; judgeTrigger decides on each. */
export function findTriggers(facts: TriggerFacts, policy: TriggerPolicy = defaultTriggerPolicy): Trigger[] {
  const {
    model,
    champion,
    windowEndMs,
    quality,
    driftAlarms = [],
    newMaturedRows,
    trainingRows,
    lastTrainingMs,
  } = facts
  const found: Trigger[] = []
  const add = (reason: TriggerReason, key: string, message: string, evidence: Trigger['evidence']) =>
    found.push({ model, reason, dedupeKey: `${reason}/${model}/${champion}/${key}`, message, evidence })

  if (quality?.level === 'lost') {
    const { metric, value, baseline, margin, reasons } = quality
    const evidence = { metric, value, baseline, margin, windowEndMs }
    add('quality', `${metric}/${windowEndMs}`, reasons.join('; '), evidence)
  }
  if (driftAlarms.length > 0) {
    const names = [...driftAlarms].sort((a, b) => (a < b ? -1 : 1)).join(', ')
    const message = `in drift alarm: ${names}`
    add('drift', String(windowEndMs), message, { drifted: names, windowEndMs })
  }
  if (newMaturedRows !== undefined && trainingRows !== undefined && trainingRows > 0) {
    const share = newMaturedRows / trainingRows
    // The key changes each time that this many more rows have matured, and with each training, which counts them anew.
    const key = `${lastTrainingMs ?? ''}/${Math.floor(share / policy.newRowsShare)}`
    const message = `${newMaturedRows} new matured rows, ${fourDigits(100 * share)} % of the ${trainingRows} training rows`
    if (share >= policy.newRowsShare) add('labels', key, message, { newMaturedRows, trainingRows, share })
  }
  return found
}

export interface PastTraining {
  startedMs: number
  reason: TriggerReason
  dedupeKey: string
  /** Whether it made a version smaller, from no new rows. */
  isCompression?: boolean
  /** The outcome; null while it runs. `rolled_back`: the release of its version was rolled back or rejected. */
  outcome:
    | 'released'
    | 'rolled_back'
    | 'registered'
    | 'unchanged'
    | 'not_better'
    | 'insufficient'
    | 'quarantined'
    | 'failed'
    | 'cancelled'
    | null
}

export interface TriggerHistory {
  /** In any order; at least those of the last seven days and all since the last one that registered a version. */
  trainings: readonly PastTraining[]
  /** New matured rows since the last training, and its training rows; null when unknown. */
  newRows: number | null
  trainingRows: number | null
  /**
   * The version of an open release that a new one would wait for. Compared with the champion that this release may replace, the new
   * one could not be released after it.
   */
  releasing?: string
}

/**
 * - `start`: start now. The data is still validated first.
 * - `skip`: record and drop the request; from `retryAtMs` on the same reason is accepted.
 */
export interface TriggerDecision {
  action: 'start' | 'skip'
  code: 'clear' | 'running' | 'releasing' | 'duplicate' | 'cool_down' | 'weekly_cap' | 'too_few_new_rows'
  message: string
  retryAtMs?: number
}

export function judgeTrigger(
  trigger: Trigger,
  history: TriggerHistory,
  nowMs: number,
  policy: TriggerPolicy = defaultTriggerPolicy,
): TriggerDecision {
  const trainings = [...history.trainings].sort((a, b) => b.startedMs - a.startedMs)
  if (trainings.some(({ dedupeKey }) => dedupeKey === trigger.dedupeKey)) {
    return { action: 'skip', code: 'duplicate', message: 'the same evidence has already started a training' }
  }
  const { releasing } = history
  if (isAutomatic(trigger.reason) && releasing !== undefined)
    return {
      action: 'skip',
      code: 'releasing',
      message: `${releasing} is being released, and a version trained now would be compared with the champion before it`,
    }
  const throttled = isAutomatic(trigger.reason)
    ? throttle(
        trigger.reason,
        trainings.filter((each) => each.isCompression !== true),
        history,
        nowMs,
        policy,
      )
    : null
  if (throttled !== null) return throttled
  if (trainings.some(({ outcome }) => outcome === null))
    return { action: 'skip', code: 'running', message: 'a training is running' }
  return { action: 'start', code: 'clear', message: 'no limit applies' }
}

type Automatic = 'drift' | 'quality' | 'labels'

/** Only automatic requests are throttled, never those of a schedule or a user. */
function isAutomatic(reason: TriggerReason): reason is Automatic {
  return reason === 'drift' || reason === 'quality' || reason === 'labels'
}

function throttle(
  reason: Automatic,
  trainings: readonly PastTraining[],
  history: TriggerHistory,
  nowMs: number,
  policy: TriggerPolicy,
): TriggerDecision | null {
  const { rejects, fruitless } = unsuccessfulInARow(trainings)
  const own = trainings.find((each) => isAutomatic(each.reason))
  const other = trainings.find((each) => !isAutomatic(each.reason))
  const ownMs = cooldownMs(reason, fruitless, policy)
  const otherMs = policy.afterMs[reason] * shareAfterOthers
  const after = fruitless > 0 ? `, after ${fruitless} in a row without a better version` : ''
  const [latest] = [
    {
      atMs: (own?.startedMs ?? -Infinity) + ownMs,
      message: `automatic training started less than ${hours(ownMs)} ago${after}`,
    },
    {
      atMs: (other?.startedMs ?? -Infinity) + otherMs,
      message: `training started less than ${hours(otherMs)} ago`,
    },
  ].toSorted((a, b) => b.atMs - a.atMs)
  if (latest !== undefined && nowMs < latest.atMs)
    return {
      action: 'skip',
      code: 'cool_down',
      message: `the last ${latest.message}`,
      retryAtMs: latest.atMs,
    }
  const week = trainings.filter(
    (training) => isAutomatic(training.reason) && training.startedMs > nowMs - policy.weekMs,
  )
  if (week.length >= policy.maxPerWeek) {
    const freeAtMs = week[policy.maxPerWeek - 1]!.startedMs + policy.weekMs
    const span = policy.weekMs === weekMs ? 'seven days' : hours(policy.weekMs)
    const message = `${week.length} automatic trainings started in the last ${span}, limit ${policy.maxPerWeek}`
    return { action: 'skip', code: 'weekly_cap', message, retryAtMs: freeAtMs }
  }
  const { newRows, trainingRows } = history
  if (rejects > 0 && newRows !== null && trainingRows !== null) {
    const needed = Math.ceil(policy.newRowsAfterRejectShare * trainingRows)
    if (newRows < needed) {
      const message = `the last training was rejected, and ${newRows} of ${needed} required new rows have matured since`
      return { action: 'skip', code: 'too_few_new_rows', message }
    }
  }
  return null
}

/**
 * The share of the cooldown after a training that was not automatic. A full one, lengthened by its rejections, would never end beside a
 * schedule of the same length, and the model would not react between two of its runs.
 */
const shareAfterOthers = 0.25

const rejected: readonly PastTraining['outcome'][] = ['not_better', 'unchanged', 'rolled_back']
const unsuccessful: readonly PastTraining['outcome'][] = [...rejected, 'failed', 'quarantined']

/**
 * Counts the unsuccessful trainings since the last one that registered a version. `rejects`: those with a rejected, unchanged or
 * rolled back version, because the next one from the same rows would probably fail in the same way. `fruitless`: the automatic ones, so
 * that neither a schedule nor a user who repairs a model extends the cooldown.
 */
function unsuccessfulInARow(latestFirst: readonly PastTraining[]): { rejects: number; fruitless: number } {
  const brought = latestFirst.findIndex(({ outcome }) => outcome === 'released' || outcome === 'registered')
  const since = brought === -1 ? latestFirst : latestFirst.slice(0, brought)
  return {
    rejects: since.filter(({ outcome }) => rejected.includes(outcome)).length,
    fruitless: since.filter(({ outcome, reason }) => isAutomatic(reason) && unsuccessful.includes(outcome))
      .length,
  }
}

/** The cooldown in milliseconds: doubled for each unsuccessful training; the maximum after `rejectsToBreak` of them. */
export function cooldownMs(reason: Automatic, fruitless: number, policy: TriggerPolicy): number {
  if (fruitless >= policy.rejectsToBreak) return policy.maxMs
  return Math.min(policy.maxMs, policy.afterMs[reason] * 2 ** fruitless)
}

const hours = (ms: number): string => `${fourDigits(ms / hourMs)} h`

/** The issues of a policy, each with its field; empty when it is valid. */
export function issuesOfTriggers(policy: TriggerPolicy): string[] {
  const { issues, need, integer } = policyIssues()
  for (const [name, value] of Object.entries({ ...policy.afterMs })) integer(name, value, 1)
  for (const name of ['maxMs', 'weekMs', 'maxPerWeek', 'rejectsToBreak'] as const)
    integer(name, policy[name], 1)
  for (const name of ['newRowsShare', 'newRowsAfterRejectShare'] as const)
    need(policy[name] > 0 && Number.isFinite(policy[name]), `${name} is above 0, not ${policy[name]}`)
  return issues
}
