/** Tests the reasons of an arm: those of the current route agree with the choice of replicas, and nothing is said of an earlier route. */
import { describe, expect, it } from 'vitest'
import { armOfKey, placeOf, type Route } from '../../../domain/serving/route.ts'
import { whyArm, type ServedRequest } from '../../../domain/serving/why-arm.ts'

const route: Route = {
  model: 'iris',
  epoch: 1,
  generation: 7,
  release: 'rel_1',
  salt: 'rel_1',
  arms: [
    { arm: 'canary', version: 'iris_v2.0.0', shareBp: 2_500 },
    { arm: 'champion', version: 'iris_v1.0.0', shareBp: 7_500 },
  ],
  proven: 'iris_v1.0.0',
}
const id = '01890000-0000-7000-8000-0000000000'
const request = (change: Partial<ServedRequest>): ServedRequest => ({
  id: `${id}0000`,
  atMs: 1_000_000,
  model: 'iris',
  version: 'iris_v1.0.0',
  arm: 'champion',
  release: 'rel_1',
  generation: 7,
  ...change,
})
const current = { route, writtenMs: 900_000 }
const why = (change: Partial<ServedRequest>, known: Parameters<typeof whyArm>[1] = { current }) =>
  whyArm(request(change), known)

describe('the reason of an arm', () => {
  it('is the place of the routing key within the share of the arm, as replicas compute it', () => {
    for (let key = 0; key < 200; key++) {
      const routingKey = `user-${key}`
      const { arm, version } = armOfKey(route, routingKey)
      const { placeBp, fromBp, toBp, text } = why({ routingKey, arm, version })
      expect(placeBp).toBe(placeOf('rel_1', routingKey))
      expect([fromBp, toBp]).toEqual(arm === 'canary' ? [0, 2_500] : [2_500, 10_000])
      expect(text).toContain(`place ${placeBp} of 10000; ${arm} has ${fromBp} to ${toBp! - 1}`)
    }
  })

  it('is the place of the id where the request has no routing key', () => {
    const { arm, version } = armOfKey(route, id)
    expect(why({ arm, version })).toMatchObject({
      placeBp: placeOf('rel_1', id),
      text: expect.stringContaining('no routing key'),
    })
  })

  it('names no place where the replica has served another arm than the route gives, or outside of the release', () => {
    const key = Array.from({ length: 99 }, (_, n) => `k${n}`).find(
      (each) => armOfKey(route, each).arm === 'canary',
    )!
    for (const change of [{}, { arm: 'canary' as const }, { version: 'iris_v2.0.0' }]) {
      const reason = why({ routingKey: key, ...change })
      expect(reason.text).toMatch(/gives this key to iris_v2.0.0 \(canary\); the request named a version, or/)
      expect(reason.placeBp).toBeUndefined()
    }
    const outside = why({
      routingKey: key,
      arm: 'canary',
      version: 'iris_v2.0.0',
      release: undefined as unknown as string,
    })
    expect(outside.placeBp).toBeUndefined()
  })

  it.each<[string, Partial<ServedRequest>, Parameters<typeof whyArm>[1], RegExp]>([
    [
      'another generation',
      { generation: 6 },
      { current },
      /release rel_1 had the route; the shares of generation 6 are no longer/,
    ],
    [
      'the same generation before a restore',
      { atMs: 800_000 },
      { current },
      /the shares of generation 7 are no longer stored/,
    ],
    ['no route', {}, {}, /no longer stored/],
    ['a batch', { arm: 'batch' }, { current }, /^a batch scored the row/],
    ['a constant fallback', { version: 'iris_fallback' }, { current }, /^the constant fallback/],
    [
      'a targeted caller',
      { arm: 'targeted' },
      { current, target: { header: { name: 'x-preview', value: 'on' } } },
      /^the caller was targeted by release rel_1: callers with the header x-preview: on$/,
    ],
    [
      'a route of one arm',
      {},
      {
        current: {
          ...current,
          route: { ...route, arms: [{ arm: 'champion', version: 'iris_v1.0.0', shareBp: 10_000 }] },
        },
      },
      /^all requests of generation 7/,
    ],
    [
      'a rolling release',
      {},
      { current: { ...current, route: { ...route, replicas: ['r1'] } } },
      /^in the rolling release rel_1, each replica serves one version$/,
    ],
  ])('of %s is what is stored', (_name, change, known, text) => {
    const reason = why(change, known)
    expect(reason.text).toMatch(text)
    expect(reason.placeBp).toBeUndefined()
  })
})
