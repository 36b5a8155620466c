/** Tests the estimate of quality without outcomes, calibrated on predictions that have outcomes. */
import { describe, expect, it } from 'vitest'
import { judgeEstimate } from '../../../domain/monitoring/performance-estimate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { fitRecalibration, recalibrated, seededRandom } from '@tenure/sequential'

const gate = defaultGatePolicy('binary')
const evaluated = { accuracy: 0.75, auc: 0.83 }
/** Generates predicted probabilities `p`, of which `kept(p)` come true. */
function days(
  seed: number,
  rows: number,
  kept: (p: number) => number,
  answer = (uniform: number) => uniform,
) {
  const chance = seededRandom(seed)
  return Array.from({ length: rows }, () => {
    const p = answer(chance())
    return { p, y: Number(chance() < kept(p)) }
  })
}
const answers = (rows: { p: number }[]) => rows.map(({ p }) => p)
const unsure = (uniform: number) => 0.3 + 0.4 * uniform
const judged = (matured: { p: number; y: number }[], recent: number[]) =>
  judgeEstimate({ matured, recent, threshold: 0.5, evaluated }, gate)

describe('a recalibration', () => {
  it('finds the calibration curve', () => {
    const bold = (p: number) => recalibrated({ slope: 0.5, offset: -0.4 }, p)
    const rows = days(1, 40_000, bold)
    const found = fitRecalibration(
      rows.map(({ y }) => y),
      answers(rows),
    )!
    expect(found.slope).toBeCloseTo(0.5, 1)
    expect(found.offset).toBeCloseTo(-0.4, 1)
    // The mean of the outcomes equals the mean of the probabilities exactly.
    const kept = answers(rows).reduce((sum, p) => sum + recalibrated(found, p), 0)
    expect(kept).toBeCloseTo(
      rows.reduce((sum, { y }) => sum + y, 0),
      3,
    )
  })

  it.each([
    ['one outcome only', [1, 1, 1], [0.2, 0.5, 0.9]],
    ['promises without fail', [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]],
    ['one promise only', [0, 1, 1], [0.5, 0.5, 0.5]],
    ['nothing', [], []],
  ])('is null for %s', (_name, y, p) => expect(fitRecalibration(y, p)).toBeNull())
})

describe('the estimate', () => {
  it('equals the measured metric while the confidence is unchanged', () => {
    const report = judged(
      days(1, 4_000, (p) => p),
      answers(days(2, 4_000, (p) => p)),
    )
    expect(report).toMatchObject({ verdict: 'held', reasons: [], rows: { matured: 4_000, recent: 4_000 } })
    for (const { estimate, measured } of report.metrics) expect(estimate).toBeCloseTo(measured!, 1)
  })

  it('is close to the true metric of less confident predictions', () => {
    const later = days(3, 20_000, (p) => p, unsure)
    const report = judged(
      days(1, 4_000, (p) => p),
      answers(later),
    )
    expect(report.verdict).toBe('lower')
    const really = later.filter(({ p, y }) => Number(p >= 0.5) === y).length / later.length
    expect(report.metrics[0]).toMatchObject({ metric: 'accuracy' })
    expect(Math.abs(report.metrics[0]!.estimate! - really)).toBeLessThan(0.02)
    expect(report.reasons.map(({ code }) => code)).toEqual(['estimated_quality', 'estimated_quality'])
  })

  it('corrects for overconfident probabilities', () => {
    // The model is nearly certain but hardly better than a coin; more such predictions are no better.
    const bold = (p: number) => 0.4 + 0.2 * p
    const report = judged(
      days(1, 6_000, bold),
      answers(days(2, 6_000, bold)).map((p) => (p < 0.5 ? 0.02 : 0.98)),
    )
    expect(report.metrics[0]?.estimate).toBeLessThan(0.65)
  })

  it('is in doubt about a drop beyond the margin that may be chance', () => {
    const matured = days(1, 1_200, (p) => p)
    const slightly = answers(matured).map((p) => 0.5 + 0.93 * (p - 0.5))
    const report = judged(matured, slightly)
    expect(report).toMatchObject({ verdict: 'doubtful', reasons: [] })
    const [accuracy] = report.metrics
    const drop = accuracy!.promisedThen! - accuracy!.promisedNow!
    expect([drop > accuracy!.margin!, drop < accuracy!.limit!]).toEqual([true, true])
  })

  it('raises no warning in two hundred unchanged samples', () => {
    let warned = 0
    for (let seed = 0; seed < 200; seed++) {
      const same = (each: number) => days(2 * seed + each, 1_200, (p) => p)
      if (judged(same(1), answers(same(2_000))).verdict === 'lower') warned++
    }
    expect(warned).toBe(0)
  })

  it('is absent with too few rows, or for values that are not probabilities', () => {
    const [few, many] = [days(1, 900, (p) => p), days(2, 4_000, (p) => p)]
    expect(judged(few, answers(many)).reasons[0]?.code).toBe('too_few')
    expect(judged(many, answers(few)).verdict).toBe('insufficient')
    expect(
      judged(
        many,
        many.map(() => NaN),
      ).rows,
    ).toEqual({ matured: 4_000, recent: 0 })
    const sure = days(3, 4_000, (p) => Number(p > 0.5))
    expect(judged(sure, answers(many))).toMatchObject({
      verdict: 'insufficient',
      reasons: [{ code: 'uncalibrated' }],
    })
  })
})
