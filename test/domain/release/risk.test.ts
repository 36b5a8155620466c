import { describe, expect, it } from 'vitest'
import { isApproved, missingApprovals } from '../../../domain/release/approval.ts'
import { whyWaiting } from '../../../domain/release/explain.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { issuesOfReplacement } from '../../../domain/release/rules/replacement.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import { advance } from '../../../domain/release/reducer.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { commandEvent, releaseFacts, releasePolicy } from '../../support/release/releases.ts'

const sides = { business: ['carol', 'dan'], engineering: ['ada', 'bob'] }
const policy: ReleasePolicy = { ...releasePolicy, approval: { ...releasePolicy.approval, sides } }
const waiting: ReleaseState = { ...openingState({ ...releaseFacts, policy }, 0), stage: 'awaiting_approval' }
const approve = (state: ReleaseState, by: string) => advance(state, commandEvent('approve', by))

describe('a policy that requires approvals of business and engineering', () => {
  it('is not approved by two users of one side, and is by the third of the other', () => {
    const one = approve(waiting, 'ada')
    expect(one.state.stage).toBe('awaiting_approval')
    const two = approve(one.state, 'bob')
    expect(two.state.stage).toBe('awaiting_approval')
    expect(two.state.approvals).toHaveLength(2)
    expect(isApproved(two.state)).toBe(false)
    expect(missingApprovals(two.state)).toBe(1)
    expect(whyWaiting(two.state)).toMatch(/Needs 1 approval by .*; business must sign \(carol, dan\)\./)
    const three = approve(two.state, 'carol')
    expect(three.state.stage).toBe('shadow')
  })

  it('is approved by one user of each, and routes nothing before', () => {
    const one = approve(waiting, 'carol')
    expect(one.message).toBe('approved by carol, 1 of 2; engineering must sign (ada, bob)')
    expect(nextEffect(one.state).kind).toBe('wait')
    const two = approve(one.state, 'ada')
    expect(nextEffect(two.state)).toMatchObject({
      kind: 'route',
      key: expect.stringMatching(/^shadow/) as string,
    })
  })

  it.each<[string, Partial<ReleasePolicy['approval']>, RegExp]>([
    ['a user on both sides', { sides: { ...sides, business: ['ada'] } }, /names ada on both sides/],
    ['an empty side', { sides: { ...sides, business: [] } }, /approval\.sides\.business names 0 user/],
    ['one approver', { approvers: 1 }, /must be 2 or more with approval\.sides/],
    [
      'users that may not approve',
      { from: ['ada', 'bob', 'carol'] },
      /names dan, and approval\.from does not/,
    ],
  ])('is refused with %s', (_, part, issue) => {
    expect(issuesOfPolicy(policy)).toEqual([])
    expect(issuesOfPolicy({ ...policy, approval: { ...policy.approval, ...part } }).join('\n')).toMatch(issue)
  })
})

describe('a model of high risk', () => {
  const high: ReleasePolicy = {
    ...releasePolicy,
    risk: 'high',
    drill: {
      everyMs: 1e9,
      kinds: ['nan'],
      traffic: 'mirrored',
      shareBp: 1_000,
      harmBudget: 5,
      withinMs: 600_000,
    } as never,
    requireDrill: { withinMs: 86_400_000 },
  }
  it.each<[string, Partial<ReleasePolicy>, RegExp]>([
    ['a direct release', { strategy: 'direct', stages: [] }, /cannot be direct/],
    ['one approver', { approval: { approvers: 1, withinMs: 1 } }, /must be 2 or more/],
    ['no probation', { probation: undefined }, /probation .* cannot be off/],
    ['no drill', { drill: undefined }, /drill .* cannot be off/],
    ['an old drill', { requireDrill: { withinMs: 1e11 } }, /within 35 days/],
    ['another class', { risk: 'low' as never }, /risk/],
  ])('is refused with %s', (_, part, issue) => {
    expect(issuesOfPolicy(high)).toEqual([])
    expect(issuesOfPolicy({ ...high, ...part }).join('\n')).toMatch(issue)
  })

  it('is not lowered by the policy of one release', () => {
    const own: ReleasePolicy = { ...high, approval: policy.approval }
    expect(issuesOfReplacement(own, own)).toEqual([])
    expect(issuesOfReplacement({ ...own, risk: undefined }, own)).toEqual([
      'risk must be high, as in the model file',
    ])
    const [issue] = issuesOfReplacement({ ...own, approval: releasePolicy.approval }, own)
    expect(issue).toMatch(
      /approval\.sides\.business must name only users that the model file names: carol, dan/,
    )
  })
})
