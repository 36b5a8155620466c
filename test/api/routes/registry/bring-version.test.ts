/** Tests the upload of artifacts that were trained elsewhere: which are accepted, and which are refused before anything runs. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { uploadLimits } from '../../../../api/services/registry/check-artifact.ts'
import type { Role } from '../../../../domain/roles.ts'
import { openArtifacts } from '../../../../store/artifacts.ts'
import { packCode } from '../../../../store/bundles/brought-code.ts'
import {
  demandingModel,
  graph,
  model as onnxModel,
  node,
  value,
} from '../../../../packages/predictors/test/support/onnx-writer.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import { readRosesModel } from '../../../../packages/predictors/test/support/roses-lightgbm.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
/** The key of an admin. */
let root: string
const keys: Partial<Record<Role, string>> = {}
const { model } = readRosesModel()
const path = '/v1/models/roses/versions'
const definition = {
  name: 'roses',
  features: {
    size: { kind: 'number' },
    colour: { kind: 'category' },
    age: { kind: 'number', missing: 'fill' },
    scent: { kind: 'number' },
  },
  featureOrder: ['size', 'colour', 'age', 'scent'],
  label: { column: 'blooms', output: { kind: 'probability', positive: 'blooms', threshold: 0.5 } },
  release: { approval: { approvers: 0 } },
}

beforeAll(async () => {
  fixture = await openServingFixture()
  for (const role of ['viewer', 'operator', 'predictor', 'approver'] as const)
    keys[role] = await fixture.key({ name: role, role })
  root = await fixture.key({ name: 'root', role: 'admin' })
  keys.admin = await fixture.key({ name: 'other', role: 'operator', models: ['iris'] })
  await fixture.store.query(
    sql`insert into models (name, definition, code_digest) values ('roses', ${JSON.stringify(definition)}, 'c')`,
  )
  api = await startApi(fixture)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const formOf = (parts: Record<string, string | Blob>) => {
  const form = new FormData()
  for (const [name, value] of Object.entries(parts))
    if (typeof value === 'string') form.set(name, value)
    else form.set(name, value, name)
  return form
}
const send = (body: unknown, { query = '', key = keys.operator! } = {}) =>
  api.request('POST', path + query, {
    key,
    body,
    ...(body instanceof Uint8Array ? { headers: { 'content-type': 'application/octet-stream' } } : {}),
  })
/** Appends a description, the field 6 of a model, which takes time to read. */
function padded(graph: Buffer, bytes: number): Uint8Array {
  const length = [0, 7, 14, 21].map((bits) => ((bytes >> bits) & 127) | (bits < 21 ? 128 : 0))
  return new Uint8Array(
    Buffer.concat([graph, Buffer.from([(6 << 3) | 2, ...length]), Buffer.alloc(bytes, 'x')]),
  )
}
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text))

describe('an artifact', () => {
  it('is stored and checked, and its evaluation is started or recorded', async () => {
    const columns = new Blob([
      JSON.stringify(['size', { name: 'colour', vocabulary: ['red', 'white'] }, 'age']),
    ])
    const form = formOf({
      artifact: new Blob([model]),
      columns,
      trained_on: 'roses of March',
      allow_unknown_categories: 'new colours',
      note: 'first try',
      as_of: '2026-01-01T00:00:00Z',
    })
    const { status, json } = await send(form)
    // Temporal is away in this fixture.
    expect(status).toBe(202)
    expect(json).toMatchObject({
      command: 'retrain',
      state: 'waiting',
      artifact: { file: 'model.txt', library: 'LightGBM', unused: ['scent'], trained_on: 'roses of March' },
    })
    const { digest, columns: named } = json['artifact'] as { digest: string; columns: string }
    const artifacts = openArtifacts(fixture.artifactRoot)
    expect((await artifacts.get('artifacts', digest)).toString('utf8')).toBe(model)
    expect(named).toMatch(/^sha256:/)
    const [stored] = await fixture.store.query<{ reason: string; input: object }>(
      sql`select reason, input from commands where kind = 'retrain'`,
    )
    expect(stored).toMatchObject({
      reason: 'first try',
      input: {
        model: 'roses',
        asOf: '2026-01-01T00:00:00.000Z',
        artifact: {
          file: 'model.txt',
          digest,
          columns: named,
          trainedOn: 'roses of March',
          allowUnknownCategories: 'new colours',
        },
      },
    })
  })

  it('without column names is accepted in the order of the model file, and the response says so', async () => {
    // Postgres orders the keys of a definition by their length.
    const plain = {
      ...definition,
      name: 'plain',
      features: {
        size: { kind: 'number' },
        colour: { kind: 'category' },
        age: { kind: 'number', missing: 'fill' },
      },
      featureOrder: ['size', 'colour', 'age'],
    }
    await fixture.store.query(
      sql`insert into models (name, definition, code_digest) values ('plain', ${JSON.stringify(plain)}, 'c')`,
    )
    const unnamed = model.replace('feature_names=size colour age', 'feature_names=Column_0 Column_1 Column_2')
    expect(unnamed).not.toBe(model)
    const { status, json } = await api.request('POST', '/v1/models/plain/versions', {
      key: keys.operator!,
      body: bytesOf(unnamed),
      headers: { 'content-type': 'application/octet-stream' },
    })
    expect(status).toBe(202)
    expect(json['artifact']).toMatchObject({ unused: [], by_place: ['size', 'colour', 'age'] })
  })

  it('may be sent as bytes alone', async () => {
    const { status, json } = await send(bytesOf(model), { query: '?trained_on=roses%20of%20March' })
    expect(status).toBe(202)
    expect(json['artifact']).toMatchObject({ trained_on: 'roses of March' })
  })

  it('of ONNX is read within a limit of its own, which contains the start of ONNX Runtime', async () => {
    const { readMs } = uploadLimits
    uploadLimits.readMs = 1
    const sigmoid = node({ op: 'Sigmoid', inputs: ['size'], outputs: ['y'] })
    const file = onnxModel(graph({ nodes: [sigmoid], inputs: [value('size', [0, 1])] }))
    const { json } = await send(new Uint8Array(file)).finally(() => (uploadLimits.readMs = readMs))
    expect(json).toMatchObject({ artifact: { file: 'model.onnx' } })
  })

  it.each([
    ['a pickle', () => bytesOf('\x80\x04'), /pickle|not a model of/],
    ['a zip archive', () => bytesOf('PK\x03\x04'), /zip archive of PyTorch/],
    ['a file of skops', () => bytesOf('PK\x03\x04 schema.json'), /one of skops: register a folder/],
    ['a truncated file', () => bytesOf(model.slice(0, 5_000)), /truncated|trees/],
    [
      'a column that is not a feature',
      () => bytesOf(model.replaceAll('age', 'years')),
      /no feature is called "years"/,
    ],
    ['an empty file', () => bytesOf(''), /is empty/],
    [
      'a large graph that answers too slowly',
      () => padded(demandingModel(1_000, 2_000), 50_000_000),
      /ONNX Runtime takes more than \d+ ms to load the graph and to answer a few rows/,
    ],
  ])('that is %s is refused by name', async (_what, bytes, why) => {
    const { status, json } = await send(bytes())
    expect(status).toBe(422)
    expect(json).toMatchObject({ code: 'artifact_invalid', detail: expect.stringMatching(why) as unknown })
  })

  it.each([
    ['without its file', formOf({ note: 'x' }), /no file "artifact"/],
    [
      'with another file',
      formOf({ artifact: new Blob(['x']), weights: new Blob(['x']) }),
      /unknown file "weights"/,
    ],
    [
      'with two files',
      (() => {
        const form = formOf({ artifact: new Blob(['x']) })
        form.append('artifact', new Blob(['y']))
        return form
      })(),
      /the form has "artifact" 2 times/,
    ],
    [
      'with its columns as a text',
      formOf({ artifact: new Blob(['x']), columns: '[]' }),
      /the form has "columns" as a text: send it as a file, like curl -F columns=@FILE/,
    ],
    ['with another field', formOf({ artifact: new Blob(['x']), about: 'x' }), /about/i],
  ])('in a form %s is refused', async (_what, form, why) => {
    const { status, json } = await send(form)
    expect(status).toBe(400)
    expect(json['detail']).toMatch(why)
  })

  it.each([
    ['is not valid JSON', '{', /columns.json is not valid JSON/],
    ['names a column twice', '[{"name":"a","name":"b"}]', /columns.json has "name" twice in one object/],
  ])('whose columns.json %s is refused', async (_what, columns, why) => {
    const form = formOf({ artifact: new Blob([model]), columns: new Blob([columns]) })
    expect((await send(form)).json).toMatchObject({
      code: 'artifact_invalid',
      detail: expect.stringMatching(why) as unknown,
    })
  })

  it('that is too large is refused before it is read', async () => {
    const { artifactBytes, columnsBytes } = uploadLimits
    const { status } = await send(new Uint8Array(artifactBytes + 1))
    expect(status).toBe(413)
    expect((await send(new Uint8Array(artifactBytes + columnsBytes + 1_000_000))).status).toBe(413)
  })

  it('is accepted only from operators of the model', async () => {
    for (const role of ['viewer', 'predictor', 'admin'] as const)
      expect((await send(bytesOf(model), { key: keys[role]! })).status).toBe(403)
  })
})

describe('a folder of code', () => {
  const folder = (files: Record<string, string>) =>
    new Uint8Array(packCode(new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]))))
  const served = { 'serve.py': 'raise SystemExit(1)', 'requirements.txt': 'numpy==2.4.6\n' }

  it('is taken of an admin as data, and its start is recorded', async () => {
    const { status, json } = await send(folder(served), { key: root })
    expect(status).toBe(202)
    expect(json).toMatchObject({ artifact: { file: 'model.tar', library: 'serve.py', unused: [] } })
    const columns = new Blob(['["size", "age"]'])
    const form = formOf({ artifact: new Blob([folder(served)]), columns })
    expect((await send(form, { key: root })).json).toMatchObject({
      artifact: { unused: ['colour', 'scent'] },
    })
  })

  it.each(['operator', 'approver', 'viewer', 'predictor'] as const)(
    'is refused to a key of the role %s',
    async (role) => {
      const { status, json } = await send(folder(served), { key: keys[role]! })
      expect([status, json['code']]).toEqual([403, 'forbidden'])
      if (role === 'operator') expect(json['detail']).toMatch(/^only admin may bring a version that is code/)
    },
  )

  it.each<[string, () => unknown, RegExp]>([
    ['without requirements', () => folder({ 'serve.py': '' }), /has no requirements\.txt: .*--requirements/],
    [
      'without a model',
      () => folder({ 'requirements.txt': '' }),
      /is no pickle by its name \(\.pkl, \.pickle, \.joblib, \.sav, \.p\)/,
    ],
    [
      'that leads out of itself',
      () => folder({ '../serve.py': '' }),
      /does not lead to a file in its folder/,
    ],
    [
      'with a column that is no feature',
      () => formOf({ artifact: new Blob([folder(served)]), columns: new Blob(['["height"]']) }),
      /"height", which is no feature/,
    ],
    [
      'with a columns.json that is too large',
      () => formOf({ artifact: new Blob([folder(served)]), columns: new Blob([' '.repeat(262_145)]) }),
      /more than 262144 bytes/,
    ],
  ])('%s is refused', async (_, body, why) => {
    const { status, json } = await send(body(), { key: root })
    expect([status, json['code']]).toEqual([422, 'artifact_invalid'])
    expect(json['detail']).toMatch(why)
  })
})

describe('a request for a compressed version', () => {
  const compress = (body: object, model = 'iris') =>
    api.request('POST', `/v1/models/${model}/retrainings`, { key: root, body })
  beforeAll(async () => {
    await fixture.register(irisSpec())
    await fixture.store.query(
      sql`update versions set manifest = '{"files": {"model.json": {}, "weights.bin": {}}, "features": {}}' where model = 'iris'`,
    )
  })
  it.each([
    [
      'fewer trees of a network',
      { compress: { version: 'iris_v1.0.0', to: 'fewer-trees' } },
      422,
      /^iris_v1\.0\.0 cannot be compressed to fewer-trees: its artifact is tfjs-layers \(model\.json, weights\.bin\), which can be compressed to float16, int8, prune, distil$/,
    ],
    [
      'a version of another model',
      { compress: { version: 'roses_v1.0.0', to: 'int8' } },
      404,
      /^"roses_v1\.0\.0" is not a version of "iris"$/,
    ],
    [
      'a version of a model that does not exist',
      { compress: { version: 'irs_v1.0.0', to: 'int8' } },
      404,
      /^there is no model "irs"$/,
      'irs',
    ],
    [
      'hyperparameters beside it',
      { compress: { version: 'iris_v1.0.0', to: 'int8' }, hyperparameters: { units: 3 } },
      400,
      /"hyperparameters" and "compress" exclude each other/,
    ],
    [
      'trees for another method',
      { compress: { version: 'iris_v1.0.0', to: 'int8', trees: 3 } },
      400,
      /trees, which only fewer-trees takes/,
    ],
  ])('is refused for %s', async (_what, body, status, why, model = 'iris') => {
    const answer = await compress(body, model)
    expect(answer.status).toBe(status)
    expect((answer.json as { detail: string }).detail).toMatch(why)
  })
})
