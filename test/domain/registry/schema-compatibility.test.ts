/** Tests which versions may replace each other for clients, and which release may replace another. */
import { describe, expect, it } from 'vitest'
import type { Features } from '../../../domain/model/features.ts'
import { schemaIssues } from '../../../domain/registry/schema-compatibility.ts'
import { queuePolicy } from '../../../domain/release/queue-policy.ts'
import type { Output } from '../../../domain/tasks/output.ts'

const features: Features = { x: { kind: 'number' }, shop: { kind: 'category', values: ['a', 'b'] } }
const output: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 }
const now = { features, output }
const { shop: _shop, ...narrow } = features

describe('a version is not a rollback target', () => {
  it.each<[string, Parameters<typeof schemaIssues>[1], RegExp]>([
    [
      'that needs one more',
      { ...now, features: { ...features, y: { kind: 'number' } } },
      /needs y, which callers need not send now/,
    ],
    [
      'that refuses a value that is sent',
      { ...now, features: { ...features, shop: { kind: 'category', values: ['a'] } } },
      /refuses values/,
    ],
    [
      'that refuses nulls that are sent',
      { ...now, features: { ...features, x: { kind: 'category' } } },
      /refuses values/,
    ],
    ['that answers otherwise', { ...now, output: { kind: 'number' } }, /instead of/],
    [
      'that answers its numbers in another order',
      { ...now, output: { kind: 'numbers', names: ['rent', 'price'] } },
      /it answers the numbers rent, price instead of the probability of /,
    ],
    ['that names another class', { ...now, output: { ...output, positive: 'no' } as Output }, /instead of/],
    [
      'that answers very many classes',
      { ...now, output: { kind: 'classes', classes: Array.from({ length: 23 }, (_, k) => `c${k}`) } },
      /for each of c0, .*, c19 and 3 more instead of the probability of \w+$/,
    ],
    ['of which nothing is known', {}, /its manifest lists no features/],
    ['whose answers are not known', { features }, /its output is unknown/],
  ])('%s', (_name, target, issue) => {
    expect(schemaIssues(now, target).join('; ')).toMatch(issue)
  })

  it('unless it accepts more, ignores a feature, fills one that is not sent, or differs in its threshold only', () => {
    const wide: Features = { ...features, shop: { kind: 'category' } }
    expect(schemaIssues(now, { ...now, features: narrow })).toEqual([])
    expect(
      schemaIssues(now, { ...now, features: { ...features, y: { kind: 'number', missing: 'fill' } } }),
    ).toEqual([])
    expect(schemaIssues(now, { features: wide, output: { ...output, threshold: 0.9 } as Output })).toEqual([])
    expect(schemaIssues({}, {})).toEqual([])
    const classes: Output = { kind: 'classes', classes: ['a', 'b'] }
    expect(schemaIssues({ features, output: classes }, { features, output: classes })).toEqual([])
    expect(
      schemaIssues({ features, output: { kind: 'number' } }, { features, output: { kind: 'number' } }),
    ).toEqual([])
  })
})

describe('the replacement of a release', () => {
  it.each([
    [{}, false, false, 'none'],
    [{}, true, false, 'unexposed'],
    [{ whenBusy: 'queue' as const }, true, false, 'unexposed'],
    [{ whenBusy: 'supersede' as const }, false, false, 'exposed'],
    [{ whenBusy: 'refuse' as const }, true, false, 'refuse'],
    [{ whenBusy: 'refuse' as const }, true, true, 'exposed'],
  ] as const)('by %o, of a person %s, as a hotfix %s: %s', (policy, byPerson, hotfix, over) => {
    expect(queuePolicy({ policy, byPerson, hotfix })).toBe(over)
  })
})
