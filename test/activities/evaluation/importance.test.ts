import { describe, expect, it } from 'vitest'
import {
  measureImportance,
  withImportance,
  type Measuring,
} from '../../../activities/evaluation/importance.ts'
import { reportedText } from '../../../activities/evaluation/request-answers.ts'
import { importanceSvg } from '../../../api/charts/importance.ts'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { driftWeights, importanceOf, permutationOf } from '../../../domain/explanation/importance.ts'
import { cellOf, columnTableOf } from '../../../domain/model/columns.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import { DomainError } from '../../../domain/errors.ts'
import { cardMarkdown } from '../../../domain/registry/model-card-markdown.ts'
import { modelCard } from '../../../domain/registry/model-card.ts'
import { seededRandom } from '@tenure/sequential'

const uniform = seededRandom(3)
/** Strong, weak and useless features; a missing value contributes nothing. */
const rows: FeatureRow[] = Array.from({ length: 800 }, () => ({
  strong: uniform() * 10,
  weak: uniform() < 0.1 ? null : uniform() * 10,
  colour: uniform() < 0.5 ? 'red' : 'white',
  useless: uniform(),
}))
const names = ['useless', 'weak', 'colour', 'strong']
const chanceOf = (row: FeatureRow): number => {
  const sum =
    Number(row['strong']) - 5 + 0.2 * (Number(row['weak'] ?? 5) - 5) + (row['colour'] === 'red' ? 1 : -1)
  return 1 / (1 + Math.exp(-sum))
}
const y = rows.map((row) => (uniform() < chanceOf(row) ? 1 : 0))
const policy = defaultGatePolicy('binary')
const answer: Measuring['answer'] = (table) =>
  Promise.resolve(
    Array.from({ length: table.rows }, (_, row) => [
      chanceOf(Object.fromEntries(names.map((name) => [name, cellOf(table.columns[name]!, row)]))),
    ]),
  )
const measuring: Measuring = {
  names,
  answer,
  rows: columnTableOf(rows, names),
  y,
  policy,
  importance: { rows: 500, permutations: 20 },
}

describe('permutation importance', () => {
  it('orders the features by the fall of the metric, with an interval around each', async () => {
    const report = (await measureImportance(measuring))!
    expect(report).toMatchObject({ metric: 'auc', rows: 500, permutations: 20 })
    expect(report.features.map(({ feature }) => feature)).toEqual(['strong', 'colour', 'weak', 'useless'])
    const [strong, , , useless] = report.features
    expect(strong!.fall).toBeGreaterThan(0.2)
    expect(useless).toEqual({ feature: 'useless', fall: 0, low: 0, high: 0 })
    for (const { fall, low, high } of report.features) {
      expect(low).toBeLessThanOrEqual(fall)
      expect(high).toBeGreaterThanOrEqual(fall)
    }
    expect(await measureImportance(measuring)).toEqual(report)
  })

  it('falls where lower is better too', async () => {
    const brier = (await measureImportance({ ...measuring, policy: { ...policy, primary: 'brier' } }))!
    expect(brier.features[0]).toMatchObject({ feature: 'strong' })
    expect(brier.features[0]!.fall).toBeGreaterThan(0.05)
  })

  it('is that of the stand-in of a custom primary metric', async () => {
    const custom = { profit: { better: 'higher' } } as const
    const own = { ...policy, primary: 'profit', standIn: 'brier', custom } as const
    expect(await measureImportance({ ...measuring, policy: own })).toEqual(
      await measureImportance({ ...measuring, policy: { ...policy, primary: 'brier' } }),
    )
  })

  it('stops when the time limit has passed, and lists the features without a measurement', async () => {
    const report = (await measureImportance({ ...measuring, limitMs: -1 }))!
    expect(report).toMatchObject({ permutations: 0, features: [], unmeasured: names })
    const few = importanceOf(
      { a: [0.7, 0.6], b: [null] },
      { metric: 'auc', isHigherBetter: true, value: 0.8, rows: 9 },
    )!
    expect(few.features).toEqual([
      { feature: 'a', fall: expect.closeTo(0.15, 9) as number, low: null, high: null },
    ])
    expect(few.unmeasured).toEqual(['b'])
  })

  it('of rows of one class is undefined', async () =>
    expect(await measureImportance({ ...measuring, y: y.map(() => 1) })).toBeUndefined())

  it('permutes every place once, the same for a seed', () => {
    const places = permutationOf(1_000, 5)
    expect(new Set(places).size).toBe(1_000)
    expect(places).toEqual(permutationOf(1_000, 5))
    expect(places).not.toEqual(permutationOf(1_000, 6))
    expect(permutationOf(0, 1)).toHaveLength(0)
  })
})

describe('the weights of drift', () => {
  const of = (falls: Record<string, number>) =>
    driftWeights({
      features: Object.entries(falls).map(([feature, fall]) => ({ feature, fall, low: null, high: null })),
    })
  it('follow the importance, and none is 0, because features that say the same hide each other', () =>
    expect(of({ a: 0.2, b: 0.05, c: 0, d: -0.01 })).toEqual({ a: 1, b: 0.25, c: 0.01, d: 0.01 }))
  it('are equal where no feature matters', () => expect(of({ a: 0, b: -0.1 })).toBeUndefined())
})

it('a report that outlives erasures says the code of an error, and not the values that its message quotes', async () => {
  const judged = judgeGate(
    { y, challenger: rows.map((row) => [chanceOf(row)]), champion: null },
    { ...policy, resamples: 50, floors: { auc: 0.5 }, calibration: 'off' },
  )
  const failing = () => Promise.reject(new DomainError('invalid_request', 'age 47 of eve@example.com is odd'))
  const warningOf = async (definition: Parameters<typeof reportedText>[0]) => {
    const reported = (error: unknown) => reportedText(definition, error)
    const { warnings } = await withImportance(judged, { ...measuring, answer: failing, reported })
    return warnings.find(({ code }) => code === 'importance_not_measured')?.message
  }
  const [quoted, erased] = [
    { source: {} } as Parameters<typeof reportedText>[0],
    { source: {}, subject: { feature: 'email' } } as unknown as Parameters<typeof reportedText>[0],
  ]
  expect(await warningOf(quoted)).toContain('age 47')
  expect(await warningOf(erased)).toBe('the importance of features could not be measured: invalid_request')
})

it('report, model card and chart show the importance', async () => {
  const importance = (await measureImportance(measuring))!
  const judged = judgeGate(
    { y, challenger: rows.map((row) => [chanceOf(row)]), champion: null },
    { ...policy, resamples: 50, floors: { auc: 0.5 }, calibration: 'off' },
  )
  const report = { ...judged, importance }
  const page = gateMarkdown(report, { model: 'm', challenger: 'x' })
  expect(page).toMatch(/## Permutation importance[^]*\| strong \| \+0\.\d+ \| \+0\.\d+ to \+0\.\d+ \|/)
  const card = modelCard({
    version: 'm_v1.0.0',
    model: 'm',
    status: 'registered',
    createdAt: '2026-03-01T00:00:00.000Z',
    createdBy: 'retrain',
    artifactDigest: 'sha256:aa',
    manifest: {},
    lineage: {},
    evaluation: { id: 'e', verdict: 'better', report },
  })
  expect(card.evaluation?.importance).toEqual(importance)
  expect(cardMarkdown(card)).toContain('### Permutation importance: fall of AUC')
  const svg = await importanceSvg(importance, { id: 'importance', title: 'Importance' })
  expect(svg).toContain('strong')
  expect(svg).toContain('fall of AUC')
  expect(await importanceSvg({ metric: 'auc', features: [] }, { id: 'i', title: 'I' })).toContain(
    'No importance',
  )
})
