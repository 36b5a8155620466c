/**
 * Counts the steps that reading one message takes, for every protocol, datatype and coding: how often V8 enters a block of the product's
 * code, which is the same on every machine. A message of the largest size may not hold up the event loop, whichever model it is for.
 */
import { Session } from 'node:inspector/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { protoMessage, protoPacked, protoText, varintBytes } from '../../../../api/grpc/wire.ts'
import type { LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import { wideNames, wideSpec, type WideKind } from '../../../support/serving/wide-artifact.ts'

const maxInstances = 1_000
/** So wide that a quantity that grows with its square would show. */
const width = 2_000
/** The most rows of a request to such a model. */
const mostRows = 50
const someRows = 4
/** Reading a message is proportional to its bytes and to its values. */
const maxStepsOf = (bytes: number, values: number): number => 10 * bytes + 60 * values
/** Plain numbers may be read as a block; other values are read one by one. */
const kinds: WideKind[] = ['numbers', 'guarded numbers', 'texts']

const session = new Session()
type Read = (loaded: LoadedVersion, body: Buffer) => void
let reads: Record<string, Read>
let versions: Record<WideKind, LoadedVersion>

beforeAll(async () => {
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  // V8 counts the blocks of code that is loaded from here on.
  vi.resetModules()
  const [{ peekModel }, { createGrpcProtocol }, { createInferProtocol }, { createRowProtocols }] =
    await Promise.all([
      import('../../../../api/grpc/infer-request.ts'),
      import('../../../../api/grpc/infer-protocol.ts'),
      import('../../../../api/inference/protocol.ts'),
      import('../../../../api/inference/row-protocols.ts'),
    ])
  const [{ createPredictProtocol }, { createInputBuffer }, { loadedOf }] = await Promise.all([
    import('../../../../api/serving/request/native-protocol.ts'),
    import('../../../../api/serving/codec/input-buffer.ts'),
    import('../../../support/serving/input-buffers.ts'),
  ])
  const { kserve, mlflow } = createRowProtocols(maxInstances)
  const input = createInputBuffer()
  reads = {
    grpc(loaded, body) {
      peekModel(body)
      createGrpcProtocol(maxInstances).read(loaded, body, input)
    },
    infer: (loaded, body) => createInferProtocol(maxInstances).read(loaded, body, input),
    binary(loaded, body) {
      const jsonBytes = body.indexOf('\n') + 1
      createInferProtocol(maxInstances, jsonBytes).read(loaded, body, input)
    },
    native: (loaded, body) => createPredictProtocol(maxInstances).read(loaded, body, input),
    kserve: (loaded, body) => kserve.read(loaded, body, input),
    mlflow: (loaded, body) => mlflow.read(loaded, body, input),
  }
  versions = Object.fromEntries(
    kinds.map((kind) => [kind, loadedOf(wideSpec(width, kind))]),
  ) as typeof versions
})
afterAll(() => session.disconnect())

/** Returns how many blocks were entered, and the error of a refused message. */
async function stepsOf(read: () => void): Promise<{ steps: number; refusal: string | undefined }> {
  await session.post('Profiler.takePreciseCoverage')
  let refusal: string | undefined
  try {
    read()
  } catch (error) {
    refusal = (error as { code?: string }).code ?? String(error)
  }
  const { result } = await session.post('Profiler.takePreciseCoverage')
  const own = result.filter(({ url }) => /\/(api|domain)\/[^?]*\.ts/.test(url))
  let steps = 0
  for (const { functions } of own)
    for (const { ranges } of functions) for (const { count } of ranges) steps += count
  return { steps, refusal }
}

interface Message {
  protocol: string
  what: string
  kind: WideKind
  /** Makes a message of this many rows. */
  body: (rows: number) => Buffer
}

// gRPC and the binary extension: each datatype, as raw contents and as typed ones, in one part and in a part for each value.

const isNumber = (kind: WideKind): boolean => kind !== 'texts'
const datatypes: Record<string, { field: number; raw: Buffer; typed: Buffer[] }> = {
  BOOL: { field: 1, raw: Buffer.from([1]), typed: [Buffer.from([1])] },
  INT8: { field: 2, raw: Buffer.from([1]), typed: [varintBytes(1), varintBytes(-1)] },
  INT16: { field: 2, raw: Buffer.from([1, 0]), typed: [varintBytes(300), varintBytes(-1)] },
  INT32: { field: 2, raw: Buffer.from([1, 0, 0, 0]), typed: [varintBytes(1), varintBytes(-1)] },
  INT64: {
    field: 3,
    raw: Buffer.from(BigInt64Array.of(1n).buffer),
    typed: [varintBytes(1), varintBytes(-1)],
  },
  UINT8: { field: 4, raw: Buffer.from([1]), typed: [varintBytes(1), varintBytes(-1)] },
  UINT16: { field: 4, raw: Buffer.from([1, 0]), typed: [varintBytes(1)] },
  UINT32: { field: 4, raw: Buffer.from([1, 0, 0, 0]), typed: [varintBytes(1)] },
  UINT64: { field: 5, raw: Buffer.from(BigInt64Array.of(1n).buffer), typed: [varintBytes(1)] },
  FP32: {
    field: 6,
    raw: Buffer.from(Float32Array.of(1).buffer),
    typed: [Buffer.from(Float32Array.of(1).buffer)],
  },
  FP64: {
    field: 7,
    raw: Buffer.from(Float64Array.of(1).buffer),
    typed: [Buffer.from(Float64Array.of(1).buffer)],
  },
  BYTES: { field: 8, raw: Buffer.from([1, 0, 0, 0, 97]), typed: [] },
}
const repeated = (unit: Buffer, times: number): Buffer => Buffer.alloc(unit.byteLength * times, unit)
const described = (name: string, datatype: string, shape: number[], ...parts: Buffer[]): Buffer =>
  protoMessage(5, protoText(1, name), protoText(2, datatype), protoPacked(3, shape), ...parts)

const binary = (kind: WideKind): Message[] =>
  Object.entries(datatypes)
    .filter(([datatype]) => (datatype === 'BYTES') === (kind === 'texts'))
    .filter(([datatype]) => kind !== 'numbers' || datatype.startsWith('FP'))
    .flatMap(([datatype, { field, raw, typed }]): Message[] => {
      const pieces = datatype === 'BYTES' ? [Buffer.from('a'), Buffer.alloc(0)] : typed
      return [
        {
          protocol: 'grpc',
          what: `${datatype} as raw contents`,
          kind,
          body: (rows) =>
            Buffer.concat([
              described('x', datatype, [rows, width]),
              protoMessage(7, repeated(raw, rows * width)),
            ]),
        },
        {
          protocol: 'binary',
          what: datatype,
          kind,
          body(rows) {
            const values = repeated(raw, rows * width)
            const parameters = { binary_data_size: values.byteLength }
            const head = { inputs: [{ name: 'x', datatype, shape: [rows, width], parameters }] }
            return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), values])
          },
        },
        ...typed.map((unit) => ({
          protocol: 'grpc',
          what: `${datatype} as packed contents of ${unit.byteLength} bytes`,
          kind,
          body: (rows: number) =>
            described(
              'x',
              datatype,
              [rows, width],
              protoMessage(5, protoMessage(field, repeated(unit, rows * width))),
            ),
        })),
        ...pieces.map((unit) => ({
          protocol: 'grpc',
          what: `${datatype} as contents in a part of ${unit.byteLength} bytes for each value`,
          kind,
          body: (rows: number) =>
            described(
              'x',
              datatype,
              [rows, width],
              protoMessage(5, repeated(protoMessage(field, unit), rows * width)),
            ),
        })),
        {
          protocol: 'grpc',
          what: `a tensor of ${datatype} for each feature`,
          kind,
          body: (rows) =>
            Buffer.concat([
              ...wideNames(width).map((name) => described(name, datatype, [rows])),
              repeated(protoMessage(7, repeated(raw, rows)), width),
            ]),
        },
      ]
    })

// JSON: each way to write rows, in every protocol that takes it.

const list = (count: number, text: string): string => `[${Array.from({ length: count }, () => text).join()}]`
const fieldsOf = (names: readonly string[], value: string): string =>
  `{${names.map((name) => `"${name}":${value}`).join()}}`

function texts(kind: WideKind): Message[] {
  const datatype = isNumber(kind) ? 'FP64' : 'BYTES'
  const values = isNumber(kind) ? ['1', '-1.25e-05'] : ['"a"', '"\\u0061"']
  const forms = (value: string): Record<string, [protocol: string, body: (rows: number) => string][]> => ({
    objects: [
      ['native', (rows) => `{"instances":${list(rows, fieldsOf(wideNames(width), value))}}`],
      ['kserve', (rows) => `{"instances":${list(rows, fieldsOf(wideNames(width), value))}}`],
      ['mlflow', (rows) => `{"dataframe_records":${list(rows, fieldsOf(wideNames(width), value))}}`],
    ],
    'objects whose order changes': [
      [
        'native',
        (rows) => {
          const names = wideNames(width)
          const both = [fieldsOf(names, value), fieldsOf(names.toReversed(), value)]
          return `{"instances":[${Array.from({ length: rows }, (_, row) => both[row % 2]).join()}]}`
        },
      ],
    ],
    'objects of a body that ends early': [
      ['native', (rows) => `{"instances":${list(rows, fieldsOf(wideNames(width), value))}`],
    ],
    'objects of which the first is wrong': [
      ['native', (rows) => `{"instances":[{},${list(rows, fieldsOf(wideNames(width), value)).slice(1)}}`],
    ],
    lists: [
      ['kserve', (rows) => `{"instances":${list(rows, list(width, value))}}`],
      ['mlflow', (rows) => `{"inputs":${list(rows, list(width, value))}}`],
      [
        'infer',
        (rows) =>
          `{"inputs":[{"name":"x","datatype":"${datatype}","shape":[${rows},${width}],"data":${list(rows, list(width, value))}}]}`,
      ],
    ],
    'a table': [
      [
        'mlflow',
        (rows) =>
          `{"dataframe_split":{"columns":${JSON.stringify(wideNames(width))},"data":${list(rows, list(width, value))}}}`,
      ],
    ],
    'one list': [
      [
        'infer',
        (rows) =>
          `{"inputs":[{"name":"x","datatype":"${datatype}","shape":[${rows},${width}],"data":${list(rows * width, value)}}]}`,
      ],
    ],
    'a list for each feature': [
      ['mlflow', (rows) => `{"inputs":${fieldsOf(wideNames(width), list(rows, value))}}`],
      [
        'infer',
        (rows) =>
          `{"inputs":[${wideNames(width)
            .map(
              (name) =>
                `{"name":"${name}","datatype":"${datatype}","shape":[${rows}],"data":${list(rows, value)}}`,
            )
            .join()}]}`,
      ],
    ],
  })
  return values.flatMap((value) =>
    Object.entries(forms(value)).flatMap(([form, of]) =>
      of.map(([protocol, body]) => ({
        protocol,
        what: `${form} of ${value}`,
        kind,
        body: (rows: number) => Buffer.from(body(rows)),
      })),
    ),
  )
}

const messages = kinds.flatMap((kind) => [...binary(kind), ...texts(kind)])

it.each(messages)(
  'a message by $protocol is read in a limited number of steps: $kind, $what',
  async ({ protocol, kind, body }) => {
    const bytes = body(someRows)
    const { steps, refusal } = await stepsOf(() => reads[protocol]!(versions[kind], bytes))
    expect(steps, refusal ?? 'read').toBeLessThan(maxStepsOf(bytes.byteLength, someRows * width))
  },
)

describe('a message with more values than a request may have is refused', () => {
  beforeAll(() => session.post('Profiler.stopPreciseCoverage'))
  it.each(messages.filter(({ what }) => !/e-05|u0061/.test(what)))(
    'by $protocol: $kind, $what',
    ({ protocol, kind, body }) => {
      const read = () => reads[protocol]!(versions[kind], body(mostRows + 1))
      expect(read).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^(batch_too_large|body_not_json)$/) }),
      )
    },
  )
})
