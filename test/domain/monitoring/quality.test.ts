/** Tests when a loss on matured outcomes counts: only when chance does not explain it. */
import { describe, expect, it } from 'vitest'
import { auc, seededRandom, standardNormal } from '@tenure/sequential'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { judgeQuality, type QualityEvidence } from '../../../domain/monitoring/quality.ts'

const policy = { ...defaultGatePolicy('binary'), margins: { auc: 0.02 } }
/** Scores of positives are higher by one standard deviation: Φ(1/√2). */
const trueAuc = 0.7602
const rows = 1_000
const positives = 140

interface Row {
  y: number
  score: number
  routingKey?: string
}

function drawRows(seed: number, shift = 1): Row[] {
  const chance = seededRandom(seed)
  return Array.from({ length: rows }, (_, i) => {
    const y = i < positives ? 1 : 0
    return { y, score: 1 / (1 + Math.exp(-(standardNormal(chance) + shift * y))) }
  })
}

const judged = (drawn: readonly Row[], baseline: Pick<QualityEvidence, 'baseline' | 'baselineRows'>) =>
  judgeQuality(
    {
      ...baseline,
      predictions: drawn.map(({ score, routingKey }, i) => ({
        id: String(i),
        atMs: 1,
        outputs: [score],
        ...(routingKey !== undefined && { routingKey }),
      })),
      labels: drawn.map(({ y }, i) => ({
        predictionId: String(i),
        value: y,
        observedMs: 1,
        arrivedMs: 1,
        revision: 1,
      })),
      maturity: { status: 'ok', horizonMs: 0, delays: rows },
      span: { fromMs: 0, toMs: 2, nowMs: 2 },
      output: { kind: 'probability', positive: 'late', threshold: 0.5 },
    },
    policy,
  )

describe('the quality of an unchanged model', () => {
  it('is not lost by chance, although the metric is often below the margin', () => {
    const reports = Array.from({ length: 300 }, (_, seed) => {
      const evaluated = drawRows(10_000 + seed)
      const baseline = auc(
        evaluated.map(({ y }) => y),
        evaluated.map(({ score }) => score),
      )
      return judged(drawRows(seed), { baseline, baselineRows: rows })
    })
    const beyond = reports.filter(({ reasons }) => reasons.length > 0)
    expect(beyond.length).toBeGreaterThan(50)
    expect(reports.filter(({ level }) => level === 'lost')).toEqual([])
    expect(beyond[0]).toMatchObject({ level: 'held', reasons: [{ code: 'loss_uncertain' }] })
    expect(beyond[0]!.reasons[0]!.message).toMatch(
      /^AUC 0\.\d+ on 1,000 matured outcomes, 0\.\d+ at evaluation: worse by 0\.\d+, not certainly by more than 0\.02$/,
    )
  })
})

describe('the quality of a model that has become worse', () => {
  it('is lost when the loss is certain', () => {
    const report = judged(drawRows(1, 0.1), { baseline: trueAuc, baselineRows: rows })
    expect(report).toMatchObject({ level: 'lost', reasons: [{ code: 'quality_lost' }] })
    const { loss, error, least, margin } = report.reasons[0]!.values as Record<string, number>
    // Hanley and McNeil give 0.027 for an AUC of 0.53; the rows of the evaluation double the variance.
    expect(error! / Math.SQRT2).toBeCloseTo(0.026, 2)
    expect(least).toBeCloseTo(loss! - 3.0902 * error!, 4)
    expect(least).toBeGreaterThan(margin!)
  })

  it('is not lost for the repeated requests of routing keys, whose rows are no separate draws', () => {
    const drawn = drawRows(1, 0.1)
    const of = (keys: number) => drawn.map((row, i) => ({ ...row, routingKey: `user ${i % keys}` }))
    const baseline = { baseline: trueAuc }
    expect(judged(of(rows), baseline).level).toBe('lost')
    // A few keys do not show how much they differ.
    const [{ values: alone } = { values: {} }] = judged(of(rows), baseline).reasons
    for (const keys of [1, 2, 5, 29])
      expect(judged(of(keys), baseline)).toMatchObject({ level: 'lost', reasons: [{ values: alone }] })
    // Each of 50 users sends the same request twenty times.
    const users = [...drawn.slice(0, 7), ...drawn.slice(positives, positives + 43)]
    const repeated = Array.from({ length: 20 }, () =>
      users.map((row, i) => ({ ...row, routingKey: `user ${i}` })),
    )
    const unkeyed = repeated.flat().map(({ y, score }) => ({ y, score }))
    expect(judged(unkeyed, baseline).level).toBe('lost')
    expect(judged(repeated.flat(), baseline).level).toBe('held')
  })
})
