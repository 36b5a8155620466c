/**
 * Tests that a feature with `log: 'digest'` leaves its value in no table, in no spool and in no message of a failure, whichever road writes
 * them, and that each reader of the log says what it then does not know. A twin of the model logs its values, so that the search is known to find them.
 */
import type { FeatureFit } from '@tenure/predictors/features'
import { MockActivityEnvironment } from '@temporalio/testing'
import { execFileSync } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { scoreBatch } from '../../../../activities/batch/batch.ts'
import { withDuck } from '../../../../activities/data/duckdb.ts'
import { startScorer } from '../../../../activities/runtime/scoring-child.ts'
import { loadServed, readServed, sliceMembers } from '../../../../activities/data/served-table.ts'
import { compareFailing } from '../../../../activities/monitor/champion-watch.ts'
import { checkServingSkew } from '../../../../activities/monitor/skew.ts'
import { writeLoggedRequests } from '../../../../activities/retrain/write-logged-requests.ts'
import { loadServedRows } from '../../../../activities/retrain/served-rows.ts'
import { createGrpcProtocol } from '../../../../api/grpc/infer-protocol.ts'
import { protoMessage, protoPacked, protoText } from '../../../../api/grpc/wire.ts'
import { createInferProtocol } from '../../../../api/inference/protocol.ts'
import { createRowProtocols } from '../../../../api/inference/row-protocols.ts'
import type { ByteWriter } from '../../../../api/serving/codec/byte-writer.ts'
import { createPredictProtocol } from '../../../../api/serving/request/native-protocol.ts'
import type { Protocol } from '../../../../api/serving/request/protocol.ts'
import { startSendingPredictions } from '../../../../api/streams/sending-predictions.ts'
import type { SentRecord, Stream } from '../../../../api/streams/stream.ts'
import { columnOf } from '../../../../domain/model/columns.ts'
import { partProfiles } from '../../../../domain/model/feature-parts.ts'
import type { Features } from '../../../../domain/model/features.ts'
import type { Manifest } from '../../../../domain/model/manifest.ts'
import { numberProfile, type ReferenceProfile } from '../../../../domain/model/reference-profile.ts'
import { getManifest, putManifest } from '../../../../store/artifacts.ts'
import { listLogged, listMaturedRows } from '../../../../store/monitoring/matured-outcomes.ts'
import { listLoggedPredictions } from '../../../../store/release/evidence.ts'
import { listPeakRequests } from '../../../../store/registry/load-tests.ts'
import { getModel } from '../../../../store/registry/models.ts'
import { getVersion } from '../../../../store/registry/versions.ts'
import { getErasure, insertErasure } from '../../../../store/privacy/erasures.ts'
import { findSubjectHash } from '../../../../store/privacy/hashed-subject.ts'
import { openSubjectKey } from '../../../../store/signing/subject-hash.ts'
import { eraseStage } from '../../../../activities/privacy/erase.ts'
import { listFailedRequests } from '../../../../store/review/failed-requests.ts'
import { listWaiting } from '../../../../store/review/reviews.ts'
import { insertBatch } from '../../../../store/serving/batches.ts'
import { listReferenceHours } from '../../../../store/serving/reference-hours.ts'
import { writeFaults } from '../../../../store/serving/replicas.ts'
import { systemEnvironment } from '../../../../temporal.config.ts'
import { openActivityDeps, type ActivityDeps } from '../../../support/activity-deps.ts'
import { randomLayer, seeded, type ArtifactSpec } from '../../../support/serving/artifact.ts'
import { pythonFile } from '../../../support/serving/python-file.ts'
import { registerDigest } from '../../../support/serving/registration.ts'
import {
  askLater,
  replicaOfTest,
  servingFixtureOn,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'
import { servedReader } from '../../../../activities/release/evidence/served-rows.ts'
import type { ServedRows } from '../../../../domain/monitoring/training-serving-skew.ts'
import { routedCanary } from '../../../support/release/releases.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

type Policy = 'digest' | 'value'
const media = ['embedding', 'note', 'photo'] as const

const featuresOf = (log: Policy): Features => ({
  size: { kind: 'number' },
  note: { kind: 'text', log },
  colour: { kind: 'category' },
  embedding: { kind: 'vector', length: 3, log },
  photo: { kind: 'image', log, missing: 'fill' },
})
const textFit = (name: string): FeatureFit => ({ name, kind: 'category', vocabulary: [], encoding: 'text' })
const preprocessing: FeatureFit[] = [
  { name: 'size', kind: 'number', mean: 0, std: 1, fill: 0 },
  ...['note', 'colour', 'embedding', 'photo'].map(textFit),
]

/** A row whose values of media all hold one number of nine digits. */
interface Secret {
  mark: string
  row: { size: number; note: string; colour: string; embedding: number[]; photo: string }
}
function newSecret(): Secret {
  const mark = `${randomInt(10_000_000, 99_999_999)}7`
  const head = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex')
  const size = Buffer.alloc(8)
  size.writeUInt32BE(320, 0)
  size.writeUInt32BE(200, 4)
  const photo = Buffer.concat([head, size, Buffer.from(mark.repeat(8))]).toString('base64')
  const embedding = [Number(`0.${mark}`), -2, 3]
  return { mark, row: { size: 0.5, note: `a quick ${mark} fox`, colour: 'red', embedding, photo } }
}
/** What would show one of the values, also inside of bytes that are written in hexadecimal digits. */
const needlesOf = ({ mark, row: { photo } }: Secret): string[] =>
  [mark, photo].flatMap((text) => [text, Buffer.from(text).toString('hex')])

const profileOf = (): ReferenceProfile => {
  const rows = Array.from({ length: 20 }, () => newSecret().row)
  const of = (name: 'note' | 'embedding' | 'photo') =>
    partProfiles(
      name,
      name === 'note' ? 'text' : name === 'embedding' ? 'vector' : 'image',
      columnOf(rows.map((row) => (name === 'embedding' ? JSON.stringify(row[name]) : row[name]))),
    )
  const [note, embedding, photo] = [of('note'), of('embedding'), of('photo')]
  return {
    rows: 20,
    features: [
      numberProfile(
        'size',
        rows.map(({ size }) => size),
      ),
      ...note.profiles,
      ...embedding.profiles,
      ...photo.profiles,
    ],
    tokens: { note: note.tokens! },
    score: numberProfile('score', [0.1, 0.5, 0.9]),
  }
}

let deps: ActivityDeps
let fixture: ServingFixture
let api: TestApi
let key: string
interface Served {
  model: string
  champion: string
  candidate: string
  manifest: Manifest
}
const served = {} as Record<Policy, Served>

beforeAll(async () => {
  deps = await openActivityDeps()
  const { databaseUrl, artifactRoot, batchDir } = deps.config
  mkdirSync(batchDir, { recursive: true })
  fixture = servingFixtureOn({ databaseUrl, artifactRoot })
  key = await fixture.key()
  api = await startApi(fixture, { drills: true })
  const profile = profileOf()
  for (const policy of ['digest', 'value'] as const) served[policy] = await register(policy, profile)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
  await deps.close()
})

async function register(policy: Policy, profile: ReferenceProfile): Promise<Served> {
  const model = uniqueName(`kept-${policy}`)
  const { row } = newSecret()
  const spec: ArtifactSpec = {
    model,
    features: featuresOf(policy),
    output: { kind: 'probability', positive: 'yes', threshold: 0.5, review: { from: 0, to: 1 } },
    preprocessing,
    layers: [randomLayer(1, 1, 'sigmoid', seeded(3))],
    golden: [{ ...row, embedding: JSON.stringify(row.embedding) }],
    profile,
  }
  const [champion, candidate] = [await fixture.register(spec), await fixture.register(spec, 1)]
  // The rows of the fixture have no manifest; its artifacts have one.
  for (const version of [champion, candidate]) {
    const { artifactDigest } = await getVersion(deps.store, version)
    const manifest = await getManifest(deps.artifacts, artifactDigest)
    await deps.store.query(
      sql`update versions set manifest = ${JSON.stringify(manifest)} where version = ${version}`,
    )
  }
  await api.follows(await fixture.route(model, { proven: champion }))
  const { manifest } = await getVersion(deps.store, champion)
  return { model, champion, candidate, manifest }
}

const most = 10
const { kserve, mlflow } = createRowProtocols(most)
const json = (body: unknown) => Buffer.from(JSON.stringify(body))
const tensors = (row: Secret['row']) => [
  { name: 'size', shape: [1], datatype: 'FP64', data: [row.size] },
  { name: 'note', shape: [1], datatype: 'BYTES', data: [row.note] },
  { name: 'colour', shape: [1], datatype: 'BYTES', data: [row.colour] },
  { name: 'embedding', shape: [1, 3], datatype: 'FP64', data: row.embedding },
  { name: 'photo', shape: [1], datatype: 'BYTES', data: [row.photo] },
]
const rawTensor = ({ name, datatype, data }: ReturnType<typeof tensors>[number]): Buffer => {
  if (datatype === 'FP64') return Buffer.from(Float64Array.from(data as number[]).buffer)
  const bytes = Buffer.from(data[0] as string, name === 'photo' ? 'base64' : 'utf8')
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.byteLength)
  return Buffer.concat([length, bytes])
}
/** The protocol of a request, because that of gRPC holds its message. */
const protocols: Record<string, [() => Protocol, (row: Secret['row']) => Buffer]> = {
  native: [() => createPredictProtocol(most), (row) => json({ instances: [row] })],
  'KServe version 1': [() => kserve, (row) => json({ instances: [row] })],
  MLflow: [() => mlflow, (row) => json({ dataframe_records: [row] })],
  tensors: [() => createInferProtocol(most), (row) => json({ inputs: tensors(row) })],
  gRPC: [
    () => createGrpcProtocol(most),
    (row) =>
      Buffer.concat([
        ...tensors(row).map(({ name, datatype, shape }) =>
          protoMessage(5, protoText(1, name), protoText(2, datatype), protoPacked(3, shape)),
        ),
        ...tensors(row).map((tensor) => protoMessage(7, rawTensor(tensor))),
      ]),
  ],
}

/** Sends the row, and resolves once the log has it. */
type Road = (row: Secret['row'], of: Served) => Promise<void>
const canaryOf = ({ model, champion, candidate }: Served) => ({
  release: `rel_${model}`,
  tickMs: 50,
  proven: champion,
  arms: [
    { arm: 'canary' as const, version: candidate, shareBp: 9_999 },
    { arm: 'champion' as const, version: champion, shareBp: 1 },
  ],
})
const roads: Record<string, Road> = {
  ...Object.fromEntries(
    Object.entries(protocols).map(([name, [protocol, bodyOf]]): [string, Road] => [
      `requests by ${name}`,
      async (row, { model }) => {
        await api.serving.predict(protocol(), { model, body: bodyOf(row) })
        await api.serving.log.flush()
      },
    ]),
  ),
  async 'a record of a stream'(row, { model }) {
    const record = { model, body: json({ instances: [row] }), recordedAtMs: Date.now() }
    await new Promise<void>((resolve, reject) => {
      const take = (answer: ByteWriter | Error) => (answer instanceof Error ? reject(answer) : resolve())
      const given = api.serving.predictRecord(api.serving.native, record, take)
      if (given !== undefined) Promise.resolve(given).then(() => resolve(), reject)
    })
    await api.serving.log.flush()
  },
  async 'a log that is stored before the answer'(row, { model }) {
    const durable = await replicaOfTest(fixture, { durableLog: true })
    await until(() => durable.serving.routing.find(model) !== undefined, model)
    await askLater(durable, model, { instances: [row] })
    const record = { model, body: json({ instances: [row] }), recordedAtMs: Date.now() }
    await new Promise<void>((resolve, reject) => {
      const take = (answer: ByteWriter | Error) => (answer instanceof Error ? reject(answer) : resolve())
      const given = durable.serving.predictRecord(
        durable.serving.native,
        { ...record, idempotencyKey: 'in/0/1' },
        take,
      )
      if (given !== undefined) Promise.resolve(given).then(() => resolve(), reject)
    })
  },
  async 'a copy to a shadow'(row, of) {
    const { model, champion, candidate } = of
    const release = `rel_${model}`
    const shadow = { version: candidate, shareBp: 10_000 }
    await api.follows(await fixture.route(model, { release, tickMs: 50, proven: champion, shadow }, 60_000))
    await askLater(api, model, { instances: [row] })
    await until(() => api.serving.shadow.counts().waiting === 0, 'the shadow')
    await api.serving.log.flush()
    await expect
      .poll(() => deps.store.query(sql`select from shadow_pairs where release_id = ${release}`))
      .not.toHaveLength(0)
  },
  async 'a failed request'(row, of) {
    const { model, candidate } = of
    await writeFaults(deps.store, { [candidate]: { invalidShare: 1 } })
    await api.follows(await fixture.route(model, canaryOf(of), 60_000))
    await api.serving.refresh()
    await expect(askLater(api, model, { instances: [row] })).rejects.toThrow(/invalid prediction/)
    await expect
      .poll(() => listFailedRequests(deps.store, { model, version: candidate, limit: 10 }))
      .not.toHaveLength(0)
    await writeFaults(deps.store, {})
  },
  async 'an error of the model that quotes the row'(row, { model }) {
    const { routing } = api.serving
    const { loaded } = routing.tableOf(routing.find(model)!, api.serving.now()).likeliest
    const { predictor } = loaded
    loaded.predictor = {
      ...predictor,
      run() {
        throw new Error(`no number: ${JSON.stringify(row)}`)
      },
    }
    try {
      await expect(askLater(api, model, { instances: [row] })).rejects.toThrow(row.note)
    } finally {
      loaded.predictor = predictor
    }
  },
  async 'a row of a batch'(row, { model, champion }) {
    const path = `${uniqueName('in')}.csv`
    const cells = [1, row.size, row.note, row.colour, `"${JSON.stringify(row.embedding)}"`, row.photo]
    writeFileSync(
      join(deps.config.batchDir, path),
      `id,size,note,colour,embedding,photo\n${cells.join(',')}\n`,
    )
    const id = uniqueName('bat')
    const output = { kind: 'table' as const, key: ['id'], log: 10 }
    const batch = { id, model, version: champion, input: { kind: 'file' as const, path }, output }
    await insertBatch(deps.store, { ...batch, requestedBy: 'olga' })
    await new MockActivityEnvironment().run(scoreBatch(deps), { id })
  },
}

/** The tables that hold one of the texts, in any column. */
async function tablesWith(needles: readonly string[]): Promise<string[]> {
  const tables = await deps.store.query<{ name: string }>(sql`
    select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`)
  const holds = needles.map((needle) => `strpos(whole::text, '${needle}') > 0`).join(' or ')
  const asked = tables.map(
    ({ name }) => `select '${name}' as name where exists (select from "${name}" as whole where ${holds})`,
  )
  const found = await deps.store.query<{ name: string }>(sql`${raw(asked.join(' union '))}`)
  return [...new Set(found.map(({ name }) => name.replace(/_(\d{8}|default)$/, '')))].sort()
}
const countOf = async ({ model }: Pick<Served, 'model'>): Promise<number> =>
  (
    await deps.store.query<{ rows: number }>(sql`
      select (select count(*) from predictions where model = ${model})::int
        + (select count(*) from failed_requests where model = ${model})::int as rows`)
  )[0]!.rows

describe.each(Object.entries(roads))('%s', (name, road) => {
  it.each(['digest', 'value'] as const)(
    'leaves the values of media in the log only by policy: %s',
    async (policy) => {
      const secret = newSecret()
      const before = await countOf(served[policy])
      await road(secret.row, served[policy])
      await until(async () => (await countOf(served[policy])) > before, 'the log')
      const places = /failed|error/.test(name)
        ? ['failed_requests']
        : ['predictions', ...(name === 'a copy to a shadow' ? ['shadow_pairs'] : [])]
      expect(await tablesWith(needlesOf(secret))).toEqual(policy === 'digest' ? [] : places)
      const sha256 = createHash('sha256').update(Buffer.from(secret.row.photo, 'base64')).digest('hex')
      const digests = await tablesWith([sha256, Buffer.from(sha256).toString('hex')])
      expect(digests).toEqual(policy === 'digest' ? places : [])
    },
  )
})

it.each(['digest', 'value'] as const)(
  'a spool on disk has the values of media only by policy: %s',
  async (policy) => {
    const { model } = served[policy]
    const secret = newSecret()
    const stateDir = fixture.directory()
    const replica = await replicaOfTest(fixture, { stateDir })
    await until(() => replica.serving.routing.find(model) !== undefined, model)
    await replica.cut()
    await askLater(replica, model, { instances: [secret.row] })
    await until(async () => {
      await replica.serving.log.flush()
      return replica.serving.log.counts().spooled === 1
    }, 'the spool')
    const spool = join(stateDir, 'spool')
    const spooled = readdirSync(spool).map((file) => readFileSync(join(spool, file)))
    expect(spooled.some((bytes) => bytes.includes('colour') || bytes.includes('red'))).toBe(true)
    const { mark, row } = secret
    const isThere = spooled.some((bytes) => [mark, row.photo].some((needle) => bytes.includes(needle)))
    expect(isThere).toBe(policy === 'value')
  },
)

it.each(['digest', 'value'] as const)(
  'the failure of a batch, which is stored, has the message of the model only by policy: %s',
  async (policy) => {
    const { champion } = served[policy]
    const { artifactDigest } = await getVersion(deps.store, champion)
    const argv = [deps.config.artifactRoot, artifactDigest, champion]
    const scorer = startScorer(argv, AbortSignal.timeout(60_000))
    const failure = scorer.score({ rows: 1, columns: null as never })
    await expect(failure).rejects.toThrow(
      policy === 'digest'
        ? 'may quote a feature that is logged as a digest'
        : 'Cannot read properties of null',
    )
    await scorer.close()
  },
)

it.each(['digest', 'value'] as const)('a repeated request is told from another one: %s', async (policy) => {
  const { model } = served[policy]
  const durable = await replicaOfTest(fixture, { durableLog: true })
  await until(() => durable.serving.routing.find(model) !== undefined, model)
  const { row } = newSecret()
  const idempotencyKey = '0197f3b4-0000-7000-8000-' + String(randomInt(1e11)).padStart(12, '0')
  const ask = (more: Partial<Secret['row']>) =>
    askLater(durable, model, { instances: [{ ...row, ...more }] }, { idempotencyKey })
  const first = await ask({})
  expect((await ask({})).predictions).toEqual(first.predictions)
  for (const name of media)
    await expect(ask({ [name]: newSecret().row[name] }), name).rejects.toThrow(/another request had the same/)
})

/** A model that is code, and quotes its rows as its process fails. It needs no package, because it takes the place of what reads them. */
const quoting = `
import os, struct, sys
def run(model, body, rows, inputs, first):
    quoted = 'ValueError: ' + body.decode('utf-8', 'replace').replace('\\n', ' ')
    if b'crash' in body:
        os.write(2, quoted.encode())
        os._exit(3)
    if b'raise' in body:
        raise ValueError(quoted)
    return struct.pack('<f', 0.5) * rows
sys.modules['__main__']._run = run
answer = run
`
async function registerQuoting(log: Policy): Promise<Omit<Served, 'candidate'>> {
  const model = uniqueName(`quotes-${log}`)
  const version = 'import platform; print(platform.python_version())'
  const python = execFileSync('python3', ['-c', version], {
    env: systemEnvironment(),
    encoding: 'utf8',
  }).trim()
  const columns = ['size', 'note'].map((name) => ({ name, isText: name === 'note' }))
  const file = pythonFile(quoting, { python, columns })
  const features = { size: { kind: 'number' }, note: { kind: 'text', log } } as const
  const output = { kind: 'probability', positive: 'yes', threshold: 0.5 } as const
  const digest = await putManifest(deps.artifacts, {
    format: 'tenure-artifact@1',
    model,
    features,
    output,
    artifact: 'python-object',
    library: 'Python',
    featureOrder: ['size', 'note'],
    preprocessing: [preprocessing[0]!, textFit('note')],
    files: { 'model.python': await deps.artifacts.put('artifacts', file) },
    golden: { instances: [{ size: 1, note: 'a fox' }], outputs: [[0.5]] },
    training: { snapshot: 's', seed: 1, code: 'c', dependencies: 'd', hyperparameters: {}, rows: 2 },
  })
  const described = { model, features, output, digest }
  const champion = await registerDigest(deps.store, deps.config.artifactRoot, described)
  const manifest = await getManifest(deps.artifacts, digest)
  await deps.store.query(
    sql`update versions set manifest = ${JSON.stringify(manifest)} where version = ${champion}`,
  )
  await api.follows(await fixture.route(model, { proven: champion }))
  return { model, champion, manifest }
}

/** Makes a model fail with a row. Returns the messages that leave this system: the error of an activity stands in histories and logs. */
type Failure = (note: string, of: Omit<Served, 'candidate'>) => Promise<string[]>
const asked: Failure = async (note, { model }) => {
  const before = await countOf({ model })
  await expect(askLater(api, model, { instances: [{ size: 1, note }] })).rejects.toThrow()
  await until(async () => (await countOf({ model })) > before, 'the log')
  const shown = await Promise.all([
    api.request('GET', '/readyz', { key }),
    api.request('GET', '/metrics', { key }),
    api.request('POST', '/v2/repository/index', { key, body: {} }),
  ])
  return [...api.troubles, ...shown.map(({ text }) => text)]
}
const scored: Failure = async (note, { model, champion }) => {
  const path = `${uniqueName('in')}.csv`
  writeFileSync(join(deps.config.batchDir, path), `id,size,note\n1,1,${note}\n`)
  const id = uniqueName('bat')
  const batch = { id, model, version: champion, input: { kind: 'file' as const, path } }
  const output = { kind: 'table' as const, key: ['id'], log: 10 }
  await insertBatch(deps.store, { ...batch, output, requestedBy: 'olga' })
  const failed = new MockActivityEnvironment().run(scoreBatch(deps), { id })
  return [await failed.then(() => 'done', String)]
}
/** Each with what it makes of a value that may be logged: the tables that hold it, and whether a message does. */
const failures: Record<string, [failure: Failure, how: string, kept: { tables: string[]; isTold: boolean }]> =
  {
    'a request whose model raises an error': [asked, 'raise', { tables: ['failed_requests'], isTold: false }],
    'a request whose model ends its process': [asked, 'crash', { tables: ['failed_requests'], isTold: true }],
    'a batch whose model raises an error': [scored, 'raise', { tables: [], isTold: true }],
    'a batch whose model ends its process': [scored, 'crash', { tables: [], isTold: true }],
  }
const quoters: Partial<Record<Policy, ReturnType<typeof registerQuoting>>> = {}

describe.each(Object.entries(failures))('%s that quotes the row', (_name, [fail, how, kept]) => {
  it.each(['digest', 'value'] as const)('is told only by policy: %s', async (policy) => {
    const { mark } = newSecret()
    const told = await fail(`a ${how} ${mark} fox`, await (quoters[policy] ??= registerQuoting(policy)))
    const tables = await tablesWith([mark, Buffer.from(mark).toString('hex')])
    const isTold = told.some((each) => each.includes(mark))
    expect({ tables, isTold }).toEqual(policy === 'digest' ? { tables: [], isTold: false } : kept)
  })
})

const window = { fromMs: Date.now() - 3_600_000, toMs: Date.now() + 3_600_000 }
const isDigest = { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }
const digests = {
  note: expect.objectContaining({ ...isDigest, script: 'Latin', unknown: expect.any(Number) }),
  embedding: expect.objectContaining({ ...isDigest, norm: expect.any(Number) }),
  photo: expect.objectContaining({ ...isDigest, format: 'png', width: 320, height: 200 }),
}

/** Each file that reads rows of the log, with what it makes of digests. */
const readers: Record<string, (of: Served) => Promise<void>> = {
  async 'store/monitoring/matured-outcomes.ts'({ model, champion: version, manifest }) {
    const span = { ...window, model, version, fits: manifest.preprocessing, width: 1 }
    const logged = await listLogged(deps.store, span, 5)
    expect(logged[0]!.row).toMatchObject({ size: 0.5, colour: 'red', ...digests })
    const to = new Date(window.toMs).toISOString()
    const skew = checkServingSkew(deps)
    expect(
      await new MockActivityEnvironment().run(skew, { model, version, to, windowMs: 7_200_000 }),
    ).toMatchObject({
      status: 'ok',
      columns: [],
      reason:
        'not compared: embedding, note, photo, score, because `embedding`, `note`, `photo` are logged as digests',
    })
    const { rows } = await listMaturedRows(deps.store, { ...span, nowMs: window.toMs }, 5)
    expect(rows).toEqual([])
    await withDuck(async (duck) => {
      const loaded = logged.map((each) => ({ ...each, truth: null, predicted: 0 }))
      const table = await loadServed(duck, loaded, manifest)
      const members = await sliceMembers(table, [
        { name: 'red', where: `colour = 'red'` },
        { name: 'short', where: `length(note) < 5 and size > 0` },
      ])
      expect(members.map(({ rows: found }) => found)).toEqual([
        logged.map((_, place) => place),
        'not checked: `note` is logged as a digest',
      ])
      expect(await readServed(table, 'Photo', String)).toBe('not checked: `photo` is logged as a digest')
    })
  },
  async 'store/release/evidence.ts'({ champion: version, model, manifest: { preprocessing: fits } }) {
    const logged = await listLogged(deps.store, { ...window, model, version, fits, width: 1 }, 100)
    // The id of a batch's row has no time, and no shadow.
    const { predictionId } = logged.find((each) => each.predictionId[14] === '7')!
    const [found] = await listLoggedPredictions(deps.store, { ids: [predictionId], fits, width: 1 })
    expect(found!.row).toMatchObject(digests)
  },
  async 'store/review/failed-requests.ts'({ model, candidate, champion }) {
    const compared = await compareFailing(deps, { model, from: candidate, to: champion, sinceMs: 0 })
    expect(compared).toEqual({ requests: 0, formerFailed: 0, digested: [...media] })
    const { json: answer } = await api.request('GET', `/v1/versions/${candidate}/failures?limit=1`, { key })
    expect(answer['failures']).toMatchObject([{ inputs: [digests] }])
  },
  async 'store/review/reviews.ts'({ model }) {
    const waiting = await listWaiting(deps.store, { model, days: 1, requests: 100, limit: 5 })
    expect(waiting[0]!.row).toMatchObject(digests)
    const { text } = await api.request('GET', `/models/${model}/reviews`, { key })
    expect(text).toMatch(/note is not shown: it is logged as a digest/)
  },
  async 'store/serving/reference-hours.ts'({ model, manifest: { profile } }) {
    // It has served nothing, so the requests of the others are counted again.
    const version = `${model}_v2.0.0`
    const span = [{ fromMs: window.fromMs, toMs: window.toMs }]
    const hours = await listReferenceHours(deps.store, { model, version, profile: profile! }, span)
    const sums: Record<string, number> = {}
    for (const { counts } of hours)
      for (const [name, bins] of Object.entries(counts.features))
        sums[name] = bins.reduce((sum, count) => sum + count, sums[name] ?? 0)
    expect(sums['size']).toBeGreaterThan(5)
    // The share of unknown tokens is that by the tokens of another version.
    for (const [name, rows] of Object.entries(sums))
      if (name !== 'note.unknown') expect(rows, name).toBe(sums['size'])
    expect(sums['note.unknown']).toBe(0)
  },
  async 'store/registry/load-tests.ts'({ model, champion, manifest }) {
    await deps.store.query(sql`
      insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests)
      select ${model}, 'other', ${champion}, 'champion', date_trunc('hour', now()), 10000, 1, 1 on conflict do nothing`)
    const at = new Date(window.fromMs).toISOString()
    const peak = { model, at, seconds: 7_200, limit: 100 }
    const all = await listPeakRequests(deps.store, { ...peak, features: Object.keys(manifest.features) })
    expect(all).toEqual({ requests: [], digested: [...media] })
    const others = await listPeakRequests(deps.store, { ...peak, features: ['size', 'colour'] })
    expect(others.digested).toEqual([])
    expect(others.requests[0]).toEqual([{ size: 0.5, colour: 'red' }])
  },
  async 'api/services/read-predictions.ts'({ model }) {
    const { json: answer } = await api.request('GET', `/v1/predictions?model=${model}&limit=1`, { key })
    expect(answer['predictions']).toMatchObject([{ inputs: { size: 0.5, ...digests } }])
  },
  async 'api/streams/sending-predictions.ts'({ model }) {
    const sent: SentRecord[] = []
    const stream = {
      produce: async (records: SentRecord[]) => void sent.push(...records),
    } as unknown as Stream
    const sender = startSendingPredictions({
      store: deps.store,
      stream,
      topic: uniqueName('topic'),
      source: 'test',
      onError: () => {},
    } as never)
    const own = () =>
      sent.map(({ value }) => JSON.parse(String(value))).find(({ data }) => data.model === model)
    // A new topic begins with the rows from its start on.
    await until(async () => {
      await askLater(api, model, { instances: [newSecret().row] })
      await api.serving.log.flush()
      return own() !== undefined
    }, 'the event')
    await sender.stop()
    expect(own().data.predictions).toMatchObject([{ features: digests }])
  },
  async 'store/privacy/erasures.ts'({ model, champion, candidate }) {
    // The model file names the feature since, with its value.
    await deps.store.query(sql`
      update models set definition = definition || '{"subject": "note"}' where name = ${model}`)
    const subjectKey = await openSubjectKey(deps.config.signing.subjectKey)
    const id = uniqueName('era')
    const hashes = await findSubjectHash(deps.store, subjectKey, { model, subject: newSecret().row.note })
    const by = { keyDigest: subjectKey.digest, predictionIds: [], requestedBy: 'olga' }
    await insertErasure(deps.store, { id, model, ...hashes, ...by })
    await new MockActivityEnvironment().run(eraseStage(deps, { replicaTimeoutMs: 60_000 }), { id })
    expect((await getErasure(deps.store, id)).notes).toEqual([
      `requests to these versions have the subject as a digest, and are found by their routing key alone: ${champion}, ${candidate}`,
    ])
  },
  async 'activities/retrain/write-logged-requests.ts'({ model, champion, candidate }) {
    const { definition } = await getModel(deps.store, model)
    const nowMs = Date.now()
    const taken = await writeLoggedRequests({
      definition,
      features: featuresOf('value'),
      maxRows: 100,
      since: new Date(nowMs - 3_600_000).toISOString(),
      to: new Date(nowMs + 1_000).toISOString(),
      store: deps.store,
      artifacts: deps.artifacts,
      subjectKey: await openSubjectKey(deps.config.signing.subjectKey),
    })
    expect(taken.rows).toBe(0)
    expect(taken.leftOut.toSorted()).toEqual(
      [champion, candidate]
        .toSorted()
        .map((version) => expect.stringContaining(`those that ${version} answered are left out: `) as string),
    )
    expect(taken.leftOut[0]).toMatch(/`embedding`, `note`, `photo` are logged as digests/)
  },
  async 'activities/release/evidence/served-rows.ts'({ model, champion: version }) {
    const release = `rel_${model}` as const
    const routings = [
      { stage: 'canary' as const, stageIndex: 0, generation: 1, shareBp: 1, startedMs: window.fromMs },
    ]
    await deps.store.query(sql`update predictions set release_id = ${release} where model = ${model}`)
    const read = servedReader(deps, { ...routedCanary, id: release, model, version, routings })
    let served: ServedRows
    await until(async () => (served = await read(true)).isUnread === undefined, 'the comparison')
    expect(served!.compared).toBeGreaterThan(0)
    expect(served!).toMatchObject({
      mismatchedRows: 0,
      problem:
        'not compared: embedding, note, photo, score, because `embedding`, `note`, `photo` are logged as digests',
    })
  },
  async 'activities/retrain/served-rows.ts'({ model }) {
    const { definition } = await getModel(deps.store, model)
    const features = featuresOf('value')
    const source = {
      ...definition.source,
      served: { maturedMs: 0, minRows: 1, maxRequests: 100, knownAt: 'arrived' as const },
    }
    for (const derive of [undefined, 'select * from known'])
      await expect(
        withDuck((duck) =>
          loadServedRows(
            duck,
            deps.store,
            { ...definition, features, source: { ...source, derive } },
            Date.now(),
          ),
        ),
      ).rejects.toThrow(/for which `embedding`, `note`, `photo` are logged as digests/)
  },
}

it.each(Object.entries(readers))('%s takes no digest for a value, and says so', (_file, read) =>
  read(served.digest),
)

it('every file that reads rows of the log is among the readers', () => {
  const files = ['activities', 'api', 'cli', 'domain', 'store', 'workflows'].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  )
  const reading = files.filter(
    (file) => file.endsWith('.ts') && /\b(instance_of|readLoggedRows)\(/.test(readFileSync(file, 'utf8')),
  )
  expect(reading.sort()).toEqual([...Object.keys(readers), 'domain/model/logged-rows.ts'].sort())
})
