/**
 * Tests that raw rows get the same computed columns on every road: requests of each protocol, records, copies to a candidate, explanations
 * and the prediction log, compared bit for bit with the SQL of a snapshot.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../../activities/data/duckdb.ts'
import { createGrpcProtocol } from '../../../../api/grpc/infer-protocol.ts'
import { protoMessage, protoPacked, protoText } from '../../../../api/grpc/wire.ts'
import { createInferProtocol } from '../../../../api/inference/protocol.ts'
import { createRowProtocols } from '../../../../api/inference/row-protocols.ts'
import { createInputBuffer } from '../../../../api/serving/codec/input-buffer.ts'
import type { ByteWriter } from '../../../../api/serving/codec/byte-writer.ts'
import { withComputedColumns } from '../../../../api/serving/features/prepare.ts'
import { createPredictProtocol } from '../../../../api/serving/request/native-protocol.ts'
import type { Protocol } from '../../../../api/serving/request/protocol.ts'
import type { LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import type { FeatureRow, Features } from '../../../../domain/model/features.ts'
import type { LoggedRow } from '../../../../domain/model/logged-rows.ts'
import { compileEncoder, unreadFits } from '../../../../domain/model/preprocessing.ts'
import { textLiteral } from '../../../../domain/sql-text.ts'
import { defineModel, category, csv, direct, number, random, yesNo } from '../../../../models/define.ts'
import { planRows } from '../../../../models/define/data/query.ts'
import { listLogged } from '../../../../store/monitoring/matured-outcomes.ts'
import { answerOf, randomLayer, seeded, type ArtifactSpec } from '../../../support/serving/artifact.ts'
import { loadedOf, inputOf, contentsOf } from '../../../support/serving/input-buffers.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import {
  askLater,
  openServingFixture,
  replicaOfTest,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const define = (columns: Record<string, string>) =>
  defineModel({
    name: 'prepared',
    features: {
      charges: number(),
      ratio: number({ missing: 'fill' }),
      root: number({ missing: 'fill' }),
      size: category({ values: ['small', 'large'], missing: 'fill' }),
      label: category(),
    },
    prepare: {
      fields: { months: number({ missing: 'fill' }), plan: category({ missing: 'fill' }) },
      columns,
    },
    label: yesNo({ column: 'y', positive: 'yes' }),
    source: csv('rows.csv'),
    split: random({ test: 0.3 }),
    train: () => {
      throw new Error('the model is not trained')
    },
    evaluation: { floors: { auc: 0.5 } },
    release: direct({ approval: { by: 1, within: '1 h' } }),
  }).definition
const expressions = {
  ratio: 'charges / nullif(months, 0)',
  root: 'case when charges >= 0 then sqrt(charges) end',
  size: `case when months is null then null when months > 12 then 'large' else 'small' end`,
  label: `upper(coalesce(plan, '–')) || ':' || coalesce(try_cast(plan as integer), -1)`,
}
const definition = define(expressions)
const { features } = definition

const specOf = (of: Features = features, model = uniqueName('prepared')): ArtifactSpec => ({
  model,
  features: of,
  output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
  preprocessing: [
    { name: 'charges', kind: 'number', mean: 3, std: 10, fill: 3 },
    { name: 'ratio', kind: 'number', mean: 1, std: 7, fill: 1 },
    { name: 'root', kind: 'number', mean: 2, std: 3, fill: 2 },
    { name: 'size', kind: 'category', vocabulary: ['large', 'small'] },
    { name: 'label', kind: 'category', vocabulary: ['FIBRE:-1', 'É:-1', '7:7'] },
    ...unreadFits(of),
  ],
  layers: [randomLayer(10, 8, 'relu', seeded(5)), randomLayer(8, 1, 'sigmoid', seeded(6))],
  golden: golden(of),
})
let goldenRows: FeatureRow[] = []
const golden = (of: Features): FeatureRow[] => (of === features ? goldenRows : goldenRows.slice(0, 1))

const raw: FeatureRow[] = [
  { charges: 29.85, months: 1, plan: 'fibre' },
  { charges: 0.1, months: 3, plan: 'é' },
  { charges: 16_777_217, months: 24, plan: '7' },
  { charges: -4, months: 0, plan: null },
  { charges: 1e-30, months: null, plan: '' },
  { charges: 1e30, months: 7, plan: 'Ñandú 🦩' },
  { charges: 123456789.12345679, months: 1e9, plan: `a'b"c\\d` },
]

/** The rows with their computed columns, by the SQL of a snapshot. */
async function asTrained(rows: readonly FeatureRow[], of = definition): Promise<FeatureRow[]> {
  const cell = (value: unknown) =>
    value === null
      ? 'null'
      : typeof value === 'number'
        ? `cast('${value}' as double)`
        : textLiteral(String(value))
  const plan = planRows(of, { asOfMs: Date.now() })
  return withDuck(async (duck) => {
    const values = rows.map(
      ({ charges, months, plan: text }, at) =>
        `(${at}, ${cell(charges)}, ${cell(months)}, cast(${cell(text)} as varchar), 1)`,
    )
    await duck.run(
      `create table known as select * from (values ${values.join(', ')}) as t(place, charges, months, plan, y)`,
    )
    const names = Object.keys(of.features)
    return duck.rows<FeatureRow>(
      `select ${names.map((name) => `"${name}"`).join(', ')} from (${plan.rows}) order by place`,
    )
  })
}

const most = 20
const { kserve, mlflow } = createRowProtocols(most)
const infer = createInferProtocol(most)
const sentNames = ({ columns }: LoadedVersion) => columns.listed.map(({ name }) => name)
const cellsOf = (rows: readonly FeatureRow[], name: string) => rows.map((row) => row[name] ?? null)
const lists = (loaded: LoadedVersion, rows: readonly FeatureRow[]) =>
  rows.map((row) => sentNames(loaded).map((name) => row[name] ?? null))
const json = (value: unknown) => Buffer.from(JSON.stringify(value))

/** Every protocol, with the body that brings raw rows. */
const roads: Record<string, [Protocol, (loaded: LoadedVersion, rows: readonly FeatureRow[]) => Buffer]> = {
  native: [createPredictProtocol(most), (_, rows) => json({ instances: rows })],
  'KServe version 1': [kserve, (_, rows) => json({ instances: rows })],
  'lists of KServe': [kserve, (loaded, rows) => json({ instances: lists(loaded, rows) })],
  'records of MLflow': [mlflow, (_, rows) => json({ dataframe_records: rows })],
  'lists of MLflow': [mlflow, (loaded, rows) => json({ inputs: lists(loaded, rows) })],
  'a table of MLflow': [
    mlflow,
    (loaded, rows) => json({ dataframe_split: { columns: sentNames(loaded), data: lists(loaded, rows) } }),
  ],
  tensors: [
    infer,
    ({ columns }, rows) =>
      json({
        inputs: columns.listed.map(({ name, kind }) => ({
          name,
          shape: [rows.length],
          datatype: kind === 'number' ? 'FP64' : 'BYTES',
          data: cellsOf(rows, name),
        })),
      }),
  ],
  gRPC: [
    createGrpcProtocol(most),
    ({ columns }, rows) =>
      Buffer.concat([
        ...columns.listed.map(({ name, kind }) =>
          protoMessage(
            5,
            protoText(1, name),
            protoText(2, kind === 'number' ? 'FP64' : 'BYTES'),
            protoPacked(3, [rows.length]),
          ),
        ),
        ...columns.listed.map(({ name, kind }) => protoMessage(7, rawCells(cellsOf(rows, name), kind))),
      ]),
  ],
}
/** Null is NaN in binary; texts have no null. */
function rawCells(cells: readonly unknown[], kind: string): Buffer {
  if (kind === 'number')
    return Buffer.from(Float64Array.from(cells, (cell) => (cell as number | null) ?? NaN).buffer)
  return Buffer.concat(
    cells.map((cell) => {
      const text = Buffer.from(String(cell))
      const length = Buffer.alloc(4)
      length.writeUInt32LE(text.byteLength)
      return Buffer.concat([length, text])
    }),
  )
}

let fixture: ServingFixture
let api: TestApi
let key: string
let prepared: LoadedVersion
beforeAll(async () => {
  goldenRows = await asTrained(raw)
  fixture = await openServingFixture()
  key = await fixture.key()
  api = await startApi(fixture)
  prepared = await withComputedColumns(loadedOf(specOf()))
})
afterAll(async () => {
  prepared.predictor.close?.()
  await api.stop()
  await fixture.close()
})

const start = async (spec: ArtifactSpec): Promise<string> => {
  const proven = await fixture.register(spec)
  await api.follows(await fixture.route(spec.model, { proven }))
  return proven
}

it.each(Object.entries(roads))(
  'raw rows by %s get the inputs, numbers and texts of training',
  async (name, [protocol, bodyOf]) => {
    const rows = name === 'gRPC' ? raw.filter(({ plan }) => plan !== null) : raw
    const trained = await asTrained(rows)
    const input = createInputBuffer()
    protocol.read(prepared, bodyOf(prepared, rows), input)
    const outputs = new Float32Array(rows.length)
    await prepared.predictor.run(input.input, rows.length, outputs, undefined, input)
    const { manifest, columns } = prepared
    const encode = compileEncoder(features, manifest.preprocessing)
    const wanted = inputOf(columns, trained)
    trained.forEach((row, at) => encode(row, wanted.input, at * columns.width))
    const { input: inputs, numbers, texts } = contentsOf(input, prepared)
    expect({ inputs, numbers, texts }).toEqual({
      inputs: contentsOf(wanted, prepared).input,
      numbers: contentsOf(wanted, prepared).numbers,
      texts: contentsOf(wanted, prepared).texts,
    })
    trained.forEach((row, at) => expect(outputs[at]).toBeCloseTo(answerOf(specOf(), row)[0]!, 5))
  },
)

describe('a served version with computed columns', () => {
  it('answers, logs fields and computed columns, and ignores a value that a caller sends for one', async () => {
    const spec = specOf()
    const version = await start(spec)
    const trained = await asTrained(raw)
    const { predictions } = await askLater(api, spec.model, {
      instances: raw.map((row) => ({ ...row, ratio: 5, label: 'sent' })),
    })
    trained.forEach((row, at) => expect(predictions[at]!.probability).toBeCloseTo(answerOf(spec, row)[0]!, 5))
    await api.serving.log.flush()
    const window = { model: spec.model, version, fromMs: Date.now() - 60_000, toMs: Date.now() + 60_000 }
    const logged = await listLogged(fixture.store, { ...window, fits: spec.preprocessing, width: 1 }, 100)
    const byId = new Map(logged.map(({ predictionId, row }) => [predictionId, row]))
    trained.forEach((row, at) => {
      const found = byId.get(predictions[at]!.id)!
      for (const [name, value] of Object.entries(row))
        if (typeof value === 'number')
          expect(Math.fround(found[name] as number), name).toBe(Math.fround(value))
        else expect(found[name], name).toBe(value)
    })
  })

  it('answers requests and records of streams whose row is stored before their answer', async () => {
    const spec = specOf()
    const version = await fixture.register(spec)
    const durable = await replicaOfTest(fixture, { durableLog: true })
    await durable.follows(await fixture.route(spec.model, { proven: version }))
    const trained = await asTrained(raw)
    const { predictions } = await askLater(durable, spec.model, { instances: raw })
    const record = {
      model: spec.model,
      body: json({ instances: raw }),
      recordedAtMs: Date.now(),
      idempotencyKey: 'topic/0/1',
    }
    const { serving } = durable
    const writer = await new Promise<ByteWriter>((resolve, reject) => {
      const take = (answer: ByteWriter | Error) =>
        answer instanceof Error ? reject(answer) : resolve(answer)
      const given = serving.predictRecord(serving.native, record, take)
      if (given instanceof Promise) given.then(resolve, reject)
    })
    const streamed = JSON.parse(writer.bytes.toString('utf8', 0, writer.at)) as typeof answered
    const answered = { predictions }
    for (const each of [answered, streamed])
      trained.forEach((row, at) =>
        expect(each.predictions[at]!.probability).toBeCloseTo(answerOf(spec, row)[0]!, 5),
      )
    const window = { model: spec.model, version, fromMs: Date.now() - 60_000, toMs: Date.now() + 60_000 }
    const logged = await listLogged(fixture.store, { ...window, fits: spec.preprocessing, width: 1 }, 100)
    const labels = (rows: readonly LoggedRow[]) => rows.map(({ label }) => String(label)).toSorted()
    expect(labels(logged.map(({ row }) => row))).toEqual(labels([...trained, ...trained]))
  })

  it('refuses a row for which an expression fails with its reason, and counts it as no error of the model', async () => {
    const failing = define({ ...expressions, root: 'sqrt(charges)' }).features
    const spec = specOf(failing)
    const version = await start(spec)
    await expect(askLater(api, spec.model, { instances: [raw[0], raw[3]] })).rejects.toMatchObject({
      code: 'prepare_failed',
      message: expect.stringContaining('instance 1: the expression of "root" in prepare fails'),
    })
    await expect(
      askLater(api, spec.model, { instances: [{ charges: 1, months: 1 }, { months: 2 }] }),
    ).rejects.toMatchObject({ code: 'missing_feature' })
    expect(await askLater(api, spec.model, { instances: [raw[0]] })).toMatchObject({ predictions: [{}] })
    const [totals] = [...api.serving.counters.totals()].filter((each) => each.version === version)
    expect(totals).toMatchObject({ errors: 0 })
  })

  it('counts a row that the candidate of a release cannot compute as its failed request', async () => {
    const model = uniqueName('arms')
    const champion = await fixture.register(specOf(features, model), 0)
    const candidate = await fixture.register(
      specOf(define({ ...expressions, root: 'sqrt(charges)' }).features, model),
      1,
    )
    await api.follows(
      await fixture.route(
        model,
        {
          release: `rel_${model}`,
          tickMs: 50,
          proven: champion,
          arms: [
            { arm: 'canary', version: candidate, shareBp: 5_000 },
            { arm: 'champion', version: champion, shareBp: 5_000 },
          ],
        },
        60_000,
      ),
    )
    const asked = await Promise.allSettled(
      Array.from({ length: 20 }, (_, at) =>
        askLater(api, model, { instances: [raw[3]], routing_key: `key ${at}` }),
      ),
    )
    const refused = asked.filter(({ status }) => status === 'rejected').length
    expect(refused).toBeGreaterThan(0)
    const errorsOf = (version: string) =>
      [...api.serving.counters.totals()]
        .filter((each) => each.version === version)
        .reduce((sum, { errors }) => sum + errors, 0)
    expect(errorsOf(candidate)).toBeGreaterThan(0)
    expect(errorsOf(champion)).toBe(0)
  })

  it('refuses the null of an expression where the feature may not be missing', async () => {
    const spec = specOf(define({ ...expressions, label: 'plan' }).features)
    const [row] = await asTrained([raw[0]!], define({ ...expressions, label: 'plan' }))
    spec.golden = [row!]
    await start(spec)
    await expect(askLater(api, spec.model, { instances: [raw[3]] })).rejects.toMatchObject({
      code: 'prepare_failed',
      message: 'instance 0: feature "label" may not be null; prepare computes it',
    })
  })

  it('serves each arm and the copies to a candidate with the expressions of their own version', async () => {
    const model = uniqueName('arms')
    const champion = await fixture.register(specOf(features, model), 0)
    const other = define({ ...expressions, ratio: 'charges * 2' })
    const spec = specOf(other.features, model)
    spec.golden = await asTrained(raw, other)
    const candidate = await fixture.register(spec, 1)
    await api.follows(
      await fixture.route(
        model,
        {
          release: `rel_${model}`,
          tickMs: 50,
          proven: champion,
          arms: [
            { arm: 'canary', version: candidate, shareBp: 5_000 },
            { arm: 'champion', version: champion, shareBp: 5_000 },
          ],
        },
        60_000,
      ),
    )
    const trained = { [champion]: await asTrained(raw), [candidate]: await asTrained(raw, other) }
    const seen = new Set<string>()
    for (let at = 0; at < 40; at++) {
      const { version, predictions } = await askLater(api, model, {
        instances: raw,
        routing_key: `key ${at}`,
      })
      seen.add(version)
      trained[version]!.forEach((row, place) =>
        expect(predictions[place]!.probability).toBeCloseTo(answerOf(spec, row)[0]!, 5),
      )
    }
    expect([...seen].toSorted()).toEqual([champion, candidate].toSorted())
    await api.follows(
      await fixture.route(
        model,
        { release: `rel_${model}`, proven: champion, shadow: { version: candidate, shareBp: 10_000 } },
        60_000,
      ),
    )
    await askLater(api, model, { instances: raw, routing_key: 'a' })
    await until(() => api.serving.shadow.pairs.length >= raw.length, 'the pairs')
    const pairs = api.serving.shadow.pairs.slice(-raw.length)
    pairs.forEach(({ shadow }, at) =>
      expect((shadow as { probability: number }).probability ?? shadow).toBeCloseTo(
        answerOf(spec, trained[candidate]![at]!)[0]!,
        5,
      ),
    )
  })

  it('answers by HTTP, and refuses a row with the status of a mistake of its sender', async () => {
    const spec = specOf(define({ ...expressions, root: 'sqrt(charges)' }).features)
    await start(spec)
    const path = `/v1/models/${spec.model}/predict`
    const answer = await api.request('POST', path, { key, body: { instances: [raw[0]] } })
    expect(answer.status).toBe(200)
    expect(answer.json['predictions']).toMatchObject([
      { probability: expect.closeTo(answerOf(spec, goldenRows[0]!)[0]!, 5) as number },
    ])
    const refused = await api.request('POST', path, { key, body: { instances: [raw[3]] } })
    expect(refused).toMatchObject({ status: 422, json: { code: 'prepare_failed', retryable: false } })
  })

  it('explains raw rows by the features of the model', async () => {
    const spec = specOf()
    const version = await start(spec)
    const { status, json: told } = await api.request('POST', `/v1/models/${spec.model}/explain`, {
      key,
      body: { instances: [raw[0]], version },
    })
    expect(status, JSON.stringify(told)).toBe(200)
    const [first] = told['explanations'] as {
      answer: number
      attributions: { feature: string; value: unknown }[]
    }[]
    expect(first!.answer).toBeCloseTo(answerOf(spec, goldenRows[0]!)[0]!, 5)
    expect(Object.fromEntries(first!.attributions.map(({ feature, value }) => [feature, value]))).toEqual({
      charges: 29.85,
      ratio: 29.85,
      root: Math.sqrt(29.85),
      size: 'small',
      label: 'FIBRE:-1',
    })
  })

  it('describes requests by the fields that they send', async () => {
    const spec = specOf()
    await start(spec)
    const { text } = await api.request('GET', `/v1/models/${spec.model}/openapi.json`, { key })
    const { schema } =
      JSON.parse(text).paths[`/v1/models/${spec.model}/predict`].post.requestBody.content['application/json']
    const { required, properties } = schema.properties.instances.items
    expect(required).toEqual(['charges'])
    expect(properties).toMatchObject({
      months: { type: ['number', 'boolean', 'null'] },
      ratio: { description: 'Ignored by this version.' },
    })
    const { json: metadata } = await api.request('GET', `/v2/models/${spec.model}`, { key })
    expect((metadata['inputs'] as { name: string }[]).map(({ name }) => name)).toEqual([
      'charges',
      'months',
      'plan',
    ])
  })

  it('is not served where its expressions give other values than in training, or may not run', async () => {
    const wrong = specOf()
    wrong.golden = wrong.golden.map((row, at) => (at === 2 ? { ...row, ratio: 1 } : row))
    await expect(withComputedColumns(loadedOf(wrong))).rejects.toMatchObject({ code: 'artifact_invalid' })
    // A manifest as JSON has 0 where training had −0.
    const zero = { ...features, ratio: { ...features['ratio']!, sql: '-charges' } }
    const golden = wrong.golden.map((row) => ({ ...row, charges: 0, ratio: 0, root: 0 }))
    const served = await withComputedColumns(loadedOf({ ...wrong, features: zero, golden }))
    served.predictor.close?.()
    const volatile = { ...features, ratio: { ...features['ratio']!, sql: 'random()' } }
    await expect(withComputedColumns(loadedOf({ ...specOf(), features: volatile }))).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringContaining('random()'),
    })
  })

  it('computes nothing for a version without computed columns, whose object stays the same', async () => {
    const spec = specOf()
    const plain = Object.fromEntries(
      Object.entries(features).map(([name, { sql: _sql, ...feature }]) => [name, feature]),
    ) as Features
    const loaded = loadedOf({ ...spec, features: plain })
    expect(await withComputedColumns(loaded)).toBe(loaded)
  })
})
