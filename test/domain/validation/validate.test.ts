import { describe, expect, it } from 'vitest'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import type {
  BatchCell,
  Check,
  Expectation,
  ExpectationContext,
  BatchTable,
} from '../../../domain/validation/expectations.ts'
import { impliedExpectations, judgeValidation } from '../../../domain/validation/validate.ts'

const noon = Date.parse('2024-05-01T12:00:00Z')
const hour = 3_600_000
const table: BatchTable = {
  rows: 5,
  columns: {
    id: [1, 2, 3, 4, 4],
    size: [1, 2, 3, 4, 10],
    age: [10, null, 30, null, 50],
    bad: [1, NaN, Infinity, 2, 3],
    colour: ['red', 'blue', 'red', 'grün', null],
    plate: ['B-1', 'B-22', 'x', 'B-3', 'B-4'],
    sold: [true, true, false, false, true],
    price: [5, 6, null, 7, null],
    empty: [null, null, null, null, null],
    left: ['2026-01-01 00:00:00+00', '2026-01-01T00:00:00-05:00', '08:00:00', '2026-01-01', 'soon'],
    came: ['2026-01-01 00:00:01+00', '2026-01-01T04:00:00Z', '08:00:01.5', 'late', '2026-01-01'],
    from: ['2026-03-01', '2026-03-02', '2026-03-03', '2026-03-04', null],
    until: ['2026-03-01 00:00:00.5', '2026-03-02', noon * 2, '2026-03-03 23:59:59.999999', '2026-03-01'],
    _event_at: [noon, noon - hour, noon - 2 * hour, noon - 3 * hour, noon - 4 * hour],
    _known_at: [noon, noon, noon, noon, noon - 5 * hour],
    _label: [0, 1, 0, 1, 1],
  },
}
const context: ExpectationContext = { asOfMs: noon + hour, eventAt: '_event_at', earlierRows: [5, 4, 6, 5] }

const judge = (check: Check, more: Partial<Expectation> = {}, on = table, within = context) => {
  const { results } = judgeValidation([{ ...check, severity: 'block', ...more } as Expectation], on, within)
  const [result] = results
  if (result === undefined) throw new Error('an expectation has a result')
  return result
}

describe('an expectation of single rows', () => {
  it.each<[string, Check, number | null, boolean]>([
    ['unique', { check: 'unique', columns: ['id'] }, 4 / 5, false],
    ['unique together', { check: 'unique', columns: ['id', 'size'] }, 1, true],
    ['complete', { check: 'complete', columns: ['age'] }, 3 / 5, false],
    ['complete, where NaN is nothing', { check: 'complete', columns: ['bad'] }, 4 / 5, false],
    ['complete when', { check: 'complete_when', column: 'price', when: 'sold', is: true }, 2 / 3, false],
    [
      'complete when, never so',
      { check: 'complete_when', column: 'price', when: 'colour', is: 'pink' },
      null,
      true,
    ],
    ['finite', { check: 'finite', columns: ['bad'] }, 3 / 5, false],
    ['finite, missing ones aside', { check: 'finite', columns: ['age'] }, 1, true],
    ['in set', { check: 'in_set', column: 'colour', values: ['red', 'blue'] }, 3 / 4, false],
    ['between', { check: 'between', column: 'size', min: 2, max: 4 }, 3 / 5, false],
    ['between, missing ones aside', { check: 'between', column: 'age', min: 10, max: 50 }, 1, true],
    ['between, NaN is outside', { check: 'between', column: 'bad', min: -1e9 }, 4 / 5, false],
    ['length in characters', { check: 'length', column: 'colour', max: 4 }, 1, true],
    ['matches', { check: 'matches', column: 'plate', pattern: '^B-\\d+$' }, 4 / 5, false],
    [
      'matches, whatever the case',
      { check: 'matches', column: 'plate', pattern: '^b-\\d+$', flags: 'i' },
      4 / 5,
      false,
    ],
    [
      'matches, as JavaScript does',
      { check: 'matches', column: 'plate', pattern: '^B\\-\\d+$', flags: '' },
      4 / 5,
      false,
    ],
    ['ordered', { check: 'ordered', low: '_event_at', high: '_known_at' }, 4 / 5, false],
    ['ordered dates and times', { check: 'ordered', low: 'from', high: 'until' }, 3 / 4, false],
    ['ordered times of zones', { check: 'ordered', low: 'left', high: 'came' }, 2 / 5, false],
    ['ordered, missing ones aside', { check: 'ordered', low: 'size', high: 'price' }, 1, true],
    ['nothing to test', { check: 'between', column: 'empty', min: 0 }, null, false],
    ['no such column', { check: 'matches', column: 'wings', pattern: '.' }, null, false],
  ])('%s', (_name, check, observed, passed) => {
    const result = judge(check)
    expect(result).toMatchObject({ passed, check: check.check })
    if (observed === null) expect(result.observed).toBeNull()
    else expect(result.observed).toBeCloseTo(observed, 12)
  })

  it('passes from its share on, and reports how many rows failed and which', () => {
    const check: Check = { check: 'in_set', column: 'colour', values: ['red', 'blue'] }
    expect(judge(check, { mostly: 0.75 })).toMatchObject({ passed: true, failing: 1, examples: ['grün'] })
    expect(judge(check, { mostly: 0.76 })).toMatchObject({
      passed: false,
      message: '3 of 4 rows comply: 75 % < 76 %, such as `grün`: write one of red, blue',
      subject: 'colour',
    })
  })

  it('shows no row without a value as an example of a value', () => {
    const some: BatchTable = {
      rows: 4,
      columns: { size: [null, 1, null, null], colour: ['red', null, null, 'blue'] },
    }
    expect(judge({ check: 'complete', columns: ['size'] }, {}, some)).not.toHaveProperty('examples')
    expect(judge({ check: 'complete', columns: ['size', 'colour'] }, {}, some)).toMatchObject({
      failing: 4,
      examples: ['null, red', '1, null', 'null, blue'],
    })
  })

  it('keeps a few examples only', () => {
    const many: BatchTable = { rows: 100, columns: { size: Array.from({ length: 100 }, (_, row) => row) } }
    expect(judge({ check: 'between', column: 'size', max: -1 }, {}, many)).toMatchObject({
      failing: 100,
      examples: ['0', '1', '2', '3', '4'],
    })
  })
})

describe('an expectation of the batch', () => {
  it.each<[string, Check, number | null, boolean]>([
    ['rows', { check: 'rows', min: 5, max: 5 }, 5, true],
    ['too few rows', { check: 'rows', min: 6 }, 5, false],
    ['as many rows as usual', { check: 'rows_as_usual', minRatio: 0.9, maxRatio: 1.1 }, 1, true],
    ['more rows than usual', { check: 'rows_as_usual', minRatio: 0.5, maxRatio: 0.9 }, 1, false],
    ['fresh', { check: 'fresh', withinMs: hour }, hour, true],
    ['stale', { check: 'fresh', withinMs: hour - 1 }, hour, false],
    ['distinct', { check: 'distinct', column: 'colour', min: 3, max: 3 }, 3, true],
    ['mean', { check: 'mean', column: 'size', min: 4, max: 4 }, 4, true],
    ['mean of what is there', { check: 'mean', column: 'age', min: 30, max: 30 }, 30, true],
    [
      'sample deviation',
      { check: 'std', column: 'size', min: 3.5355339, max: 3.535534 },
      Math.sqrt(12.5),
      true,
    ],
    ['quantile (type 7)', { check: 'quantile', column: 'size', q: 0.9, max: 7.61 }, 7.6, true],
    ['share of a flag', { check: 'share', column: 'sold', max: 0.5 }, 0.6, false],
    ['share of a label', { check: 'share', column: '_label', min: 0.6 }, 0.6, true],
    ['every class', { check: 'every_class', column: '_label', classes: [0, 1], min: 2 }, 2, true],
    [
      'a class that is not there',
      { check: 'every_class', column: '_label', classes: [0, 1, 2], min: 1 },
      0,
      false,
    ],
    ['mean of nothing', { check: 'mean', column: 'empty', min: 0 }, null, false],
    ['deviation of nothing', { check: 'std', column: 'empty', min: 0 }, null, false],
    ['quantile of nothing', { check: 'quantile', column: 'empty', q: 0.5 }, null, false],
    ['share of nothing', { check: 'share', column: 'empty' }, null, false],
    ['distinct of no column', { check: 'distinct', column: 'wings' }, null, false],
    ['mean of no column', { check: 'mean', column: 'wings' }, null, false],
    ['deviation of no column', { check: 'std', column: 'wings' }, null, false],
    ['quantile of no column', { check: 'quantile', column: 'wings', q: 0.5 }, null, false],
    ['share of no column', { check: 'share', column: 'wings' }, null, false],
    ['classes of no column', { check: 'every_class', column: 'wings', classes: ['a'], min: 1 }, null, false],
  ])('%s', (_name, check, observed, passed) => {
    const result = judge(check)
    expect(result.passed).toBe(passed)
    if (observed === null) expect(result.observed).toBeNull()
    else expect(result.observed).toBeCloseTo(observed, 9)
  })

  it('of fresh rows fails where no row has a time', () =>
    expect(
      judge({ check: 'fresh', withinMs: hour }, {}, { rows: 1, columns: { _event_at: [null] } }).passed,
    ).toBe(false))

  it('of the usual number of rows requires three snapshots, and reports it', () =>
    expect(
      judge({ check: 'rows_as_usual', minRatio: 0.9, maxRatio: 1.1 }, {}, table, {
        ...context,
        earlierRows: [9, 9],
      }),
    ).toMatchObject({
      passed: true,
      observed: null,
      message: '2 earlier snapshots are too few to compare with',
    }))

  it('of the columns names each that is missing or of another kind', () => {
    const columns = {
      size: 'number',
      colour: 'text',
      sold: 'flag',
      _event_at: 'time',
      plate: 'number',
      wings: 'text',
    } as const
    expect(judge({ check: 'schema', columns })).toMatchObject({
      passed: false,
      observed: 4,
      message: 'plate is not a number: B-1; wings is missing',
    })
  })

  it('of an unknown kind never passes', () =>
    expect(judge({ check: 'phase_of_moon' } as unknown as Check)).toMatchObject({
      passed: false,
      message: 'this build does not know the check phase_of_moon',
    }))
})

describe('a validation', () => {
  const right: Expectation = { check: 'rows', min: 1, severity: 'block' }
  const wrong: Expectation = { check: 'rows', min: 9, severity: 'block' }
  const verdict = (expectations: Expectation[], rows = table) =>
    judgeValidation(expectations, rows, context).verdict

  it('passes, warns or blocks by the most severe failure', () => {
    expect(verdict([right])).toBe('pass')
    expect(verdict([right, { ...wrong, severity: 'warn' }])).toBe('warn')
    expect(verdict([{ ...wrong, severity: 'warn' }, wrong])).toBe('block')
  })

  it('without rows or without expectations blocks', () => {
    const none: BatchTable = { rows: 0, columns: { size: [] as BatchCell[] } }
    expect(verdict([{ check: 'rows', max: 5, severity: 'warn' }], none)).toBe('block')
    expect(verdict([])).toBe('block')
  })
})

describe('the expectations derived from features', () => {
  const definition = {
    features: {
      size: { kind: 'number' },
      age: { kind: 'number', missing: 'fill' },
      colour: { kind: 'category', values: ['red', 'blue'] },
      plate: { kind: 'category' },
      note: { kind: 'text', maxLength: 20 },
      embedding: { kind: 'vector', length: 2 },
      scan: { kind: 'image', maxBytes: 60 },
    },
    label: { column: 'sold', output: { kind: 'probability', positive: 'sold', threshold: 0.5 } },
  } as unknown as ModelDefinition
  const gif = 'R0lGODlhAQABAIAAAMLCwgAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=='
  const clean: BatchTable = {
    rows: 2,
    columns: {
      size: [1, 2],
      age: [null, 2],
      colour: ['red', 'blue'],
      plate: ['a', 'b'],
      note: ['as new', 'one owner'],
      embedding: ['[1, 2.5]', '[-1e3,0]'],
      scan: [gif, gif],
      _label: [0, 1],
    },
  }
  const verdict = (columns: Record<string, BatchCell[]>) =>
    judgeValidation(
      impliedExpectations(definition),
      { rows: 2, columns: { ...clean.columns, ...columns } },
      context,
    )

  it('accept what the API accepts', () => expect(verdict({}).verdict).toBe('pass'))
  it.each<[string, Record<string, BatchCell[]>, string]>([
    ['a text for a number', { size: ['1', '2'] }, 'schema'],
    ['a missing value that is not filled in', { size: [1, null] }, 'complete'],
    ['an infinite number', { age: [Infinity, 1] }, 'finite'],
    ['a value that is not declared', { colour: ['red', 'pink'] }, 'in_set'],
    ['a text that is too long', { note: ['as new', 'x'.repeat(21)] }, 'length'],
    ['a vector of another length', { embedding: ['[1, 2]', '[1, 2, 3]'] }, 'matches'],
    ['a large image', { scan: [gif, gif + 'AAAA'.repeat(20)] }, 'length'],
    ['a text for an image', { scan: [gif, 'scan.gif'] }, 'matches'],
    ['one class alone', { _label: [1, 1] }, 'every_class'],
    ['a missing label', { _label: [1, null] }, 'complete'],
  ])('blocks %s', (_name, columns, check) => {
    const { verdict: found, results } = verdict(columns)
    expect(found).toBe('block')
    expect(results.filter(({ passed }) => !passed).map((result) => result.check)).toContain(check)
  })

  it('warn of a number that may be missing and is so in every row', () => {
    const { verdict: found, results } = verdict({ age: [null, null] })
    expect(found).toBe('warn')
    expect(results.filter(({ passed }) => !passed)).toMatchObject([
      {
        check: 'not_empty',
        subject: 'age',
        message: 'no row of 2 has a value: check the source of this feature',
      },
    ])
  })

  it.each([
    ['a negative weight', { trust: [1, -1] }, 'between'],
    ['a missing weight', { trust: [1, null] }, 'complete'],
    ['no column of weights', {}, 'complete'],
  ])('blocks %s', (_name, columns, check) => {
    const expected = impliedExpectations({ ...definition, weights: { column: 'trust' } })
    const own = expected.filter((each) => JSON.stringify(each).includes('trust'))
    const { verdict: found, results } = judgeValidation(
      own,
      { rows: 2, columns },
      { asOfMs: 0, eventAt: '', earlierRows: [] },
    )
    expect(found).toBe('block')
    expect(results.filter(({ passed }) => !passed).map((result) => result.check)).toContain(check)
  })

  it('include classes and numbers', () => {
    const label = (output: object): ModelDefinition =>
      ({ ...definition, label: { column: 'sold', output } }) as ModelDefinition
    const checks = (output: object) => impliedExpectations(label(output)).map(({ check }) => check)
    expect(checks({ kind: 'classes', classes: ['a', 'b'] }).at(-1)).toBe('in_set')
    expect(checks({ kind: 'number' }).at(-1)).toBe('finite')
    const limited = { kind: 'numbers', names: ['a', 'b'], max: 10 }
    expect(impliedExpectations(label(limited)).slice(-2)).toMatchObject([
      { check: 'between', column: '_label', max: 10, severity: 'block' },
      { check: 'between', column: '_label_2', max: 10 },
    ])
  })
})
