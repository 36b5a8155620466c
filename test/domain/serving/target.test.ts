/** Tests which requests a target matches, and a route with targeted callers after its candidate is withdrawn. */
import { describe, expect, it } from 'vitest'
import {
  championAlone,
  fenced,
  hasCandidate,
  issuesOfRoute,
  mayServe,
  servingVersion,
  successorOf,
  withoutCandidate,
  type Route,
} from '../../../domain/serving/route.ts'
import {
  issuesOfTarget,
  targetMatcher,
  targetText,
  type CallerTarget,
} from '../../../domain/serving/target.ts'

const header: CallerTarget = { header: { name: 'x-preview', value: 'on' } }
const request = (given: Partial<Parameters<ReturnType<typeof targetMatcher>>[0]> = {}) => ({
  routingKey: undefined,
  hasFeature: () => false,
  ...given,
})

describe('a target', () => {
  it('by header matches requests with that value, and none of a protocol without headers', () => {
    const matches = targetMatcher(header)
    expect(matches(request({ header: (name) => (name === 'x-preview' ? 'on' : undefined) }))).toBe(true)
    expect(matches(request({ header: () => 'off' }))).toBe(false)
    expect(matches(request())).toBe(false)
    expect(targetText(header)).toBe('callers with the header x-preview: on')
  })

  it('by attribute and by routing key', () => {
    const origin: CallerTarget = { attribute: { name: 'origin', value: 'JFK' } }
    expect(
      targetMatcher(origin)(request({ hasFeature: (name, value) => `${name}=${value}` === 'origin=JFK' })),
    ).toBe(true)
    expect(targetMatcher(origin)(request())).toBe(false)
    expect(targetText(origin)).toBe('requests with origin = JFK')
    const keys: CallerTarget = { routingKeys: ['ada'] }
    expect(
      ['ada', 'bob', undefined].map((routingKey) => targetMatcher(keys)(request({ routingKey }))),
    ).toEqual([true, false, false])
    expect(targetText(keys)).toBe('1 listed routing key')
  })

  it.each<[string, unknown, RegExp]>([
    ['no target', {}, /^header, attribute or routingKeys is required, and only one/],
    ['two targets', { ...header, routingKeys: ['a'] }, /only one of them/],
    ['null', null, /only one of them/],
    ['a header as a text', { header: 'x-preview: on' }, /^header must have a name and a value, such as/],
    ['a feature without a value', { attribute: { name: 'a' } }, /^attribute must have a name and a value/],
    ['keys that are no list', { routingKeys: 'a' }, /^routingKeys must be a list/],
    ['a header with a space', { header: { name: 'x preview', value: 'on' } }, /lower case/],
    [
      'a header that carries a secret',
      { header: { name: 'authorization', value: 'x' } },
      /cannot be authorization/,
    ],
    ['a header without a value', { header: { name: 'x-a', value: '' } }, /visible characters/],
    ['a value with a line break', { header: { name: 'x-a', value: 'a\r\nb' } }, /visible characters/],
    ['a feature without a name', { attribute: { name: '', value: 1 } }, /name is empty/],
    ['a feature that is not a number', { attribute: { name: 'a', value: NaN } }, /a number, or a text/],
    ['no keys', { routingKeys: [] }, /1 to 1000 keys, not 0/],
    ['too many keys', { routingKeys: Array.from({ length: 1_001 }, String) }, /not 1001/],
    ['an empty key', { routingKeys: [''] }, /1 to 256 characters/],
    ['a key twice', { routingKeys: ['a', 'a'] }, /twice/],
  ])('with %s is refused', (_name, target, issue) => {
    expect(issuesOfTarget(target as CallerTarget).join()).toMatch(issue)
  })
})

describe('a route with targeted callers', () => {
  const route: Route = {
    model: 'm',
    epoch: 1,
    generation: 2,
    release: 'rel_1',
    salt: 's',
    arms: [{ arm: 'champion', version: 'a', shareBp: 10_000 }],
    proven: 'a',
    targeted: { version: 'b', target: header },
  }

  it('has a candidate, which callers can report problems about', () => {
    expect(hasCandidate(route)).toBe(true)
    expect(servingVersion(route)).toBe('b')
    expect(issuesOfRoute(route)).toEqual([])
    expect(issuesOfRoute({ ...route, targeted: { version: '', target: { routingKeys: [] } } })).toHaveLength(
      2,
    )
  })

  it('has a successor of the candidate, to roll back to', () => {
    expect(successorOf(route, new Set(['b']))).toBe('a')
    expect(successorOf(route, new Set(['a', 'b']))).toBeUndefined()
    expect(['a', 'b', 'c'].map((version) => mayServe(route, version))).toEqual([true, true, false])
  })

  it.each([
    ['its exposure expires', withoutCandidate],
    ['its lease expires', fenced],
    ['a kill switch pins the champion', (given: Route) => championAlone(given, 'a')],
  ])('is the champion alone when %s', (_when, without) => {
    const { arms, targeted } = without(route)
    expect([arms, targeted]).toEqual([route.arms, undefined])
  })
})
