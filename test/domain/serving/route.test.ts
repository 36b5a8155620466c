import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  championAlone,
  armOfKey,
  fenced,
  hasCandidate,
  hash32,
  isNewer,
  isShadowed,
  issuesOfRoute,
  placeOf,
  withoutCandidate,
  type Route,
} from '../../../domain/serving/route.ts'

const route = (shareBp: number, more: Partial<Route> = {}): Route => ({
  model: 'iris',
  epoch: 1,
  generation: 7,
  release: 'rel_1',
  salt: 'rel_1',
  arms: [
    { arm: 'canary', version: 'iris_v1.1.0', shareBp },
    { arm: 'champion', version: 'iris_v1.0.0', shareBp: 10_000 - shareBp },
  ],
  proven: 'iris_v1.0.0',
  ...more,
})
const whole: Route['arms'] = [{ arm: 'champion', version: 'iris_v1.1.0', shareBp: 10_000 }]
const proven: Route['arms'] = [{ arm: 'champion', version: 'iris_v1.0.0', shareBp: 10_000 }]
const keys = Array.from({ length: 100_000 }, (_, index) => `user-${index}`)

describe('the hash', () => {
  it('gives the reference values of MurmurHash3 for texts of 32-bit code units', () => {
    // Each UTF-16 code unit is one block here, so the published byte vectors apply only to the empty text.
    expect(hash32('', 0)).toBe(0)
    expect(hash32('', 1)).toBe(0x514e28b7)
    expect(hash32('', 0xffffffff)).toBe(0x81f16f39)
  })
})

describe('the arm of a key', () => {
  it('is observed in the share that the route says, within binomial 99.9 % bounds', () => {
    for (const shareBp of [100, 500, 2_500, 5_000]) {
      const n = keys.filter((key) => armOfKey(route(shareBp), key).arm === 'canary').length
      const p = shareBp / 10_000
      expect(Math.abs(n - keys.length * p)).toBeLessThan(3.29 * Math.sqrt(keys.length * p * (1 - p)))
    }
  })

  it('never moves back when the share rises', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.integer({ min: 0, max: 10_000 }),
        fc.integer({ min: 0, max: 10_000 }),
        (key, a, b) => {
          const [low, high] = a < b ? [a, b] : [b, a]
          if (armOfKey(route(low), key).arm === 'canary')
            expect(armOfKey(route(high), key).arm).toBe('canary')
        },
      ),
    )
  })

  it('is never an arm of share 0', () => {
    expect(keys.some((key) => armOfKey(route(0), key).arm === 'canary')).toBe(false)
    expect(keys.some((key) => armOfKey(route(10_000), key).arm === 'champion')).toBe(false)
  })

  it('depends on the release, so that two releases do not start with the same keys', () => {
    const first = keys.filter((key) => placeOf('rel_1', key) < 500)
    const both = first.filter((key) => placeOf('rel_2', key) < 500)
    expect(both.length).toBeLessThan(first.length * 0.1)
  })

  it('cannot be chosen when the shares do not sum to the whole', () => {
    const broken = {
      ...route(500),
      arms: [
        { arm: 'champion' as const, version: 'a', shareBp: 0 },
        { arm: 'canary' as const, version: 'b', shareBp: 0 },
      ],
    }
    expect(() => armOfKey(broken, 'x')).toThrow(expect.objectContaining({ code: 'invalid_route' }))
  })
})

describe('the shadow', () => {
  it('receives its share of the keys, independent of the arm', () => {
    const shadowed = route(0, { shadow: { version: 'iris_v1.1.0', shareBp: 2_000 } })
    const n = keys.filter((key) => isShadowed(shadowed, key)).length
    expect(Math.abs(n - 20_000)).toBeLessThan(3.29 * Math.sqrt(100_000 * 0.2 * 0.8))
    expect(keys.some((key) => isShadowed(route(0), key))).toBe(false)
  })
})

describe('a route without its candidate', () => {
  it('gives the freed share to the champion and drops the shadow', () => {
    const bare = withoutCandidate(route(2_500, { shadow: { version: 'x', shareBp: 100 } }))
    expect(bare.arms).toEqual([{ arm: 'champion', version: 'iris_v1.0.0', shareBp: 10_000 }])
    expect(bare.shadow).toBeUndefined()
    expect(issuesOfRoute(bare)).toEqual([])
  })

  it('counts for no release, also on a replica that has lost its lease', () => {
    const released = route(2_500, { release: 'rel_1' })
    expect(withoutCandidate(released)).not.toHaveProperty('release')
    expect(fenced(released)).not.toHaveProperty('release')
  })

  it('is the champion alone on a replica that has lost its lease, even in probation', () => {
    const probation = route(0, {
      arms: [
        { arm: 'champion', version: 'iris_v1.1.0', shareBp: 9_500 },
        { arm: 'control', version: 'iris_v1.0.0', shareBp: 500 },
      ],
    })
    expect(fenced(probation).arms).toEqual([{ arm: 'champion', version: 'iris_v1.0.0', shareBp: 10_000 }])
  })

  it('is the last proven version alone in probation', () => {
    const probation = route(0, {
      arms: [
        { arm: 'champion', version: 'iris_v1.1.0', shareBp: 9_500 },
        { arm: 'control', version: 'iris_v1.0.0', shareBp: 500 },
      ],
      shadow: { version: 'iris_v1.0.0', shareBp: 100 },
    })
    expect(withoutCandidate(probation)).toEqual(fenced(probation))
    const proven = { ...probation, proven: 'iris_v1.1.0', shadow: undefined }
    expect(withoutCandidate(proven)).toEqual({ ...proven, release: undefined, shadow: undefined })
  })
})

describe('a candidate', () => {
  it.each<[string, Partial<Route>, boolean]>([
    ['is the canary', {}, true],
    [
      'is a shadow that is not proven',
      { arms: whole, shadow: { version: 'iris_v1.1.0', shareBp: 100 } },
      true,
    ],
    [
      'is not the proven champion in the shadow',
      { arms: proven, shadow: { version: 'iris_v1.0.0', shareBp: 100 } },
      false,
    ],
    ['is the champion on probation', { arms: whole }, true],
    ['is not the proven champion alone', { arms: proven }, false],
  ])('%s', (_name, change, is) => {
    expect(hasCandidate(route(2_500, change))).toBe(is)
  })

  it('is absent where the champion is alone, and so is the release', () => {
    const alone = championAlone(
      { ...route(2_500, { shadow: { version: 'x', shareBp: 100 } }), release: 'rel_1' },
      'iris_v1.0.0',
    )
    expect(hasCandidate(alone)).toBe(false)
    expect(alone).not.toMatchObject({ release: expect.anything() })
    expect(issuesOfRoute(alone)).toEqual([])
  })
})

describe('an invalid route has an issue', () => {
  const champion = { arm: 'champion' as const, version: 'a', shareBp: 10_000 }
  it.each<[string, Partial<Route>, RegExp]>([
    ['shares that do not sum', { arms: [{ ...champion, shareBp: 9_999 }] }, /sum to 9999/],
    ['half a basis point', { arms: [{ ...champion, shareBp: 9_999.5 }] }, /whole number of basis points/],
    ['NaN', { arms: [{ ...champion, shareBp: Number.NaN }] }, /whole number of basis points/],
    ['no champion', { arms: [{ ...champion, arm: 'canary' }] }, /exactly one arm must be the champion/],
    [
      'an arm twice',
      {
        arms: [
          { ...champion, shareBp: 5_000 },
          { ...champion, shareBp: 5_000 },
        ],
      },
      /is listed twice/,
    ],
    ['generation 0', { generation: 0 }, /generation/],
    ['epoch 0', { epoch: 0 }, /epoch/],
    ['a shadow of nothing', { shadow: { version: 'a', shareBp: 0 } }, /shadow share/],
    ['nothing proven', { proven: '' }, /known good version/],
  ])('%s', (_name, change, message) => {
    expect(issuesOfRoute({ ...route(500), ...change }).join('; ')).toMatch(message)
  })
  it('and a valid route has none', () => expect(issuesOfRoute(route(500))).toEqual([]))
})

describe('the newer route', () => {
  it('is by epoch, then by generation', () => {
    expect(isNewer({ epoch: 1, generation: 8 }, { epoch: 1, generation: 7 })).toBe(true)
    expect(isNewer({ epoch: 1, generation: 7 }, { epoch: 1, generation: 7 })).toBe(false)
    expect(isNewer({ epoch: 2, generation: 1 }, { epoch: 1, generation: 99 })).toBe(true)
    expect(isNewer({ epoch: 1, generation: 99 }, { epoch: 2, generation: 1 })).toBe(false)
  })
})
