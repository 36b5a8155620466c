/**
 * What the canary judge has counted so far: requests per stage, bad answers per share, and how old or one-sided
 * the counts are. Without it a dead control arm or a dead counter would look like a quiet, healthy canary.
 */

import type { ArmCounts, CanaryEvidence, CanaryStage, CanaryTick } from './evidence.ts'
import { excessBad, type ExposureCounts } from './harm-budget.ts'
import type { Reason } from '../verdict.ts'

export interface StageCounts {
  canary: number
  control: number
  /** Only ticks during which the configured share did not change. */
  sharedCanary: number
  sharedControl: number
}

export interface CanaryCounts {
  add(tick: CanaryTick): void
  lastStartMs(): number | undefined
  /** Over the whole release. */
  exposure(): ExposureCounts
  excess(): number
  since(startedMs: number): StageCounts
  /** Why there is nothing to judge by, or null. */
  missing(stage: CanaryStage, staleMs: number | null, maxStaleMs: number): Reason | null
}

/** Bad answers of an arm: errors and invalid outputs, never more than it answered. */
export function badAnswers(arm: ArmCounts): number {
  return Math.min(arm.requests, arm.errors + arm.invalid)
}

export function createCanaryCounts(): CanaryCounts {
  const startMs: number[] = []
  // Cumulative counts before each tick, so that a stage is one subtraction.
  const sums: StageCounts[] = [{ canary: 0, control: 0, sharedCanary: 0, sharedControl: 0 }]
  const byShare = new Map<number | null, ExposureCounts>()

  const firstFrom = (ms: number): number => {
    let low = 0
    let high = startMs.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (startMs[middle]! < ms) low = middle + 1
      else high = middle
    }
    return low
  }
  const between = (from: number): StageCounts => {
    const [a, b] = [sums[from]!, sums.at(-1)!]
    return {
      canary: b.canary - a.canary,
      control: b.control - a.control,
      sharedCanary: b.sharedCanary - a.sharedCanary,
      sharedControl: b.sharedControl - a.sharedControl,
    }
  }
  const exposures = () => [...byShare.values()]

  return {
    add(tick) {
      const { canary, control, shareBp } = tick
      const before = sums.at(-1)!
      const shared = shareBp === null ? 0 : 1
      startMs.push(tick.startMs)
      sums.push({
        canary: before.canary + canary.requests,
        control: before.control + control.requests,
        sharedCanary: before.sharedCanary + shared * canary.requests,
        sharedControl: before.sharedControl + shared * control.requests,
      })
      const sofar = byShare.get(shareBp) ?? emptyExposure()
      sofar.canaryRequests += canary.requests
      sofar.canaryBad += badAnswers(canary)
      sofar.controlRequests += control.requests
      sofar.controlBad += badAnswers(control)
      byShare.set(shareBp, sofar)
    },
    lastStartMs: () => startMs.at(-1),
    exposure: () => exposures().reduce(addExposure, emptyExposure()),
    excess: () => excessBad(exposures()),
    since: (startedMs) => between(firstFrom(startedMs)),

    missing(stage, staleMs, maxStaleMs): Reason | null {
      if (staleMs === null || staleMs > maxStaleMs) {
        const age = staleMs === null ? 'there are no counters' : `the newest counters are ${staleMs} ms old`
        return {
          code: 'stale',
          message: `${age}, at most ${maxStaleMs} ms are accepted`,
          values: { staleMs, maxStaleMs },
        }
      }
      const from = firstFrom(stage.startedMs)
      const inStage = between(from)
      if (inStage.canary + inStage.control === 0) {
        return { code: 'no_traffic', message: 'no request was counted in this stage', values: {} }
      }
      // Where all requests go to one arm, as in a shadow that sees a copy, either is as likely to be next.
      const exposed = stage.shareBp / 10_000
      const share = exposed > 0 && exposed < 1 ? exposed : 0.5
      for (const arm of ['canary', 'control'] as const) {
        const other = arm === 'canary' ? 'control' : 'canary'
        let last = startMs.length
        while (last > from && sums[last]![arm] === sums[last - 1]![arm]) last--
        const alone = sums.at(-1)![other] - sums[last]![other]
        // How likely so many requests in a row all went to the other arm, if this one were alive.
        const chance = (arm === 'canary' ? 1 - share : share) ** alone
        if (inStage[arm] === 0 || (alone > 0 && chance < 0.001)) {
          return {
            code: 'one_sided',
            message: `the ${arm} has answered none of the last ${alone} requests, the ${other} all of them`,
            values: { arm, requests: alone, chance },
          }
        }
      }
      return null
    },
  }
}

function emptyExposure(): ExposureCounts {
  return { canaryRequests: 0, canaryBad: 0, controlRequests: 0, controlBad: 0 }
}

function addExposure(a: ExposureCounts, b: ExposureCounts): ExposureCounts {
  return {
    canaryRequests: a.canaryRequests + b.canaryRequests,
    canaryBad: a.canaryBad + b.canaryBad,
    controlRequests: a.controlRequests + b.controlRequests,
    controlBad: a.controlBad + b.controlBad,
  }
}

const arms = ['canary', 'control'] as const
const countNames = ['requests', 'errors', 'invalid', 'slow95', 'slow99', 'conversions'] as const

/** What makes a tick unusable, or undefined. */
export function unreadableTick(tick: CanaryTick, lastStartMs: number | undefined): string | undefined {
  if (!Number.isFinite(tick.startMs)) return `a tick starts at ${tick.startMs}`
  if (lastStartMs !== undefined && tick.startMs <= lastStartMs) {
    return `the tick at ${tick.startMs} does not come after the one at ${lastStartMs}`
  }
  if (tick.shareBp !== null && !(tick.shareBp >= 0 && tick.shareBp <= 10_000)) {
    return `the tick at ${tick.startMs} has a share of ${tick.shareBp} basis points`
  }
  for (const arm of arms) {
    const counts = tick[arm]
    for (const name of countNames) {
      const count = counts[name]
      if (count === undefined && name === 'conversions') continue
      if (!(count! >= 0 && count! < Infinity)) return `${arm} ${name} at ${tick.startMs} is ${count}`
      if (count! > counts.requests) {
        return `${arm} ${name} at ${tick.startMs} is ${count}, more than its ${counts.requests} requests`
      }
    }
  }
  return undefined
}

/** What makes the rest of the evidence unusable. */
export function unreadableStage(evidence: Pick<CanaryEvidence, 'stage' | 'staleMs' | 'paired'>): string[] {
  const { stage, staleMs, paired } = evidence
  const issues = (['shareBp', 'startedMs', 'elapsedMs', 'minMs', 'minRequests'] as const)
    .filter((name) => !Number.isFinite(stage[name]) || stage[name] < 0)
    .map((name) => `stage.${name} is ${stage[name]}`)
  if (stage.shareBp > 10_000) issues.push(`stage.shareBp is ${stage.shareBp}`)
  if (staleMs !== null && !(Number.isFinite(staleMs) && staleMs >= 0)) issues.push(`staleMs is ${staleMs}`)
  if (paired !== undefined) {
    for (const [name, count] of Object.entries(paired)) {
      if (count === undefined && name === 'same') continue
      if (!(Number.isFinite(count) && count >= 0)) issues.push(`paired.${name} is ${count}`)
    }
  }
  return issues
}
