/**
 * Finds the stages of a policy that can never pass at a traffic: their deadline comes before the requests that they need. Then a person decides
 * about every release, or a deadline ends it.
 */
import { counted, groupedDigits, percentText } from '../figures.ts'
import { cleanRequestsToProve } from '../canary/outlook.ts'
import type { ReleasePolicy } from '../release/policy.ts'

const dayMs = 86_400_000
/** No policy waits for more requests than these. */
const mostRequests = 10_000_000

export interface NeverDecided {
  /** The stage, such as `canary of 1 %`. */
  stage: string
  /** What it gets by its deadline, and what it needs. */
  requests: number
  needed: number
  /** The requests a day of the model, and the deadline, with either of which it could pass. */
  requestsPerDay: number
  deadlineMs: number
}

/** The stages that cannot pass, in order; empty where all can. A stage of targeted callers is left out: the traffic does not tell who they are. */
export function neverDecided(
  { shadow, stages, probation, strategy, limits }: ReleasePolicy,
  requestsPerDay: number,
): NeverDecided[] {
  if (strategy === 'direct') return []
  const isStaged = strategy !== 'shadow' && strategy !== 'blue_green'
  const steps = [
    ...(shadow ? [{ stage: 'shadow', ...shadow }] : []),
    ...(isStaged
      ? stages.map((each) => ({ stage: `canary of ${percentText(each.shareBp / 10_000)}`, ...each }))
      : []),
    ...(probation ? [{ stage: 'probation', ...probation, shareBp: 10_000 - probation.holdbackBp }] : []),
  ]
  const found = ({
    stage,
    needed,
    perDay,
    deadlineMs,
  }: {
    stage: string
    needed: number
    perDay: number
    deadlineMs: number
  }) => {
    const requests = (perDay * requestsPerDay * deadlineMs) / dayMs
    return requests >= needed
      ? []
      : [
          {
            stage,
            requests: Math.floor(requests),
            needed,
            requestsPerDay: Math.ceil((needed * dayMs) / deadlineMs / perDay),
            deadlineMs: Math.ceil((needed * dayMs) / (perDay * requestsPerDay)),
          },
        ]
  }
  const short = steps.flatMap(({ stage, minRequests, shareBp, deadlineMs }) =>
    found({ stage, needed: minRequests, perDay: shareBp / 10_000, deadlineMs }),
  )
  const { promotion } = limits
  const last = stages.at(-1)
  if (!isStaged || promotion === 'off' || last === undefined) return short
  const proofs = promotion.metrics.map(
    (metric) => cleanRequestsToProve([], { metric, promotion, most: mostRequests }).requests ?? mostRequests,
  )
  // The evidence of all stages counts; one stage with all of their time and their mean share gets as many requests.
  const until = steps.filter(({ stage }) => stage !== 'probation')
  const deadlineMs = until.reduce((sum, each) => sum + each.deadlineMs, 0)
  const perDay = until.reduce((sum, each) => sum + (each.shareBp / 10_000) * each.deadlineMs, 0) / deadlineMs
  return [
    ...short,
    ...found({ stage: 'proof for promotion', needed: Math.max(...proofs), perDay, deadlineMs }),
  ]
}

/** From how many requests a day on the policy can decide; undefined where it needs none. */
export function decidableText(policy: ReleasePolicy): string | undefined {
  const [worst] = neverDecided(policy, 0).toSorted((a, b) => b.requestsPerDay - a.requestsPerDay)
  if (worst === undefined) return undefined
  const { stage, needed, requestsPerDay } = worst
  return (
    `release: with fewer than ${counted(requestsPerDay, 'request')} a day this policy can never decide, because by its deadline the ${stage} ` +
    `gets too few of the ${counted(needed, 'request')} that it needs; a longer deadline needs fewer`
  )
}

/** "At 50 requests a day this policy can never decide: …", with what would; undefined where it can. */
export function neverDecidedText(
  found: readonly NeverDecided[],
  requestsPerDay: number,
  span: (ms: number) => string,
): string | undefined {
  if (found.length === 0) return undefined
  const enough = Math.max(...found.map((each) => each.requestsPerDay))
  const [worst, ...others] = found.toSorted((a, b) => b.requestsPerDay - a.requestsPerDay)
  const { stage, requests, needed, deadlineMs } = worst!
  const more = others.length === 0 ? '' : `, and ${counted(others.length, 'other requirement')} too few`
  return (
    `At ${counted(requestsPerDay, 'request')} a day this policy can never decide: by its deadline the ${stage} gets ` +
    `${groupedDigits(requests)} of the ${counted(needed, 'request')} that it needs${more}. ` +
    `It could at ${groupedDigits(enough)} requests a day; the ${stage} could with a deadline of ${span(deadlineMs)}.`
  )
}
