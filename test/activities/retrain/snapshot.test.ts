import { textLiteral } from '../../../domain/sql-text.ts'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { readPart } from '../../../activities/data/rows.ts'
import { listCells, rowReader } from '../../../domain/model/columns.ts'
import { judgeSnapshot } from '../../../activities/retrain/judge-snapshot.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { staysIn, type FloodPolicy } from '../../../domain/validation/floods.ts'
import {
  byTime,
  category,
  csv,
  defineModel,
  direct,
  number,
  parquet,
  random,
  yesNo,
} from '../../../models/define.ts'
import { flightDelay } from '../../../models/flight-delay.ts'
import { iris } from '../../../models/iris.ts'
import { loadModel } from '../../../models/index.ts'
import { openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import {
  exampleDay,
  insertExampleRows,
  exampleModelDirectory,
  syncExampleModel,
} from '../../support/training/example-model.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let root: string
let artifacts: Artifacts
let store: Store
let roses: ModelDefinition
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-snapshot-'))
  artifacts = openArtifacts(root)
  store = openPatientStore(await migratedDatabase())
  const directory = await exampleModelDirectory()
  await syncExampleModel(store, directory)
  roses = (await loadModel('roses', directory)).definition
  await insertExampleRows(store, { from: 0, to: 40 })
})
afterAll(async () => {
  await store.close()
  await rm(root, { recursive: true })
})

const take = (definition: ModelDefinition, asOf: string) =>
  writeSnapshot({ definition, asOf, store, artifacts })
const look = async <T extends object>(digest: string, query: string): Promise<T[]> => {
  const path = await artifacts.locate('snapshots', digest)
  return withDuck((duck) => duck.rows<T>(query.replaceAll('snapshot', textLiteral(path))))
}

describe('a CSV with ids and subjects', () => {
  const file = `.tenure/people-${process.pid}.csv`
  beforeAll(() => mkdir('.tenure', { recursive: true }))
  afterAll(() => rm(file, { force: true }))
  const snapshotOf = async (ids: readonly string[], erased: readonly string[] = []) => {
    const lines = ids.flatMap((id, at) => [0, 1, 2].map((k) => `${id},${at + k},${(at + k) % 2}`))
    await writeFile(file, `person,size,late\n${lines.join('\n')}\n`)
    const { definition } = defineModel({
      name: 'roses',
      features: { size: number() },
      label: yesNo({ column: 'late', positive: 'late' }),
      source: csv(file, { key: ['person', 'size'] }),
      split: random({ test: 0.3 }),
      subject: 'person',
      evaluation: { floors: { auc: 0.5 } },
      release: direct(),
    })
    await store.query(sql`delete from erasures`)
    for (const [at, person] of erased.entries())
      await store.query(sql`
        insert into erasures (id, model, subject_hash, key_digest, requested_by)
        values (${`ers_${at}`}, 'roses', subject_hash_of('k', ${person}), 'd', 'test')`)
    const subjectKey = { key: 'k', digest: 'd', hashOf: (subject: string) => subject }
    const { digest, columns } = await writeSnapshot({
      definition,
      asOf: exampleDay(0),
      store,
      artifacts,
      subjectKey,
    })
    const people = await look<{ person: unknown }>(
      digest,
      'select distinct person::varchar as person from snapshot order by 1',
    )
    return { type: columns['person'], people: people.map(({ person }) => person) }
  }
  const numbered = (text: (at: number) => string) => Array.from({ length: 20 }, (_, at) => text(at))

  it.each<[string, string[]]>([
    ['decimals', numbered((at) => `${1000 + at}.50`)],
    ['numbers of 20 digits', numbered((at) => `100000000000000010${String(at).padStart(2, '0')}`)],
    ['padded numbers', numbered((at) => String(at).padStart(4, '0'))],
    ['numbers of other bases', numbered((at) => `0x3${at.toString(16).padStart(2, '0')}`)],
    ['exponents', numbered((at) => `1${at}e3`)],
  ])('keeps %s as they are written, and finds an erased one', async (_name, ids) => {
    const { type, people } = await snapshotOf(ids, [ids[1]!])
    expect(type).toBe('VARCHAR')
    expect(people).toEqual(ids.filter((_, at) => at !== 1).toSorted())
  })

  it.each<[string, string, string[]]>([
    ['whole numbers', 'BIGINT', numbered((at) => String(1000 + at))],
    ['dates', 'DATE', numbered((at) => `2026-03-${String(at + 1).padStart(2, '0')}`)],
  ])('reads %s with their type, and finds an erased one', async (_name, type, ids) => {
    const found = await snapshotOf(ids, [ids[1]!])
    expect(found.type).toBe(type)
    expect(found.people).toEqual(ids.filter((_, at) => at !== 1).toSorted())
  })
})

describe('a snapshot', () => {
  it('of the same rows has the same digest', async () => {
    const [first, second] = [
      await take(iris.definition, exampleDay(0)),
      await take(iris.definition, exampleDay(9)),
    ]
    expect(second).toEqual(first)
    expect(first.parts).toEqual({ train: 105, test: 45 })
  })

  it('keeps identical rows on one side of the split, and every class on both sides', async () => {
    const { digest } = await take(iris.definition, exampleDay(0))
    expect(
      await look(digest, 'select _key from snapshot group by _key having count(distinct _part) > 1'),
    ).toEqual([])
    const classes = await look(
      digest,
      'select _part, species, count(*) as n from snapshot group by all order by all',
    )
    expect(classes.map((each) => Object.values(each))).toEqual(
      ['test', 'train'].flatMap((part) =>
        ['setosa', 'versicolor', 'virginica'].map((species) => [part, species, part === 'test' ? 15 : 35]),
      ),
    )
  })

  it('of Postgres has the types that the features declare, in UTC', async () => {
    const { digest, columns } = await take(roses, exampleDay(35))
    expect(columns).toMatchObject({
      size: 'DOUBLE',
      colour: 'VARCHAR',
      age: 'DOUBLE',
      _label: 'DOUBLE',
      _event_at: 'TIMESTAMP',
      _known_at: 'TIMESTAMP',
      id: 'BIGINT',
      blooms: 'BOOLEAN',
    })
    const rose = (await look<Record<string, unknown>>(digest, 'select * from snapshot where id = 600'))[0]
    const [row] = await store.query<{ size: number; age: string | null; blooms: boolean; planted_at: Date }>(
      sql`select * from roses where id = 600`,
    )
    expect(rose).toMatchObject({
      size: row?.size,
      age: row?.age === null ? null : Number(row?.age),
      _label: Number(row?.blooms),
      _event_at: row?.planted_at.getTime(),
    })
  })

  it('uses the last known rows as test rows, and trains on the rows before them', async () => {
    const { digest, parts, newestEvent } = await take(roses, exampleDay(35))
    const days = (ms: unknown) => (Number(ms) - Date.parse(exampleDay(0))) / 86_400_000
    const found = await look<Record<string, number>>(
      digest,
      `select _part, min(_event_at) as first, max(_event_at) as last, max(_known_at) as known from snapshot group by 1 order by 1`,
    )
    expect(parts).toEqual({ test: 600, train: 1200 })
    expect(
      found.map(({ first, last, known }) => [first, last, known].map((ms) => Number(days(ms).toFixed(1)))),
    ).toEqual([
      [24, 34, 35],
      // With `matured`, the labels of the day before the test count, which became known during it.
      [4, 24, 25],
    ])
    expect(newestEvent).toBe(exampleDay(24).replace('.000Z', 'Z'))
  })

  it('is not changed by rows known later or dated in the future', async () => {
    const before = await take(roses, exampleDay(35))
    await insertExampleRows(store, { from: 40, to: 41 })
    await store.query(sql`
      insert into roses values
        (-1, ${exampleDay(20)}, ${exampleDay(35.01)}, 1, 'red', null, true), (-2, ${exampleDay(20)}, null, 1, 'red', null, true),
        (-3, null, null, 1, 'red', null, true)`)
    const { excludedRows, ...same } = await take(roses, exampleDay(35))
    expect(same).toEqual({ ...before, excludedRows: undefined })
    // The rows of day 40 and the first of the three are later; the second has a label without its time.
    expect(excludedRows).toMatchObject({
      later: before.excludedRows.later + 61,
      noKnownTime: 1,
      noEventTime: 0,
      pending: 0,
    })
    await store.query(
      sql`insert into roses values (-4, ${exampleDay(20)}, ${exampleDay(21)}, 1, 'red', null, true)`,
    )
    expect((await take(roses, exampleDay(35))).digest).not.toBe(before.digest)
    await store.query(sql`delete from roses where id < 0`)
  })

  it('is refused without known rows, or without test rows', async () => {
    await expect(take(roses, exampleDay(-1))).rejects.toMatchObject({
      code: 'snapshot_empty',
      message: expect.stringContaining('train') as unknown,
    })
    await expect(take(roses, exampleDay(60))).rejects.toMatchObject({
      code: 'snapshot_empty',
      message: expect.stringContaining('test') as unknown,
    })
  })

  it('contains all rows when they exceed one batch', async () => {
    const rows = `
      select id, timestamptz '2024-03-01' + id * interval '1 minute' as planted_at,
        timestamptz '2024-03-02' + id * interval '1 minute' as known_at,
        id / 4500.0 as size, 'red' as colour, null::numeric as age, id % 2 = 0 as blooms
      from generate_series(1, 45000) as id`
    const many: ModelDefinition = {
      ...roses,
      source: { ...roses.source, rows },
      split: { kind: 'hash', test: 0.5, stratified: true },
    }
    const { parts, digest } = await take(many, exampleDay(60))
    expect((parts['train'] ?? 0) + (parts['test'] ?? 0)).toBe(45_000)
    expect(await look(digest, 'select sum(id) as sum, count(distinct id) as n from snapshot')).toEqual([
      { sum: (45_000 * 45_001) / 2, n: 45_000 },
    ])
  })

  it('reports an unavailable Postgres as such, and not as a wrong query', async () => {
    const away = openStore('postgres://none@127.0.0.1:1/none', { connectMs: 60_000 })
    await expect(
      writeSnapshot({ definition: roses, asOf: exampleDay(35), store: away, artifacts }),
    ).rejects.toMatchObject({
      code: 'postgres_unavailable',
    })
    await away.close()
    const wrong = { ...roses, source: { ...roses.source, rows: 'select nothing from nowhere' } }
    await expect(take(wrong, exampleDay(35))).rejects.toThrow('nowhere')
  })
})

describe('a snapshot of the flights', () => {
  const asOf = '2001-01-06T00:00:00Z'
  // A short window, so that the test reads a hundred thousand flights instead of a million.
  const short: ModelDefinition = {
    ...flightDelay.definition,
    split: {
      kind: 'time',
      trainMs: 3 * 86_400_000,
      testMs: 86_400_000,
      maturedMs: 43_200_000,
      maxTrain: 5_000,
      maxTest: 2_000,
    },
  }
  const withFile = (path: string): ModelDefinition => ({
    ...short,
    source: { ...short.source, files: { source: path } },
  })
  const copy = '.tenure/test-flights.parquet'
  const flights = flightDelay.definition.source.files['source'] ?? ''
  const rewrite = (query: string) =>
    withDuck((duck) =>
      duck.run(
        `copy (${query.replaceAll('flights', textLiteral(flights))}) to ${textLiteral(copy)} (format parquet)`,
      ),
    )
  beforeAll(() => mkdir('.tenure', { recursive: true }))
  afterAll(() => rm(copy, { force: true }))

  it('has the same digest when repeated, with the requested rows', async () => {
    await copyFile(flights, copy)
    const [first, second] = [await take(short, asOf), await take(withFile(copy), asOf)]
    expect(second.digest).toBe(first.digest)
    expect(first.parts).toEqual({ train: 5_000, test: 2_000 })
  })

  it('is not changed by flights that depart or arrive after its moment', async () => {
    const before = await take(short, asOf)
    await rewrite(`
      select * from flights where date < '2001-01-08'
      union all select date, 900, distance, origin, destination from flights where date between '2001-01-06 00:01:00' and '2001-01-07'
      union all select timestamp '2001-01-05 10:00:00', 1500, 500, 'ATL', 'ORD'`)
    expect((await take(withFile(copy), asOf)).digest).toBe(before.digest)
    await rewrite(
      `select * from flights where date < '2001-01-08' union all select timestamp '2001-01-04 10:00:00', 0, 500, 'ATL', 'ORD'`,
    )
    expect((await take(withFile(copy), asOf)).digest).not.toBe(before.digest)
  })

  it('contains the share of late flights of an airport as known at departure, checked by hand', async () => {
    const { digest } = await take(short, asOf)
    const path = await artifacts.locate('snapshots', digest)
    const rows = await withDuck((duck) =>
      duck.rows<Record<'share' | 'again' | 'network' | 'networkAgain', number | null>>(`
        with
          flights as (
            select origin, delay >= 15 as late,
              date + to_minutes(cast(30 + distance / 7.5 + greatest(delay, 0) as bigint)) as known_at
            from ${textLiteral(flights)} where date < timestamp '2001-01-07'
          ),
          sample as (select * from ${textLiteral(path)} order by _key limit 300)
        select recentLateShare as share, (
          select avg(cast(late as double)) from flights
          where flights.origin = sample.origin and known_at <= sample._event_at
            and known_at > sample._event_at - interval 3 hours
        ) as again, networkLateShare as network, (
          select avg(cast(late as double)) from flights
          where known_at <= sample._event_at and known_at > sample._event_at - interval 3 hours
        ) as networkAgain
        from sample`),
    )
    expect(rows).toHaveLength(300)
    expect(rows.filter(({ share }) => share !== null).length).toBeGreaterThan(200)
    for (const { share, again, network, networkAgain } of rows) {
      for (const [found, wanted] of [
        [share, again],
        [network, networkAgain],
      ] as const) {
        if (found === null || wanted === null) expect(found).toBe(wanted)
        else expect(found).toBeCloseTo(wanted, 12)
      }
    }
  })

  it('is read back in parts as rows of a request', async () => {
    const { digest } = await take(short, asOf)
    const names = Object.keys(short.features)
    const path = await artifacts.locate('snapshots', digest)
    const found = await readPart(path, 'test', { names, output: short.label.output })
    expect(found.rows).toBe(2_000)
    expect(Object.keys(rowReader(found, names)(0))).toEqual(names)
    expect(new Set(listCells(found.labels[0]))).toEqual(new Set([0, 1]))
    const table = await withDuck((duck) => duck.table(`from ${textLiteral(path)} where _part = 'test'`))
    for (const name of names) expect(listCells(found.columns[name]!)).toEqual(table.columns[name])
    await expect(
      readPart(await artifacts.locate('snapshots', digest), 'test', {
        names: ['wings'],
        output: short.label.output,
      }),
    ).rejects.toThrow('no column wings')
  })
})

describe('a snapshot with a flood of one city', () => {
  const file = '.tenure/test-flood.parquet'
  const asOf = '2024-03-21T12:00:00Z'
  const modelWith = (floods?: FloodPolicy): ModelDefinition =>
    defineModel({
      name: 'flooded',
      features: { city: category({}), size: number({}) },
      label: yesNo({ column: 'late', positive: 'late', knownAt: 'known' }),
      source: parquet(file, { eventTime: 'seen', key: ['id'] }),
      split: byTime({ train: '16 d', test: '4 d', maxRows: { train: 15_000 } }),
      floods,
      evaluation: { floors: { auc: 0.5 } },
      release: direct(),
    }).definition
  // A thousand rows per day of nineteen cities; for three days as many more of one of them.
  beforeAll(async () => {
    await mkdir('.tenure', { recursive: true })
    await withDuck((duck) =>
      duck.run(`copy (
        with usual as (
          select id, timestamp '2024-03-01' + to_seconds(id * 86.4) as seen, 'city ' || (hash(id) % 19) as city, id % 7.0 as size, id % 3 = 0 as late
          from range(20000) as numbers (id))
        select *, seen + to_hours(1) as known from (
          select * from usual union all
          select id + 20000, seen, 'city 3', size, true from usual where seen between '2024-03-08 07:00' and '2024-03-11 05:00')
        ) to ${textLiteral(file)} (format parquet)`),
    )
  })
  afterAll(() => rm(file, { force: true }))

  it.each(['leave_out', 'thin'] as const)('and %s has the rows that the rule chooses', async (policy) => {
    const rowsOfTruths = (digest: string) =>
      look<{ key: string; part: string; atMs: number; city: string }>(
        digest,
        `select _key as key, _part as part, epoch_ms(_event_at) as "atMs", city from snapshot order by _key`,
      )
    const all = await take(modelWith('warn'), asOf)
    expect(all.excludedRows.floods).toBeUndefined()
    const taken = await take(modelWith(policy), asOf)
    expect(await take(modelWith(policy), asOf)).toEqual(taken)
    const [flood] = taken.excludedRows.floods!
    expect(taken.excludedRows.floods).toMatchObject([{ column: 'city', value: 'city 3' }])
    const before = await rowsOfTruths(all.digest)
    const stay = before.filter((row) => staysIn(flood!, { ...row, value: row.city }))
    expect(await rowsOfTruths(taken.digest)).toEqual(stay)
    expect(before.length - stay.length).toBe(flood!.excluded)
    const inWave = stay.filter(
      ({ atMs }) => atMs > flood!.parts[0]!.fromMs && atMs < flood!.parts.at(-1)!.toMs,
    )
    const share = inWave.filter(({ city }) => city === 'city 3').length / inWave.length
    if (policy === 'leave_out') expect(share).toBe(0)
    else expect(Math.abs(share - 1 / 19)).toBeLessThan(0.02)
  })

  it('warns in its validation', async () => {
    const definition = modelWith()
    const { digest, excludedRows } = await take(definition, asOf)
    const path = await artifacts.locate('snapshots', digest)
    const { verdict, results } = await judgeSnapshot({
      definition,
      path,
      asOf,
      excludedRows,
      earlierRows: [],
    })
    expect(verdict).toBe('warn')
    const told = results.filter(({ passed }) => !passed)
    expect(told).toMatchObject([{ check: 'no_flood', subject: 'city', severity: 'warn' }])
    expect(told[0]!.message).toMatch(
      /^[\d,]+ of [\d,]+ rows from 2024-03-0[78]T\d\d:\d\dZ to 2024-03-11T\d\d:\d\dZ are left out: city "city 3" has \d\d(\.\d)? % of the rows, elsewhere at most [67](\.\d+)? %: a flood of one value$/,
    )
  })
})
