/** Tests label leakage queries on snapshots with the real DuckDB. */
import { expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { findLeaks } from '../../../activities/evaluation/leakage-queries.ts'
import { seededRandom } from '@tenure/sequential'
import type { ModelDefinition } from '../../../domain/model-definition.ts'

const definition = {
  source: { key: ['id'] },
  features: { size: { kind: 'number' }, colour: { kind: 'category' } },
  label: { column: 'late', output: { kind: 'probability', positive: 'late', threshold: 0.5 }, knownAt: 'k' },
  split: { kind: 'hash', test: 0.5, stratified: false },
  evaluation: { entity: 'the "plane"' },
} as unknown as ModelDefinition

/** Rows of [key, plane, part, event, known, size, label, colour]. */
type Fact = [
  key: string,
  plane: string | null,
  part: 'train' | 'test',
  event: number,
  known: number,
  size: number | null,
  label: number | string,
  colour?: string | null,
]

const leaks = (facts: Fact[], of = definition, category = 'colour') =>
  withDuck(async (duck) => {
    const text = (value: number | string | null) => (typeof value === 'string' ? `'${value}'` : String(value))
    const rows = facts.map(
      ([key, plane, part, event, known, size, label, colour = 'red']) =>
        `(${[key, plane, part, event, known, size, label, colour].map(text).join(', ')})`,
    )
    const ofLabel = of.label.output.kind === 'classes' ? 'varchar' : 'double'
    await duck.run(`create table snapshot (_key varchar, "the ""plane""" varchar, _part varchar,
      _event_at bigint, _known_at bigint, size double, _label ${ofLabel}, "${category}" varchar)`)
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
    featureAuc: [
      { feature: 'size', auc: 0.5 },
      { feature: 'colour', auc: null },
    ],
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
  ).toMatchObject({
    rowOverlap: 0.25,
    entityOverlap: 0.5,
    labelNotAfterFeature: 2,
    featureAuc: [
      { feature: 'size', auc: 1 },
      { feature: 'colour', auc: null },
      { feature: 'size', auc: null, ofMissing: true },
    ],
  })
})

it('leakage queries find rows that are there again under other keys, also where a conversion has changed the last digits', async () => {
  const random = seededRandom(5)
  const rows = Array.from({ length: 300 }, () => ({ size: random() * 100, label: random() < 0.5 ? 1 : 0 }))
  const twice = (changed: (size: number) => number) =>
    leaks(
      rows.flatMap(({ size, label }, at): Fact[] => [
        [`a${at}`, null, at % 3 ? 'train' : 'test', 1, 2, size, label],
        [`b${at}`, null, at % 4 ? 'train' : 'test', 1, 2, changed(size), label],
      ]),
    )
  const { equalRows } = await twice((size) => size)
  expect(equalRows).toMatchObject({ isCopied: true, withLabel: equalRows!.features })
  expect(equalRows!.features).toBeGreaterThan(0.6)
  const { equalRows: rounded } = await twice((size) => size * (1 + 1e-9))
  expect(rounded).toMatchObject({ isCopied: true, isRounded: true })
  const { equalRows: others } = await twice(() => random() * 100)
  expect(others).toBeUndefined()
})

it('leakage queries find a class that has another share in the test rows of a split by time', async () => {
  const split = { kind: 'time', trainMs: 1, testMs: 1, maturedMs: 0 }
  const of = { ...definition, split } as unknown as ModelDefinition
  const part = (name: 'train' | 'test', rows: number, positive: number) =>
    Array.from({ length: rows }, (_, i): Fact => [`${name}${i}`, null, name, 1, 2, 1, i < positive ? 1 : 0])
  const shiftOf = async (train: number, test: number, as = of) =>
    (await leaks([...part('train', 400, train), ...part('test', 100, test)], as)).classShift
  expect(await shiftOf(20, 40)).toEqual({ label: 1, train: 0.05, test: 0.4 })
  expect(await shiftOf(200, 95)).toEqual({ label: 0, train: 0.5, test: 0.05 })
  // Less than twice the share, and a difference that may be chance.
  expect(await shiftOf(200, 70)).toBeUndefined()
  expect(await shiftOf(4, 4)).toBeUndefined()
  expect(await shiftOf(20, 40, definition)).toBeUndefined()
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

/** 200 training and 200 test rows, of which a third is positive. */
const facts = (
  of: (row: { late: boolean; random: () => number; key: number }) => Partial<Record<number, unknown>>,
) => {
  const random = seededRandom(7)
  return Array.from({ length: 400 }, (_, key) => {
    const late = random() < 1 / 3
    const fact = [`${key}`, null, key % 2 ? 'train' : 'test', 1, 2, random(), late ? 1 : 0, 'red']
    return Object.assign(fact, of({ late, random, key })) as Fact
  })
}

it('leakage queries find a category, and missing values, that reveal the label', async () => {
  const status = facts(({ late, random }) => ({ 7: late ? (random() < 0.5 ? 'late' : null) : 'on time' }))
  expect(await leaks(status)).toMatchObject({
    featureAuc: [{ feature: 'size' }, { feature: 'colour', auc: 1 }],
  })
  const missing = facts(({ late, random }) => ({ 5: late ? random() : null }))
  expect(await leaks(missing)).toMatchObject({
    featureAuc: [{ feature: 'size' }, { feature: 'colour' }, { feature: 'size', auc: 1, ofMissing: true }],
  })
})

it('leakage queries do not take a name that occurs once, or rarely, for a leak', async () => {
  const names = await leaks(facts(({ key }) => ({ 7: `name ${key}` })))
  expect(names.featureAuc![1]).toEqual({ feature: 'colour', auc: 0.5 })
  const rare = await leaks(facts(({ key }) => ({ 7: `name ${key % 90}` })))
  expect(rare.featureAuc![1]!.auc).toBeLessThan(0.6)
})

it('leakage queries compare a category with classes and with numbers', async () => {
  const classes = ['a', 'b', 'c']
  const label = { ...definition.label, output: { kind: 'classes', classes } } as ModelDefinition['label']
  const of = (colours: string[]) => facts(({ key }) => ({ 6: classes[key % 3], 7: colours[key % 3] }))
  const known = await leaks(of(['x', 'y', 'z']), { ...definition, label })
  expect(known.featureAuc![1]).toEqual({ feature: 'colour', auc: 1 })
  // It separates one class only.
  const partly = await leaks(of(['x', 'y', 'y']), { ...definition, label })
  expect(partly.featureAuc![1]).toEqual({ feature: 'colour', auc: 0.5 })
  const number = { ...definition.label, output: { kind: 'number' } } as ModelDefinition['label']
  const bands = facts(({ random }) => {
    const price = random() * 100
    return { 6: price, 7: `band ${Math.floor(price / 4)}` }
  })
  const { featureCorrelation } = await leaks(bands, { ...definition, label: number })
  expect(featureCorrelation![1]).toMatchObject({ feature: 'colour' })
  expect(featureCorrelation![1]!.correlation).toBeGreaterThan(0.99)
})

it('leakage queries accept columns with the names that the queries use', async () => {
  for (const name of ['value', 'place', 'label', 'rows', 'n0', 'score', 'mean', 'y']) {
    const features = { [name]: { kind: 'category' } } as const
    const rows = facts(({ late }) => ({ 7: late ? 'late' : 'on time' }))
    const found = await leaks(rows, { ...definition, features }, name)
    expect(found.featureAuc).toEqual([{ feature: name, auc: 1 }])
    const label = { ...definition.label, output: { kind: 'number' } } as ModelDefinition['label']
    const { featureCorrelation } = await leaks(rows, { ...definition, label, features }, name)
    expect(featureCorrelation).toMatchObject([{ feature: name, correlation: expect.closeTo(1, 6) }])
  }
})
