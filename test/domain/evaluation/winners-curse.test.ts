/**
 * Shows by simulation that the gate releases a challenger worse than the margin at most at its declared rate, however many were tried:
 * selected by validation rows, or evaluated in sequence on the same test rows.
 */
import { describe, expect, it } from 'vitest'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { gainVerdict, gains } from '../../../domain/evaluation/metric-table.ts'
import { score } from '../../../domain/evaluation/metrics.ts'
import { correctedFor, defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { seededRandom } from '@tenure/sequential'

const standard = defaultGatePolicy('binary')
const margin = 0.01
const policy: GatePolicy = {
  ...standard,
  primary: 'accuracy',
  margins: { ...standard.margins, accuracy: margin },
  calibration: 'off',
  resamples: 1,
  evidence: { ...standard.evidence, rows: 1, positives: 1, negatives: 1 },
}
const rows = 400
const championIsRight = 0.8
/** Every trial is worse than the champion by exactly the margin, so none may be released. */
const trialIsRight = championIsRight - margin
const worlds = 300

/** Draws answers that are right with this probability. */
const answersTo = (y: readonly number[], share: number, uniform: () => number) =>
  y.map((label) => [uniform() < share ? label : 1 - label])
const accuracyOf = (y: readonly number[], answers: readonly number[][]) =>
  answers.filter(([said], row) => said === y[row]).length

/** Returns whether the best of the trials would pass, selected by validation rows or by the test rows themselves. */
function isReleased(
  uniform: () => number,
  tried: number,
  { choice, triedHere }: { choice: 'validation' | 'test'; triedHere: number },
): boolean {
  const labels = () => Array.from({ length: rows }, () => (uniform() < 0.5 ? 1 : 0))
  const [y, validation] = [labels(), labels()]
  const champion = answersTo(y, championIsRight, uniform)
  let best: { score: number; challenger: number[][] } | undefined
  for (let trial = 0; trial < tried; trial++) {
    const challenger = answersTo(y, trialIsRight, uniform)
    const seen = choice === 'test' ? challenger : answersTo(validation, trialIsRight, uniform)
    const accuracy = accuracyOf(choice === 'test' ? y : validation, seen)
    if (best === undefined || accuracy > best.score) best = { score: accuracy, challenger }
  }
  const corrected = correctedFor(1 + triedHere, policy)
  const scored = (answers: number[][]) => score('binary', y, answers, { threshold: 0.5 })
  const pair = {
    metric: 'accuracy',
    challenger: scored(best!.challenger),
    reference: scored(champion),
  } as const
  const verdict = gainVerdict(gains([pair], corrected)[0], margin, corrected.confidence)
  return verdict === 'better' || verdict === 'not_worse'
}

function rateOf(tried: number, how: { choice: 'validation' | 'test'; triedHere: number }): number {
  const uniform = seededRandom(tried)
  let released = 0
  for (let world = 0; world < worlds; world++) if (isReleased(uniform, tried, how)) released++
  return released / worlds
}

/** α plus three standard errors of the simulation. */
const limit = 0.05 + 3 * Math.sqrt((0.05 * 0.95) / worlds)

describe('the rate of false releases is at most 5 %', () => {
  it.each([1, 10, 30])(
    'of the best of %i trials, chosen by validation rows and judged on test rows',
    (tried) => expect(rateOf(tried, { choice: 'validation', triedHere: 0 })).toBeLessThanOrEqual(limit),
  )

  it.each([10, 30])('of the best of %i trials that were all judged on the same test rows', (tried) =>
    expect(rateOf(tried, { choice: 'test', triedHere: tried - 1 })).toBeLessThanOrEqual(limit),
  )

  it('and would be many times that without the correction', () => {
    expect(rateOf(30, { choice: 'test', triedHere: 0 })).toBeGreaterThan(0.3)
  })
})

it('the report names what was tried, and the level that follows from it', () => {
  const y = [1, 0, 1, 0]
  const answers = y.map((label) => [label === 1 ? 0.9 : 0.1])
  const report = judgeGate(
    { y, challenger: answers, champion: answers, search: { sweepTrials: 30, triedHere: 4 } },
    policy,
  )
  expect(report.policy.confidence).toBeCloseTo(0.99, 10)
  expect(report.search).toEqual({ sweepTrials: 30, triedHere: 4 })
  expect(report.warnings.map(({ message }) => message)).toEqual(
    expect.arrayContaining([
      'chosen among 30 trials by the validation rows; the test rows judge it alone',
      '4 other challengers were judged on these test rows, so intervals have the level 99 %',
    ]),
  )
})
