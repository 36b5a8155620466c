/** Tests which questions about business and external metrics an approver has answered. */
import { expect, it } from 'vitest'
import type { BusinessMetric } from '../../../domain/canary/business-policy.ts'
import { judgeCanary } from '../../../domain/canary/incremental-judge.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { businessAlpha } from '../../../domain/canary/alpha-split.ts'
import { needsApprover } from '../../../domain/verdict.ts'

const metric: BusinessMetric = {
  event: 'purchase',
  counts: 'total',
  min: 0,
  max: 10,
  withinMs: 1,
  delayMs: 0,
  lowerIsBetter: false,
  action: 'ask',
}
const policy = {
  ...defaultCanaryPolicy,
  alpha: businessAlpha,
  promotion: 'off' as const,
  srm: 'off' as const,
  business: { revenue: metric, visits: metric },
}
const counts = { requests: 1_000, errors: 0, invalid: 0, slow95: 0, slow99: 0 }
const figures = (canary: number, worseLogE: number) => ({
  users: { canary: 1_000, control: 1_000 },
  blocks: 1_000,
  means: { canary, control: 3 },
  worseLogE,
  betterLogE: 0,
})
const stage = {
  index: 1,
  shareBp: 5_000,
  startedMs: 0,
  elapsedMs: 1_000,
  minMs: 1,
  minRequests: 1,
  last: true,
}
const judge = (accepted: string[]) =>
  judgeCanary(
    {
      ticks: [{ startMs: 1, shareBp: 5_000, canary: counts, control: counts }],
      stage,
      staleMs: 1,
      business: { revenue: figures(3, 0), visits: figures(1, 50) },
      accepted,
    },
    policy,
  )

it('an answer about one business metric is no answer about another', () => {
  const asked = { kind: 'inconclusive', questions: ['business_worse/visits'] }
  expect(judge([])).toMatchObject(asked)
  expect(judge(['business_worse/revenue'])).toMatchObject(asked)
  expect(judge(['business_worse/visits']).kind).toBe('pass')
})

it('a question about a metric asks an approver at once', () => {
  expect(needsApprover(judge([]))).toBe(true)
})

it('a code alone answers for every metric', () => {
  expect(judge(['business_worse']).kind).toBe('pass')
})
