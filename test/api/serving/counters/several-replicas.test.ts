/** Tests that replicas do not multiply a user: whatever is counted once per user is counted once over all replicas. */
import { describe, expect, it } from 'vitest'
import {
  countedReplicas,
  shiftOfEqualVersions,
  slow99Us,
  verdictOnStorm,
} from '../../../support/serving/counted-replicas.ts'

const replicas = 3
const counts = ['errors', 'invalid', 'slow95', 'slow99', 'keys', 'answers', 'failedCallers'] as const

/** What one user counts who asks each replica twice with a failure, an invalid output and a slow answer, in two ticks. */
function countedOf(apart: boolean) {
  const counted = countedReplicas({ replicas, shareBp: 5_000, apart })
  const ticks = [1, 2].flatMap(() => {
    for (let replica = 0; replica < replicas; replica++)
      for (const bad of [undefined, 'errors', 'invalid', undefined] as const)
        counted.count({ replica, arm: 'canary', key: 'ann', bad, answer: true, latencyUs: slow99Us + 1 })
    return [counted.stored()]
  })
  const sum = (of: (tick: ReturnType<typeof counted.stored>[number]) => number) =>
    ticks.map((each) => each.reduce((total, tick) => total + of(tick), 0))
  return { sum }
}

describe('a user of three replicas', () => {
  const [once, apart] = [countedOf(false), countedOf(true)]

  it.each(counts)('counts once: %s', (name) => {
    const of = (counted: typeof once) =>
      counted.sum((tick) => (name === 'answers' ? tick.answers![1]! : tick[name]!))
    // The watch of champions counts a caller once in each tick.
    expect(of(once)).toEqual([1, name === 'failedCallers' ? 1 : 0])
    expect(of(apart)).toEqual([replicas, name === 'failedCallers' ? replicas : 0])
  })

  it('has its further failures left out of the draws of the watch', () => {
    // Each replica meets one good request before the first failure and two requests after it.
    expect(once.sum(({ requests }) => requests)).toEqual([12, 12])
    expect(once.sum(({ repeats }) => repeats!)).toEqual([8, 8])
    expect(apart.sum(({ repeats }) => repeats!)).toEqual([6, 6])
  })

  it('without a routing key is another user at each request', () => {
    const counted = countedReplicas({ replicas, shareBp: 5_000 })
    for (let replica = 0; replica < replicas; replica++)
      for (let i = 0; i < 2; i++) counted.count({ replica, arm: 'canary', key: undefined, bad: 'errors' })
    const stored = counted.stored()
    expect(stored.reduce((sum, { errors }) => sum + errors, 0)).toBe(6)
    expect(stored.flatMap(({ units = [] }) => units)).toEqual([])
  })
})

it('one caller that fails at three replicas rolls nothing back, and fifty callers do', () => {
  expect(verdictOnStorm({ replicas }, 1).kind).not.toBe('fail')
  expect(verdictOnStorm({ replicas, apart: true }, 1).kind).toBe('fail')
  expect(verdictOnStorm({ replicas }, 50).kind).toBe('fail')
})

it('equal versions behind eight replicas are not asked about', () => {
  const acted = (apart: boolean) =>
    Array.from({ length: 10 }, (_, seed) => shiftOfEqualVersions({ replicas: 8, apart }, seed)).filter(
      (outcome) => outcome !== 'none',
    ).length
  expect(acted(false)).toBe(0)
  expect(acted(true)).toBeGreaterThan(1)
})
