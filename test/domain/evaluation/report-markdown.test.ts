import { describe, expect, it } from 'vitest'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { columnOf } from '../../../domain/model/columns.ts'
import { seededRandom } from '@tenure/sequential'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'

const uniform = seededRandom(1)
const y = Array.from({ length: 1_200 }, () => (uniform() < 0.4 ? 1 : 0))
const guess = (sharpness: number) => y.map((label) => [0.5 + sharpness * (label - 0.5) * uniform()])
const policy = { ...defaultGatePolicy('binary'), resamples: 100, floors: { auc: 0.5, brier: 0.01 } }
const half = y.map((_, i) => i).filter((i) => i % 2 === 0)

const report = judgeGate(
  {
    y,
    challenger: guess(0.3).map(([p], i) => [i < 600 ? 1 - p! : p!]),
    champion: guess(0.3),
    slices: [
      { name: 'even | <b>rows</b>', rows: half },
      { name: 'none', rows: [] },
    ],
    columns: { origin: columnOf(y.map((_, i) => (i < 600 ? '<b>new|</b>' : 'old'))) },
    groups: [{ attribute: 'origin', values: y.map((_, i) => (i % 2 ? 'a' : 'b')) }],
    testSetUses: 30,
  },
  policy,
)

describe("the gate's report in Markdown", () => {
  const page = gateMarkdown(report, {
    model: 'm',
    challenger: 'm_v1.1.0',
    champion: 'm_v1.0.0',
    asOf: '2001-02-01',
  })

  it('has the verdict, the reasons and the warnings', () => {
    expect(page).toContain('# m: m\\_v1.1.0, failed')
    expect(page).toContain('It is not released.')
    expect(page).toContain('slice "none" has no rows')
    expect(page).toContain('(`test_set_worn`)')
    expect(page).toContain('1,200 test rows')
    expect(page).toContain('Stages judge outcomes by Brier score in place of AUC')
  })

  it('has a table for each part, with as many cells in every line', () => {
    for (const title of [
      'Metrics',
      'Slices by AUC (worst first)',
      'Slices that a search found',
      'Calibration',
      'Fairness by origin',
    ]) {
      expect(page).toContain(`## ${title}`)
    }
    const tables = page.split('\n\n').filter((part) => part.startsWith('|'))
    expect(tables).toHaveLength(6)
    for (const table of tables) {
      const widths = new Set(table.split('\n').map((line) => line.split(/(?<!\\)\|/).length))
      expect(widths.size).toBe(1)
    }
  })

  it('has the quality of each class of a task with several', () => {
    const labels = Array.from({ length: 900 }, (_, row) => row % 3)
    const answers = labels.map((label) => [0, 1, 2].map((k) => (k === label ? 0.6 : 0.2)))
    const judged = judgeGate(
      { y: labels, challenger: answers, champion: answers, classes: ['a', 'b|', 'c'] },
      { ...defaultGatePolicy('multiclass'), resamples: 100 },
    )
    const text = gateMarkdown(judged, { model: 'm', challenger: 'm_v1.1.0', champion: 'm_v1.0.0' })
    expect(text).toMatch(/## Classes\n\n\| class \| rows \| Precision of the champion \|/)
    expect(text).toContain('| b\\| | 300 | 1.0000 | 1.0000 |')
  })

  it('escapes names that contain a cell, a tag or a link', () => {
    expect(page).toContain('even \\| \\<b\\>rows\\</b\\>')
    expect(page).toContain('origin = \\<b\\>new\\|\\</b\\>')
    expect(page).not.toContain('<b>')
  })

  it('names the groups with too few rows beside the measure', () => {
    const [row] = report.fairness
    const measures = row!.measures.map((measure) => ({ ...measure, fewRows: ['b_c', 'a'] }))
    const text = gateMarkdown(
      { ...report, fairness: [{ ...row!, measures }] },
      { model: 'm', challenger: 'x' },
    )
    expect(text).toMatch(/\| true-positive rate \| largest − smallest \| .* \| b\\_c, a \|/)
  })

  it('contains no NaN, undefined or null', () => {
    expect(page).not.toMatch(/NaN|undefined|null|Infinity/)
  })

  it('of an empty test set and of a first version is readable', () => {
    const empty = judgeGate({ y: [], challenger: [], champion: null }, policy)
    expect(gateMarkdown(empty, { model: 'm', challenger: 'x' })).toContain('# m: x, no verdict')
    const first = judgeGate(
      { y, challenger: guess(0.9), champion: null },
      { ...policy, floors: { auc: 0.5 }, calibration: 'off' },
    )
    expect(gateMarkdown(first, { model: 'm', challenger: 'x' })).toContain('It may be released.')
  })
})
