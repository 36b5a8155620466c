/**
 * When a model asks to be trained again, and what holds the request back. Drift asks, the gate decides: without the
 * brakes a feature that moved for good would train the same rejected model every hour.
 */

export type TriggerReason = 'schedule' | 'manual' | 'drift' | 'quality' | 'labels'

export interface Trigger {
  model: string
  reason: TriggerReason
  /** The same evidence asks once, however often it is looked at. */
  dedupeKey: string
  /** One sentence with its arithmetic. */
  message: string
  evidence: Record<string, number | string | null>
}

export interface TriggerPolicy {
  /** How long after a training another may start by itself. */
  afterMs: {
    /** When drift asks. */
    drift: number
    /** When lost quality asks. */
    quality: number
    /** When new labels ask. */
    labels: number
  }
  /** What trainings that brought nothing can stretch the cool-down to. */
  maxMs: number
  /** Trainings in a week from which none starts by itself. */
  maxPerWeek: number
  /** How long that week is: seven days, but where time runs faster. */
  weekMs: number
  /** New matured rows, as a share of the training rows, that are a reason by themselves. */
  newRowsShare: number
  /** New matured rows asked for after a training that brought nothing. */
  newRowsAfterRejectShare: number
  /** Trainings in a row, rejected or begun by the machine and failed, after which the longest cool-down applies at once. */
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

/** What the monitor has seen in the window that ended at `windowEndMs`. */
export interface TriggerFacts {
  model: string
  champion: string
  windowEndMs: number
  /** On matured labels only; null where undefined. */
  quality?: {
    metric: string
    value: number | null
    baseline: number
    margin: number
    higherIsBetter: boolean
  }
  /** The features, the score or the label that alarm, as named by the drift judge. */
  driftAlarms?: string[]
  /** Rows whose label has matured since the champion was trained. */
  newMaturedRows?: number
  trainingRows?: number
}

/** Every reason to train again that the facts give; none is an order. */
export function findTriggers(facts: TriggerFacts, policy: TriggerPolicy = defaultTriggerPolicy): Trigger[] {
  const { model, champion, windowEndMs, quality, driftAlarms = [], newMaturedRows, trainingRows } = facts
  const found: Trigger[] = []
  const add = (reason: TriggerReason, key: string, message: string, evidence: Trigger['evidence']) =>
    found.push({ model, reason, dedupeKey: `${reason}/${model}/${champion}/${key}`, message, evidence })

  if (quality && quality.value !== null && Number.isFinite(quality.value)) {
    const { metric, value, baseline, margin, higherIsBetter } = quality
    const loss = higherIsBetter ? baseline - value : value - baseline
    if (loss > margin) {
      add(
        'quality',
        `${metric}/${windowEndMs}`,
        `${metric} on matured labels is ${figure(value)}, it was ${figure(baseline)}: worse by more than ${figure(margin)}`,
        { metric, value, baseline, margin, windowEndMs },
      )
    }
  }
  if (driftAlarms.length > 0) {
    const names = [...driftAlarms].sort((a, b) => (a < b ? -1 : 1)).join(', ')
    add('drift', String(windowEndMs), `drifted in two windows running: ${names}`, {
      drifted: names,
      windowEndMs,
    })
  }
  if (newMaturedRows !== undefined && trainingRows !== undefined && trainingRows > 0) {
    const share = newMaturedRows / trainingRows
    if (share >= policy.newRowsShare) {
      // The key steps on each time that many rows have come again.
      add(
        'labels',
        String(Math.floor(share / policy.newRowsShare)),
        `${newMaturedRows} new matured rows are ${figure(100 * share)} % of the ${trainingRows} trained on`,
        { newMaturedRows, trainingRows, share },
      )
    }
  }
  return found
}

export interface PastTraining {
  startedMs: number
  reason: TriggerReason
  dedupeKey: string
  /** How it ended; null while it runs. */
  outcome:
    'released' | 'registered' | 'not_better' | 'insufficient' | 'quarantined' | 'failed' | 'cancelled' | null
}

export interface TriggerHistory {
  /** In any order; at least those of the last seven days and every one since the last that brought a version. */
  trainings: readonly PastTraining[]
  /** Whether a request already waits for the running training to end. */
  queued: boolean
  /** New matured rows since the last training, and the rows that one was trained on; null where not known. */
  newRows: number | null
  trainingRows: number | null
}

/**
 * - `start`: nothing holds it back. Validation of the data still comes first.
 * - `queue`: it starts when the running training ends.
 * - `skip`: it is recorded and dropped; `retryAtMs` says from when the same reason would be heard.
 */
export interface TriggerDecision {
  action: 'start' | 'queue' | 'skip'
  code: 'clear' | 'running' | 'already_queued' | 'duplicate' | 'cool_down' | 'weekly_cap' | 'too_few_new_rows'
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
  const brake = isAutomatic(trigger.reason)
    ? brakeOf(trigger.reason, trainings, history, nowMs, policy)
    : null
  if (brake !== null) return brake
  if (trainings.some(({ outcome }) => outcome === null)) {
    return history.queued
      ? { action: 'skip', code: 'already_queued', message: 'one training runs and one request waits already' }
      : { action: 'queue', code: 'running', message: 'a training runs; the request waits for its end' }
  }
  return { action: 'start', code: 'clear', message: 'nothing holds it back' }
}

type Automatic = 'drift' | 'quality' | 'labels'

/** A schedule and a person have decided for themselves; only the machine's own ideas are throttled. */
function isAutomatic(reason: TriggerReason): reason is Automatic {
  return reason === 'drift' || reason === 'quality' || reason === 'labels'
}

function brakeOf(
  reason: Automatic,
  trainings: readonly PastTraining[],
  history: TriggerHistory,
  nowMs: number,
  policy: TriggerPolicy,
): TriggerDecision | null {
  const [last] = trainings
  if (last === undefined) return null
  const { rejects, failures } = fruitlessInARow(trainings)
  const fruitless = rejects + failures
  const coolDownMs = cooldownMs(reason, fruitless, policy)
  const coolAtMs = last.startedMs + coolDownMs
  if (nowMs < coolAtMs) {
    const after = fruitless > 0 ? `, after ${fruitless} in a row that brought nothing better` : ''
    const message = `the last training started less than ${hours(coolDownMs)} ago${after}`
    return { action: 'skip', code: 'cool_down', message, retryAtMs: coolAtMs }
  }
  const week = trainings.filter(({ startedMs }) => startedMs > nowMs - policy.weekMs)
  if (week.length >= policy.maxPerWeek) {
    const freeAtMs = week[policy.maxPerWeek - 1]!.startedMs + policy.weekMs
    const span = policy.weekMs === weekMs ? 'seven days' : hours(policy.weekMs)
    const message = `${week.length} trainings started in the last ${span}, ${policy.maxPerWeek} are the limit`
    return { action: 'skip', code: 'weekly_cap', message, retryAtMs: freeAtMs }
  }
  const { newRows, trainingRows } = history
  if (rejects > 0 && newRows !== null && trainingRows !== null) {
    const needed = Math.ceil(policy.newRowsAfterRejectShare * trainingRows)
    if (newRows < needed) {
      const message = `the last training brought nothing better, and ${newRows} of ${needed} new rows have matured since`
      return { action: 'skip', code: 'too_few_new_rows', message }
    }
  }
  return null
}

/**
 * How many of the latest trainings brought nothing, up to the last one that brought a version. A rejected challenger counts whoever
 * had asked for it. One that broke, or whose batch was blocked, counts when the machine had: a person who tries again and again to
 * mend it keeps nothing waiting.
 */
function fruitlessInARow(latestFirst: readonly PastTraining[]): { rejects: number; failures: number } {
  const brought = latestFirst.findIndex(({ outcome }) => outcome === 'released' || outcome === 'registered')
  const since = brought === -1 ? latestFirst : latestFirst.slice(0, brought)
  return {
    rejects: since.filter(({ outcome }) => outcome === 'not_better').length,
    failures: since.filter(
      ({ outcome, reason }) => (outcome === 'failed' || outcome === 'quarantined') && isAutomatic(reason),
    ).length,
  }
}

/** Doubled for each training that brought nothing; after `rejectsToBreak` of them the longest at once. */
export function cooldownMs(reason: Automatic, fruitless: number, policy: TriggerPolicy): number {
  if (fruitless >= policy.rejectsToBreak) return policy.maxMs
  return Math.min(policy.maxMs, policy.afterMs[reason] * 2 ** fruitless)
}

const figure = (value: number): string => String(Number(value.toPrecision(4)))
const hours = (ms: number): string => `${figure(ms / hourMs)} h`

/** The issues of a policy, each with its field; empty when it is valid. */
export function issuesOfTriggers(policy: TriggerPolicy): string[] {
  const { afterMs, maxMs, maxPerWeek, weekMs: periodMs, rejectsToBreak } = policy
  const { newRowsShare, newRowsAfterRejectShare } = policy
  const issues: string[] = []
  const integers = { ...afterMs, maxMs, weekMs: periodMs, maxPerWeek, rejectsToBreak }
  for (const [name, value] of Object.entries(integers))
    if (!Number.isInteger(value) || value < 1) issues.push(`${name} is a whole number from 1, not ${value}`)
  for (const [name, value] of Object.entries({ newRowsShare, newRowsAfterRejectShare }))
    if (!(value > 0 && Number.isFinite(value))) issues.push(`${name} is above 0, not ${value}`)
  return issues
}
