import { describe, expect, it } from 'vitest'
import { defaultCanaryPolicy } from '../../domain/canary-policy.ts'
import { defaultWatch, issuesOfPolicy, type ReleasePolicy } from '../../domain/policy.ts'

const promotion = {
  ratio: 2,
  logE: 3,
  metrics: ['errors' as const],
  negligibleRate: null,
  at: 'last_stage' as const,
}
const stage = { shareBp: 500, minMs: 1_000, minRequests: 100, deadlineMs: 10_000 }
const good: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 1_000 },
  shadow: stage,
  stages: [stage, { ...stage, shareBp: 2_500 }],
  probation: { holdbackBp: 500, minMs: 1_000, minRequests: 0, deadlineMs: 2_000 },
  watch: defaultWatch,
  limits: defaultCanaryPolicy,
}

describe('a release policy', () => {
  it('with the defaults may be used', () => expect(issuesOfPolicy(good)).toEqual([]))

  it('splits one α of at most 5 % over its metrics', () => {
    expect(Object.values(defaultCanaryPolicy.alpha).reduce((sum, part) => sum + part, 0)).toBeCloseTo(
      0.05,
      12,
    )
  })

  it.each<[string, Partial<ReleasePolicy>, string]>([
    ['an unknown strategy', { strategy: 'yolo' as never }, 'strategy is one of'],
    ['minus one approver', { approval: { approvers: -1, withinMs: 1 } }, 'approval.approvers'],
    [
      'an approval without end',
      { approval: { approvers: 1, withinMs: Number.POSITIVE_INFINITY } },
      'approval.withinMs',
    ],
    ['a canary without stages', { stages: [] }, 'stages has at least one share'],
    ['a share of 0', { stages: [{ ...stage, shareBp: 0 }] }, 'stages[0].shareBp'],
    ['a share above the whole', { stages: [{ ...stage, shareBp: 10_001 }] }, 'stages[0].shareBp'],
    ['a falling share', { stages: [stage, { ...stage, shareBp: 100 }] }, 'stages[1].shareBp rises'],
    [
      'a deadline before its minimum',
      { stages: [{ ...stage, deadlineMs: 1_000 }] },
      'stages[0].deadlineMs is longer',
    ],
    ['a shadow of NaN requests', { shadow: { ...stage, minRequests: Number.NaN } }, 'shadow.minRequests'],
    [
      'a hold-back above a half',
      { probation: { holdbackBp: 6_000, minMs: 0, minRequests: 0, deadlineMs: 1 } },
      'probation.holdbackBp',
    ],
    [
      'a lease that lapses between looks',
      { watch: { ...defaultWatch, exposureMs: 5_000 } },
      'watch.exposureMs is longer',
    ],
    ['a tick of 0', { watch: { ...defaultWatch, tickMs: 0 } }, 'watch.tickMs'],
    [
      'an α above 5 %',
      { limits: { ...defaultCanaryPolicy, alpha: { ...defaultCanaryPolicy.alpha, errors: 0.02 } } },
      'limits.the split sums',
    ],
    [
      'a ramp that reacts at once',
      { limits: { ...defaultCanaryPolicy, ramp: { reactionSeconds: 0 } } },
      'limits.ramp.reactionSeconds',
    ],
    ['a guard above one', { limits: { ...defaultCanaryPolicy, guardRate: 1.1 } }, 'limits.guardRate'],
    [
      'a promotion test of ratio 0',
      { limits: { ...defaultCanaryPolicy, promotion: { ...promotion, ratio: 0 } } },
      'limits.promotion.ratio',
    ],
  ])('with %s is refused by field', (_name, change, place) => {
    expect(issuesOfPolicy({ ...good, ...change }).join('\n')).toContain(place)
  })
})
