/** Tests the gate on models that predict quantiles. */
import { describe, expect, it } from 'vitest'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { naiveAnswers } from '../../../domain/evaluation/input.ts'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'
import { pick, score, statisticOf } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy, issuesOfGate, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { pointValue, seededRandom } from '@tenure/sequential'

const rows = 2_000
const levels = [0.1, 0.5, 0.9]
const chance = seededRandom(3)
const centre = Array.from({ length: rows }, () => 10 * chance())
/** Uniform from 0 to 5 above the centre, so that its quantiles are known. */
const y = centre.map((from) => from + 5 * chance())
const answers = (spread: number, shift = 0) =>
  centre.map((from) => levels.map((level) => from + 2.5 + shift + (level - 0.5) * spread))
const right = answers(5)
const shifted = answers(5, 1)
const narrow = answers(1)
const policy: GatePolicy = { ...defaultGatePolicy('quantiles'), levels, resamples: 200 }
const judge = (challenger: number[][], champion: number[][] | null, more: Partial<GatePolicy> = {}) =>
  judgeGate({ y, challenger, champion }, { ...policy, ...more })
const figureOf = (metric: 'pinball' | 'coverageError' | 'mae', of: number[][]) =>
  pointValue(statisticOf(metric, score('quantiles', y, of, policy)), rows)

it('has a sound default policy', () => expect(issuesOfGate(policy)).toEqual([]))

it('measures the pinball loss, the error of the coverage, and the error of the middle quantile', () => {
  // For a uniform distribution of width w, the pinball loss at its quantile q is w q (1 − q) / 2.
  expect(figureOf('pinball', right)).toBeCloseTo((5 * (0.09 + 0.25 + 0.09)) / 2 / 3, 1)
  expect(figureOf('coverageError', right)).toBeLessThan(0.03)
  // The outermost narrow quantiles are 0.8 apart, within a width of 5.
  expect(figureOf('coverageError', narrow)).toBeCloseTo(0.8 - 0.16, 1)
  expect(figureOf('mae', right)).toBeCloseTo(1.25, 1)
  expect(figureOf('mae', narrow)).toBe(figureOf('mae', right))
})

describe('of labels of which 39 % are zero', () => {
  const many = 10_000
  const truths = Array.from({ length: many }, (_, at) => (at < 0.39 * many ? 0 : at / many))
  /** The same quantiles for each row. */
  const judged = (...row: number[]) => {
    const answer = truths.map(() => row)
    const scored = score('quantiles', truths, answer, policy)
    const levelsOf = judgeGate({ y: truths, challenger: answer, champion: null }, policy).levels
    return { error: pointValue(statisticOf('coverageError', scored), many)!, levels: levelsOf }
  }

  it('the right quantiles have no error, although no label is below the first one', () => {
    const { error, levels: shares } = judged(0, 0.5, 0.9)
    expect(error).toBeCloseTo(0, 3)
    expect(shares).toMatchObject([
      { level: 0.1, below: 0, atOrBelow: 0.39 },
      { level: 0.5, below: 0.5 },
      { level: 0.9, below: 0.9 },
    ])
  })

  it('the report shows both shares of each level', () => {
    const report = judgeGate(
      { y: truths, challenger: truths.map(() => [0, 0.5, 0.8]), champion: null },
      policy,
    )
    const page = gateMarkdown(report, { model: 'm', challenger: 'm_v1.0.0' })
    expect(page).toMatch(/## Levels[^#]*\| 0\.1 \| 0 % \| 39 % \| 0 \|/)
    expect(page).toMatch(/\| 0\.9 \| 80 % \| 80 % \| −0\.0999 \|/)
  })

  it('a last quantile that is too low is not excused by the zeros, nor is a first one that is too high', () => {
    expect(judged(0, 0.5, 0.8).error).toBeCloseTo(0.1, 3)
    expect(judged(0.45, 0.5, 0.9).error).toBeCloseTo(0.35, 3)
    // Below all labels, it covers none of them.
    expect(judged(-0.1, 0.5, 0.9).error).toBeCloseTo(0.1, 3)
  })
})

it('releases the challenger with the lower pinball loss, and not one whose quantiles miss the truth', () => {
  const better = judge(right, shifted)
  expect(better.verdict).toBe('better')
  expect(better.metrics.map(({ metric }) => metric)).toEqual(['pinball', 'coverageError', 'mae'])
  expect(better.calibration).toBeNull()
  expect(judge(shifted, right).verdict).toBe('not_better')
  expect(judge(right, right).verdict).toBe('not_worse')
})

it('refuses a first version whose intervals contain the truth too rarely', () => {
  const floors = { coverageError: 0.05 }
  expect(judge(right, null, { floors }).verdict).toBe('better')
  const report = judge(narrow, null, { floors })
  expect(report.verdict).toBe('not_better')
  expect(report.reasons.map(({ message }) => message).join()).toMatch(/Coverage error/)
})

it('compares a slice by the pinball loss', () => {
  const report = judgeGate(
    {
      y,
      challenger: right.map((row, at) => (at < 500 ? shifted[at]! : row)),
      champion: right,
      slices: [{ name: 'first', rows: Array.from({ length: 500 }, (_, at) => at) }],
    },
    policy,
  )
  expect(report.slices).toMatchObject([{ name: 'first', rows: 500, verdict: 'blocked' }])
})

it('cannot compare models with another number of quantiles', () => {
  const two = right.map((row) => row.slice(1))
  expect(judge(two, right)).toMatchObject({
    verdict: 'not_better',
    reasons: [{ message: 'the challenger gives 2 numbers a row, the label has 3 levels' }],
  })
  expect(judge(right, two).verdict).toBe('insufficient')
})

it('expects more than the quantiles of all rows, the prediction of a model without features', () => {
  const [naive] = naiveAnswers(y, policy, 3)
  expect(naive).toHaveLength(3)
  expect(
    judge(
      y.map(() => naive!),
      null,
    ).verdict,
  ).toBe('not_better')
})

it('selects the rows of a slice with all their scores', () => {
  const part = pick(score('quantiles', y, right, policy), [0, 5])
  expect(part.squares).toHaveLength(2)
  expect(part.sides).toHaveLength(2)
  expect(part.outermost).toEqual([0.1, 0.9])
})
