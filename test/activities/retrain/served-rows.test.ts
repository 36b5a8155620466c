/** Tests snapshots of answered requests with their outcomes on the real Postgres. */
import type { FeatureFit } from '@tenure/predictors/features'
import { textLiteral } from '../../../domain/sql-text.ts'
import sql from 'sql-template-tag'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { readTaughtRequests } from '../../../activities/artifact/taught-requests.ts'
import { writeLoggedRequests, type LoggedSample } from '../../../activities/retrain/write-logged-requests.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import type { Features } from '../../../domain/model/features.ts'
import { readLoggedRows } from '../../../domain/model/logged-rows.ts'
import { partOfCaller, requestsText } from '../../../domain/training/logged-requests.ts'
import { servedText } from '../../../domain/training/served-facts.ts'
import * as words from '../../../models/define.ts'
import { digestOf, openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel, type Registry } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, nameOfTest, openPatientStore } from '../../support/servers/servers.ts'

const hour = 3_600_000
const now = Date.parse('2026-03-10T00:00:00Z')
const at = (hours: number) => new Date(now + hours * hour).toISOString()
const output = { kind: 'probability', positive: 'blooms', threshold: 0.5 }
const number = (name: string): FeatureFit => ({ name, kind: 'number', mean: 0, std: 1, fill: 0 })
const category = (name: string): FeatureFit => ({ name, kind: 'category', vocabulary: ['red'] })
const fits = [number('size'), category('colour')]

let root: string
let artifacts: Artifacts
let store: Store
let model: string
let registry: Registry
let version: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-served-'))
  artifacts = openArtifacts(root)
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store?.close()
  await rm(root, { recursive: true })
})
beforeEach(async () => {
  model = nameOfTest('served')
  registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot: root })
  version = await registered(fits)
  asked = 0
})

async function registered(preprocessing: FeatureFit[], answers: object = output): Promise<string> {
  const name = await registry.register()
  await store.query(
    sql`update versions set manifest = ${JSON.stringify({ output: answers, preprocessing })} where version = ${name}`,
  )
  return name
}

let asked = 0
interface Asked {
  hours: number
  size?: number
  answer?: number | number[]
  by?: string
  arm?: string
  routingKey?: string
  /** The hours at which outcomes arrived, with their values; no outcome when empty. */
  outcomes?: [hours: number, value: unknown][]
  /** Bytes of the inputs in the log. */
  features?: Buffer
}

function bytesOf(size: number, colour = 'red'): Buffer {
  const bytes = Buffer.alloc(8 + colour.length)
  bytes.writeFloatLE(size, 0)
  bytes.writeUInt32LE(colour.length, 4)
  bytes.write(colour, 8)
  return bytes
}

/** Inserts requests with one instance each; their ids are derived from the model and their number. */
async function ask(requests: readonly Asked[]): Promise<void> {
  const prefix = Buffer.from(model).toString('hex').slice(-14).padStart(14, '0')
  const rows = requests.map((each) => {
    const place = (asked++).toString(16).padStart(14, '0')
    const hex = `${prefix}${place}0000`
    const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
    const { hours, size = 1, answer = 0.5, by = version, arm = 'champion', routingKey, features } = each
    const bytes = (features ?? bytesOf(size)).toString('hex')
    return {
      id,
      at: at(hours),
      by,
      arm,
      key: routingKey,
      features: bytes,
      outputs: [answer].flat(),
      outcomes: each.outcomes ?? [],
    }
  })
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, routing_key, instances, features, outputs, latency_us)
    select id, at, ${model}, by, arm, 1, key, 1, decode(features, 'hex'), outputs, 1
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as r (id uuid, at timestamptz, by text, arm text, key text, features text, outputs real[])`)
  const told = rows.flatMap(({ id, outcomes }) =>
    outcomes.map(([hours, value], place) => ({ id, value, arrived: at(hours), revision: place + 1 })),
  )
  await store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at, revision)
    select id, value, arrived - interval '30 minutes', arrived, revision
    from jsonb_to_recordset(${JSON.stringify(told)}::jsonb) as r (id uuid, value jsonb, arrived timestamptz, revision integer)`)
}

const features: Features = { size: words.number(), colour: words.category(['red', 'white']) }
const define = (source: Parameters<typeof words.served>[0] = {}, change: object = {}) =>
  words.defineModel({
    name: model,
    features,
    label: words.yesNo({ positive: 'blooms', column: 'outcome' }),
    source: words.served({ minRows: 1, matured: '1 h', ...source }),
    split: words.random({ test: 0.5 }),
    evaluation: { floors: { auc: 0.6 } },
    release: words.direct(),
    ...change,
  } as unknown as Parameters<typeof words.defineModel>[0]).definition
const take = (definition = define(), hours = 0) =>
  writeSnapshot({
    definition,
    asOf: at(hours),
    store,
    artifacts,
    subjectKey: { key: 'k', digest: 'd', hashOf: (subject) => subject },
  })
async function rowsOf(
  digest: string,
  columns = '*',
  tail = 'order by asked_at',
): Promise<Record<string, unknown>[]> {
  const path = await artifacts.locate('snapshots', digest)
  return withDuck((duck) => duck.rows(`select ${columns} from ${textLiteral(path)} ${tail}`))
}
/** Inserts one request per hour, with its outcome an hour later. */
const hourly = (count: number, more: (place: number) => Partial<Asked> = () => ({})): Asked[] =>
  Array.from({ length: count }, (_, place) => {
    const hours = place - count
    return { hours, size: place, outcomes: [[hours + 1, place % 2 === 0]], ...more(place) }
  })

describe('a snapshot of served rows', () => {
  it('contains the request, its outcome, and the time at which the outcome became known', async () => {
    await ask(
      hourly(6, (place) => ({ arm: ['champion', 'canary', 'control'][place % 3], answer: place / 10 })),
    )
    const taken = await take()
    expect(taken.parts).toEqual({ train: 3, test: 3 })
    const rows = await rowsOf(taken.digest)
    expect(rows).toHaveLength(6)
    expect(rows[1]).toMatchObject({
      size: 1,
      colour: 'red',
      _label: 0,
      outcome: 'false',
      answer: expect.closeTo(0.1, 6) as number,
      version,
      arm: 'canary',
      _event_at: now - 5 * hour,
      _known_at: now - 4 * hour,
      selection_weight: 1,
    })
    expect(Object.keys(rows[1]!)).not.toContain('routing_key')
    expect(taken.served).toMatchObject({
      maturedMs: hour,
      isLearnt: false,
      predictions: 6,
      rows: 6,
      versions: { [version]: { predictions: 6, rows: 6 } },
    })
    expect(servedText(taken.served!)).toBe(
      `6 of 6 answered rows with their outcomes, at least 60 min old, answered by ${version} (6)`,
    )
  })

  it('reads texts that arrived before the log had their predictions as those of known ones', async () => {
    await ask(
      ['True', 'blooms', '1.0', '0.0', 'perhaps'].map((told, at) => ({
        hours: at - 9,
        outcomes: [[-1, told]],
      })),
    )
    const taken = await take()
    expect(taken.served).toMatchObject({ rows: 4, unreadable: 1 })
    expect((await rowsOf(taken.digest)).map((row) => String(row['_label'])).toSorted()).toEqual([
      '0',
      '1',
      '1',
      '1',
    ])
  })

  it('has several numbers by their names, in whatever order each version answers them', async () => {
    const numbers = (...names: string[]) => ({ kind: 'numbers', names })
    const one = await registered(fits, numbers('near', 'far "late"'))
    const other = await registered(fits, numbers('far "late"', 'more', 'near'))
    const told = { near: 1.5, 'far "late"': 300 }
    await ask([
      { hours: -4, by: one, answer: [1, 200], outcomes: [[-3, told]] },
      { hours: -3, by: other, answer: [200, 7, 1], outcomes: [[-2, { ...told, more: 8 }]] },
      { hours: -2, by: one, answer: [1, 200], outcomes: [[-1, { near: 1.5 }]] },
    ])
    const label = words.quantities(['far "late"', 'near'])
    const change = { label, evaluation: { floors: { r2: 0 } } }
    const taken = await take(define({}, change))
    expect(taken.served).toMatchObject({ rows: 2, unreadable: 1 })
    const columns = `near, "far ""late""" as far, answer ->> '/far "late"' as answered, outcome ->> 'near' as told`
    expect(await rowsOf(taken.digest, columns)).toEqual(
      [0, 1].map(() => ({ near: 1.5, far: 300, answered: '200', told: '1.5' })),
    )
    const derive = `select *, cast(outcome ->> 'near' as double) as near, 2.0::double as "far ""late""" from known`
    const derived = await take(define({ derive }, change))
    expect(await rowsOf(derived.digest, 'near, "far ""late""" as far')).toContainEqual({ near: 1.5, far: 2 })
  })

  it('has what versions answered that predicted something of another kind than the label', async () => {
    const numbers = await registered(fits, { kind: 'numbers', names: ['near', 'far'] })
    await ask([
      { hours: -4, by: numbers, answer: [5, 200], outcomes: [[-3, { near: 1, far: 2 }]] },
      { hours: -3, by: numbers, answer: [6, 200], outcomes: [[-2, { near: 1, far: 2 }]] },
    ])
    const derive = `select *, true as late, 1.0::double as far, 2.0::double as near from known`
    const late = await take(define({ derive }, { label: words.yesNo({ positive: 'late', column: 'late' }) }))
    expect(await rowsOf(late.digest, 'answer')).toEqual([{ answer: 5 }, { answer: 6 }])
    const number = await registered(fits, { kind: 'number' })
    await ask([{ hours: -2, by: number, answer: 7, outcomes: [[-1, 3]] }])
    const change = { label: words.quantities(['near', 'far']), evaluation: { floors: { r2: 0 } } }
    const both = await take(define({ derive }, change))
    expect((await rowsOf(both.digest, 'answer')).map(({ answer }) => JSON.parse(answer as string))).toEqual([
      { near: 5, far: 200 },
      { near: 6, far: 200 },
      7,
    ])
  })

  it('has features of any name', async () => {
    const named = ['score', 'class', 'numbers'].map(number)
    const by = await registered(named)
    const bytes = Buffer.from(Float32Array.of(1, 2, 3).buffer)
    await ask(hourly(4, () => ({ by, features: bytes })))
    const own = Object.fromEntries(named.map(({ name }) => [name, words.number()]))
    const { digest } = await take(define({}, { features: own }))
    expect((await rowsOf(digest))[0]).toMatchObject({ score: 1, class: 2, numbers: 3, answer: 0.5 })
  })

  it('is the same when it is taken again, whatever has become known or corrected since', async () => {
    await ask([...hourly(6), { hours: -3, outcomes: [[0.5, true]] }])
    const before = await take()
    expect(before.served).toMatchObject({ predictions: 7, rows: 6 })
    await store.query(sql`
      insert into outcomes (prediction_id, value, observed_at, arrived_at, revision)
      select prediction_id, 'true', observed_at, ${at(0.5)}, 2 from outcomes where value = 'false'
        and request_id in (select id from predictions where model = ${model})`)
    expect((await take()).digest).toBe(before.digest)
    const later = await take(define(), 1)
    expect((await rowsOf(later.digest)).map((row) => row['_label'])).toEqual([1, 1, 1, 1, 1, 1, 1])
  })

  it('has the time at which an outcome was observed where the model file says so', async () => {
    await ask(hourly(4))
    const { digest } = await take(define({ knownAt: 'observed' }))
    expect((await rowsOf(digest))[0]?.['_known_at']).toBe(now - 3.5 * hour)
  })

  it('leaves out requests that are too young for their outcome, by the delay that it learns', async () => {
    // Outcomes arrive five hours after their requests, except those of the last hours, which arrive at once: a biased sample.
    await ask(
      Array.from({ length: 1_300 }, (_, place) => {
        const hours = -place / 6
        return { hours, outcomes: [[place < 10 ? hours : hours + 5, place % 2 === 0]] } satisfies Asked
      }),
    )
    const { served } = await take(define({ matured: undefined }))
    expect(served).toMatchObject({ isLearnt: true, rows: 1_270, young: 30 })
    expect(served!.maturedMs / hour).toBeCloseTo(5, 1)
    await expect(take(define({ matured: undefined }), -195)).rejects.toMatchObject({
      code: 'too_few_outcomes',
      message: expect.stringMatching(
        /the delay of the outcomes of \S+ is unknown .* served\(\{ matured: '7 d' \}\)/,
      ) as string,
    })
  })

  it('tests on the last rows that are old enough', async () => {
    await ask(hourly(48))
    const split = words.byTime({ train: '40 h', test: '6 h' })
    const { parts, digest } = await take(define({ matured: '10 h' }, { split }))
    const [last] = await rowsOf(digest, 'max(asked_at) as last', '')
    expect(last?.['last']).toBe(now - 10 * hour)
    // The training rows end where the test rows begin.
    expect(parts).toMatchObject({ train: 33, test: 6 })
  })

  it('has requests of a span, and a sample of them', async () => {
    await ask(hourly(48))
    expect((await take(define({ since: '10 h' }))).served).toMatchObject({ rows: 9, since: at(-10) })
    const sample = await take(define({ maxRequests: 20 }))
    expect(sample.served).toMatchObject({ rows: 20, predictions: 48 })
    expect((await take(define({ maxRequests: 20 }))).digest).toBe(sample.digest)
  })

  it('weighs a row by the requests with its answer that have no outcome', async () => {
    await ask(hourly(40, (place) => (place % 4 === 3 ? { answer: 0.95 } : { answer: 0.05, outcomes: [] })))
    await ask(hourly(10, () => ({ answer: 0.05 })))
    const { digest } = await take(define({}, { weights: { column: 'selection_weight' } }))
    expect(
      await rowsOf(
        digest,
        'round(answer, 2) as answered, selection_weight, count(*) as n',
        'group by all order by 1',
      ),
    ).toEqual([
      { answered: 0.05, selection_weight: 4, n: 10 },
      { answered: 0.95, selection_weight: 1, n: 10 },
    ])
  })

  it('leaves out versions that did not ask for a feature, and fills one that may be missing', async () => {
    await ask(hourly(6))
    const second = await registered([number('size'), category('colour'), number('height')])
    const bytes = Buffer.alloc(15)
    ;[2, 7].forEach((value, place) => bytes.writeFloatLE(value, place * 4))
    bytes.writeUInt32LE(3, 8)
    bytes.write('red', 12)
    await ask(hourly(4, () => ({ by: second, features: bytes })))
    const required = define({}, { features: { ...features, height: words.number() } })
    const { served } = await take(required)
    expect(served?.versions).toEqual({
      [version]: { predictions: 6, rows: 0, lacks: ['height'] },
      [second]: { predictions: 4, rows: 4 },
    })
    const optional = define({}, { features: { ...features, height: words.number({ missing: 'fill' }) } })
    const filled = await take(optional)
    const heights = (await rowsOf(filled.digest, 'height', 'order by height')).map(({ height }) => height)
    expect(heights).toEqual([7, 7, 7, 7, null, null, null, null, null, null])
    const derive = 'select * replace (coalesce(height, size * 2) as height) from known'
    const derived = await take(
      define(
        { derive },
        {
          features: { ...features, height: words.number() },
          label: words.yesNo({ positive: 'blooms', column: 'outcome' }),
        },
      ),
    )
    expect((await rowsOf(derived.digest, 'height', 'order by height')).map(({ height }) => height)).toEqual([
      0, 2, 4, 6, 7, 7, 7, 7, 8, 10,
    ])
    await expect(
      take({
        ...required,
        source: { ...required.source, served: { ...required.source.served!, minRows: 5 } },
      }),
    ).rejects.toMatchObject({
      code: 'too_few_outcomes',
      message: expect.stringContaining(
        `6 answered by ${version} without "height" (write missing: 'fill', or fill it in with derive)`,
      ) as string,
    })
  })

  it('computes the columns of prepare from the logged fields, by the expressions of the model file', async () => {
    const second = await registered([number('twice'), number('size'), category('colour')])
    const bytes = Buffer.alloc(15)
    ;[-1, 7].forEach((value, place) => bytes.writeFloatLE(value, place * 4))
    bytes.writeUInt32LE(3, 8)
    bytes.write('red', 12)
    await ask(hourly(4, () => ({ by: second, features: bytes })))
    await ask(hourly(2, (place) => ({ hours: -9 - place, outcomes: [[-5, place === 0]] })))
    const computing = define(
      {},
      {
        features: { twice: words.number(), shade: words.category() },
        prepare: {
          fields: { size: words.number(), colour: words.category() },
          columns: { twice: 'size * 2', shade: 'upper(colour)' },
        },
      },
    )
    const taken = await take(computing)
    const rows = await rowsOf(taken.digest, 'twice, shade, size, colour', 'order by size')
    expect(rows).toEqual([
      { twice: 0, shade: 'RED', size: 0, colour: 'red' },
      { twice: 2, shade: 'RED', size: 1, colour: 'red' },
      ...Array.from({ length: 4 }, () => ({ twice: 14, shade: 'RED', size: 7, colour: 'red' })),
    ])
  })

  it('has no rows of an erased subject that its routing key names', async () => {
    await ask(hourly(6, (place) => ({ routingKey: place === 2 ? 'anna' : `other ${place}` })))
    const definition = define({}, { subject: 'routing_key' })
    expect((await rowsOf((await take(definition)).digest)).map((row) => row['routing_key'])).toContain('anna')
    await store.query(sql`
      insert into erasures (id, model, subject_hash, key_digest, requested_by)
      values (${`ers_${model}`}, ${model}, subject_hash_of('k', 'anna'), 'd', 'test')`)
    const { digest, subjects } = await take(definition)
    expect((await rowsOf(digest)).map((row) => row['routing_key'])).not.toContain('anna')
    expect(subjects).toMatch(/^sha256:/)
  })

  it('has texts as their requests had them', async () => {
    await ask(hourly(12, () => ({ features: bytesOf(2, 'a note') })))
    const { digest } = await take(define({}, { features: { ...features, colour: words.text() } }))
    expect(await rowsOf(digest)).toMatchObject(
      Array.from({ length: 12 }, () => ({ size: 2, colour: 'a note' })),
    )
  })

  it('is refused with the reasons and their figures when too few requests have an outcome', async () => {
    await expect(take()).rejects.toMatchObject({
      code: 'too_few_outcomes',
      message: `0 predictions of ${model} with a known outcome as of ${at(0)}, at least 1 required: the log has no predictions of ${model}; train the first version from files or a table, or bring one`,
    })
    await ask([
      ...hourly(3),
      { hours: -5, outcomes: [] },
      { hours: -6, outcomes: [[-5, 'maybe']] },
      { hours: -7, outcomes: [[-6, true]], features: Buffer.alloc(0) },
      { hours: -0.5, outcomes: [[-0.1, true]] },
    ])
    await expect(take(define({ minRows: 4 }))).rejects.toMatchObject({
      message: `3 predictions of ${model} with a known outcome as of ${at(0)}, at least 4 required: of 7 predictions, 1 younger than 60 min, 1 without an outcome yet, 1 with an outcome that is not a value of the label, 1 without inputs in the log, from which they were removed; the first in the log is of ${at(-7)}`,
    })
  })
})

it('inputs are read from the log as Postgres reads them', async () => {
  await ask(hourly(6, (place) => ({ size: place / 3 })))
  const found = await store.query<{ features: Buffer; row: object }>(sql`
    select features, instance_of(features, ${JSON.stringify(fits)}::jsonb, 1, 0) as row from predictions where model = ${model}`)
  expect(found).toHaveLength(6)
  for (const { features: bytes, row } of found) expect(readLoggedRows(bytes, fits, 1)).toEqual([row])
})

it('served rows are the rows of a file that has them, with numbers of up to seven digits', async () => {
  const sizes = [1, 0.1, 2.5e7, -3.75, 1_677_721, 0.57, 1e-7]
  await ask(sizes.map((size, place) => ({ hours: -20 - place, size, outcomes: [[-5, place % 2 === 0]] })))
  const columns = 'prediction_id, size, colour, _label, _event_at, _key, _part'
  const own = await rowsOf((await take()).digest, columns)
  const lines = sizes.map((size, place) => {
    const row = own.find(({ _event_at: moment }) => moment === Date.parse(at(-20 - place)))
    return [row?.['prediction_id'], size, 'red', place % 2 === 0, at(-20 - place)].join(',')
  })
  const path = `node_modules/.cache/${model}.csv`
  await mkdir('node_modules/.cache', { recursive: true })
  await writeFile(path, ['prediction_id,size,colour,outcome,asked_at', ...lines, ''].join('\n'))
  const source = words.csv(path, { key: ['prediction_id'], eventTime: 'asked_at' })
  const ofFile = await rowsOf((await take(define({}, { source }))).digest, columns)
  await rm(path)
  expect(own).toHaveLength(sizes.length)
  expect(ofFile).toEqual(own)
})

describe('logged requests that are asked again', () => {
  const subjectKey = { key: 'k', digest: 'd', hashOf: (text: string) => digestOf(`k${text}`).slice(7) }
  const write = (
    more: { subject?: string; entity?: string; features?: Features; hours?: number } & Partial<
      Pick<LoggedSample, 'maxRows' | 'part' | 'answers'>
    > = {},
  ) => {
    const { subject, entity, maxRows = 1_000, features: asked = features, hours = 0, part, answers } = more
    const definition = { name: model, subject, evaluation: { entity } }
    const sample = { definition, features: asked, maxRows, part, answers, since: at(-100), to: at(hours) }
    return writeLoggedRequests({ ...sample, store, artifacts, subjectKey })
  }
  const written = (digest: string | undefined) => rowsOf(digest!, '*', 'order by size')

  it('are those of the period, with outcomes or without, of all arms and versions', async () => {
    const other = await registered([...fits].reverse())
    await ask([
      { hours: -120, size: 9 },
      { hours: -3, size: 1, routingKey: 'anna', outcomes: [[-2, true]] },
      { hours: -2, size: 2, routingKey: 'anna', arm: 'canary', by: other },
      { hours: -1, size: 3 },
      { hours: -1, size: 4, features: Buffer.alloc(0) },
      { hours: 1, size: 9 },
    ])
    const taken = await write()
    expect(taken).toMatchObject({ rows: 3, leftOut: [], columns: { size: 'DOUBLE', colour: 'VARCHAR' } })
    const rows = await written(taken.digest)
    expect(rows).toMatchObject([1, 2, 3].map((size) => ({ size, colour: 'red' })))
    const [one, two, three] = rows.map(({ _caller: caller }) => caller)
    expect(one).toBe(two)
    expect(three).not.toBe(one)
    const [first] = await store.query<{ id: string }>(
      sql`select id::text as id from predictions where model = ${model} and at = ${at(-3)}`,
    )
    expect(rows[0]!['_prediction_id']).toBe(first!.id)
    expect(JSON.stringify(rows)).not.toContain('anna')
    expect((await write()).digest).toBe(taken.digest)
  })

  it('are left out with the reason where the log lacks a feature or has its digest', async () => {
    const bare = await registered([number('size')])
    const digested = await registered(fits)
    const logged = { ...features, colour: { ...words.text(), log: 'digest' } }
    await store.query(sql`
      update versions set manifest = manifest || ${JSON.stringify({ features: logged })}::jsonb where version = ${digested}`)
    const numbers = Buffer.alloc(4)
    await ask([
      { hours: -3, by: bare, features: numbers },
      { hours: -3, by: digested },
    ])
    const none = await write()
    expect(none).toMatchObject({ rows: 0 })
    expect(none.digest).toBeUndefined()
    expect(requestsText({ ...none, answered: 0 })).toBe(
      `no logged requests: the log has none from ${at(-100)} to ${at(0)} that can be asked again; those that ${bare} answered are left out: they have no "colour"; those that ${digested} answered are left out: \`colour\` is logged as a digest`,
    )
    await ask([{ hours: -2 }])
    expect(await write()).toMatchObject({ rows: 1, leftOut: none.leftOut })
    const filled = { ...features, colour: { ...words.category(['red', 'white']), missing: 'fill' as const } }
    expect(await write({ features: filled })).toMatchObject({ rows: 2, leftOut: [none.leftOut[1]] })
  })

  it('are a sample of all instances where there are more than may be asked', async () => {
    await ask(hourly(50))
    const bytes = Buffer.concat([
      Buffer.from(Float32Array.from({ length: 1_000 }, (_, size) => 1_000 + size).buffer),
      ...Array.from({ length: 1_000 }, () => bytesOf(0).subarray(4)),
    ])
    await ask([{ hours: -1, features: bytes }])
    await store.query(sql`
      update predictions set instances = 1000 where model = ${model} and octet_length(features) > 1000`)
    const { digest, rows } = await write({ maxRows: 210 })
    expect(rows).toBeGreaterThanOrEqual(200)
    expect(rows).toBeLessThanOrEqual(210)
    const found = await written(digest)
    const large = found.filter(({ size }) => Number(size) >= 1_000)
    const small = found.length - large.length
    // A fifth of its instances, at equal steps, each under its own id; where small requests come before it, at most what they leave.
    expect(large).toHaveLength(Math.min(200, 210 - small))
    const [first] = large
    expect(Number(first!['size'])).toBeLessThan(1_005)
    expect(large.map(({ size }) => Number(size) - Number(first!['size']))).toEqual(
      large.map((_, nth) => 5 * nth),
    )
    expect(new Set(large.map(({ _prediction_id: id }) => id)).size).toBe(large.length)
    expect(new Set(large.map(({ _caller: caller }) => caller)).size).toBe(1)
  })

  it('leave out erased subjects, named by a feature or by the routing key, and list the others for later erasures', async () => {
    const person = { ...features, colour: words.category(['red', 'white', 'anna']) }
    await ask([
      { hours: -3, size: 1, features: bytesOf(1, 'anna'), routingKey: 'a' },
      { hours: -2, size: 2, routingKey: 'anna' },
      { hours: -1, size: 3 },
    ])
    await store.query(sql`
      insert into erasures (id, model, subject_hash, key_digest, requested_by, is_number)
      values (${`era_${model}`}, ${model}, ${subjectKey.hashOf('anna')}, 'd', 'olga', false)`)
    const byFeature = await write({ subject: 'colour', features: person })
    expect((await written(byFeature.digest)).map(({ size }) => size)).toEqual([2, 3])
    const byKey = await write({ subject: 'customer', features: person })
    expect((await written(byKey.digest)).map(({ size }) => size)).toEqual([1, 3])
    expect(Object.keys(byKey.columns)).not.toContain('customer')
    expect(await rowsOf(byKey.subjects!, 'subject', '')).toEqual([{ subject: subjectKey.hashOf('a') }])
  })

  it('are in one of two parts, with all of their caller, and the learnt ones have the answer of the version that learns', async () => {
    const other = await registered(fits)
    await ask(
      hourly(90, (place) => ({
        answer: place / 90,
        by: place % 3 === 0 ? other : version,
        routingKey: place % 2 === 0 ? `key ${place % 20}` : undefined,
      })),
    )
    const parts = { learning: { answers: { of: version, alone: false } }, judging: {} }
    const [learning, judging] = await Promise.all(
      (['learning', 'judging'] as const).map(async (part) =>
        written((await write({ part, ...parts[part] })).digest),
      ),
    )
    const sizesOf = (rows: typeof learning) => rows!.map(({ size }) => Number(size))
    expect([...sizesOf(learning), ...sizesOf(judging)].toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 90 }, (_, size) => size),
    )
    expect(learning!.length).toBeGreaterThan(20)
    expect(judging!.length).toBeGreaterThan(20)
    const learntSizes = sizesOf(learning)
    for (let key = 0; key < 20; key += 2)
      for (let size = key; size < 90; size += 20)
        expect(learntSizes.includes(size)).toBe(partOfCaller(`key ${key}`) === 'learning')
    expect(learning!.map((row) => row['_answer'] && JSON.parse(String(row['_answer'])))).toEqual(
      learntSizes.map((size) => (size % 3 === 0 ? null : [expect.closeTo(size / 90, 6)])),
    )
    expect(Object.keys(judging![0]!)).not.toContain('_answer')
    const alone = await write({ part: 'learning', answers: { of: version, alone: true } })
    expect(sizesOf(await written(alone.digest))).toEqual(learntSizes.filter((size) => size % 3 > 0))
    expect(alone.leftOut).toEqual([
      `those that ${other} answered are left out: asking ${version} again may cost money`,
    ])
    // The cap is of one part.
    const few = await write({ part: 'judging', maxRows: 10 })
    expect(few.rows).toBeGreaterThan(3)
    expect(few.rows).toBeLessThanOrEqual(10)
  })

  it('are parted by the entity of each row where it is a feature, which the judge draws', async () => {
    await ask(hourly(90, (place) => ({ size: place % 9, routingKey: `key ${place}` })))
    const sizes = await Promise.all(
      (['learning', 'judging'] as const).map(async (part) =>
        (await written((await write({ part, entity: 'size' })).digest)).map(({ size }) => Number(size)),
      ),
    )
    for (const [at, part] of (['learning', 'judging'] as const).entries()) {
      expect(sizes[at]!.length).toBeGreaterThan(0)
      expect(sizes[at]!.filter((size) => partOfCaller(String(size)) !== part)).toEqual([])
    }
    expect(sizes.flat()).toHaveLength(90)
  })

  it('are not learnt where they have the values of a test row or the parent refuses them', async () => {
    const other = await registered(fits)
    await ask(hourly(90, (place) => ({ size: place / 3, by: place < 30 ? other : version })))
    const snapshot = await take(define({ matured: '1 h' }))
    const requests = await write({ part: 'learning', answers: { of: version, alone: false } })
    const sizesOf = (rows: Record<string, unknown>[]) => rows.map(({ size }) => Math.fround(Number(size)))
    const tested = sizesOf(await rowsOf(snapshot.digest, 'size', "where _part = 'test'"))
    const logged = sizesOf(await written(requests.digest))
    const expected = logged.filter((size) => !tested.includes(size))
    expect(expected.length).toBeLessThan(logged.length)
    const taughtBy = async (artifact: 'trees' | 'endpoint', answer: (size: number) => number[]) => {
      const found = await readTaughtRequests(
        artifacts,
        { answer: async (_parent, rows) => rows.map(({ size }) => answer(Number(size))) },
        {
          parent: { artifact, output } as unknown as Parameters<typeof readTaughtRequests>[2]['parent'],
          features,
          requests,
          snapshotDigest: snapshot.digest,
        },
      )
      const { size } = found!.data.columns
      if (size?.kind !== 'number') throw new Error('size is no number')
      return { ...found!, sizes: Array.from(size.values, Math.fround).toSorted((a, b) => a - b) }
    }
    const own = expected.filter((size) => size > 9.9)
    const asked = await taughtBy('trees', (size) => [size])
    expect(asked.sizes).toEqual(expected)
    expect(asked.facts).toMatchObject({
      taught: expected.length,
      logged: own.length,
      leftOut: [`${logged.length - expected.length} requests with the values of a test row are left out`],
    })
    expect(asked.answers.filter(([answer]) => answer !== 0.5)).toHaveLength(expected.length - own.length)
    // No endpoint is asked, and a version that refuses them loses no others.
    for (const answer of [
      undefined,
      () => {
        throw new Error('refused')
      },
    ]) {
      const kept = await taughtBy(answer === undefined ? 'endpoint' : 'trees', answer ?? ((size) => [size]))
      expect(kept.sizes).toEqual(own)
      expect(kept.facts.leftOut.at(-1)).toBe(
        `${expected.length - own.length} requests that the parent does not answer are left out`,
      )
    }
    // One that it refuses, or answers with no number, loses no other.
    for (const answer of [
      () => [NaN],
      () => {
        throw new Error('refused')
      },
    ]) {
      const [first] = expected
      const kept = await taughtBy('trees', (size) => (Math.fround(size) === first ? answer() : [size]))
      expect(kept.sizes).toEqual(expected.slice(1))
      expect(kept.facts.leftOut.at(-1)).toBe('1 request that the parent does not answer is left out')
    }
  })
})
