/** Tests that images and vectors are read alike on each road of a request, and refused alike. */
import type { FeatureFit } from '@tenure/predictors/features'
import { describe, expect, it } from 'vitest'
import { tensorsOf } from '../../../../api/grpc/infer-request.ts'
import { fillTensors, readInfer } from '../../../../api/inference/request-reader.ts'
import { compileCells } from '../../../../api/serving/codec/cell-reader.ts'
import { columnsOf } from '../../../../api/serving/codec/feature-columns.ts'
import { createInputBuffer, type InputBuffer } from '../../../../api/serving/codec/input-buffer.ts'
import { compileJsonRow, fillInstances } from '../../../../api/serving/codec/instances.ts'
import { compileChecks, compileReader } from '../../../../api/serving/codec/row-reader.ts'
import { requestSizeOf, type LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import type { Features } from '../../../../domain/model/features.ts'
import { writePng } from '../../../../packages/predictors/test/support/png-writer.ts'

const features: Features = {
  scan: { kind: 'image', maxBytes: 100, missing: 'fill' },
  size: { kind: 'number' },
  embedding: { kind: 'vector', length: 3, missing: 'fill' },
}
const fits: FeatureFit[] = Object.entries(features).map(([name, { kind }]) =>
  kind === 'number'
    ? { name, kind, mean: 0, std: 1, fill: null }
    : { name, kind: 'category', vocabulary: [], encoding: 'text' },
)
function loadedWith(own: readonly FeatureFit[]): LoadedVersion {
  const columns = columnsOf(features, own)
  const checks = compileChecks(features, own)
  return {
    columns,
    cells: compileCells(columns, checks),
    jsonRow: compileJsonRow(columns, checks),
    ignores: () => false,
    maxFields: () => 3,
  } as unknown as LoadedVersion
}
const loaded = loadedWith(fits)
/** Of a model that takes the numbers of the vector. */
const taken = fits.map((fit): FeatureFit =>
  fit.name === 'embedding'
    ? { ...fit, kind: 'category', vocabulary: [], encoding: 'elements', length: 3 }
    : fit,
)
const taking = loadedWith(taken)

/** Of a model that takes the pixels of the image. */
const seeingFits = fits.map((fit): FeatureFit => (fit.name === 'scan' ? pixelsFit(2, 1) : fit))
const seeing = loadedWith(seeingFits)
function pixelsFit(width: number, height: number): FeatureFit {
  const image = { height, width, channels: 1, order: 'CHW' } as const
  return { name: 'scan', kind: 'category', vocabulary: [], encoding: 'pixels', image }
}
const pixels = writePng({ width: 2, height: 1, type: 0, rows: [[3, 250]] })

const gif = Buffer.from('R0lGODlhAQABAIAAAMLCwgAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64')
/** Its second byte is no UTF-8. */
const png = Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), Buffer.alloc(16, 7)])

interface Row {
  scan: unknown
  size: number
  embedding: unknown
}
const listed = ({ embedding }: Row): number[] => embedding as number[]
const sized = (bytes: Buffer): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.byteLength)
  return Buffer.concat([length, bytes])
}
const rawOf = ({ scan }: Row): Buffer => sized(Buffer.from(String(scan), 'base64'))

/** Each reads one row. */
const roads: Record<string, (row: Row, input: InputBuffer, of?: LoadedVersion) => void> = {
  JSON(row, input, of = loaded) {
    const form = { takesLists: false, none: 'none', rows: 'instances' }
    const body = Buffer.from(JSON.stringify({ instances: [row] }))
    fillInstances(of, { body, size: { maxRows: 1, width: 6 }, form }, input)
  },
  'tensors in JSON'(row, input, of = loaded) {
    const inputs = [
      { name: 'scan', shape: [1], datatype: 'BYTES', data: [row.scan] },
      { name: 'size', shape: [1], datatype: 'FP64', data: [row.size] },
      { name: 'embedding', shape: [1, listed(row).length], datatype: 'FP64', data: [listed(row)] },
    ]
    readInfer(of, Buffer.from(JSON.stringify({ inputs })), undefined, input, 10)
  },
  'binary tensors'(row, input, of = loaded) {
    const parts = [rawOf(row), Buffer.from(new Float64Array([row.size]).buffer)]
    parts.push(Buffer.from(new Float64Array(listed(row)).buffer))
    const shapes = [[1], [1], [1, listed(row).length]]
    const inputs = ['scan', 'size', 'embedding'].map((name, at) => ({
      name,
      shape: shapes[at],
      datatype: at === 0 ? 'BYTES' : 'FP64',
      parameters: { binary_data_size: parts[at]!.byteLength },
    }))
    const head = Buffer.from(JSON.stringify({ inputs }))
    readInfer(of, Buffer.concat([head, ...parts]), head.byteLength, input, 10)
  },
  gRPC(row, input, of = loaded) {
    const inputs = [
      { name: 'scan', shape: [1], datatype: 'BYTES' },
      { name: 'size', shape: [1], datatype: 'FP64' },
      { name: 'embedding', shape: [1, listed(row).length], datatype: 'FP64' },
    ]
    const raw = [
      rawOf(row),
      Buffer.from(new Float64Array([row.size]).buffer),
      Buffer.from(new Float64Array(listed(row)).buffer),
    ]
    fillTensors(of, tensorsOf({ inputs, raw } as never, 100), input, 10)
  },
}

const textsIn = (input: InputBuffer): string[] => {
  const found: string[] = []
  for (let at = 0; at < input.textBytes;) {
    const end = at + 4 + input.texts.readUInt32LE(at)
    found.push(input.texts.toString('utf8', at + 4, end))
    at = end
  }
  return found
}

describe.each(Object.entries(roads))('by %s', (_road, read) => {
  it.each([gif, png])('an image is kept as base64, and a vector as JSON', (bytes) => {
    const input = createInputBuffer()
    read({ scan: bytes.toString('base64'), size: 2, embedding: [1, -0.5, 1e-7] }, input)
    expect([...textsIn(input), input.input[0]]).toEqual([bytes.toString('base64'), '[1,-0.5,1e-7]', 2])
  })

  it('a vector of a model of numbers becomes inputs, beside its JSON for the log', () => {
    const input = createInputBuffer()
    read({ scan: gif.toString('base64'), size: 2, embedding: [1, -0.5, 1e-7] }, input, taking)
    expect(textsIn(input)[1]).toBe('[1,-0.5,1e-7]')
    expect([...input.input.subarray(0, 4)]).toEqual([2, 1, -0.5, 1e-7])
  })

  it('an image of a model of pixels becomes inputs, beside its base64 for the log, and another format is refused', () => {
    const input = createInputBuffer()
    const row = { scan: pixels.toString('base64'), size: 2, embedding: [1, 2, 3] }
    read(row, input, seeing)
    expect(textsIn(input)[0]).toBe(row.scan)
    expect([...input.input.subarray(0, 3)]).toEqual([3, 250, 2])
    expect(() => read({ ...row, scan: gif.toString('base64') }, input, seeing)).toThrow(
      /^instance 0: feature "scan" is no PNG/,
    )
  })

  it.each([
    [
      'a large image',
      { scan: Buffer.concat([png, Buffer.alloc(100)]).toString('base64') },
      /"scan" has 124 bytes, at most 100/,
    ],
    ['a short vector', { embedding: [1, 2] }, /"embedding" (is no list of 3|has the shape \[1, 2\])/],
  ])('%s is refused', (_what, change, message) => {
    const row = { scan: gif.toString('base64'), size: 2, embedding: [1, 2, 3], ...change }
    expect(() => read(row, createInputBuffer())).toThrow(message)
  })
})

it('rows of objects are read with a vector as its list and as its text', () => {
  const read = compileReader(features, fits)
  for (const embedding of [[1, 2, 3], '[1, 2, 3]'])
    expect(read({ scan: null, size: 1, embedding } as never, 0, new Float64Array(1), 0)).toMatchObject({
      scan: null,
      embedding: typeof embedding === 'string' ? embedding : '[1,2,3]',
    })
})

it('an image is decoded as training, replay and explanations encode it, and a missing one is NaN', () => {
  const read = compileReader(features, seeingFits)
  const encoded = new Float64Array(3)
  const row = { scan: pixels.toString('base64'), size: 1, embedding: null }
  read(row, 4, encoded, 0)
  expect([...encoded]).toEqual([3, 250, 1])
  read({ ...row, scan: null }, 4, encoded, 0)
  expect([...encoded]).toEqual([NaN, NaN, 1])
  expect(() => read({ ...row, scan: gif.toString('base64') }, 4, encoded, 0)).toThrow(
    /^instance 4: feature "scan" is no PNG/,
  )
})

it('a request holds fewer images the more pixels the model takes of each', () => {
  const sizeWith = (width: number) =>
    requestSizeOf(
      { maxFields: () => 1, columns: columnsOf({ scan: features['scan']! }, [pixelsFit(width, width)]) },
      1_000,
    ).maxRows
  expect([sizeWith(28), sizeWith(100)]).toEqual([127, 9])
})

it('a missing vector of a model of numbers is NaN, also as training, replay and export encode it', () => {
  const row = { scan: null, size: 1, embedding: null }
  const input = createInputBuffer()
  roads['JSON']!(row, input, taking)
  const encoded = new Float64Array(4)
  compileReader(features, taken)(row, 0, encoded, 0)
  for (const found of [input.input.subarray(0, 4), encoded]) expect([...found]).toEqual([1, NaN, NaN, NaN])
  compileReader(features, taken)({ ...row, embedding: '[1, 2e1,-3]' }, 0, encoded, 0)
  expect([...encoded]).toEqual([1, 1, 20, -3])
})

it.each([
  ['a text that is no image', { scan: 'no image' }, '"scan" is no base64 of png, jpeg, gif, webp'],
  ['a number for an image', { scan: 7 }, '"scan" is a number, not a text'],
  ['a text for a vector', { embedding: 'one' }, '"embedding" is no list of 3 finite numbers'],
  ['null in a vector', { embedding: [1, null, 3] }, '"embedding" is no list of 3 finite numbers'],
])('%s is refused', (_what, change, message) =>
  expect(() =>
    roads['JSON']!(
      { scan: gif.toString('base64'), size: 1, embedding: [1, 2, 3], ...change },
      createInputBuffer(),
    ),
  ).toThrow(message),
)
