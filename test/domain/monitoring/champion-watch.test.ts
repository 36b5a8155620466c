/** Tests how fast a failing champion is proven, what is no evidence, and the false alarms at a rate on the limit. */
import { describe, expect, it } from 'vitest'
import {
  falseAlarmsAYear,
  freshWatch,
  isHealthy,
  isSuspect,
  judgeFormer,
  watchThreshold,
  watchTick,
  watchTickMs,
  type WatchedTick,
  type WatchState,
} from '../../../domain/monitoring/champion-watch.ts'
import { binomial, seededRandom } from '@tenure/sequential'

const limit = 0.02

/** Runs ticks until the alarm, or all of them. */
function run(
  ticks: number,
  tickOf: (place: number) => Partial<WatchedTick>,
  state: WatchState = freshWatch(0),
) {
  for (let place = 0; place < ticks; place++) {
    const given = {
      requests: 0,
      failed: 0,
      repeats: 0,
      slow: null,
      endMs: (place + 1) * watchTickMs,
      ...tickOf(place),
    }
    const tick = { callers: given.failed, ...given }
    if (tick.requests > 0) state = watchTick(state, tick, limit)
    if (state.isFailing || state.isSlow) return { state, ticks: place + 1 }
  }
  return { state, ticks: undefined }
}

describe('the watch of a champion', () => {
  it('needs 19.57 nats: at most one false alarm in a hundred years of ticks', () => {
    expect(watchThreshold).toBeCloseTo(Math.log(3.15576e6 / 0.01), 10)
    expect(falseAlarmsAYear).toBe(0.01)
  })

  it.each([
    ['every request', 1, 7],
    ['half of the requests', 0.5, 18],
    ['a tenth of the requests', 0.1, 240],
  ])('proves that %s fails within the requests that the divergence says', (_what, rate, about) => {
    // One request a tick, with failures as even as they can be.
    const { ticks } = run(1_000, (place) => ({
      requests: 1,
      failed: Math.floor((place + 1) * rate) - Math.floor(place * rate),
    }))
    expect(ticks).toBeGreaterThan(0.75 * about)
    expect(ticks).toBeLessThan(1.35 * about)
  })

  it('proves it as fast after a year of good requests, idle or not', () => {
    const good = run(2_000, () => ({ requests: 500, failed: 2 })).state
    const fails = { requests: 40, failed: 20 }
    expect(run(1, () => fails, good).ticks).toBe(1)
    expect(run(1, () => fails).ticks).toBe(1)
  })

  it('does not take the storm of one caller, or a burst of good requests, for a fault', () => {
    expect(run(5_000, () => ({ requests: 400, failed: 1 })).ticks).toBeUndefined()
    expect(run(5_000, (i) => ({ requests: i % 100 === 0 ? 20_000 : 5, failed: 0 })).ticks).toBeUndefined()
    expect(run(5_000, (i) => ({ requests: 60, failed: i % 100 === 0 ? 6 : 0 })).ticks).toBeUndefined()
  })

  it('judges a model with one caller, who is watched until the first failure of a tick', () => {
    // Half of 1,000 requests fail, all of one routing key: the first or the second of a tick.
    const { ticks } = run(100, (i) => ({ requests: 1_000, failed: 1, repeats: i % 2 === 0 ? 998 : 999 }))
    expect(ticks).toBeLessThan(12)
    expect(run(5_000, () => ({ requests: 1_000, failed: 1, repeats: 400 })).ticks).toBeUndefined()
  })

  it('raises a false alarm with the stated probability at a rate on the limit', () => {
    const uniform = seededRandom(11)
    let alarms = 0
    // 15 × 20,000 ticks are 0.1 years: the bound is 0.1 % for all of them.
    for (let model = 0; model < 15; model++) {
      const found = run(20_000, () => ({ requests: 20, failed: binomial(uniform, 20, limit) }))
      if (found.ticks !== undefined) alarms++
    }
    expect(alarms).toBe(0)
  })

  it('ends after minutes of requests within the limit, and not by silence or by few requests', () => {
    const failing = run(10, () => ({ requests: 40, failed: 40 })).state
    expect(failing.isFailing).toBe(true)
    const at = (endMs: number, requests: number, state: WatchState, failed = 0) =>
      watchTick(state, { endMs, requests, failed, repeats: 0, slow: null }, limit)
    const soon = at(1_000_000, 400, failing)
    expect(soon.isFailing).toBe(true)
    expect(at(2_000_000, 1, soon)).toMatchObject({ isFailing: false, failing: [], requests: 0, callers: 0 })
    expect(at(2_000_000, 40, at(1_000_000, 100, failing)).isFailing).toBe(true)
    expect(at(2_000_000, 400, at(1_500_000, 400, soon, 100)).isFailing).toBe(true)
    expect(isHealthy(soon, 1_000_000 + 180_000)).toBe(true)
    expect(isHealthy(freshWatch(0), 1e9)).toBe(false)
  })

  it('proves within minutes that most requests are slower than one in a hundred of the week, and not after one slow tick', () => {
    expect(run(20, () => ({ requests: 100, slow: 15 })).ticks).toBeLessThan(12)
    expect(run(5_000, (i) => ({ requests: 100, slow: i % 60 === 0 ? 90 : 1 })).ticks).toBeUndefined()
    expect(run(5_000, () => ({ requests: 100, slow: null })).ticks).toBeUndefined()
  })

  it('judges nothing where every request may fail', () => {
    const state = watchTick(
      freshWatch(0),
      { endMs: 1, requests: 100, failed: 100, repeats: 0, slow: null },
      1,
    )
    expect(state.isFailing).toBe(false)
  })
})

describe('the former version', () => {
  const of = (requests: number, formerFailed: number, callers = 1) =>
    judgeFormer({ requests, formerFailed }, { to: 'm_v1', callers })

  it('takes over when it answers the failing requests', () => {
    expect(of(16, 0)).toMatchObject({ isBetter: true, isAlike: false })
    expect(of(200, 20).isBetter).toBe(true)
    expect(of(200, 20).message).toBe('m_v1 fails at 20 of the 200 last failing requests')
  })

  it('does not when it fails at the same requests', () => {
    expect(of(200, 200)).toMatchObject({ isBetter: false, isAlike: true })
    expect(of(200, 90).isBetter).toBe(false)
    expect(of(3, 3, 9).isBetter).toBe(false)
  })

  it('takes over without kept requests only when several callers have failed', () => {
    expect(of(0, 0, 2).isBetter).toBe(false)
    expect(of(0, 0, 3).isBetter).toBe(true)
    expect(of(2, 0, 1).message).toBe(
      'too few failing requests are kept: 2, and at most 1 of 3 callers failed in one tick',
    )
    const notAsked = { requests: 0, formerFailed: 0, digested: ['photo'] }
    expect(judgeFormer(notAsked, { to: 'm_v1', callers: 1 }).message).toBe(
      'm_v1 was not checked: `photo` is logged as a digest, and at most 1 of 3 callers failed in one tick',
    )
  })
})

it('failures at twice the limit are told as not certain after minutes; at half of it none are, in ten days', () => {
  const toldAfter = (rate: number, ticks: number, seed: number) => {
    const uniform = seededRandom(seed)
    let state = freshWatch(watchTickMs)
    for (let tick = 1; tick <= ticks; tick++) {
      const given = { requests: 50, failed: binomial(uniform, 50, rate), repeats: 0, slow: null }
      state = watchTick(state, { ...given, endMs: tick * watchTickMs }, limit)
      if (isSuspect(state, tick * watchTickMs)) return tick
    }
    return undefined
  }
  const told = Array.from({ length: 21 }, (_, seed) => toldAfter(2 * limit, 360, seed) ?? 360)
  told.sort((one, other) => one - other)
  // Of the median, in ticks: under six minutes.
  expect([told[0]! >= 18, told[10]! <= 36]).toEqual([true, true])
  expect(toldAfter(limit / 2, 86_400, 1)).toBeUndefined()
})
