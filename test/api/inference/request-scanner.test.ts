/** Compares the scanner of tensors with JSON.parse: every accepted body is parsed identically, and plain bodies are accepted. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { readSlowly } from '../../../api/inference/request-parser.ts'
import { scanMatrix } from '../../../api/inference/request-scanner.ts'
import { createInputBuffer } from '../../../api/serving/codec/input-buffer.ts'
import { flightSpec, irisSpec } from '../../support/serving/artifact.ts'
import { loadedOf, said, understood } from '../../support/serving/input-buffers.ts'

const most = 20
const iris = loadedOf(irisSpec())
const parsed = (body: Buffer) => understood(iris, (input) => readSlowly(iris, body, undefined, input, most))

function scanned(body: Buffer) {
  const input = createInputBuffer()
  return scanMatrix(body, iris.columns, input, most) ? said(input, iris) : undefined
}

const number = fc.oneof(
  fc.double({ min: -1e38, max: 1e38, noNaN: true }),
  fc.double({ min: -100, max: 100, noNaN: true }),
  fc.integer(),
)
const request = fc
  .tuple(
    fc.array(fc.array(number, { minLength: 4, maxLength: 4 }), { minLength: 1, maxLength: most + 2 }),
    fc.constantFrom('FP32', 'FP64', 'FP32', 'INT32'),
    fc.option(fc.string({ maxLength: 50 })),
    fc.integer({ min: -1, max: 1 }),
    fc.constantFrom(undefined, 1),
  )
  .map(([rows, datatype, id, wrong, indent]) => {
    const shape = [rows.length + (wrong === 1 ? 1 : 0), 4]
    const tensor = { name: 'input', shape, datatype, data: rows.flat() }
    return JSON.stringify({ ...(id === null ? {} : { id }), inputs: [tensor] }, null, indent)
  })
const change = fc.option(
  fc.tuple(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), fc.nat({ max: 127 }), fc.boolean()),
)

it('every body that the scanner accepts is parsed identically by the general parser', () => {
  let taken = 0
  fc.assert(
    fc.property(request, change, (text, changed) => {
      let bytes = Buffer.from(text)
      if (changed !== null) {
        const [place, byte, isInsert] = changed
        const at = Math.floor(place * bytes.byteLength)
        const rest = bytes.subarray(isInsert ? at : at + 1)
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([byte]), rest])
      }
      const quick = scanned(bytes)
      if (quick === undefined) return
      taken++
      expect(quick).toEqual(parsed(bytes))
    }),
    { numRuns: 3_000 },
  )
  expect(taken).toBeGreaterThan(150)
})

it.each([
  [
    'as JavaScript writes it',
    '{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}',
  ],
  [
    'as Python writes it',
    '{"id": "a", "inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2, 1e-3, 0, -1, 7]}]}',
  ],
  ['with the id last', '{"inputs":[{"datatype":"FP32","shape":[1,4],"name":"x","data":[1,2,3,4]}],"id":""}'],
])('a plain body %s is scanned', (_name, text) => {
  const bytes = Buffer.from(text)
  expect(scanned(bytes)).toBeDefined()
  expect(scanned(bytes)).toEqual(parsed(bytes))
})

const plain = '{"id":"a","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
it.each([
  ['another datatype', plain.replace('FP32', 'INT32')],
  ['another width', plain.replace('[1,4]', '[2,2]')],
  ['a vector', plain.replace('[1,4]', '[4]')],
  ['no rows', plain.replace('[1,4]', '[0,4]')],
  ['half a row', plain.replace('[1,4]', '[1.5,4]')],
  ['too many rows', plain.replace('[1,4]', '[21,4]')],
  ['a value too few', plain.replace(',0.2', '')],
  ['a value too many', plain.replace('0.2', '0.2,1')],
  ['nested lists', plain.replace('[5.1,3.5,1.4,0.2]', '[[5.1,3.5,1.4,0.2]]')],
  ['null', plain.replace('5.1', 'null')],
  ['a number beyond 32 bits', plain.replace('5.1', '1e39')],
  ['parameters', plain.replace('"id"', '"parameters":{},"id"')],
  ['outputs', plain.replace('"id"', '"outputs":[],"id"')],
  ['a second id', plain.replace('"inputs"', '"id":"b","inputs"')],
  ['a second name', plain.replace('"shape"', '"name":"y","shape"')],
  ['an id that is not a text', plain.replace('"a"', '1')],
  ['no name', plain.replace('"name":"x",', '')],
  [
    'two tensors',
    plain.replace(']}]}', ']},{"name":"y","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'),
  ],
])('the scanner skips %s', (_name, text) => {
  expect(text).not.toBe(plain)
  expect(scanned(Buffer.from(text))).toBeUndefined()
})

it('the scanner skips a model with features other than numbers', () => {
  const flight = loadedOf(flightSpec())
  expect(scanMatrix(Buffer.from(plain), flight.columns, createInputBuffer(), most)).toBe(false)
})
