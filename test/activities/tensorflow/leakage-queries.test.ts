/** Tests label leakage queries on snapshots with the real DuckDB. */
import { expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { findLeaks } from '../../../activities/tensorflow/leakage-queries.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'

const definition = {
  source: { key: ['id'] },
  features: { size: { kind: 'number' }, colour: { kind: 'category' } },
  label: { column: 'late', output: { kind: 'probability', positive: 'late', threshold: 0.5 }, knownAt: 'k' },
  split: { kind: 'hash', test: 0.5, stratified: false },
  evaluation: { entity: 'the "plane"' },
} as unknown as ModelDefinition

/** Rows of [key, plane, part, event, known, size, label]. */
type Fact = [string, string | null, 'train' | 'test', number, number, number | null, 0 | 1]

const leaks = (facts: Fact[], of = definition) =>
  withDuck(async (duck) => {
    const rows = facts.map(([key, plane, part, event, known, size, label]) => {
      const name = plane === null ? 'null' : `'${plane}'`
      return `('${key}', ${name}, '${part}', ${event}, ${known}, ${size ?? 'null'}, ${label})`
    })
    await duck.run(`create table snapshot (_key varchar, "the ""plane""" varchar, _part varchar,
      _event_at bigint, _known_at bigint, size double, _label double)`)
    await duck.run(`insert into snapshot values ${rows.join(', ')}`)
    return findLeaks(duck, of)
  })

it('leakage queries report nothing for clean data', async () => {
  expect(
    await leaks([
      ['a', 'p1', 'train', 1, 2, 1, 0],
      ['b', 'p2', 'test', 1, 2, 5, 1],
      ['c', 'p2', 'test', 1, 2, 5, 0],
    ]),
  ).toEqual({
    rowOverlap: 0,
    entityOverlap: 0,
    labelNotAfterFeature: 0,
    featureAuc: [{ feature: 'size', auc: 0.5 }],
  })
})

it('leakage queries report shared rows, shared entities, labels of the same moment and a number that reveals the label', async () => {
  expect(
    await leaks([
      ['a', 'p1', 'train', 1, 1, 1, 0],
      ['a', 'p1', 'test', 1, 2, 9, 0],
      // One of two tested planes was in the training data; rows without an entity do not count.
      ['b', 'p2', 'test', 3, 2, 2, 1],
      ['c', 'p2', 'test', 1, 2, null, 0],
      ['d', null, 'test', 1, 2, 1, 1],
    ]),
  ).toEqual({
    rowOverlap: 0.25,
    entityOverlap: 0.5,
    labelNotAfterFeature: 2,
    featureAuc: [{ feature: 'size', auc: 1 }],
  })
})

it('leakage queries count the different test rows of a split without a key, when most have an equal one', async () => {
  const of = { ...definition, source: { key: [] as string[] } } as unknown as ModelDefinition
  const rows = (...keys: string[]) => keys.map((key): Fact => [key, null, 'test', 1, 2, 1, 0])
  expect(await leaks(rows('a', 'a', 'a', 'b', 'b'), of)).toMatchObject({ differentRows: 2 })
  const absent = { differentRows: expect.anything() }
  expect(await leaks(rows('a', 'a', 'b', 'c'), of)).not.toMatchObject(absent)
  expect(await leaks(rows('a', 'a', 'a', 'b', 'b'))).not.toMatchObject(absent)
  const split = { kind: 'time', trainMs: 1, testMs: 1, maturedMs: 0 } as const
  expect(await leaks(rows('a', 'a', 'a'), { ...of, split })).not.toMatchObject(absent)
})

it('leakage queries accept the same entities before and after a moment', async () => {
  const split = { kind: 'time', trainMs: 1, testMs: 1, maturedMs: 0 } as const
  const facts: Fact[] = [
    ['a', 'p1', 'train', 1, 2, 1, 0],
    ['b', 'p1', 'test', 3, 4, 1, 1],
  ]
  expect(await leaks(facts, { ...definition, split })).not.toMatchObject({ entityOverlap: expect.anything() })
})
