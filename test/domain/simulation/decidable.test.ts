import { describe, expect, it } from 'vitest'
import { dayPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { decidableText, neverDecided, neverDecidedText } from '../../../domain/simulation/decidable.ts'
import { defaultWorld } from '../../../domain/simulation/scenario.ts'
import { simulateRelease } from '../../../domain/simulation/simulate.ts'
import { seededRandom } from '@tenure/sequential'
import { hourPolicy } from '../../support/release/hour-policy.ts'

const hours = (ms: number) => `${Math.ceil(ms / 3_600_000)} h`
const daily = 50

describe('a policy at its traffic', () => {
  it('can decide at 100 requests/s', () => {
    expect(neverDecided(dayPolicy, 100 * 86_400)).toEqual([])
    expect(neverDecidedText([], 1, hours)).toBeUndefined()
  })

  it('can never decide at 50 requests a day, and says which traffic or deadline would do', () => {
    const found = neverDecided(dayPolicy, daily)
    const text = neverDecidedText(found, daily, hours)
    expect(text).toMatch(
      /^At 50 requests a day this policy can never decide: by its deadline the canary of 1 % gets 0 of the 1,000 requests that it needs, and 5 other requirements too few\. It could at 600,000/,
    )
    expect(found.map(({ stage }) => stage)).toContain('proof for promotion')
    const enough = Math.max(...found.map(({ requestsPerDay }) => requestsPerDay))
    expect(neverDecided(dayPolicy, enough)).toEqual([])
    expect(neverDecided(dayPolicy, enough - 1).length).toBeGreaterThan(0)
    const [first] = found
    const longer = dayPolicy.stages.map((stage, i) =>
      i === 0 ? { ...stage, deadlineMs: first!.deadlineMs } : stage,
    )
    expect(neverDecided({ ...dayPolicy, stages: longer }, daily).map(({ stage }) => stage)).not.toContain(
      first!.stage,
    )
  })

  it('can decide from so many requests a day on, and says what lacks them with fewer', () => {
    const text = decidableText(dayPolicy)
    expect(text).toMatch(
      /^release: with fewer than [\d,]+ requests a day this policy can never decide, because by its deadline the canary of 1 % gets too few of the 1,000/,
    )
    const enough = Number(/[\d,]+/.exec(text!)![0].replaceAll(',', ''))
    expect(neverDecided(dayPolicy, enough)).toEqual([])
    expect(neverDecided(dayPolicy, enough - 1)).not.toEqual([])
    expect(decidableText({ ...dayPolicy, strategy: 'direct', shadow: undefined })).toBeUndefined()
  })

  it('is right: no simulated good release passes, and one passes where it can', () => {
    const { minRequests } = hourPolicy.stages.at(-1)!
    const policy: ReleasePolicy = { ...hourPolicy, limits: { ...hourPolicy.limits, promotion: 'off' } }
    const outcomeAt = (requestsPerDay: number) =>
      simulateRelease({
        policy,
        scenario: { kind: 'good' },
        world: { ...defaultWorld, requestsPerSecond: requestsPerDay / 86_400 },
        uniform: seededRandom(1),
      }).outcome
    const enough = Math.max(...neverDecided(policy, daily).map((each) => each.requestsPerDay))
    expect(minRequests).toBeGreaterThan(0)
    expect(outcomeAt(enough / 2)).not.toBe('promoted')
    expect(outcomeAt(enough * 2)).toBe('promoted')
  })

  it('needs no requests where it has no stages', () =>
    expect(neverDecided({ ...dayPolicy, strategy: 'direct', shadow: undefined }, daily)).toEqual([]))
})
