/** Tests on which side of a split rows are: validation rows are taken from the training rows, and rows with one key stay together. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import type { ModelDefinition, SplitDefinition } from '../../../domain/model-definition.ts'
import { planRows, snapshotQuery } from '../../../models/define/data/query.ts'

const dayMs = 86_400_000
/** Returns key → part, for 400 rows over 40 days whose labels are known a day later. */
const partsOf = (split: SplitDefinition) =>
  withDuck(async (duck) => {
    await duck.run(`create table shaped as
      select md5(cast(n as varchar)) as _key, n % 2 as _label, n,
        timestamp '2024-01-01' + to_hours(cast(n * 2.4 as integer)) as _event_at, _event_at + interval 1 day as _known_at
      from range(400) as numbers (n)`)
    const label = { output: { kind: 'probability' } }
    const query = snapshotQuery({ split, label } as ModelDefinition, Date.parse('2024-02-10T00:00:00Z'))
    const rows = await duck.rows<{ n: bigint; part: string }>(`select n, _part as part from (${query})`)
    return new Map(rows.map(({ n, part }) => [Number(n), part]))
  })
const keysOf = (parts: Map<number, string>, part: string) =>
  [...parts].flatMap(([key, each]) => (each === part ? [key] : [])).sort((a, b) => a - b)

it.each([true, false])('by hash, stratified: %s, it is a share of all rows', async (isStratified) => {
  const split = { kind: 'hash', test: 0.25, stratified: isStratified } as const
  const [without, held] = [await partsOf(split), await partsOf({ ...split, validation: 0.1 })]
  expect(keysOf(held, 'test')).toEqual(keysOf(without, 'test'))
  expect(keysOf(held, 'validation')).toHaveLength(40)
  expect([...keysOf(held, 'validation'), ...keysOf(held, 'train')].sort((a, b) => a - b)).toEqual(
    keysOf(without, 'train'),
  )
})

it('by time it is the end of the training period, and rows whose labels were unknown at its beginning are not trained on', async () => {
  const split = { kind: 'time', trainMs: 30 * dayMs, testMs: 5 * dayMs, maturedMs: 0 } as const
  const [without, held] = [await partsOf(split), await partsOf({ ...split, validationMs: 4 * dayMs })]
  expect(keysOf(held, 'test')).toEqual(keysOf(without, 'test'))
  const [train, validation] = [keysOf(held, 'train'), keysOf(held, 'validation')]
  expect(validation.length).toBeGreaterThan(20)
  // Ten rows per day: labels of the last day before the validation became known during it.
  expect(validation[0]! - train.at(-1)!).toBeGreaterThanOrEqual(10)
  expect([...train, ...validation].every((key) => without.get(key) === 'train')).toBe(true)
})

it.each([
  // The row at the end of the test period is not known yet, and that at its start was not known then.
  ['a day later', 1, { train: [-146, -28], test: [-26, 0] }],
  ['at once', 0, { train: [-147, -28], test: [-27, 0] }],
] as const)(
  'by time, of daily rows at midnight whose labels become known %s',
  async (_when, delay, wanted) => {
    const split = { kind: 'time', trainMs: 120 * dayMs, testMs: 28 * dayMs, maturedMs: 0 } as const
    const rows = await withDuck(async (duck) => {
      // Numbered back from the last row, which has just become known.
      await duck.run(`create table shaped as
      select cast(n as varchar) as _key, 1 as _label, n,
        timestamp '2024-12-31' + to_days(cast(n as integer)) as _event_at, _event_at + to_days(${delay}) as _known_at
      from range(-200, 1) as numbers (n)`)
      const query = snapshotQuery(
        { split, label: { output: { kind: 'probability' } } } as ModelDefinition,
        Date.parse('2024-12-31T00:00:00Z') + delay * dayMs,
      )
      return duck.rows<{ part: string; first: bigint; last: bigint; rows: bigint }>(
        `select _part as part, min(n) as first, max(n) as last, count(*) as rows from (${query}) group by _part`,
      )
    })
    for (const { part, first, last, rows: count } of rows) {
      expect([part, Number(first), Number(last)]).toEqual([part, ...wanted[part as 'train' | 'test']])
      expect(Number(count)).toBe(Number(last) - Number(first) + 1)
    }
    expect(rows).toHaveLength(2)
  },
)

it.each([{}, { validationMs: 5 * dayMs }])(
  'by time, each day of each part has both classes if one becomes known later, with %o',
  async (validation) => {
    const days = await withDuck(async (duck) => {
      // Each day has a claim, which becomes known at once, and three rows without one, which become known ten days later.
      await duck.run(`create table shaped as
        select cast(n as varchar) as _key, n % 4 = 0 as _label, n // 4 as day,
          timestamp '2024-01-01' + to_days(cast(n // 4 as integer)) as _event_at,
          _event_at + to_days(case when n % 4 = 0 then 0 else 10 end) as _known_at
        from range(400) as numbers (n)`)
      const split = { kind: 'time', trainMs: 40 * dayMs, testMs: 8 * dayMs, maturedMs: 10 * dayMs } as const
      const query = snapshotQuery(
        {
          split: { ...split, ...validation },
          label: { output: { kind: 'probability' } },
        } as unknown as ModelDefinition,
        Date.parse('2024-04-01T00:00:00Z'),
      )
      return duck.rows<{ part: string; days: number; one: number; lasts: number }>(
        `select _part as part, count(distinct day) as days, count(*) filter (rows <> 4) as one, max(day) as lasts
         from (select *, count(*) over (partition by _part, day) as rows from (${query})) group by _part order by lasts`,
      )
    })
    const found = days.map(({ part, days: count, one, lasts }) => [
      part,
      Number(count),
      Number(one),
      Number(lasts),
    ])
    expect(found).toEqual(
      'validationMs' in validation
        ? [
            ['train', 35, 0, 68],
            ['validation', 5, 0, 73],
            ['test', 8, 0, 81],
          ]
        : [
            ['train', 40, 0, 73],
            ['test', 8, 0, 81],
          ],
    )
  },
)

it('by time, of 119 days of rows whose labels take 46 days, 90 days of training before 18 days of test have the first 55', async () => {
  const periods = await withDuck(async (duck) => {
    await duck.run(`create table shaped as
      select cast(n as varchar) as _key, 1 as _label, n, timestamp '2024-01-01' + to_days(cast(n as integer)) as _event_at,
        _event_at + interval 46 day as _known_at from range(1, 120) as numbers (n)`)
    const split = { kind: 'time', trainMs: 90 * dayMs, testMs: 18 * dayMs, maturedMs: 46 * dayMs } as const
    const label = { output: { kind: 'probability' } }
    const asOfMs = Date.parse('2024-01-01T00:00:00Z') + 119 * dayMs
    const query = snapshotQuery({ split, label } as ModelDefinition, asOfMs)
    return duck.rows<{ part: string; first: bigint; last: bigint }>(
      `select _part as part, min(n) as first, max(n) as last from (${query}) group by 1 order by 2`,
    )
  })
  expect(periods.map(({ part, first, last }) => [part, Number(first), Number(last)])).toEqual([
    ['train', 1, 55],
    ['test', 56, 73],
  ])
})

const someDays = (min: number, max: number) => fc.integer({ min, max })
it('by time, periods have their declared length, and labels are known where the next one begins, or with `matured` at the snapshot', async () => {
  // Three rows per 8 hours of 400 days. Labels of the two classes become known after `delay` days.
  const asOfMs = 400 * dayMs
  await withDuck((duck) =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          train: someDays(3, 120),
          test: someDays(1, 60),
          validation: fc.option(someDays(1, 2), { nil: undefined }),
          matured: someDays(0, 60),
          delay: fc.tuple(someDays(0, 70), someDays(0, 70)),
        }),
        async ({ train, test, validation, matured, delay }) => {
          await duck.run(`create or replace table shaped as
            select cast(n as varchar) as _key, n % 3 = 0 as _label, to_timestamp((n // 3) * 28800)::timestamp as _event_at,
              _event_at + to_days(case when n % 3 = 0 then ${delay[0]} else ${delay[1]} end) as _known_at
            from range(3603) as numbers (n)`)
          const split: SplitDefinition = {
            kind: 'time',
            trainMs: train * dayMs,
            testMs: test * dayMs,
            validationMs: validation === undefined ? undefined : validation * dayMs,
            maturedMs: matured * dayMs,
          }
          const definition = { split, label: { output: { kind: 'probability' } } } as ModelDefinition
          const rows = await duck.rows<{ part: string; event: number; known: number; key: string }>(
            `select _part as part, _key as key, epoch_ms(_event_at) / ${dayMs} as event, epoch_ms(_known_at) / ${dayMs} as known
             from (${snapshotQuery(definition, asOfMs)})`,
          )
          // Walks back from the newest event that is old enough.
          let end = 400 - matured
          const lengths = { test, validation, train: train - (validation ?? 0) }
          for (const [part, length] of Object.entries(lengths)) {
            if (length === undefined) continue
            const knownBy = matured === 0 ? end : 400
            const found = rows.filter((row) => row.part === part)
            expect(found.filter(({ known }) => known > knownBy)).toEqual([])
            expect(found.filter(({ event }) => event > end || event <= end - length)).toEqual([])
            // A period has all of its rows if `matured` is at least the longest delay, so no class is rarer than it is.
            if (Math.max(...delay) <= matured && end - length >= 0) expect(found).toHaveLength(length * 9)
            end -= length
          }
          // A refit has the same rows, and without `matured` those whose labels became known since.
          const refitted = await duck.rows<{ part: string; event: number; known: number; key: string }>(
            `select _part as part, _key as key, epoch_ms(_event_at) / ${dayMs} as event, epoch_ms(_known_at) / ${dayMs} as known
             from (${snapshotQuery(definition, asOfMs, { refit: 'held' })})`,
          )
          const keys = new Set(refitted.map(({ key }) => key))
          expect(rows.filter(({ key }) => !keys.has(key))).toEqual([])
          expect(
            refitted.filter(({ event, known }) => event > 400 - matured || event <= end || known > 400),
          ).toEqual([])
          const heldFrom = 400 - matured - (validation ?? 0)
          expect(
            refitted.filter(({ part, event }) => part !== (event > heldFrom ? 'validation' : 'train')),
          ).toEqual([])
          const whole = await duck.rows<{ part: string; key: string }>(
            `select _part as part, _key as key from (${snapshotQuery(definition, asOfMs, { refit: 'whole' })})`,
          )
          expect(whole.filter(({ part }) => part !== 'train')).toEqual([])
          expect(new Set(whole.map(({ key }) => key))).toEqual(keys)
          if (Math.max(...delay) <= matured && end >= 0)
            expect(refitted).toHaveLength((400 - matured - end) * 9)
        },
      ),
      { numRuns: 30 },
    ),
  )
})

/** Selects from `snapshot`: the rows of `events`, split by hash. Without a key unless one is given. */
const selectFrom = <Row extends object>(
  events: string,
  { key = [], ...split }: { test: number; stratified: boolean; validation?: number; key?: string[] },
  query: string,
) =>
  withDuck(async (duck) => {
    const definition = {
      source: { kind: 'parquet', files: {}, rows: 'select * from events', key, lookbackMs: 0 },
      features: { a: { kind: 'number' }, b: { kind: 'number' } },
      label: { column: 'late', output: { kind: 'probability' } },
      split: { kind: 'hash', ...split },
    } as unknown as ModelDefinition
    const { known, rows } = planRows(definition, { asOfMs: 0 })
    await duck.run(`create table events as ${events}`)
    return duck.rows<Row>(`with known as (${known}), shaped as (${rows}),
      snapshot as (${snapshotQuery(definition, 0)}) ${query}`)
  })

it.each([
  { what: 'rows that differ in the label alone', key: [], stratified: true },
  { what: 'rows that differ in the label alone', key: [], stratified: false },
  { what: 'rows of one key', key: ['a'], stratified: true },
  { what: 'rows of one key', key: ['a'], stratified: false },
])('$what are on one side, stratified: $stratified', async ({ key, stratified }) => {
  const sides = await selectFrom<{ sides: number }>(
    'select n % 100 as a, n % 2 as b, n % 3 = 0 and n % 100 < 40 as late from range(1200) as numbers (n)',
    { test: 0.25, validation: 0.25, stratified, key },
    'select a, count(distinct _part) as sides from snapshot group by a',
  )
  expect(sides).toHaveLength(100)
  expect(sides.filter(({ sides: count }) => Number(count) !== 1)).toEqual([])
})

/** Returns the rows and positives of each part, split by hash of the key `a`. */
const countsOf = (events: string, split: { test: number; stratified: boolean }) =>
  selectFrom<{ part: string; rows: number; positives: number }>(
    events,
    { ...split, key: ['a'] },
    'select _part as part, count(*) as rows, sum(_label) as positives from snapshot group by 1 order by 1',
  )

it('the test part of few keys is not empty', async () => {
  const parts = await countsOf(
    'select n % 3 as a, 0 as b, n % 2 = 0 as late from range(300) as numbers (n)',
    {
      test: 0.1,
      stratified: false,
    },
  )
  expect(parts.map(({ part, rows }) => [part, Number(rows)])).toEqual([
    ['test', 100],
    ['train', 200],
  ])
})

it('keys with a few rows of a rare class are stratified by it', async () => {
  const parts = await countsOf(
    'select n // 20 as a, 0 as b, n // 20 % 100 = 0 and n % 20 < 2 as late from range(20000) as numbers (n)',
    { test: 0.2, stratified: true },
  )
  expect(parts.map(({ part, positives }) => [part, Number(positives)])).toEqual([
    ['test', 4],
    ['train', 16],
  ])
})

it('columns of the source with the names of the query are kept', async () => {
  const names = ['place', 'keys', 'class', 'side', 'n']
  const parts = await countsOf(
    `select n as a, 0 as b, n % 2 = 0 as late, ${names.map((name) => `7 as ${name}`)} from range(400) as numbers (n)`,
    { test: 0.25, stratified: true },
  )
  expect(parts.map(({ rows }) => Number(rows))).toEqual([100, 300])
})

it('a sample of rows that differ in the label alone does not depend on the order in which they are stored', async () => {
  const samples = await Promise.all(
    ['n', '-n'].map((order) =>
      withDuck(async (duck) => {
        await duck.run(`create table shaped as select * from (
          select md5(cast(n % 50 as varchar)) as _key, n % 3 % 2 as _label,
            timestamp '2024-01-01' as _event_at, timestamp '2024-01-01' as _known_at
          from range(400) as numbers (n) order by ${order})`)
        const split = { kind: 'time', trainMs: 90 * dayMs, testMs: dayMs, maturedMs: 0, maxTrain: 101 }
        const label = { output: { kind: 'probability' } }
        const query = snapshotQuery({ split, label } as ModelDefinition, Date.parse('2024-02-10T00:00:00Z'))
        return duck.rows<{ positives: number }>(`select sum(_label) as positives from (${query})`)
      }),
    ),
  )
  expect(samples[0]).toEqual(samples[1])
})
