/** Tests tensors of every datatype, in JSON and in binary, and the errors of invalid tensors. */
import { describe, expect, it } from 'vitest'
import { readInfer } from '../../../api/inference/request-reader.ts'
import { createInputBuffer } from '../../../api/serving/codec/input-buffer.ts'
import { flightSpec, irisSpec, lookingSpec, type ArtifactSpec } from '../../support/serving/artifact.ts'
import { loadedOf, contentsOf } from '../../support/serving/input-buffers.ts'

const most = 20
const iris = loadedOf(irisSpec())
const flight = loadedOf(flightSpec())
const lookingFlight = loadedOf(lookingSpec('distance'))

const irisNames = ['sepalLength', 'sepalWidth', 'petalLength', 'petalWidth']
const matrix = (data: unknown, datatype = 'FP32', shape = [1, 4]) => ({ name: 'x', shape, datatype, data })
const column = (name: string, datatype: string, data: unknown[], shape: number[] = [data.length]) => ({
  name,
  shape,
  datatype,
  data,
})

function read(loaded: typeof iris, request: object | string, binary?: Buffer) {
  const json = Buffer.from(typeof request === 'string' ? request : JSON.stringify(request))
  const input = createInputBuffer()
  const body = binary === undefined ? json : Buffer.concat([json, binary])
  readInfer(loaded, body, binary === undefined ? undefined : json.byteLength, input, most)
  return contentsOf(input, loaded)
}

/** Encodes texts as BYTES. */
const bytesOf = (...texts: string[]): Buffer =>
  Buffer.concat(
    texts.flatMap((text) => {
      const length = Buffer.alloc(4)
      length.writeUInt32LE(Buffer.byteLength(text))
      return [length, Buffer.from(text)]
    }),
  )
const binaryTensor = (name: string, datatype: string, shape: number[], size: number) => ({
  name,
  shape,
  datatype,
  parameters: { binary_data_size: size },
})

describe('tensors by name', () => {
  it('of features of other versions are ignored, and those of filled features may be left out', () => {
    const lenient = { ...iris, ignores: (field: string) => field === 'colour' }
    const named = irisNames.map((name) => column(name, 'FP32', [1]))
    const colour = column('colour', 'BYTES', ['red'])
    expect(read(lenient, { inputs: [...named, colour] })).toEqual(read(iris, { inputs: named }))
    const some = [column('hour', 'FP32', [8]), column('origin', 'BYTES', ['ORD'])]
    const rest = [column('distance', 'FP32', [null]), column('day', 'BYTES', [null])]
    expect(read(flight, { inputs: some })).toEqual(read(flight, { inputs: [...some, ...rest] }))
  })

  it('of other versions do not count as too many values, in JSON and in binary', () => {
    const others = Array.from({ length: 900 }, (_, at) => `other${at}`)
    const lenient = {
      ...iris,
      ignores: (field: string) => others.includes(field),
      maxFields: () => irisNames.length + others.length,
    }
    const rows = Array.from({ length: most }, (_, row) => row)
    const named = irisNames.map((name) => column(name, 'FP32', rows))
    const nested = others.map((name) =>
      column(
        name,
        'FP32',
        rows.map((value) => [value]),
        [most, 1],
      ),
    )
    const wanted = read(iris, { inputs: named })
    expect(read(lenient, { inputs: [...named, ...nested] })).toEqual(wanted)
    const floats = Buffer.from(Float32Array.from(rows).buffer)
    const inputs = [...irisNames, ...others].map((name) =>
      binaryTensor(name, 'FP32', [most], floats.byteLength),
    )
    expect(read(lenient, { inputs }, Buffer.concat(inputs.map(() => floats)))).toEqual(wanted)
  })

  it('of looked-up features are required, because tensors are not looked up', () => {
    const some = [column('hour', 'FP32', [8]), column('origin', 'BYTES', ['ORD'])]
    expect(() => read(lookingFlight, { inputs: some })).toThrow('instance 0 has no feature "distance"')
    const distance = column('distance', 'FP32', [null])
    expect(read(lookingFlight, { inputs: [...some, distance] })).toEqual(read(flight, { inputs: some }))
  })
})

describe('numbers', () => {
  const wanted = read(iris, { inputs: [matrix([1, 0, 1, 1])] })

  it.each(['INT8', 'INT16', 'INT32', 'INT64', 'UINT8', 'UINT16', 'UINT32', 'UINT64', 'FP32', 'FP64'])(
    'of the type %s are read',
    (datatype) => expect(read(iris, { inputs: [matrix([1, 0, 1, 1], datatype)] })).toEqual(wanted),
  )

  it.each([
    ['INT8', 127, 128],
    ['INT8', -128, -129],
    ['UINT8', 255, 256],
    ['INT32', 2 ** 31 - 1, 2 ** 31],
    ['INT64', 2 ** 63 - 1_024, 2 ** 63],
    ['INT64', -(2 ** 63), -(2 ** 63) - 2_048],
    ['UINT64', 2 ** 64 - 2_048, 2 ** 64],
  ])('of the type %s reach to %d, and %d is refused', (datatype, last, next) => {
    expect(() => read(iris, { inputs: [matrix([last, 0, 1, 1], datatype)] })).not.toThrow()
    expect(() => read(iris, { inputs: [matrix([next, 0, 1, 1], datatype)] })).toThrow(
      `is not a value of ${datatype}`,
    )
  })

  it('of the type BOOL are parsed', () =>
    expect(read(iris, { inputs: [matrix([true, false, true, true], 'BOOL')] })).toEqual(wanted))

  it('of the type BOOL are the texts of a category that has them, in JSON and in binary; another category refuses them', () => {
    const spec = flightSpec()
    const features = { ...spec.features, day: { kind: 'category' as const, values: ['true', 'false'] } }
    const member = loadedOf({
      ...spec,
      features,
      preprocessing: spec.preprocessing.with(3, {
        name: 'day',
        kind: 'category',
        vocabulary: ['false', 'true'],
      }),
      golden: [{ distance: 1, hour: 8, origin: 'ORD', day: 'true' }],
    })
    const others = [column('hour', 'FP32', [8, 9]), column('origin', 'BYTES', ['ORD', 'ATL'])]
    const wanted = read(member, { inputs: [...others, column('day', 'BYTES', ['true', 'false'])] })
    expect(read(member, { inputs: [...others, column('day', 'BOOL', [true, false])] })).toEqual(wanted)
    const binary = { inputs: [...others, binaryTensor('day', 'BOOL', [2], 2)] }
    expect(read(member, binary, Buffer.from([1, 0]))).toEqual(wanted)
    expect(() => read(flight, binary, Buffer.from([1, 0]))).toThrow(
      'instance 0: feature "day" is a boolean, not a text',
    )
  })

  it.each<[string, Buffer]>([
    ['BOOL', Buffer.from([1, 0, 1, 255])],
    ['INT8', Buffer.from(Int8Array.of(1, 0, 1, 1).buffer)],
    ['INT16', Buffer.from(Int16Array.of(1, 0, 1, 1).buffer)],
    ['INT32', Buffer.from(Int32Array.of(1, 0, 1, 1).buffer)],
    ['INT64', Buffer.from(BigInt64Array.of(1n, 0n, 1n, 1n).buffer)],
    ['UINT8', Buffer.from([1, 0, 1, 1])],
    ['UINT16', Buffer.from(Uint16Array.of(1, 0, 1, 1).buffer)],
    ['UINT32', Buffer.from(Uint32Array.of(1, 0, 1, 1).buffer)],
    ['UINT64', Buffer.from(BigUint64Array.of(1n, 0n, 1n, 1n).buffer)],
    ['FP32', Buffer.from(Float32Array.of(1, 0, 1, 1).buffer)],
    ['FP64', Buffer.from(Float64Array.of(1, 0, 1, 1).buffer)],
  ])('in binary of the type %s are read', (datatype, bytes) =>
    expect(read(iris, { inputs: [binaryTensor('x', datatype, [1, 4], bytes.byteLength)] }, bytes)).toEqual(
      wanted,
    ),
  )

  it('are equal in binary and in JSON', () => {
    const values = [5.1, 3.5, 1.4, 0.2, -1e-7, 12345.678, 0, 1e20]
    const bytes = Buffer.from(Float32Array.from(values).buffer)
    expect(read(iris, { inputs: [binaryTensor('x', 'FP32', [2, 4], 32)] }, bytes)).toEqual(
      read(iris, { inputs: [matrix(values, 'FP32', [2, 4])] }),
    )
  })

  it('may be nested lists, or one tensor per feature, in any order', () => {
    const wanted = read(iris, { inputs: [matrix([1, 2, 3, 4, 5, 6, 7, 8], 'FP64', [2, 4])] })
    const nested = [
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ]
    expect(read(iris, { inputs: [matrix(nested, 'FP64', [2, 4])] })).toEqual(wanted)
    const tensors = irisNames.map((name, i) =>
      column(name, 'FP64', [1 + i, 5 + i], i % 2 === 0 ? [2] : [2, 1]),
    )
    expect(read(iris, { inputs: tensors.reverse() })).toEqual(wanted)
  })
})

describe('other features', () => {
  const inputs = [
    column('origin', 'BYTES', ['ORD', 'größe']),
    column('day', 'BYTES', ['weekend', null]),
    column('distance', 'FP32', [null, 5]),
    column('hour', 'INT32', [7, 8]),
  ]

  it('are strings, and null where it is allowed', () => {
    const { rows, numbers, texts } = read(flight, { inputs })
    expect(rows).toBe(2)
    expect(numbers).toEqual([NaN, 7, 5, 8])
    expect(Buffer.from(texts, 'hex').toString()).toContain('größe')
  })

  it('are read in binary, where NaN marks a missing number', () => {
    const parts = [
      bytesOf('ORD', 'größe'),
      bytesOf('weekend', 'workday'),
      Buffer.from(Float32Array.of(NaN, 5).buffer),
      Buffer.from(Int32Array.of(7, 8).buffer),
    ]
    const tensors = inputs.map(({ name, datatype, shape }, i) =>
      binaryTensor(name, datatype, shape, parts[i]!.byteLength),
    )
    const asJson = inputs.map((each) =>
      each.name === 'day' ? column('day', 'BYTES', ['weekend', 'workday']) : each,
    )
    expect(read(flight, { inputs: tensors }, Buffer.concat(parts))).toEqual(read(flight, { inputs: asJson }))
  })
})

it('the envelope has id, routing key and outputs', () => {
  const inputs = [matrix([1, 2, 3, 4])]
  const outputs = [{ name: 'label', parameters: { binary_data: true } }, { name: 'probabilities' }]
  expect(
    read(iris, { id: 'ä', inputs, parameters: { routing_key: 'k', reference: 'A-7', other: 1 }, outputs }),
  ).toMatchObject({
    callerId: 'ä',
    routingKey: 'k',
    reference: 'A-7',
    wanted: [
      { name: 'label', binary: true },
      { name: 'probabilities', binary: false },
    ],
  })
  expect(read(iris, { inputs, parameters: { binary_data_output: true } }).wanted).toEqual([
    { name: '*', binary: true },
  ])
  expect(
    read(iris, { inputs, parameters: { binary_data_output: true }, outputs: [{ name: 'a' }] }).wanted,
  ).toEqual([{ name: 'a', binary: true }])
  expect(read(iris, { inputs }).wanted).toBeUndefined()
})

describe('is refused', () => {
  const ok = matrix([1, 2, 3, 4])
  const cases: [string, string, RegExp, object | string, (Buffer | undefined)?, ArtifactSpec?][] = [
    ['what does not parse', 'body_not_json', /does not parse/, '{'],
    ['a list', 'invalid_request', /not an object/, '[]'],
    ['no inputs', 'invalid_request', /"inputs"/, {}],
    ['empty inputs', 'invalid_request', /"inputs"/, { inputs: [] }],
    ['an input that is not an object', 'invalid_request', /input 0 is not an object/, { inputs: [1] }],
    ['an input without name', 'invalid_request', /no name/, { inputs: [{ ...ok, name: '' }] }],
    [
      'an unknown datatype',
      'invalid_request',
      /"FP16", not one of BOOL/,
      { inputs: [{ ...ok, datatype: 'FP16' }] },
    ],
    ...['__proto__', 'constructor', 'toString'].map((datatype): (typeof cases)[number] => [
      `a datatype that every object has, ${datatype}`,
      'invalid_request',
      /not one of BOOL/,
      JSON.stringify({ inputs: [{ ...ok, datatype }] }),
    ]),
    ['no shape', 'invalid_request', /no shape/, { inputs: [{ ...ok, shape: ['1'] }] }],
    [
      'a shape without end',
      'invalid_request',
      /no shape of at most 8/,
      { inputs: [{ ...ok, shape: Array(9).fill(1) }] },
    ],
    [
      'lists without end',
      'invalid_request',
      /more than 64 levels/,
      `{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":${'['.repeat(9_000)}${']'.repeat(9_000)}}]}`,
    ],
    [
      'tensors without end',
      'batch_too_large',
      /more than \d+ values/,
      { inputs: Array.from({ length: 20_000 }, () => column('x', 'FP32', [1])) },
    ],
    [
      'values in two places',
      'invalid_request',
      /"data" and "binary_data_size"/,
      { inputs: [{ ...binaryTensor('x', 'FP32', [1, 4], 16), data: [1, 2, 3, 4] }] },
      Buffer.alloc(16),
    ],
    [
      'outputs in shared memory',
      'invalid_request',
      /shared memory/,
      { outputs: [{ name: 'label', parameters: { shared_memory_region: 'a' } }], inputs: [ok] },
    ],
    ['no data', 'invalid_request', /no list "data"/, { inputs: [{ ...ok, data: undefined }] }],
    ['a value too few', 'invalid_request', /\[1, 4\] and 3 values/, { inputs: [matrix([1, 2, 3])] }],
    [
      'lists of another shape',
      'invalid_request',
      /lists that do not/,
      {
        inputs: [
          matrix([
            [1, 2],
            [3, 4],
          ]),
        ],
      },
    ],
    [
      'a text among floats',
      'wrong_type',
      /at place 1 what is not a value of FP32$/,
      { inputs: [matrix([1, '2', 3, 4])] },
    ],
    ['half an integer', 'wrong_type', /not a value of INT32/, { inputs: [matrix([1, 2.5, 3, 4], 'INT32')] }],
    [
      'an integer that is too large',
      'wrong_type',
      /not a value of UINT8/,
      { inputs: [matrix([1, 256, 3, 4], 'UINT8')] },
    ],
    ['1 for BOOL', 'wrong_type', /not a value of BOOL/, { inputs: [matrix([1, 0, 1, 1], 'BOOL')] }],
    [
      'texts for numbers',
      'wrong_type',
      /"sepalLength" is a text/,
      { inputs: [matrix(['a', 'b', 'c', 'd'], 'BYTES')] },
    ],
    ['infinity', 'not_finite', /"sepalWidth" is not finite/, { inputs: [matrix([1, 1e39, 3, 4])] }],
    ['null', 'missing_feature', /"petalWidth" may not be null/, { inputs: [matrix([1, 2, 3, null])] }],
    [
      'NaN',
      'not_finite',
      /not finite/,
      { inputs: [binaryTensor('x', 'FP32', [1, 4], 16)] },
      Buffer.from(Float32Array.of(1, 2, 3, NaN).buffer),
    ],
    ['no rows', 'no_instances', /no rows/, { inputs: [matrix([], 'FP32', [0, 4])] }],
    [
      'too many rows',
      'batch_too_large',
      /more than 20 rows/,
      { inputs: [matrix(Array(84).fill(1), 'FP32', [21, 4])] },
    ],
    [
      'more values in binary than the largest request has',
      'batch_too_large',
      /more than the 80 values/,
      { inputs: [binaryTensor('x', 'UINT8', [21, 4], 84)] },
      Buffer.alloc(84),
    ],
    [
      'more texts in binary than the largest request has, over all tensors',
      'batch_too_large',
      /more than the 80 values/,
      { inputs: ['a', 'b', 'c'].map((name) => binaryTensor(name, 'BYTES', [30], 120)) },
      Buffer.alloc(360),
    ],
    [
      'what 32 bits do not hold, though they would hold it scaled',
      'not_finite',
      /"distance" is not finite, or too large/,
      {
        inputs: [
          column('distance', 'FP64', [1e39]),
          column('hour', 'FP32', [1]),
          column('origin', 'BYTES', ['a']),
          column('day', 'BYTES', ['weekend']),
        ],
      },
      undefined,
      flightSpec(),
    ],
    [
      'another width',
      'invalid_request',
      /send \[rows, 4\] with the features sepalLength/,
      { inputs: [matrix([1, 2], 'FP32', [1, 2])] },
    ],
    [
      'a missing tensor',
      'missing_feature',
      /no feature "petalLength"/,
      { inputs: irisNames.filter((name) => name !== 'petalLength').map((name) => column(name, 'FP32', [1])) },
    ],
    [
      'an unknown tensor',
      'unknown_feature',
      /"colour" is not a feature/,
      { inputs: [...irisNames, 'colour'].map((name) => column(name, 'FP32', [1])) },
    ],
    [
      'a tensor twice',
      'invalid_request',
      /"sepalWidth" is sent twice/,
      { inputs: [...irisNames, 'sepalWidth'].map((name) => column(name, 'FP32', [1])) },
    ],
    [
      'tensors of different length',
      'invalid_request',
      /shape \[2\], not \[1\]/,
      { inputs: irisNames.map((name, i) => column(name, 'FP32', Array(i === 2 ? 2 : 1).fill(1))) },
    ],
    [
      'an unknown category',
      'unknown_category',
      /"day" is not one of its 2 values: "workday", "weekend"$/,
      {
        inputs: [
          column('distance', 'FP32', [1]),
          column('hour', 'FP32', [1]),
          column('origin', 'BYTES', ['a']),
          column('day', 'BYTES', ['holiday']),
        ],
      },
      undefined,
      flightSpec(),
    ],
    [
      'parameters of an output that are no object',
      'invalid_request',
      /"parameters" of an output/,
      { outputs: [{ name: 'label', parameters: 1 }], inputs: [ok] },
    ],
    ['an id that is a number', 'invalid_request', /"id"/, { id: 1, inputs: [ok] }],
    ['an id that is too long', 'invalid_request', /"id"/, { id: 'x'.repeat(1_001), inputs: [ok] }],
    ['parameters that are no object', 'invalid_request', /"parameters"/, { parameters: 1, inputs: [ok] }],
    [
      'an empty routing key',
      'invalid_request',
      /"routing_key"/,
      { parameters: { routing_key: '' }, inputs: [ok] },
    ],
    ['outputs that are no list', 'invalid_request', /"outputs"/, { outputs: {}, inputs: [ok] }],
    ['an output without name', 'invalid_request', /no name/, { outputs: [{}], inputs: [ok] }],
    [
      'classification',
      'invalid_request',
      /classification/,
      { outputs: [{ name: 'label', parameters: { classification: 1 } }], inputs: [ok] },
    ],
    [
      'binary without a header',
      'invalid_request',
      /no header length/,
      { inputs: [binaryTensor('x', 'FP32', [1, 4], 16)] },
    ],
    [
      'a size that is not a number',
      'invalid_request',
      /"binary_data_size"/,
      { inputs: [binaryTensor('x', 'FP32', [1, 4], -1)] },
      Buffer.alloc(16),
    ],
    [
      'fewer bytes than promised',
      'invalid_request',
      /needs 16 bytes .* has 12 left/,
      { inputs: [binaryTensor('x', 'FP32', [1, 4], 16)] },
      Buffer.alloc(12),
    ],
    [
      'more bytes than promised',
      'invalid_request',
      /4 bytes .* belong to no input/,
      { inputs: [binaryTensor('x', 'FP32', [1, 4], 16)] },
      Buffer.alloc(20),
    ],
    [
      'a part of a number',
      'invalid_request',
      /not a multiple of 4/,
      { inputs: [binaryTensor('x', 'FP32', [1, 4], 15)] },
      Buffer.alloc(15),
    ],
    [
      'other bytes than the shape',
      'invalid_request',
      /\[1, 4\] and 3 values/,
      { inputs: [binaryTensor('x', 'FP32', [1, 4], 12)] },
      Buffer.alloc(12),
    ],
    [
      'a text that is cut off',
      'invalid_request',
      /ends within/,
      { inputs: [binaryTensor('x', 'BYTES', [1, 4], 6)] },
      Buffer.from([9, 0, 0, 0, 1, 1]),
    ],
    [
      'a length that is cut off',
      'invalid_request',
      /ends within/,
      { inputs: [binaryTensor('x', 'BYTES', [1, 4], 3)] },
      Buffer.alloc(3),
    ],
    [
      'a text that is not UTF-8',
      'invalid_request',
      /not UTF-8/,
      { inputs: [binaryTensor('x', 'BYTES', [1, 1], 5)] },
      Buffer.from([1, 0, 0, 0, 0xff]),
    ],
  ]
  it.each(cases)('%s', (_name, code, detail, request, binary, spec) => {
    const loaded = spec === undefined ? iris : flight
    expect(() => read(loaded, request, binary)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(detail) as string }),
    )
  })

  it('bytes that are not UTF-8', () => {
    expect(() =>
      readInfer(iris, Buffer.from([0x22, 0xff, 0x22]), undefined, createInputBuffer(), most),
    ).toThrow(expect.objectContaining({ code: 'body_not_json' }))
  })
})

it('treats a number of a matrix outside of its range as missing, and logs it as it was sent', () => {
  const spec = irisSpec()
  const petalWidth = { kind: 'number', max: 3, missing: 'fill', outside: 'missing' } as const
  const guarded = loadedOf({ ...spec, features: { ...spec.features, petalWidth } })
  const { input, numbers } = read(guarded, { inputs: [matrix([3, 3.1, 3.2, 500])] })
  const fit = spec.preprocessing.find(({ name }) => name === 'petalWidth')!
  expect(input[3]).toBe(fit.kind === 'number' ? (fit.fill! - fit.mean) / fit.std : undefined)
  expect(numbers[3]).toBe(500)
})
