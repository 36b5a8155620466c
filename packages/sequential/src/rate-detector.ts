/**
 * Detects that a rate has risen above a limit, on a stream that never ends. A test with a fixed error would spend it in the end; a detector
 * states how rarely it raises a false alarm.
 *
 * Shiryaev–Roberts with one detector for each alternative rate p₁ and their mean: M ← (1 + M)·e with the likelihood ratio
 * e = (p₁/limit)^events · ((1 − p₁)/(1 − limit))^(total − events). While the rate is within the limit, E[M] after n looks is at most n, so
 * P(max M ≥ A within n looks) ≤ n/A (Shin, Ramdas and Rinaldo, "E-detectors", New England Journal of Statistics in Data Science, 2023).
 */
import { logMeanExp } from './distributions.ts'

/** ln(1 + M) of each alternative rate; empty at the start. Plain numbers, so that the state may be stored as JSON. */
export type DetectorState = readonly number[]

/** The rates that the detector bets on: 2, 5 and 10 times the limit and one half; those above the limit, none above 0.95. */
export const detectorRates = (limit: number): number[] =>
  [2 * limit, 5 * limit, 10 * limit, 0.5].map((rate) => Math.min(0.95, rate)).filter((rate) => rate > limit)

/**
 * Adds the counts since the last look.
 * @param before the state of the last look; `[]` at the start
 * @param counts the number of requests and those with the event since then; 0 ≤ events ≤ total
 * @param limit the tolerated rate, the same at every look. From 0.95 on there is no alternative, and the detector stays silent.
 * @returns the state to keep, and ln M, which raises an alarm from `detectorThreshold` on
 * @throws RangeError unless 0 ≤ events ≤ total and limit > 0
 */
export function addToDetector(
  before: DetectorState,
  { total, events }: { total: number; events: number },
  limit: number,
): { state: number[]; logM: number } {
  if (!(limit > 0)) throw new RangeError(`the limit is ${limit}: give the tolerated rate, above 0`)
  if (!(events >= 0 && events <= total && total < Infinity))
    throw new RangeError(`${events} events of ${total}: give counts with 0 ≤ events ≤ total`)
  const logMs = detectorRates(limit).map(
    (rate, k) =>
      (before[k] ?? 0) +
      events * Math.log(rate / limit) +
      (total - events) * Math.log((1 - rate) / (1 - limit)),
  )
  return {
    state: logMs.map((logM) => Math.max(logM, 0) + Math.log1p(Math.exp(-Math.abs(logM)))),
    logM: logMs.length === 0 ? -Infinity : logMeanExp(logMs),
  }
}

/**
 * ln A, the evidence of an alarm: A = looks / falseAlarms.
 * @param looks the looks of a period, such as a year
 * @param falseAlarms the probability of a false alarm in that period, at a rate on the limit
 * @throws RangeError unless looks ≥ 1 and 0 < falseAlarms < 1
 */
export function detectorThreshold({ looks, falseAlarms }: { looks: number; falseAlarms: number }): number {
  if (!(looks >= 1 && falseAlarms > 0 && falseAlarms < 1))
    throw new RangeError(
      `${looks} looks, ${falseAlarms} false alarms: give at least 1 look and a probability of a false alarm between 0 and 1`,
    )
  return Math.log(looks / falseAlarms)
}
