/** Tests when a loss on matured outcomes counts: only when chance does not explain it. */
import { describe, expect, it } from 'vitest'
import { auc, seededRandom, standardNormal } from '@tenure/sequential'
import { defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import {
  judgeFloors,
  judgeQuality,
  type QualityEvidence,
  type QualityReport,
} from '../../../domain/monitoring/quality.ts'
import type { OutputKind } from '../../../domain/tasks/output.ts'
import { taskOf } from '../../../domain/tasks/tasks.ts'
import { worldsOf } from '../../support/evaluation/worlds.ts'
import { answeringKinds, answeringModels, outputOf, skills } from '../../support/tasks/answering.ts'

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

const judged = (
  drawn: readonly Row[],
  baseline: Pick<QualityEvidence, 'baseline' | 'baselineRows'>,
  by: GatePolicy = policy,
) =>
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
    by,
  )

it('a custom primary metric is measured by what stands in for it', () => {
  const custom = { profit: { better: 'higher' } } as const
  const own: GatePolicy = { ...policy, primary: 'profit', standIn: 'auc', custom }
  const drawn = drawRows(1, 0.2)
  const baseline = { baseline: trueAuc, baselineRows: rows }
  expect(judged(drawn, baseline, own)).toEqual(judged(drawn, baseline))
  expect(judged(drawn, baseline, own)).toMatchObject({ metric: 'auc', level: 'lost' })
})

describe('the quality of an unchanged model', () => {
  it('is not lost by chance, although the metric is often below the margin', () => {
    const reports = Array.from({ length: worldsOf(300) }, (_, seed) => {
      const evaluated = drawRows(10_000 + seed)
      const baseline = auc(
        evaluated.map(({ y }) => y),
        evaluated.map(({ score }) => score),
      )
      return judged(drawRows(seed), { baseline, baselineRows: rows })
    })
    const beyond = reports.filter(({ reasons }) => reasons.length > 0)
    expect(beyond.length).toBeGreaterThan(worldsOf(300) / 6)
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

/** A window of this task, with floors that answers at random miss. */
function windowOf(kind: OutputKind, skill: keyof typeof skills): QualityReport {
  const { answer, outcome, label } = answeringModels[kind]
  const { gate, facts } = taskOf(label.output)
  const ids = Array.from({ length: 1_500 }, (_, i) => i)
  return judgeQuality(
    {
      baseline: 0.5,
      predictions: ids.map((i) => ({ id: String(i), atMs: 1, outputs: answer(i, skills[skill](i)) })),
      labels: ids.map((i) => ({
        predictionId: String(i),
        value: outcome(i),
        observedMs: 1,
        arrivedMs: 1,
        revision: 1,
      })),
      maturity: { status: 'ok', horizonMs: 0, delays: 1_500 },
      span: { fromMs: 0, toMs: 2, nowMs: 2 },
      output: label.output,
    },
    { ...defaultGatePolicy(gate.name), ...facts(label.output), top: 0.4 },
    { watched: gate.metrics },
  )
}

describe('the metrics of a window beside the primary one', () => {
  const cells = answeringKinds.flatMap((kind) => {
    const { primary, metrics } = taskOf(outputOf(kind)).gate
    return metrics.filter((metric) => metric !== primary).map((metric) => [metric, kind] as const)
  })

  it.each(cells)(
    'a floor of %s of %s alarms when it is certainly missed, and holds otherwise',
    (metric, kind) => {
      const [good, bad] = [windowOf(kind, 'best'), windowOf(kind, 'worst')]
      const [best, worst] = [good, bad].map(
        ({ metrics }) => metrics.find((each) => each.metric === metric)!.value!,
      ) as [number, number]
      const alarm = (best + worst) / 2
      const floors = { metrics: { [metric]: { alarm } } }
      expect(judgeFloors(good, floors)).toMatchObject([[{ metric }, { level: 'held' }]])
      expect(judgeFloors(bad, floors)).toMatchObject([[{ metric }, { level: 'critical', limit: alarm }]])
    },
  )

  it('are precision, recall and F1 at the threshold, with intervals', () => {
    // 140 positives; 2 of 3 of them and 1 of 10 negatives are predicted.
    const drawn = Array.from({ length: rows }, (_, i) => {
      const y = i < positives ? 1 : 0
      return { y, score: (y === 1 ? i % 3 !== 0 : i % 10 === 0) ? 0.5 : 0.49 }
    })
    const { metrics } = judged(drawn, { baseline: trueAuc })
    const of = Object.fromEntries(metrics.map((each) => [each.metric, each]))
    expect(Object.keys(of)).toEqual(['accuracy', 'f1', 'precision', 'recall'])
    const [hits, selected] = [93, 93 + 86]
    expect(of['precision']).toMatchObject({ value: hits / selected, rows: selected })
    expect(of['recall']).toMatchObject({ value: hits / positives, rows: positives })
    expect(of['f1']!.value).toBeCloseTo((2 * hits) / (selected + positives), 12)
    // Clopper and Pearson for 93 of 140, by R's binom.test; the bootstrap counts a few rows more or less.
    expect(of['recall']!.low).toBeCloseTo(0.5796, 1)
    expect(of['recall']!.high).toBeCloseTo(0.7418, 1)
    expect(of['f1']!.low!).toBeGreaterThan(0.5)
    expect(of['f1']!.high!).toBeLessThan(0.66)
  })

  it('have a wide interval at 0, and too few predicted positives alarm nobody', () => {
    const few = Array.from({ length: rows }, (_, i) => ({
      y: i < positives ? 1 : 0,
      score: i >= rows - 20 ? 0.9 : 0.1,
    }))
    const report = judged(few, { baseline: trueAuc })
    const precision = report.metrics.find(({ metric }) => metric === 'precision')!
    expect(precision).toMatchObject({ value: 0, rows: 20, standardError: null, low: 0 })
    // 1 − 0.025^(1/20).
    expect(precision.high).toBeCloseTo(0.1684, 4)
    const floors = { metrics: { precision: { alarm: 0.5 }, recall: { alarm: 0.5 } } }
    expect(judgeFloors(report, floors)).toMatchObject([
      [{ metric: 'precision' }, { level: 'doubtful' }],
      [{ metric: 'recall' }, { level: 'critical' }],
    ])
    const none = judged(
      few.map(({ y }) => ({ y, score: 0.1 })),
      { baseline: trueAuc },
    )
    expect(none.metrics.find(({ metric }) => metric === 'precision')).toMatchObject({
      value: null,
      low: null,
    })
  })

  it.each([0.1, 0.5, 0.9])('raise no alarm by chance when they are as good as their floor %d', (floor) => {
    const metrics = ['precision', 'recall', 'f1'] as const
    const chance = seededRandom(7)
    const alarms = Array.from({ length: worldsOf(300) }, () => {
      // As many are predicted as are positive, so that precision, recall and F1 are equal.
      const wrong = ((1 - floor) * positives) / (rows - positives)
      const drawn = Array.from({ length: rows }, () => {
        const y = chance() < positives / rows ? 1 : 0
        return { y, score: chance() < (y === 1 ? floor : wrong) ? 0.9 : 0.1 }
      })
      const floors = { metrics: Object.fromEntries(metrics.map((metric) => [metric, { alarm: floor }])) }
      return judgeFloors(judged(drawn, { baseline: trueAuc }), floors).filter(
        ([, { level }]) => level === 'critical',
      ).length
    })
    // 900 at one in a thousand each: seven have a probability of 0.03 %.
    expect(alarms.reduce((sum, each) => sum + each, 0)).toBeLessThan(7)
  })
})
