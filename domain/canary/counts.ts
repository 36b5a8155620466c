/**
 * Counts the traffic of a canary: requests per stage, failures per share, and how old or one-sided the counts are. A dead control arm or
 * a dead counter must not look like a healthy canary.
 */
import { groupedDigits } from '../figures.ts'
import type { ArmCounts, CanaryEvidence, CanaryStage, CanaryTick } from './evidence.ts'
import { excessBad, type ExposureCounts } from './harm-budget.ts'
import { firstPlace, sumOf } from '@tenure/sequential'
import type { Reason } from '../verdict.ts'

export interface StageCounts {
  canary: number
  control: number
  /** Routing keys (requests when keys are not counted) in ticks with a constant configured share. */
  sharedCanary: number
  sharedControl: number
  targeted: number
}

export interface CanaryCounts {
  add(tick: CanaryTick): void
  /** The newest tick. The served part of a tick may follow its copies. */
  last(): Pick<CanaryTick, 'startMs' | 'shadow'> | undefined
  /** The totals of the compared arms. */
  exposure(): ExposureCounts
  /** The totals including targeted callers: everything that the candidate has served. */
  served(): ExposureCounts
  /** Failures above the control's rate, including failures of targeted callers but none of copies, which reach no caller. */
  excess(): number
  since(startedMs: number): StageCounts
  /** Why the stage cannot be evaluated, or null. */
  missing(stage: CanaryStage, staleMs: number | null, maxStaleMs: number): Reason | null
}

/** Failed requests of an arm: errors and invalid outputs, at most its requests. */
export const failedRequests = (arm: ArmCounts): number => Math.min(arm.requests, arm.errors + arm.invalid)

/** Everything that the candidate served in a tick, to the canary and to targeted callers. */
export const servedIn = ({ canary, targeted }: CanaryTick): { requests: number; bad: number } => ({
  requests: canary.requests + (targeted?.requests ?? 0),
  bad: failedRequests(canary) + (targeted === undefined ? 0 : failedRequests(targeted)),
})

const noTraffic = (whose: string, { startedMs }: CanaryStage): Reason => ({
  code: 'no_traffic',
  message: `no request ${whose}yet in this stage, which began at ${new Date(startedMs).toISOString()}`,
  values: { startedMs },
})

export function createCanaryCounts(): CanaryCounts {
  const startMs: number[] = []
  let newest: CanaryTick | undefined
  // Cumulative counts before each tick, so that a stage is one subtraction.
  const sums: StageCounts[] = [{ canary: 0, control: 0, sharedCanary: 0, sharedControl: 0, targeted: 0 }]
  const byShare = new Map<number | null | 'shadow', ExposureCounts>()
  const compared = emptyExposure()

  const between = (from: number): StageCounts => {
    const [a, b] = [sums[from]!, sums.at(-1)!]
    return {
      canary: b.canary - a.canary,
      control: b.control - a.control,
      sharedCanary: b.sharedCanary - a.sharedCanary,
      sharedControl: b.sharedControl - a.sharedControl,
      targeted: b.targeted - a.targeted,
    }
  }

  return {
    add(tick) {
      const { canary, control, targeted, shareBp } = tick
      newest = tick
      const last = sums.at(-1)!
      const shared = shareBp === null ? 0 : 1
      // The requests of one user are one draw of the router, however many there are.
      const byKey = canary.keys !== undefined && control.keys !== undefined
      startMs.push(tick.startMs)
      sums.push({
        canary: last.canary + canary.requests,
        control: last.control + control.requests,
        sharedCanary: last.sharedCanary + shared * (byKey ? canary.keys! : canary.requests),
        sharedControl: last.sharedControl + shared * (byKey ? control.keys! : control.requests),
        targeted: last.targeted + (targeted?.requests ?? 0),
      })
      const share = tick.shadow === true ? 'shadow' : shareBp
      const sofar = byShare.get(share) ?? emptyExposure()
      const served = servedIn(tick)
      sofar.canaryRequests += served.requests
      sofar.canaryBad += served.bad
      compared.canaryRequests += canary.requests
      compared.canaryBad += failedRequests(canary)
      for (const each of [compared, sofar]) {
        each.controlRequests += control.requests
        each.controlBad += failedRequests(control)
      }
      byShare.set(share, sofar)
    },
    last: () => newest,
    exposure: () => ({ ...compared }),
    served: () => [...byShare.values()].reduce(addExposure, emptyExposure()),
    excess: () =>
      excessBad([...byShare].flatMap(([share, counted]) => (share === 'shadow' ? [] : [counted]))),
    since: (startedMs) => between(firstPlace(startMs, startedMs)),

    missing(stage, staleMs, maxStaleMs): Reason | null {
      if (staleMs === null || staleMs > maxStaleMs) {
        const age = staleMs === null ? 'no counters' : `the newest counters are ${staleMs} ms old`
        const message = `${age}, limit ${maxStaleMs} ms`
        return { code: 'stale', message, values: { staleMs, maxStaleMs } }
      }
      const from = firstPlace(startMs, stage.startedMs)
      const inStage = between(from)
      if (stage.targeted === true) {
        if (inStage.targeted > 0) return null
        return noTraffic('of a targeted caller ', stage)
      }
      if (inStage.canary + inStage.control === 0) {
        return noTraffic('', stage)
      }
      // In a shadow both arms get every request, so each arm is equally likely to be next.
      const exposed = stage.shareBp / 10_000
      const share = exposed > 0 && exposed < 1 ? exposed : 0.5
      for (const arm of ['canary', 'control'] as const) {
        const other = arm === 'canary' ? 'control' : 'canary'
        let last = startMs.length
        while (last > from && sums[last]![arm] === sums[last - 1]![arm]) last--
        const alone = sums.at(-1)![other] - sums[last]![other]
        // The probability of this many consecutive requests to the other arm while this one is healthy.
        const chance = (arm === 'canary' ? 1 - share : share) ** alone
        if (inStage[arm] === 0 || (alone > 0 && chance < 0.001)) {
          const message = `the ${arm} served 0 of the last ${groupedDigits(alone)} requests, the ${other} all of them`
          return { code: 'one_sided', message, values: { arm, requests: alone, chance } }
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

const arms = ['canary', 'control', 'targeted'] as const
const countNames = ['requests', 'errors', 'invalid', 'slow95', 'slow99', 'keys'] as const

/** Why a tick is invalid, or undefined. */
export function unreadableTick(
  tick: CanaryTick,
  last: Pick<CanaryTick, 'startMs' | 'shadow'> | undefined,
  answersPerKey = 1,
): string | undefined {
  if (!Number.isFinite(tick.startMs)) return `a tick starts at ${tick.startMs}`
  const isRest = last?.shadow === true && tick.shadow !== true && tick.startMs === last.startMs
  if (last !== undefined && tick.startMs <= last.startMs && !isRest) {
    return `the tick at ${tick.startMs} is not later than the tick at ${last.startMs}`
  }
  if (tick.shareBp !== null && !(tick.shareBp >= 0 && tick.shareBp <= 10_000)) {
    return `the tick at ${tick.startMs} has a share of ${tick.shareBp} basis points`
  }
  for (const arm of arms) {
    const counts = tick[arm]
    if (counts === undefined) continue
    for (const name of countNames) {
      const count = counts[name]
      if (count === undefined && name === 'keys') continue
      if (!(count! >= 0 && count! < Infinity)) return `${arm} ${name} at ${tick.startMs} is ${count}`
      if (count! > counts.requests) {
        return `${arm} ${name} at ${tick.startMs} is ${count}, more than its ${counts.requests} requests`
      }
    }
    const { answers = [], requests } = counts
    if (
      !answers.every((count) => count >= 0 && count < Infinity) ||
      sumOf(answers) > answersPerKey * requests
    )
      return `${arm} answers at ${tick.startMs} are ${answers.join(', ')} of ${requests} requests`
  }
  return undefined
}

/** Why the rest of the evidence is invalid; empty when it is valid. */
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
