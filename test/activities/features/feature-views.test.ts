/** Tests the feature store on a real Postgres and DuckDB: training rows and requests see only the values known at their time. */
import { textLiteral } from '../../../domain/sql-text.ts'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { ingestView, ingestViewUntil } from '../../../activities/features/ingest-view.ts'
import { valueAt, type FeatureView } from '../../../domain/model/feature-view.ts'
import { entityColumn, entityKey, keyOfText } from '../../../domain/values/names.ts'
import {
  byTime,
  category,
  csv,
  defineModel,
  direct,
  lookup,
  number,
  parquet,
  postgres,
  view,
  yesNo,
} from '../../../models/define.ts'
import { openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import {
  listValues,
  findLatestValues,
  deleteOldValues,
  insertValues,
  findView,
  upsertView,
} from '../../../store/features/feature-views.ts'
import type { Store } from '../../../store/postgres.ts'
import { eraseRest } from '../../../store/privacy/delete-subject.ts'
import { insertErasure } from '../../../store/privacy/erasures.ts'
import { lockView } from '../../../store/privacy/subject-views.ts'
import { openSubjectKey, type SubjectKey } from '../../../store/signing/subject-hash.ts'
import { checkout } from '../../../temporal.config.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let root: string
let artifacts: Artifacts
let store: Store
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-features-'))
  artifacts = openArtifacts(root)
  store = openPatientStore(await migratedDatabase())
  await store.query(
    sql`create table sightings (place text, seen_at timestamptz, told_at timestamptz, height float8, colour text)`,
  )
  await store.query(sql`create table asked (id integer, place text, at timestamptz, found boolean)`)
  await store.query(sql`grant select on sightings, asked to tenure_reader`)
})
afterAll(async () => {
  await store.close()
  await rm(root, { recursive: true })
})

const rest = {
  split: byTime({ train: '3 d', test: '1 d' }),
  train: () => {
    throw new Error('the model is not trained')
  },
  evaluation: { floors: { auc: 0.5 } },
  release: direct({ approval: { by: 1, within: '1 h' } }),
} as const

const ingestUntil = (views: readonly FeatureView[], time: string) =>
  ingestViewUntil(store, views, { asOfMs: Date.parse(time), subjectKey: undefined })

const snapshotOf = async <T extends object>(
  { definition }: ReturnType<typeof defineModel>,
  asOf: string,
  query: string,
): Promise<T[]> => {
  const { digest } = await writeSnapshot({ definition, asOf, store, artifacts })
  const path = await artifacts.locate('snapshots', digest)
  return withDuck((duck) => duck.rows<T>(query.replaceAll('snapshot', textLiteral(path))))
}

describe('feature views over real flights', () => {
  const file = 'node_modules/vega-datasets/data/flights-3m.parquet'
  const landing = 'date + to_minutes(cast(30 + distance / 7.5 + greatest(delay, 0) as bigint))'
  const flights = `select origin, date as departedAt, ${landing} as landedAt, cast(delay as double) as delay from source
    where date < timestamp '2001-01-05'`
  /** The delay of a flight belongs to its departure, but is known when it has landed. */
  const lastDelay = view('last-delay', {
    entity: 'origin',
    source: parquet(file, { rows: flights, eventTime: 'departedAt' }),
    knownAt: 'landedAt',
    values: { delay: number({ unit: 'min' }) },
    timeToLive: '6 h',
  })
  const late = defineModel({
    name: 'late',
    features: { origin: category(), lastDelay: lookup(lastDelay, 'delay') },
    label: yesNo({ column: 'late', positive: 'late', knownAt: 'landedAt' }),
    source: parquet(file, {
      rows: `${flights.replace('select ', 'select delay >= 15 as late, ')}`,
      eventTime: 'departedAt',
    }),
    ...rest,
  })

  it('join each row to the values known at departure, equal to an independent search', async () => {
    const asOf = '2001-01-04T12:00:00Z'
    const rows = await snapshotOf<{ origin: string; at_ms: number; lastDelay: number | null }>(
      late,
      asOf,
      "select origin, epoch_ms(_event_at) as at_ms, lastDelay from snapshot where _key < '04' order by all",
    )
    expect(rows.length).toBeGreaterThan(300)
    const search = (known: string) =>
      withDuck(async (duck) => {
        await duck.run(`create view source as select * from ${textLiteral(file)}`)
        await duck.run(`create table told as ${flights}`)
        await duck.run(
          `create table asked as select * from (values ${rows.map(({ origin, at_ms }) => `('${origin}', epoch_ms(${at_ms}))`).join()}) as t(origin, moment)`,
        )
        return duck.rows<{ origin: string; at_ms: number; delay: number | null }>(`
          with best as (
            select asked.origin, asked.moment, told.departedAt, told.delay, row_number() over
              (partition by asked.origin, asked.moment order by told.departedAt desc, told.landedAt desc, told.delay desc) as place
            from (select distinct * from asked) as asked left join told on told.origin = asked.origin
              and told.departedAt <= asked.moment and told.${known} <= asked.moment
          )
          select asked.origin, epoch_ms(asked.moment) as at_ms, case when departedAt >= asked.moment - interval 6 hours then delay end as delay
          from asked join best on best.origin = asked.origin and best.moment = asked.moment and place = 1 order by all`)
      })
    const sorted = rows.map(({ origin, at_ms, lastDelay }) => `${origin} ${at_ms} ${lastDelay}`).sort()
    const textOf = (found: { origin: string; at_ms: number; delay: number | null }[]) =>
      found.map(({ origin, at_ms, delay }) => `${origin} ${at_ms} ${delay}`).sort()
    expect(sorted).toEqual(textOf(await search('landedAt')))
    // A search that ignores when a delay became known gives other rows, so the comparison would fail.
    const leaking = textOf(await search('departedAt'))
    expect(leaking.filter((row, index) => row !== sorted[index]).length).toBeGreaterThan(rows.length / 2)
  })

  it('serve the same values online as training rows of the same moment', async () => {
    const { digest } = late.definition.views![0]!
    const { watermark, id } = (await findView(store, digest))!
    expect(watermark).toBe('2001-01-04T12:00:00.000Z')
    const from = late.definition.features['lastDelay']!.from!
    const airports = await store.query<{ entity: string }>(
      sql`select distinct entity from feature_history where view_id = ${id}`,
    )
    expect(airports.length).toBeGreaterThan(100)
    const online = await findLatestValues(
      store,
      airports.map(({ entity }) => ({ digest, entity })),
    )
    // Rows of exactly that moment, on the training path.
    await store.query(sql`truncate asked`)
    await store.query(sql`
      insert into asked select row_number() over (), entity, ${watermark}::timestamptz - make_interval(days => day), true
      from unnest(${airports.map(({ entity }) => entity)}::text[]) as entity, (values (0), (2)) as moments (day)`)
    const twin = defineModel({
      name: 'twin',
      features: { place: category(), lastDelay: lookup(lastDelay, 'delay', { by: 'place' }) },
      label: yesNo({ column: 'found', positive: 'found' }),
      source: postgres({ rows: 'select * from asked', eventTime: 'at' }),
      ...rest,
    })
    const trained = await snapshotOf<{ place: string; lastDelay: number | null }>(
      twin,
      watermark!,
      `select place, lastDelay from snapshot where _event_at = timestamp '2001-01-04 12:00:00'`,
    )
    expect(trained.length).toBe(airports.length)
    const served = new Map(
      online.map((known) => [known.entity, valueAt(from, known, Date.parse(watermark!)).value]),
    )
    expect(Object.fromEntries(trained.map(({ place, lastDelay }) => [place, lastDelay]))).toEqual(
      Object.fromEntries(airports.map(({ entity }) => [entity, served.get(entity) ?? null])),
    )
  })
})

describe('a feature view over Postgres', () => {
  const heights = view('heights', {
    entity: 'place',
    source: postgres({ rows: 'select * from sightings', eventTime: 'seen_at' }),
    knownAt: 'told_at',
    values: { height: number(), colour: category(['red', 'white']) },
    timeToLive: '2 h',
    late: '30 min',
  })
  const model = (more: object = {}) =>
    defineModel({
      name: 'hills',
      features: {
        place: category(),
        height: lookup(heights, 'height'),
        colour: lookup(heights, 'colour', { otherwise: 'white' }),
        ...more,
      },
      label: yesNo({ column: 'found', positive: 'found' }),
      source: postgres({ rows: 'select * from asked', eventTime: 'at', key: ['id'] }),
      ...rest,
    })
  const { views = [] } = model().definition
  const digest = views[0]!.digest
  const at = (time: string) => `2024-05-01T${time}Z`
  const see = async (
    ...told: [
      place: string | null,
      seen: string,
      told: string | null,
      height: number | null,
      colour?: string,
    ][]
  ) => {
    for (const [place, seen, known, height, colour = 'red'] of told)
      await store.query(
        sql`insert into sightings values (${place}, ${at(seen)}, ${known === null ? null : at(known)}, ${height}, ${colour})`,
      )
  }
  /** Returns the values that training rows of these places and times get. */
  const trained = async (asOf: string, asked: [place: string, time: string][]) => {
    await store.query(sql`truncate asked`)
    for (const [index, [place, time]] of [...asked, ['nowhere', '00:00:01'] as const].entries())
      await store.query(sql`insert into asked values (${index}, ${place}, ${at(time)}, true)`)
    // The other part needs an entity too.
    await store.query(
      sql`insert into asked values (99, 'nowhere', ${at(asOf)}::timestamptz - interval '1 day 1 min', true)`,
    )
    const rows = await snapshotOf<{ id: number; height: number | null; colour: string }>(
      model(),
      at(asOf),
      'select id, height, colour from snapshot where id < 90 order by id',
    )
    return rows.slice(0, asked.length).map(({ height, colour }) => [height, colour])
  }
  const online = async (place: string) =>
    (await findLatestValues(store, [{ digest, entity: place }]))[0]?.values['height']

  it('joins the latest known value within the time to live', async () => {
    await see(
      ['hill', '08:00:00', '08:10:00', 1],
      ['hill', '09:00:00', '09:30:00', 2],
      // A correction of the first value, reported later than the second: it never wins.
      ['hill', '08:00:00', '09:40:00', 9],
      // A correction of the second.
      ['hill', '09:00:00', '10:00:00', 3, 'white'],
      // Known before its event: usable from the event on.
      ['hill', '10:30:00', '08:00:00', 4],
      // Two values at once for the same event: the larger one counts.
      ['dale', '08:00:00', '08:00:00', 5],
      ['dale', '08:00:00', '08:00:00', 7],
      // An unknown entity, or a missing entity.
      ['moor', '08:00:00', '08:00:00', null],
      [null, '08:00:00', '08:00:00', 8],
      ['fen', '08:00:00', null, 6],
    )
    expect(
      await trained('11:00:00', [
        ['hill', '08:09:59'],
        ['hill', '08:10:00'],
        ['hill', '09:29:59.999'],
        ['hill', '09:30:00'],
        ['hill', '09:45:00'],
        ['hill', '10:00:00'],
        ['hill', '10:29:59'],
        ['hill', '10:30:00'],
        ['dale', '10:00:00'],
        ['dale', '10:00:00.001'],
        ['moor', '08:30:00'],
        ['fen', '08:30:00'],
      ]),
    ).toEqual([
      [null, 'white'],
      [1, 'red'],
      [1, 'red'],
      [2, 'red'],
      [2, 'red'],
      [3, 'white'],
      [3, 'white'],
      [4, 'red'],
      [7, 'red'],
      [null, 'white'],
      [null, 'red'],
      [null, 'white'],
    ])
    expect(await Promise.all(['hill', 'dale', 'moor', 'fen'].map(online))).toEqual([4, 7, null, undefined])
  })

  it('ingests each row once, continues from its watermark, and dates late rows by their ingestion', async () => {
    const stored = () => store.query(sql`select count(*)::integer as n from feature_history`)
    const before = await stored()
    await store.query(
      sql`update feature_views set watermark = watermark - interval '30 min' where digest = ${digest}`,
    )
    await ingestUntil(views, at('11:00:00'))
    expect(await stored()).toEqual(before)
    // It claims to be known at 10:50, but is only found at 12:00.
    await see(['hill', '10:45:00', '10:50:00', 10], ['hill', '10:40:00', '09:00:00', 11])
    await ingestUntil(views, at('12:00:00'))
    const { id, lateRows } = (await findView(store, digest))!
    expect(lateRows).toBe(2)
    const values = await listValues(store, { viewId: id, entity: 'hill', at: at('12:00:00'), limit: 2 })
    expect(values.map(({ usableAt, features }) => [usableAt, features['height']])).toEqual([
      [at('12:00:00').replace('Z', '.000Z'), 10],
      [at('12:00:00').replace('Z', '.000Z'), 11],
    ])
    expect(await online('hill')).toBe(10)
    expect(
      await trained('12:30:00', [
        ['hill', '11:59:59'],
        ['hill', '12:00:00'],
      ]),
    ).toEqual([
      [4, 'red'],
      [10, 'red'],
    ])
    // A later one is not found automatically, and existing values do not change.
    await see(['hill', '11:20:00', '11:25:00', 12])
    await ingestUntil(views, at('12:10:00'))
    expect(await online('hill')).toBe(10)
  })

  it('dates a row that appears between the reads of two ingestions after both, whichever ends first', async () => {
    const began = (await findView(store, digest))!
    await ingestUntil(views, at('12:40:00'))
    await see(['fen', '12:35:00', '12:36:00', 13])
    const { added, late } = await ingestView(store, began, {
      untilMs: Date.parse(at('12:38:00')),
      subjectKey: undefined,
    })
    expect([added, late]).toEqual([1, 1])
    const knownAt = async (time: string) =>
      (await listValues(store, { viewId: began.id, entity: 'fen', at: at(time), limit: 1 })).map(
        ({ features }) => features['height'],
      )
    expect([await knownAt('12:40:00'), await knownAt('12:40:00.001')]).toEqual([[], [13]])
  })

  it('keeps the values of the old definition while live versions use it after the file changes', async () => {
    const other = view('heights', {
      entity: 'place',
      source: postgres({
        rows: 'select place, seen_at, told_at, -height as height, colour from sightings',
        eventTime: 'seen_at',
      }),
      knownAt: 'told_at',
      values: { height: number(), colour: category() },
      timeToLive: '2 h',
    })
    await ingestUntil([other.definition], at('12:10:00'))
    const asked = [digest, other.definition.digest].map((each) => ({ digest: each, entity: 'hill' }))
    const found = await findLatestValues(store, asked)
    expect(
      asked.map((each) => found.find((known) => known.digest === each.digest)?.values['height']),
    ).toEqual([10, -12])
    await upsertView(store, { ...other.definition, everyMs: 1_000 })
    expect((await findView(store, other.definition.digest))?.definition.everyMs).toBe(1_000)
  })

  it('leaves erased subjects out of rows that are read again', async () => {
    await store.query(
      sql`insert into models (name, definition, code_digest) values ('hills', ${JSON.stringify({ ...model().definition, subject: 'place' })}, 'c')`,
    )
    const found = (await findView(store, digest))!
    const subjectKey = await openSubjectKey(join(root, 'subjects.key'))
    const { key, digest: keyDigest, hashOf } = subjectKey
    const by = { keyDigest, isNumber: false, predictionIds: [], requestedBy: 'olga' }
    await insertErasure(store, { id: 'era_1', model: 'hills', subjectHash: hashOf('hill'), ...by })
    // Values that are being stored by an ingestion that did not know of the erasure.
    const [time, run] = [at('12:00:00'), { viewId: found.id, asOf: at('12:40:00'), watermark: undefined }]
    const row = { entity: 'hill', eventAt: time, knownAt: time, usableAt: time, features: { height: 1 } }
    let erased: Promise<void> | undefined
    await store.transaction(async (database) => {
      await lockView(database, found.id)
      await insertValues(database, run, [row])
      erased = eraseRest(store, { id: 'era_1', key })
      const waiting = sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
      await expect.poll(() => store.query(waiting)).toHaveLength(1)
    })
    await erased
    const left = sql`select distinct entity from feature_history where view_id = ${found.id} order by 1`
    const others = (await store.query(left)) as object[]
    expect(others).not.toContainEqual({ entity: 'hill' })
    const read = (subjectKey: SubjectKey | undefined) =>
      ingestView(store, found, { untilMs: Date.parse(at('12:40:00')), fromMs: 0, subjectKey })
    expect(await read(subjectKey)).toMatchObject({ added: 0 })
    expect([await store.query(left), await online('hill')]).toEqual([others, undefined])
    const other = openSubjectKey(join(root, 'other.key'))
    await expect(read(await other)).rejects.toMatchObject({ code: 'configuration_invalid' })
    await expect(read(undefined)).rejects.toMatchObject({ code: 'internal' })
    await store.query(sql`delete from erasures`)
    expect(await read(undefined)).toMatchObject({ added: expect.any(Number) })
    expect(await online('hill')).toBe(12)
  })

  it('deletes values older than the retention', async () => {
    const { id } = (await findView(store, digest))!
    expect(await deleteOldValues(store, { viewId: id, before: at('08:30:00'), limit: 2 })).toBe(2)
    while ((await deleteOldValues(store, { viewId: id, before: at('08:30:00') })) > 0);
    expect(await online('dale')).toBeUndefined()
    expect(await online('hill')).toBe(12)
  })

  it('rejects invalid SQL with the message of Postgres', async () => {
    const broken = view('broken', {
      entity: 'place',
      source: postgres({ rows: 'select * from sightings_of_nobody', eventTime: 'seen_at' }),
      knownAt: 'told_at',
      values: { height: number() },
      timeToLive: '2 h',
    })
    await expect(ingestUntil([broken.definition], at('12:10:00'))).rejects.toThrow(
      /the feature view broken cannot be read: .*sightings_of_nobody/,
    )
  })

  it('names a value that its rows lack', async () => {
    const broken = view('renamed', {
      entity: 'place',
      source: postgres({ rows: 'select * from sightings', eventTime: 'seen_at' }),
      knownAt: 'told_at',
      values: { Elevation: number() },
      timeToLive: '2 h',
    })
    await expect(ingestUntil([broken.definition], at('12:10:00'))).rejects.toThrow(
      'the rows of the source: there is no column "Elevation", a value, among place, seen_at, told_at, height, colour',
    )
  })

  it('of rows that became known at once, takes the greatest value of the first name', async () => {
    const tied = view('tied', {
      entity: 'place',
      source: postgres({
        rows: "select 'x' as place, timestamptz '2024-05-01' as seen_at, apex, z from (values (1.0, 9.0), (2.0, 8.0)) as t(apex, z)",
        eventTime: 'seen_at',
      }),
      knownAt: 'seen_at',
      // Postgres stores the short name first.
      values: { z: number(), apex: number() },
      timeToLive: '2 h',
    })
    await ingestUntil([tied.definition], at('12:10:00'))
    const [found] = await findLatestValues(store, [{ digest: tied.definition.digest, entity: 'x' }])
    expect(found?.values).toEqual({ apex: 2, z: 8 })
  })
})

describe('a feature view over a CSV', () => {
  const path = `node_modules/.cache/tenure-view-${process.pid}.csv`
  afterAll(() => rm(join(checkout, path), { force: true }))
  const sizes = view('sizes', {
    entity: 'shop',
    source: csv(path, { eventTime: 'at' }),
    knownAt: 'known',
    values: { size: number(), grade: category() },
    timeToLive: '7 d',
  })
  const ingest = async (...lines: string[]) => {
    await writeFile(join(checkout, path), ['shop,at,known,size,grade', ...lines, ''].join('\n'))
    await ingestUntil([sizes.definition], '2024-05-02T00:00:00Z')
  }
  const latest = async (entity: string) =>
    (await findLatestValues(store, [{ digest: sizes.definition.digest, entity }]))[0]?.values

  it('names the line, the column and the value that cannot be read', async () =>
    expect(ingest('007,2024-05-01,2024-05-01,1,yes', '8,2024-05-01,2024-05-01,2 m,no')).rejects.toThrow(
      `${path}, line 3, column "size": \`2 m\` is not a number: write 2 without a unit`,
    ))

  it('reads its columns as declared', async () => {
    const names = ['2.0', 'v2.0', 'v2']
    const lines = names.map((name, size) => `${name},2024-05-01,2024-05-01,${size},no`)
    await ingest('007,2024-05-01,2024-05-01,1,yes', '8,2024-05-01,2024-05-01,true,1.10', ...lines)
    expect(await latest('007')).toEqual({ size: 1, grade: 'yes' })
    expect(await latest('8')).toEqual({ size: 1, grade: '1.10' })
    expect(await latest('7')).toBeUndefined()
    const sizesOf = names.map(async (name) => (await latest(entityKey([name])!))?.['size'])
    expect(await Promise.all(sizesOf)).toEqual([0, 1, 2])
  })
})

it('an entity has the same key in a request and in SQL', async () => {
  const names = ['JFK', '17', '1e3', 'a b', 'é', '0.5']
  expect(names.map((name) => entityKey([name]))).toEqual(names)
  expect(entityKey([17])).toBe('17')
  expect([entityKey(['7.0', 'v7.0']), keyOfText('7.0 / v7.0')]).toEqual(['7\u001fv7.0', '7\u001fv7.0'])
  expect(entityKey([17, 'x'])).toBe('17\u001fx')
  const typed = await withDuck((duck) =>
    duck.rows<{ key: string }>(`
      select ${entityColumn(['a', 'b'])} as key from (select '2.0' as a, 2.0::double as b)
      union all select ${entityColumn(['a', 'b'])} from (select 7::bigint as a, 1.5::float as b)
      union all select ${entityColumn(['a', 'b'])} from (select '7.0' as a, 'v1.0' as b)
      union all select ${entityColumn(['a', 'b'])} from (select 1.0::decimal(9, 1) as a, -0.5::double as b)`),
  )
  expect(typed.map(({ key }) => key)).toEqual(
    [
      ['2.0', 2],
      [7, 1.5],
      ['7.0', 'v1.0'],
      ['1.0', -0.5],
    ].map((parts) => entityKey(parts)),
  )
  for (const wrong of [null, undefined, {}, NaN, true, 'a\u001fb', 'a\0', 'x'.repeat(300)])
    expect(entityKey([wrong])).toBeUndefined()
})
