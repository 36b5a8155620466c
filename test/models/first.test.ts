/** Tests `first` of a canary: the targeted callers of a model file, as the policy that is frozen into its releases. */
import { describe, expect, it } from 'vitest'
import { issuesOfPolicy } from '../../domain/release/policy.ts'
import { canary, percent } from '../../models/define.ts'
import { collectIssues } from '../../models/define/issues.ts'
import { compileRelease, type FirstSpec } from '../../models/define/release.ts'

const features = {
  distance: { kind: 'number' },
  origin: { kind: 'category' },
  day: { kind: 'category', values: ['workday', 'weekend'] },
} as const

function lower(first: FirstSpec) {
  const { report, issues } = collectIssues()
  const policy = compileRelease(report, canary({ first, stages: [percent(5)] }), undefined, { features })
  return { policy, issues }
}

describe('the targeted callers of a canary', () => {
  it.each<[string, FirstSpec, object]>([
    ['a header', { header: 'X-Preview: on' }, { header: { name: 'x-preview', value: 'on' } }],
    ['a text', { attribute: { origin: 'JFK' } }, { attribute: { name: 'origin', value: 'JFK' } }],
    ['a number', { attribute: { distance: 300 } }, { attribute: { name: 'distance', value: 300 } }],
    ['a list', { allowList: ['ada', 'bob'] }, { routingKeys: ['ada', 'bob'] }],
  ])('are named by %s', (_name, first, target) => {
    const { policy, issues } = lower(first)
    expect(issues).toEqual([])
    expect(issuesOfPolicy(policy)).toEqual([])
    expect(policy.targeted).toEqual({ target, minMs: 1_800_000, minRequests: 50, deadlineMs: 14_400_000 })
  })

  it('have times of their own', () => {
    const { policy } = lower({ allowList: ['ada'], soak: '1 min', requests: 5, deadline: '2 h' })
    expect(policy.targeted).toMatchObject({ minMs: 60_000, minRequests: 5, deadlineMs: 7_200_000 })
  })

  it.each<[string, object, RegExp]>([
    ['not at all', {}, /one of header, attribute and allowList, not by 0/],
    ['twice', { header: 'x-a: b', allowList: ['a'] }, /not by 2/],
    ['by a header without a value', { header: 'x-preview' }, /'x-preview: on' are required, not 'x-preview'/],
    ['by a header with a secret', { header: 'Authorization: Bearer x' }, /cannot be authorization/],
    [
      'by two features',
      { attribute: { origin: 'a', day: 'b' } },
      /one feature with its value is required, not 2/,
    ],
    ['by no feature', { attribute: {} }, /one feature with its value is required, not 0/],
    [
      'by an unknown feature',
      { attribute: { from: 'JFK' } },
      /no feature from; the features are distance, origin, day/,
    ],
    [
      'by a text of a number',
      { attribute: { distance: '300' } },
      /distance is a number, so '300' never matches/,
    ],
    ['by a number of a text', { attribute: { origin: 7 } }, /origin is a text, so 7 never matches/],
    [
      'by a value outside of its list',
      { attribute: { day: 'monday' } },
      /no value 'monday'; it has workday, weekend/,
    ],
    ['by an empty list', { allowList: [] }, /routingKeys lists 1 to 1000 keys, not 0/],
    ['with a misspelled field', { allowlist: ['a'] }, /no field allowlist: did you mean allowList/],
  ])('cannot be named %s', (_name, first, issue) => {
    expect(lower(first as FirstSpec).issues.join('\n')).toMatch(issue)
  })
})
