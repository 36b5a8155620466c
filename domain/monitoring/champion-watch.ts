/**
 * Judges the failures of a champion at ticks of ten seconds, for ever, with a detector of rates above the limit: its false alarms in a year
 * are bounded, however often it is evaluated.
 */
import { addToDetector, binomialCdf, detectorThreshold, pairedEvidence } from '@tenure/sequential'
import { groupedDigits } from '../figures.ts'
import { digestText } from '../model/logged-rows.ts'

/** The length of a tick. */
export const watchTickMs = 10_000
/** Ticks of a year. A tick without a request is no look, so idle time only lowers the false alarms. */
const ticksAYear = 31_557_600_000 / watchTickMs
/** The probability that a year raises a false alarm, at a rate on the limit. */
export const falseAlarmsAYear = 0.01
/** The log of A. */
export const watchThreshold = detectorThreshold({ looks: ticksAYear, falseAlarms: falseAlarmsAYear })
/** The evidence that the rate is within the limit and not at twice the limit; nothing but good requests reach it in 146. */
const calmThreshold = Math.log(20)
/** How long that evidence must last. */
const calmMs = 180_000
/** The share of requests that a week of the same version has above its own 99th percentile. */
const slowShare = 0.01
/** The probability of a tick with at least as many slow requests that makes the tick slow. */
const slowTick = 0.01
/** The limit of slow ticks. */
const slowTickLimit = 0.02
/** The distinct callers whose failures in one tick suffice where no failing request can be answered again. */
const severalCallers = 3
/** The error probability of the paired comparison. */
const pairedAlpha = 0.05

/** What the champion answered in a tick on all replicas. */
export interface WatchedTick {
  /** The end of the tick. */
  endMs: number
  requests: number
  /** The callers with at least one failure, each once over all replicas, so that the retries of one caller count once in a tick. */
  failed: number
  /**
   * The requests of those callers after their first failure. Left out: a caller is watched in a tick until it fails, which is a stopping
   * time, so that the bound holds, and a model with a single caller is judged too.
   */
  repeats: number
  /** Requests above the champion's own 99th percentile; null where that is not known. */
  slow: number | null
}

/** The state that a tick leaves for the next one; stored with the version. */
export interface WatchState {
  /** log(1 + M) of the detector of failures, for each alternative. */
  failing: number[]
  /** The same of slow ticks. */
  slow: number[]
  isFailing: boolean
  isSlow: boolean
  /** When the rate was last proven to be within the limit, or the first tick began. The following counts are those since then. */
  sinceMs: number
  requests: number
  failed: number
  /** The most distinct callers with a failure in one tick since then. */
  callers: number
  /** The log evidence that the rate is within the limit, and since when it has risen. */
  calm: number
  calmSinceMs: number
  /** The same of slow ticks. */
  fast: number
  fastSinceMs: number
  /** The share of failures that was told last. */
  toldShare?: number
}

/** How long failures last before a warning tells them that are not certain yet. */
const suspectMs = 180_000
/** The log evidence of such a warning: at a rate on the limit, one in two hours of ticks is false; at half the limit, none in years. */
const suspectThreshold = detectorThreshold({ looks: 3_600_000 / watchTickMs, falseAlarms: 0.5 })

/** Whether the rate has been above the limit for minutes, and is not proven to be. */
export const isSuspect = ({ failing, isFailing, sinceMs }: WatchState, atMs: number): boolean =>
  !isFailing &&
  atMs - sinceMs >= suspectMs &&
  Math.max(...failing) - Math.log(failing.length) >= suspectThreshold

/** The share of failures since the rate was last within the limit. */
export const shareOf = ({ requests, failed }: WatchState): number => failed / Math.max(1, requests)

/** Whether the failures are to be told again: their share has doubled. */
export const isWorse = (state: WatchState): boolean =>
  state.isFailing && state.toldShare !== undefined && shareOf(state) >= 2 * state.toldShare

/** `atMs`: the end of the first tick. */
export const freshWatch = (atMs: number): WatchState => ({
  failing: [],
  slow: [],
  isFailing: false,
  isSlow: false,
  sinceMs: atMs - watchTickMs,
  requests: 0,
  failed: 0,
  callers: 0,
  calm: 0,
  calmSinceMs: atMs,
  fast: 0,
  fastSinceMs: atMs,
})

/** Adds a tick with requests. `limit` is the tolerated share of failures, above 0. */
export function watchTick(state: WatchState, tick: WatchedTick, limit: number): WatchState {
  const draws = tick.requests - tick.repeats
  const failed = Math.min(tick.failed, draws)
  const failing = added(state.failing, { draws, events: failed, limit })
  const calm = calmOf(state, { draws, events: failed, limit, endMs: tick.endMs })
  const next: WatchState = {
    ...state,
    ...failing,
    isFailing: state.isFailing || failing.isAlarm,
    requests: state.requests + draws,
    failed: state.failed + failed,
    callers: Math.max(state.callers, failed),
    calm: calm.evidence,
    calmSinceMs: calm.sinceMs,
  }
  const slowed = withSlow(next, tick)
  if (calm.evidence < calmThreshold) return slowed
  const since = { sinceMs: tick.endMs, requests: 0, failed: 0, callers: 0 }
  if (!slowed.isFailing) return { ...slowed, ...since }
  return isHealthy(slowed, tick.endMs) ? { ...slowed, ...since, failing: [], isFailing: false } : slowed
}

/** Whether the version that serves now has proven for some minutes that it fails within its limit. */
export const isHealthy = ({ calm, calmSinceMs }: WatchState, atMs: number): boolean =>
  calm >= calmThreshold && atMs - calmSinceMs >= calmMs

/** A tick is one draw: what slows a machine slows all its requests, so they are not independent. */
function withSlow(state: WatchState, { requests, slow, endMs }: WatchedTick): WatchState {
  if (slow === null) return state
  const below = slow === 0 ? 0 : (binomialCdf(slow - 1, requests, slowShare) ?? 0)
  const draw = { draws: 1, events: 1 - below <= slowTick ? 1 : 0, limit: slowTickLimit }
  const found = added(state.slow, draw)
  const isSlow = state.isSlow || found.isAlarm
  const { evidence, sinceMs } = calmOf(
    { calm: state.fast, calmSinceMs: state.fastSinceMs },
    { ...draw, endMs },
  )
  const isOver = isSlow && evidence >= calmThreshold && endMs - sinceMs >= calmMs
  return isOver
    ? { ...state, slow: [], isSlow: false, fast: 0, fastSinceMs: endMs }
    : { ...state, slow: found.failing, isSlow, fast: evidence, fastSinceMs: sinceMs }
}

interface Draws {
  draws: number
  events: number
  limit: number
}

function added(before: readonly number[], { draws, events, limit }: Draws) {
  const { state, logM } = addToDetector(before, { total: draws, events }, limit)
  return { failing: state, isAlarm: logM >= watchThreshold }
}

/** The evidence for the limit against twice the limit. It stays between 0, where it begins again, and what is needed. */
function calmOf(
  { calm, calmSinceMs }: Pick<WatchState, 'calm' | 'calmSinceMs'>,
  { draws, events, limit, endMs }: Draws & { endMs: number },
): { evidence: number; sinceMs: number } {
  const rate = Math.min(0.95, 2 * limit)
  if (rate <= limit) return { evidence: calmThreshold, sinceMs: calmSinceMs }
  const gain = events * Math.log(limit / rate) + (draws - events) * Math.log((1 - limit) / (1 - rate))
  const evidence = Math.min(calmThreshold, Math.max(0, calm + gain))
  // Silence proves nothing: the time begins with the first tick that raises it.
  return { evidence, sinceMs: calm === 0 ? endMs : calmSinceMs }
}

/** How the former version answered the last failing requests; none where the policy keeps no inputs. */
export interface FailingComparison {
  requests: number
  formerFailed: number
  /** The features that are logged as digests, so that no request was asked again. */
  digested?: string[]
}

/**
 * Whether a failing champion gives way to the former version. Not where that version fails at the same requests: then their source is at
 * fault, and a rollback would help no caller.
 */
export function judgeFormer(
  { requests, formerFailed, digested }: FailingComparison,
  { to, callers }: { to: string; callers: number },
): { isBetter: boolean; isAlike: boolean; message: string } {
  const failedAt = `${to} fails at ${groupedDigits(formerFailed)} of the ${groupedDigits(requests)} last failing requests`
  const evidence = pairedEvidence(requests - formerFailed, formerFailed) ?? 0
  if (requests > 0 && evidence >= Math.log(1 / pairedAlpha))
    return { isBetter: true, isAlike: false, message: failedAt }
  if (2 * formerFailed > requests) return { isBetter: false, isAlike: true, message: `${failedAt} too` }
  const isBetter = callers >= severalCallers
  const none = digested === undefined ? 'no failing request is kept' : `${to} was ${digestText(digested)}`
  const kept = requests === 0 ? none : `too few failing requests are kept: ${requests}`
  const message = isBetter
    ? `${kept}, and ${callers} callers failed in one tick`
    : `${kept}, and at most ${callers} of ${severalCallers} callers failed in one tick`
  return { isBetter, isAlike: false, message }
}
