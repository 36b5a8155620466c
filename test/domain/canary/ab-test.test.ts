/** Tests the sequential test of an A/B release: it detects a difference in either direction, and none between equal arms. */
import { describe, expect, it } from 'vitest'
import type { AbCohort } from '../../../domain/canary/ab-cohorts.ts'
import { judgeAb } from '../../../domain/canary/ab-test.ts'
import { seededRandom } from '@tenure/sequential'

const accuracy = { metric: 'accuracy', alpha: 0.05 } as const
const cohort = (canary: [number, number], control: [number, number], atMs = 0): AbCohort => ({
  atMs,
  canary: { total: canary[0], events: canary[1] },
  control: { total: control[0], events: control[1] },
})
const many = (count: number, each: AbCohort): AbCohort[] =>
  Array.from({ length: count }, (_, i) => ({ ...each, atMs: i }))

describe('an A/B test', () => {
  it('has no result without outcomes of both arms', () => {
    expect(judgeAb([], accuracy, 0.01).kind).toBe('no_data')
    expect(judgeAb([cohort([10, 1], [0, 0])], accuracy, 0.01).kind).toBe('no_data')
  })

  it('finds a better candidate, a worse one, and neither among equals', () => {
    expect(judgeAb(many(20, cohort([100, 10], [100, 25])), accuracy, 0.01).kind).toBe('better')
    expect(judgeAb(many(20, cohort([100, 25], [100, 10])), accuracy, 0.01).kind).toBe('worse')
    const open = judgeAb(many(20, cohort([100, 15], [100, 15])), accuracy, 0.01)
    expect(open.kind).toBe('open')
    expect(open.reason.message).toMatch(/300 of 2000 \(15 %\) on the candidate.*logE .* < 2\.996/)
  })

  it('inverts the direction for conversions', () => {
    const conversions = { metric: 'conversions', alpha: 0.05 } as const
    expect(judgeAb(many(20, cohort([100, 25], [100, 10])), conversions, 0.01).kind).toBe('better')
    expect(judgeAb(many(20, cohort([100, 10], [100, 25])), conversions, 0.01).kind).toBe('worse')
  })

  it('uses the observed share, and ignores invalid counts', () => {
    // Twice the requests and twice the events: no difference.
    expect(judgeAb(many(20, cohort([200, 40], [100, 20])), accuracy, 0.01).kind).toBe('open')
    expect(judgeAb([cohort([10, 20], [10, 1])], accuracy, 0.01).kind).toBe('no_data')
  })

  it('evaluated after every outcome, finds a winner among equals in at most α of the tests', () => {
    const random = seededRandom(7)
    const arm = () => ({
      total: 20,
      events: Array.from({ length: 20 }, () => random()).filter((u) => u < 0.2).length,
    })
    let better = 0
    let worse = 0
    for (let test = 0; test < 200; test++) {
      const cohorts: AbCohort[] = []
      for (let look = 0; look < 40; look++) {
        cohorts.push({ atMs: look, canary: arm(), control: arm() })
        const { kind } = judgeAb(cohorts, accuracy, 0.01)
        if (kind === 'better') better++
        if (kind === 'worse') worse++
        if (kind !== 'open') break
      }
    }
    expect(better / 200).toBeLessThanOrEqual(0.05)
    expect(worse / 200).toBeLessThanOrEqual(0.02)
  })
})
