/** Tests that a failed expectation of every kind becomes rows, from a table that the type of checks keeps complete. */
import { describe, expect, it } from 'vitest'
import {
  checkRows,
  checkSentence,
  failureSentences,
  withChampion,
} from '../../../domain/validation/check-rows.ts'
import type { BatchTable, Check, Expectation, Flood } from '../../../domain/validation/expectations.ts'
import { judgeValidation } from '../../../domain/validation/validate.ts'

const at = Date.parse('2026-03-01T00:00:00Z')
const hour = 3_600_000
const tableOf = (columns: BatchTable['columns']): BatchTable => ({ rows: 100, columns })
const column = <T extends number | string | boolean | null>(valueOf: (row: number) => T): T[] =>
  Array.from({ length: 100 }, (_, row) => valueOf(row))

const table = tableOf({
  id: column((row) => Math.max(row, 12)),
  size: column((row) => (row < 31 ? null : row)),
  age: column((row) => (row === 0 ? NaN : row * 1_000)),
  width: column((row) => (row < 50 ? row : 100)),
  colour: column((row) => (row < 21 ? 'purple' : 'red')),
  sold: column((row) => row < 62),
  empty: column(() => null),
  label: column((row) => (row < 98 ? 0 : 1)),
  _event_at: column((row) => at - (30 + row) * hour),
})
/** The rows of the champion. */
const former = tableOf({
  id: column((row) => row),
  size: column((row) => (row === 0 ? null : row)),
  age: column((row) => row),
  width: column((row) => 100 - row),
  colour: column(() => 'red'),
  sold: column((row) => row < 40),
  empty: column((row) => row),
  label: column((row) => row % 2),
  _event_at: column((row) => at - (2 + row) * hour),
})
const flood: Flood = {
  column: 'colour',
  value: 'purple',
  message: '"purple" has 21 % of the rows, elsewhere at most 2 %: a flood of one value',
  parts: [{ fromMs: at, toMs: at + hour, kept: 0.1 }],
  rows: 21,
  excluded: 19,
}
const edges = [0, 20, 40, 60, 80]
const counts = [0, 20, 20, 20, 20, 20, 0]
const [one, other] = [column((row) => row % 10), column((row) => 100 + (row % 10))].map((values, place) => ({
  name: ['one', 'other'][place]!,
  kind: 'number' as const,
  edges: Array.from({ length: 9 }, (_, k) => 100 * place + k + 0.5),
  counts: Array.from({ length: 11 }, (_, k) => (k === 10 ? 0 : values.length / 10)),
}))
const excludedRows = { rows: 103, noEventTime: 3, noKnownTime: 0, pending: 0, later: 0 }

/** For each kind, an expectation that the table does not meet, and its row as a sentence. */
const samples: { [Kind in Check['check']]: [Extract<Check, { check: Kind }> & { mostly?: number }, string] } =
  {
    schema: [
      { check: 'schema', columns: { id: 'text', sold: 'flag' } },
      'id: not a text: 12, a text required',
    ],
    rows: [{ check: 'rows', min: 1_500 }, 'rows: 100 rows, at least 1,500 required'],
    rows_as_usual: [
      { check: 'rows_as_usual', minRatio: 0.5, maxRatio: 2 },
      'rows as usual: 100 rows, 0.1 of the median 1,000, at least 0.5 and at most 2 of the median required',
    ],
    fresh: [
      { check: 'fresh', withinMs: 24 * hour },
      "fresh: the newest row is 30 h old, at most 24 h allowed, the champion's rows: the newest row is 2 h old",
    ],
    unique: [
      { check: 'unique', columns: ['id'], mostly: 0.95 },
      "id: 12 % are repeated, such as `12`, at most 5 % allowed, 0 % of the champion's rows",
    ],
    complete: [
      { check: 'complete', columns: ['id', 'size'], mostly: 0.95 },
      "size: 31 % are null, at most 5 % allowed, 1 % of the champion's rows",
    ],
    not_empty: [
      { check: 'not_empty', column: 'empty' },
      "empty: no row has a value, a value in some row required, the champion's rows: some rows have a value",
    ],
    complete_when: [
      { check: 'complete_when', column: 'size', when: 'sold', is: true },
      "size, sold: 50 % are null where sold is true, such as `null, true`, none allowed, 2.5 % of the champion's rows",
    ],
    finite: [
      { check: 'finite', columns: ['age'] },
      "age: 1 % are not finite, such as `NaN`, none allowed, 0 % of the champion's rows",
    ],
    in_set: [
      { check: 'in_set', column: 'colour', values: ['red', 'blue'], mostly: 0.9 },
      "colour: 21 % are not one of red, blue, such as `purple`, at most 10 % allowed, 0 % of the champion's rows",
    ],
    between: [
      { check: 'between', column: 'size', min: 40, max: 90 },
      "size: 26.1 % are below 40 or above 90, such as `31`, none allowed, 48.5 % of the champion's rows",
    ],
    length: [
      { check: 'length', column: 'colour', max: 4 },
      "colour: 21 % are longer than 4 characters, such as `purple`, none allowed, 0 % of the champion's rows",
    ],
    matches: [
      { check: 'matches', column: 'colour', pattern: '^r' },
      "colour: 21 % do not match /^r/u, such as `purple`, none allowed, 0 % of the champion's rows",
    ],
    distinct: [
      { check: 'distinct', column: 'colour', max: 1 },
      "colour: 2 different values, at most 1 allowed, the champion's rows: 1 different values",
    ],
    mean: [
      { check: 'mean', column: 'size', min: 70, max: 80 },
      "size: the mean is 65, at least 70 and at most 80 required, the champion's rows: the mean is 50",
    ],
    std: [
      { check: 'std', column: 'id', max: 20 },
      "id: the standard deviation is 27.8459, at most 20 allowed, the champion's rows: the standard deviation is 29.0115",
    ],
    quantile: [
      { check: 'quantile', column: 'id', q: 0.5, min: 60 },
      "id: the quantile 0.5 is 49.5, at least 60 required, the champion's rows: the quantile 0.5 is 49.5",
    ],
    every_class: [
      { check: 'every_class', column: 'label', classes: [0, 1], min: 30 },
      "label: rows of each class: 0: 98, 1: 2, at least 30 of each required, the champion's rows: rows of each class: 0: 50, 1: 50",
    ],
    share: [
      { check: 'share', column: 'sold', min: 0.35, max: 0.5 },
      "sold: 62 % are true, at least 35 % and at most 50 % required, the champion's rows: 40 % are true",
    ],
    ordered: [
      { check: 'ordered', low: 'id', high: 'width' },
      "id, width: 12 % have id above width, such as `12, 0`, none allowed, 49 % of the champion's rows",
    ],
    as_trained: [
      { check: 'as_trained', column: 'age', reference: { name: 'age', kind: 'number', edges, counts } },
      "age: eight tenths of the rows lie from 10800 to 89200, the champion's range within a factor of 100 required, the champion's rows: 0 to 80",
    ],
    not_swapped: [
      { check: 'not_swapped', references: [one!, other!] },
      'not swapped: one and other: each has the values that the champion was trained on in the other, each column with its own values required',
    ],
    left_out: [
      { check: 'left_out', excludedRows },
      "_event_at: left out of 103 rows: 3 without the time of the event, none without a time allowed, the champion's rows: none of 100 rows is left out",
    ],
    no_flood: [
      { check: 'no_flood', flood },
      'colour: 19 of 21 rows from 2026-03-01T00:00Z to 2026-03-01T01:00Z are left out: colour "purple" has 21 % of the rows, elsewhere at most 2 %: a flood of one value, no value that floods some periods allowed',
    ],
    values_kept: [
      { check: 'values_kept', view: 'weather', keepMs: 48 * hour, sinceMs: at - 48 * hour },
      "values kept: 81 of 100 rows are older than the values kept, those of the feature view weather from 2026-02-27T00:00Z on (keep: 2 d), and look up nothing, none older allowed, the champion's rows: no row is older",
    ],
  }

const context = { asOfMs: at, eventAt: '_event_at', earlierRows: [1_000, 1_000, 1_000] }
const swapped = { one: column((row) => 100 + (row % 10)), other: column((row) => row % 10) }
const judge = (expectations: readonly Expectation[], of: BatchTable) =>
  judgeValidation(expectations, { ...of, columns: { ...of.columns, ...swapped } }, context).results

describe('a failed expectation becomes a row', () => {
  it.each(Object.entries(samples))('%s', (kind, [check, sentence]) => {
    const expectation = { ...check, severity: 'block' } as Expectation
    const [result] = judge([expectation], table)
    expect(result).toMatchObject({ passed: false, found: expect.stringMatching(/./) as unknown })
    const before =
      'excludedRows' in check
        ? { ...check, excludedRows: { ...excludedRows, rows: 100, noEventTime: 0 } }
        : check
    const late = { ...before, ...('sinceMs' in check && { sinceMs: 0 }) }
    const ofChampion = judge([{ ...late, severity: 'block' } as Expectation], former)
    const [row, ...more] = checkRows(withChampion([result!], ofChampion))
    expect(more).toEqual([])
    expect(row).toMatchObject({ check: kind, severity: 'failed' })
    expect(row!.required).not.toBe('')
    expect(checkSentence(row!).slice(0, sentence.length)).toBe(sentence)
    expect(checkRows(ofChampion).map(({ required }) => required)).not.toContain('')
  })

  it.each(Object.entries(samples))('of rows without its columns: %s', (_kind, [check]) => {
    for (const row of checkRows(
      judge([{ ...check, severity: 'warn' } as Expectation], { rows: 1, columns: {} }),
    ))
      expect(row).toMatchObject({
        severity: 'warning',
        observed: expect.stringMatching(/\w/) as unknown,
        required: expect.stringMatching(/\w/) as unknown,
      })
  })
})

it('warnings follow failed checks, and a message names the first failed ones', () => {
  const results = judge(
    Object.values(samples).map(([check], place) => ({ ...check, severity: place < 2 ? 'warn' : 'block' })),
    table,
  )
  const rows = checkRows(results)
  expect(rows.map(({ severity }) => severity)).toEqual([
    ...Array.from({ length: rows.length - 2 }, () => 'failed'),
    'warning',
    'warning',
  ])
  const sentences = failureSentences(results, 3)
  expect(sentences).toEqual([...rows.slice(0, 3).map(checkSentence), `and ${rows.length - 5} more`])
})

it('a number of rows stands in place of a share that rounds to nothing', () => {
  const rows = 100_000
  const size = Array.from({ length: rows }, (_, row) => (row === 7 ? null : row))
  const [result] = judgeValidation(
    [{ check: 'complete', columns: ['size'], severity: 'block' }],
    { rows, columns: { size } },
    context,
  ).results
  expect(result?.found).toBe('1 of 100,000 rows are null')
})
