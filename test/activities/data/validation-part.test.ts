/** Tests on which side of a split rows are: validation rows are taken from the training rows, and rows with one key stay together. */
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
    const query = snapshotQuery({ split } as ModelDefinition, Date.parse('2024-02-10T00:00:00Z'))
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
  { what: 'rows that differ in the label alone', key: [], stratified: true },
  { what: 'rows that differ in the label alone', key: [], stratified: false },
  { what: 'rows of one key', key: ['a'], stratified: true },
  { what: 'rows of one key', key: ['a'], stratified: false },
])('$what are on one side, stratified: $stratified', async ({ key, stratified }) => {
  const definition = {
    source: { kind: 'parquet', files: {}, rows: 'select * from events', key, lookbackMs: 0 },
    features: { a: { kind: 'number' }, b: { kind: 'number' } },
    label: { column: 'late', output: { kind: 'probability' } },
    split: { kind: 'hash', test: 0.25, validation: 0.25, stratified },
  } as unknown as ModelDefinition
  const { known, rows } = planRows(definition, { asOfMs: 0 })
  const sides = await withDuck(async (duck) => {
    await duck.run(`create table events as
      select n % 100 as a, n % 2 as b, n % 3 = 0 and n % 100 < 40 as late from range(1200) as numbers (n)`)
    const query = `with known as (${known}), shaped as (${rows}) ${snapshotQuery(definition, 0)}`
    return duck.rows<{ a: number; sides: number }>(
      `select a, count(distinct _part) as sides from (${query}) group by a`,
    )
  })
  expect(sides).toHaveLength(100)
  expect(sides.filter(({ sides: count }) => Number(count) !== 1)).toEqual([])
})
