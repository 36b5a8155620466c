/** Sends the same drawn rows by every protocol: each reads the same inputs, or refuses the same value with the same error. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createGrpcProtocol } from '../../../../api/grpc/infer-protocol.ts'
import { protoMessage, protoPacked, protoText } from '../../../../api/grpc/wire.ts'
import { createInferProtocol } from '../../../../api/inference/protocol.ts'
import { createRowProtocols } from '../../../../api/inference/row-protocols.ts'
import { createInputBuffer } from '../../../../api/serving/codec/input-buffer.ts'
import { createPredictProtocol } from '../../../../api/serving/request/native-protocol.ts'
import type { Protocol } from '../../../../api/serving/request/protocol.ts'
import { readRow, type LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import { resetInput } from '../../../../api/serving/codec/input-buffer.ts'
import type { FeatureRow } from '../../../../domain/model/features.ts'
import { flightSpec, irisSpec } from '../../../support/serving/artifact.ts'
import { damage, damaged } from '../../../support/serving/damaged-bodies.ts'
import { loadedOf, contentsOf } from '../../../support/serving/input-buffers.ts'

const most = 12
const { kserve, mlflow } = createRowProtocols(most)
const native = createPredictProtocol(most)
const infer = createInferProtocol(most)
const iris = loadedOf(irisSpec())
const flight = loadedOf(flightSpec())
/** A version whose requests may carry fields of other versions, as in a rollout. */
const rollout = { ...flight, ignores: (field: string) => /^(former|next)$/.test(field) }

type Row = Record<string, unknown>
type Encode = (rows: readonly Row[], loaded: LoadedVersion, seed: number) => unknown

const cell = (row: Row, name: string): unknown => row[name] ?? null
const listed = ({ columns }: LoadedVersion, row: Row): unknown[] =>
  columns.listed.map(({ name }) => cell(row, name))
/** The same row in another order of its fields. */
function turned(row: Row, seed: number): Row {
  const entries = Object.entries(row)
  const at = Math.abs(seed) % Math.max(1, entries.length)
  return Object.fromEntries([...entries.slice(at), ...entries.slice(0, at)])
}
const namesIn = (rows: readonly Row[]): string[] => [...new Set(rows.flatMap((row) => Object.keys(row)))]
const tensorOf = (rows: readonly Row[], name: string, datatype: string) => ({
  name,
  datatype,
  shape: [rows.length],
  data: rows.map((row) => cell(row, name)),
})

/** Protocols whose rows may lack a feature. */
const byName: Record<string, [Protocol, Encode]> = {
  native: [native, (rows, _loaded, seed) => ({ instances: rows.map((row, at) => turned(row, seed + at)) })],
  'KServe version 1': [kserve, (rows) => ({ instances: rows })],
  'records of MLflow': [mlflow, (rows) => ({ dataframe_records: rows })],
}
/** Protocols whose rows have every feature. */
const complete: Record<string, [Protocol, Encode]> = {
  ...byName,
  'lists of KServe': [kserve, (rows, loaded) => ({ instances: rows.map((row) => listed(loaded, row)) })],
  'lists of MLflow': [mlflow, (rows, loaded) => ({ inputs: rows.map((row) => listed(loaded, row)) })],
  'a table of MLflow': [
    mlflow,
    (rows) => ({
      dataframe_split: { columns: namesIn(rows), data: rows.map((row) => Object.values(row)) },
    }),
  ],
  'columns of MLflow': [
    mlflow,
    (rows) => ({
      inputs: Object.fromEntries(namesIn(rows).map((name) => [name, rows.map((row) => cell(row, name))])),
    }),
  ],
  tensors: [
    infer,
    (rows, { columns }) => ({
      inputs: columns.listed.map(({ name, kind }) =>
        tensorOf(rows, name, kind === 'number' ? 'FP64' : 'BYTES'),
      ),
    }),
  ],
}
const matrix: [Protocol, Encode] = [
  infer,
  (rows, loaded) => ({
    id: 'a',
    inputs: [
      {
        name: 'x',
        shape: [rows.length, loaded.columns.listed.length],
        datatype: 'FP64',
        data: rows.flatMap((row) => listed(loaded, row)),
      },
    ],
  }),
]

/** What a protocol has read, or its error. */
function outcomeOf(loaded: LoadedVersion, read: (input: ReturnType<typeof createInputBuffer>) => void) {
  const input = createInputBuffer()
  try {
    read(input)
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    return { code, message }
  }
  const { callerId: _id, ...rest } = contentsOf(input, loaded)
  return { ...rest, unknownTexts: input.unknownTexts }
}
const answerTo = (loaded: LoadedVersion, protocol: Protocol, body: Buffer) =>
  outcomeOf(loaded, (input) => protocol.read(loaded, body, input))
/** Reads rows as objects, as golden rows and looked-up features are. */
const asObjects = (loaded: LoadedVersion, rows: readonly Row[]) =>
  outcomeOf(loaded, (input) => {
    resetInput(input, loaded.columns, rows.length)
    rows.forEach((row, index) => readRow(loaded, row as FeatureRow, index, input))
  })

const number = fc.oneof(
  fc.double({ noNaN: true, min: -1e37, max: 1e37 }),
  fc.integer(),
  fc.double({ min: -1000, max: 1000, noNaN: true }).map((value) => Number(value.toFixed(3))),
)
const wrong = fc.constantFrom<unknown[]>(null, '5', 1e39, [1], [], {}, { a: 1 }, '\0', 'ö "x"', '\ud800')
/** Whether tensors can carry the row; they refuse values of another type themselves. */
const hasTypes = ({ columns }: LoadedVersion, row: Row): boolean =>
  columns.all.every(({ name, kind }) => {
    const value = cell(row, name)
    return value === null || typeof value === (kind === 'number' ? 'number' : 'string')
  })
const rarely = <T>(arbitrary: fc.Arbitrary<T>, other: fc.Arbitrary<unknown> = wrong) =>
  fc.oneof({ weight: 60, arbitrary }, { weight: 1, arbitrary: other })
const origin = fc.oneof(fc.constantFrom('ATL', 'ORD', 'XNA', '', 'é', 'a\\b'), fc.string())
const irisRow = fc.record({
  sepalLength: rarely(number),
  sepalWidth: rarely(number),
  petalLength: rarely(number),
  petalWidth: rarely(number),
})
const flightRow = fc.record({
  distance: rarely(fc.option(number)),
  hour: rarely(number),
  origin: rarely(origin),
  day: rarely(fc.option(fc.constantFrom('workday', 'weekend'))),
})
const rolloutRow = fc
  .tuple(
    fc.record({ hour: rarely(number), origin: rarely(origin) }, { noNullPrototype: true }),
    fc.record(
      {
        distance: rarely(fc.option(number)),
        day: rarely(fc.option(fc.constantFrom('workday', 'weekend'))),
        former: fc.oneof(number, wrong, fc.constantFrom(true, false, [{ day: 1 }])),
        next: fc.oneof(number, fc.string()),
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
    rarely(fc.constant(''), fc.constantFrom('nxet', 'constructor')),
  )
  .map(([needed, rest, unknown]): Row => {
    const row: Row = { ...rest, ...needed }
    if (unknown !== '') Object.defineProperty(row, unknown as string, { value: 1, enumerable: true })
    return row
  })
/** Rows as JSON has them, without a sign of zero. */
const rowsOf = (row: fc.Arbitrary<Row>) =>
  fc.array(row, { minLength: 1, maxLength: most }).map((rows) => JSON.parse(JSON.stringify(rows)) as Row[])
const indents = fc.constantFrom(undefined, 1, '\t')

describe.each<[string, LoadedVersion, fc.Arbitrary<Row>, Record<string, [Protocol, Encode]>]>([
  ['numbers', iris, irisRow, complete],
  ['numbers and categories', flight, flightRow, complete],
  ['features that may be absent and fields of other versions', rollout, rolloutRow, byName],
])('rows of %s', (_name, loaded, row, protocols) => {
  it.each(Object.entries(protocols))('are read as objects are, or refused as they are, by %s', (_, of) => {
    const [protocol, encode] = of
    let taken = 0
    fc.assert(
      fc.property(rowsOf(row), indents, fc.integer(), (rows, indent, seed) => {
        // Tensors refuse values of another type themselves, and lists of values as another shape.
        if (protocol === infer && !rows.every((each) => hasTypes(loaded, each))) return
        const body = Buffer.from(JSON.stringify(encode(rows, loaded, seed), null, indent))
        const wanted = asObjects(loaded, rows)
        if (!('code' in wanted)) taken++
        expect(answerTo(loaded, protocol, body)).toEqual(wanted)
      }),
      { numRuns: 400 },
    )
    expect(taken).toBeGreaterThan(100)
  })
})

it.each(Object.entries(complete))('an unpaired surrogate is refused by %s', (_, [protocol, encode]) => {
  const row = { distance: 100, hour: 1, day: 'workday' }
  const bodyOf = (origin: string) => Buffer.from(JSON.stringify(encode([{ ...row, origin }], flight, 0)))
  expect(answerTo(flight, protocol, bodyOf('AT\u{1F339}'))).toMatchObject({ rows: 1 })
  expect(answerTo(flight, protocol, bodyOf('AT\ud83c'))).toEqual({
    code: 'wrong_type',
    message: 'instance 0: feature "origin" has an unpaired surrogate, which is no character',
  })
  // As bytes, it is no UTF-8 either.
  const bytes = Buffer.from([0xed, 0xa0, 0xbc])
  const [before, after] = bodyOf('@').toString().split('@')
  const body = Buffer.concat([Buffer.from(before!), bytes, Buffer.from(after!)])
  expect(answerTo(flight, protocol, body)).toHaveProperty('code')
})

it('a matrix of numbers is read as objects are, in JSON and in a message of gRPC', () => {
  const row = fc.record({ sepalLength: number, sepalWidth: number, petalLength: number, petalWidth: number })
  fc.assert(
    fc.property(rowsOf(row), indents, (rows, indent) => {
      const wanted = asObjects(iris, rows)
      const [protocol, encode] = matrix
      expect(
        answerTo(iris, protocol, Buffer.from(JSON.stringify(encode(rows, iris, 0), null, indent))),
      ).toEqual(wanted)
      const values = Float64Array.from(rows.flatMap((each) => listed(iris, each) as number[]))
      const message = Buffer.concat([
        protoMessage(5, protoText(1, 'x'), protoText(2, 'FP64'), protoPacked(3, [rows.length, 4])),
        protoMessage(7, Buffer.from(values.buffer)),
      ])
      expect(answerTo(iris, createGrpcProtocol(most), message)).toEqual(wanted)
    }),
    { numRuns: 500 },
  )
})

it.each(Object.entries({ ...complete, matrix }))('a damaged body of %s never fails otherwise', (_, of) => {
  const [protocol, encode] = of
  fc.assert(
    fc.property(rowsOf(flightRow), damage, fc.integer(), (rows, changes, seed) => {
      const body = damaged(JSON.stringify(encode(rows, flight, seed)), changes)
      const outcome = answerTo(flight, protocol, body)
      if ('message' in outcome) expect(outcome.code).toEqual(expect.any(String))
    }),
    { numRuns: 500 },
  )
})

const one = '{"sepalLength":5.1,"sepalWidth":3.5,"petalLength":1.4,"petalWidth":0.2}'
describe.each([
  { name: 'native', protocol: native, empty: '"instances" is empty', rows: 'instances' },
  { name: 'KServe version 1', protocol: kserve, empty: 'the request has no rows', rows: 'rows' },
])('a body of $name', ({ protocol, empty, rows }) => {
  it.each([
    ['of nothing', '', 'the body does not parse: Unexpected end of JSON input'],
    ['of a list', '[]', 'the body is a list, not an object'],
    ['of nothing else', '{}', '"instances" is absent, not a list'],
    ['without rows', '{"instances":[]}', empty],
    ['with null for rows', '{"instances":null}', '"instances" is null, not a list'],
    ['with an unknown field', `{"instances":[${one}],"rows":1}`, 'the body has an unknown field "rows"'],
    [
      'with its rows twice',
      `{"instances":[${one}],"instances":[${one}]}`,
      'the body has the key "instances" twice in one object',
    ],
    [
      'with a feature twice, one of them escaped',
      `{"instances":[${one.replace('{', '{"\\u0073epalLength":1,')}]}`,
      'the body has the key "sepalLength" twice in one object',
    ],
    [
      'with an empty routing key',
      `{"instances":[${one}],"routing_key":""}`,
      '"routing_key" is not a text of 1 to 256 characters without NUL',
    ],
    [
      'with a long reference',
      `{"instances":[${one}],"reference":"${'k'.repeat(201)}"}`,
      '"reference" is not a text of 1 to 200 characters without NUL',
    ],
    [
      'with an unpaired surrogate in its reference',
      `{"instances":[${one}],"reference":"\\ud83c"}`,
      '"reference" is not a text of 1 to 200 characters without NUL and unpaired surrogates',
    ],
    ['with a row that is a number', '{"instances":[1]}', 'instance 0 is a number, not an object'],
    [
      'with too many rows, of which the first is wrong',
      `{"instances":[1${`,${one}`.repeat(most)}]}`,
      `the request has more than ${most} ${rows}`,
    ],
    ['that ends early behind a wrong row', '{"instances":[1', 'the body does not parse: '],
    [
      'with a feature too few and one too many',
      '{"instances":[{"sepalLength":1,"sepalWidth":1,"petalWidth":"a","x":1}]}',
      'instance 0 has no feature "petalLength"',
    ],
  ])('%s is refused', (_name, body, message) => {
    expect(() => protocol.read(iris, Buffer.from(body), createInputBuffer())).toThrow(message)
  })

  it('has texts beyond ASCII and escapes, in its names too', () => {
    const input = createInputBuffer()
    const text = `{"routing_k\\u0065y":"ä","reference":"\\u0041","instances":[${one.replace('sepalL', '\\u0073epalL')}]}`
    protocol.read(iris, Buffer.from(text), input)
    expect(contentsOf(input, iris)).toMatchObject({ rows: 1, routingKey: 'ä', reference: 'A' })
  })
})

it('a field is ignored only as long as another version knows it', () => {
  const body = Buffer.from('{"instances":[{"hour":1,"origin":"ATL","former":2}]}')
  expect(answerTo(rollout, native, body)).toMatchObject({ rows: 1 })
  expect(answerTo({ ...rollout, ignores: () => false }, native, body)).toMatchObject({
    code: 'unknown_feature',
  })
})
