/** Tests that the gate counts weighted rows as often as their weights say, in its metrics, intervals, slices and evidence. */
import { describe, expect, it } from 'vitest'
import { effectiveRows, pointValue, seededRandom } from '@tenure/sequential'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { score, statisticOf } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { truthOf } from '../../../domain/model/outcome.ts'
import { gateIssues } from '../../../domain/release/certificate.ts'
import { taskOf } from '../../../domain/tasks/tasks.ts'
import { answeringKinds, answeringModels, outputOf, skills } from '../../support/tasks/answering.ts'

const cells = answeringKinds.flatMap((kind) =>
  taskOf(outputOf(kind)).gate.metrics.map((metric) => [metric, kind] as const),
)

it.each(cells)('%s of %s counts a row of weight 3 as three rows', (metric, kind) => {
  const { answer, outcome, label } = answeringModels[kind]
  const policy = {
    ...defaultGatePolicy(taskOf(label.output).gate.name),
    ...taskOf(label.output).facts(label.output),
  }
  const at = Array.from({ length: 240 }, (_, i) => i)
  const weights = Float64Array.from(at, (i) => (i % 4 === 0 ? 3 : 1))
  const scoredAt = (rows: readonly number[]) =>
    score(
      policy.task,
      rows.flatMap((i) => truthOf(outcome(i), label.output)!),
      rows.map((i) => answer(i, skills.usual(i))),
      { ...policy, top: 0.3 },
    )
  const repeated = at.flatMap((i) => Array.from({ length: weights[i]! }, () => i))
  const wanted = pointValue(statisticOf(metric, scoredAt(repeated)), repeated.length)!
  const value = pointValue(statisticOf(metric, { ...scoredAt(at), weights }), at.length)!
  expect(value).toBeCloseTo(wanted, 9)
  expect(value).not.toBe(pointValue(statisticOf(metric, scoredAt(at)), at.length))
})

const base = defaultGatePolicy('binary')
const policy = {
  ...base,
  primary: 'brier' as const,
  resamples: 400,
  evidence: { ...base.evidence, rows: 500 },
}
const rows = 4_000
const uniform = seededRandom(11)
const y = Array.from({ length: rows }, () => (uniform() < 0.4 ? 1 : 0))
/** A tenth of the rows weighs twenty times as much as the others. */
const heavy = (row: number) => row % 10 === 0
const values = y.map((_, row) => (heavy(row) ? 20 : 1))
const weights = { column: 'value', values }
/** Answers that are better where `is`. */
const answers = (is: (row: number) => boolean) =>
  y.map((label, row) => [is(row) === (label === 1) ? 0.7 : 0.3])
const usual = answers((row) => row % 7 !== 0)

describe('a challenger that is right where rows weigh much', () => {
  const challenger = answers((row) => (heavy(row) ? true : row % 3 !== 0))

  it('is better with weights and worse without', () => {
    const judged = judgeGate({ y, challenger, champion: usual, weights }, policy)
    expect(judged).toMatchObject({ verdict: 'better', rows, weights: { column: 'value' } })
    // (400 · 20 + 3,600)² / (400 · 400 + 3,600).
    expect(judged.weights!.effectiveRows).toBeCloseTo(11_600 ** 2 / 163_600, 6)
    expect(judged.warnings.map(({ message }) => message)).toContain(
      'rows are weighted by "value": 4,000 rows show as much as 822 of equal weights',
    )
    for (const { metric, method, delta, low, high } of judged.metrics) {
      if (method === 'none') continue
      expect([metric, method, low! < delta! && delta! < high!]).toEqual([metric, 'bootstrap', true])
    }
    const alike = judgeGate({ y, challenger, champion: usual }, policy)
    expect(alike.verdict).toBe('not_better')
    const unweighted = (metric: string) => judged.metrics.find((row) => row.metric === metric)!.unweighted
    for (const { metric, challenger: value } of alike.metrics) expect(unweighted(metric)).toBe(value)
    expect(
      gateIssues({ report: JSON.parse(JSON.stringify(judged)) as typeof judged, inputs: { leakage: {} } }),
    ).toEqual([])
  })

  it('needs as many rows of equal weights as other gates need rows', () => {
    const judged = judgeGate(
      { y, challenger, champion: usual, weights },
      { ...policy, evidence: base.evidence },
    )
    expect(judged).toMatchObject({ verdict: 'insufficient', reasons: [{ code: 'few_rows' }] })
    expect(judged.reasons[0]!.message).toBe(
      '822 rows of equal weights in the test set, at least 1000 required (evaluation.evidence.rows)',
    )
  })

  it.each([undefined, y.map((_, row) => Math.floor(row / 2))])(
    'is compared in a slice by the same weights',
    (entities) => {
      // In each half of the rows the heavy ones decide.
      const slices = [{ name: 'first', rows: y.slice(0, rows / 2).map((_, row) => row) }]
      const swapped = { y, challenger: usual, champion: challenger, slices, entities }
      const by = { ...policy, slices: { ...policy.slices, metric: 'brier' as const } }
      expect(judgeGate({ ...swapped, weights }, by).slices).toMatchObject([{ verdict: 'blocked' }])
      expect(judgeGate(swapped, by).slices).toMatchObject([{ verdict: 'ok' }])
    },
  )
})

it.each(['brier', 'auc', 'accuracy'] as const)(
  'a challenger that is as good as the champion is better in %s in at most 2.5 % of the evaluations',
  (primary) => {
    const chance = seededRandom(5)
    const worlds = 150
    const n = 600
    const better = Array.from({ length: worlds }, () => {
      const labels = Array.from({ length: n }, () => (chance() < 0.4 ? 1 : 0))
      const drawn = () => labels.map((label) => [0.2 + 0.4 * chance() + 0.2 * label])
      // Weights of a Pareto distribution, as values of orders are.
      const heavyTailed = { column: 'value', values: labels.map(() => Math.min(50, (1 - chance()) ** -0.7)) }
      const by = { ...policy, primary, resamples: 200, evidence: { ...base.evidence, rows: 50 } }
      const { metrics } = judgeGate(
        { y: labels, challenger: drawn(), champion: drawn(), weights: heavyTailed },
        by,
      )
      return metrics.find(({ metric }) => metric === primary)!.verdict === 'better'
    }).filter(Boolean).length
    // 2.5 % plus three standard errors of the simulation.
    expect(better / worlds).toBeLessThanOrEqual(0.025 + 3 * Math.sqrt((0.025 * 0.975) / worlds))
  },
)

it.each([
  ['a negative one', [-1], '"value" of row 0 is -1: a weight is a number of at least 0'],
  ['one that is no number', [1, NaN], '"value" of row 1 is NaN: a weight is a number of at least 0'],
  ['only zeros', [], 'all rows have the weight 0 in "value"'],
])('weights with %s are refused', (_name, first, message) => {
  const wrong = { column: 'value', values: y.map((_, row) => first[row] ?? 0) }
  const { verdict, reasons } = judgeGate({ y, challenger: usual, champion: usual, weights: wrong }, policy)
  expect([verdict, reasons.map((reason) => reason.message)]).toEqual(['insufficient', [message]])
})

it.each([
  [[], 0],
  [[0, 0], 0],
  [[2, 2, 2], 3],
  [[1, 0], 1],
  [[1, 2], 9 / 5],
])('Kish counts weights %j as %d rows', (given, count) => expect(effectiveRows(given)).toBeCloseTo(count, 12))
