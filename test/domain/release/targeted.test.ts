/** Tests a release with targeted callers: its stage, its routes and its commands. */
import { describe, expect, it } from 'vitest'
import { hotfixPolicy } from '../../../domain/release/derived-policy.ts'
import { whyWaiting } from '../../../domain/release/explain.ts'
import { routePlan } from '../../../domain/release/next-effect.ts'
import { issuesOfPolicy } from '../../../domain/release/policy.ts'
import { issuesOfReplacement } from '../../../domain/release/rules/replacement.ts'
import { stepsOf } from '../../../domain/release/state.ts'
import {
  advanceAll,
  commandEvent,
  judgedEvent,
  routedTargeted,
  stepEvents,
} from '../../support/release/releases.ts'

const { policy, version, baseline } = routedTargeted
const targeted = { version, target: policy.targeted!.target }

describe('a canary with targeted callers', () => {
  it('serves targeted callers after the shadow and before the first share', () => {
    expect(stepsOf(routedTargeted).map(({ stage, policy: { shareBp } }) => [stage, shareBp])).toEqual([
      ['shadow', 10_000],
      ['targeted', 0],
      ['canary', 100],
      ['canary', 2_500],
    ])
    expect(issuesOfPolicy(policy)).toEqual([])
    expect(whyWaiting(routedTargeted)).toBe(
      'Targeted: callers with the header x-preview: on get m_v1.1.0; needs 0.1 s and 10 of their requests; deadline 1 s.',
    )
  })

  it('keeps them with the candidate in each stage, until it is promoted or rolled back', () => {
    expect(routePlan(routedTargeted)).toMatchObject({
      arms: [{ arm: 'champion', version: baseline, shareBp: 10_000 }],
      targeted,
      proven: baseline,
    })
    const canary = advanceAll(routedTargeted, judgedEvent('pass'))
    expect([canary.stage, canary.shareBp]).toEqual(['canary', 100])
    expect(routePlan(canary)).toMatchObject({ targeted })
    const probation = advanceAll(
      canary,
      stepEvents.routed,
      judgedEvent('pass'),
      stepEvents.routed,
      judgedEvent('pass'),
      stepEvents.promoted,
    )
    expect(probation.stage).toBe('probation')
    expect(routePlan(probation)).toMatchObject({ targeted })
    for (const end of [
      advanceAll(probation, stepEvents.routed, judgedEvent('pass')),
      advanceAll(routedTargeted, judgedEvent('fail')),
    ])
      expect(routePlan(end)?.targeted).toBeUndefined()
  })

  it('is rolled back by a verdict and by an order, paused, and left to an approver at its deadline', () => {
    expect(advanceAll(routedTargeted, judgedEvent('fail')).rollbackOrder).toMatchObject({
      outcome: 'rolled_back',
    })
    expect(advanceAll(routedTargeted, commandEvent('abort')).stage).toBe('rolling_back')
    expect(advanceAll(routedTargeted, commandEvent('pause')).paused).toBe(true)
    const asked = advanceAll(routedTargeted, judgedEvent('inconclusive'))
    expect([asked.stage, asked.undecidedStage]).toEqual(['awaiting_decision', 'targeted'])
    expect(routePlan(asked)).toMatchObject({ targeted })
    expect(advanceAll(asked, commandEvent('approve', 'cleo')).stage).toBe('canary')
    expect(advanceAll(routedTargeted, commandEvent('promoteNow')).stage).toBe('canary')
  })

  it('has no targeted callers as a hotfix, and is refused with another strategy or without times', () => {
    expect(hotfixPolicy({ ...policy, hotfix: { stages: policy.stages } }).targeted).toBeUndefined()
    const issues = (change: object) => issuesOfPolicy({ ...policy, ...change }).join('; ')
    expect(issues({ strategy: 'rolling' })).toMatch(/targeted belongs to a canary release; rolling/)
    expect(issues({ targeted: { ...policy.targeted, target: {} } })).toMatch(
      /targeted.target.header, attribute or routingKeys is required, and only one/,
    )
    expect(issues({ targeted: { ...policy.targeted, deadlineMs: 100 } })).toMatch(/longer than its minMs/)
    expect(issues({ targeted: { ...policy.targeted, minRequests: -1 } })).toMatch(/targeted.minRequests/)
  })

  it('cannot lose its first stage by a policy that needs no approver', () => {
    const { targeted: _left, ...without } = policy
    const unapproved = { ...without, approval: { ...policy.approval, approvers: 0 } }
    const own = { ...policy, approval: { ...policy.approval, approvers: 0 } }
    expect(issuesOfReplacement(unapproved, own).join()).toMatch(/targeted cannot be left out/)
  })
})
