/** Compares the scanner of bodies with JSON.parse: every accepted body is parsed identically, and plain bodies are accepted. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createPredictProtocol } from '../../../../api/serving/request/native-protocol.ts'
import { createInputBuffer } from '../../../../api/serving/codec/input-buffer.ts'
import { scanNumber, type Cursor } from '../../../../api/serving/codec/json-scanner.ts'
import { flightSpec, irisSpec } from '../../../support/serving/artifact.ts'
import { loadedOf, said, understood } from '../../../support/serving/input-buffers.ts'

const most = 20
const iris = loadedOf(irisSpec())
const flight = loadedOf(flightSpec())
/** Reads a body with JSON.parse instead of the scanner. */
const slowly = (loaded: typeof iris, body: Buffer) =>
  understood(loaded, (input) =>
    createPredictProtocol(most).read({ ...loaded, scan: () => false }, body, input),
  )

function scanned(loaded: typeof iris, body: Buffer) {
  const input = createInputBuffer()
  return loaded.scan(body, input, most) ? said(input, loaded) : undefined
}

const number = fc.oneof(
  // Larger numbers overflow single precision; the mutated bodies below contain them too.
  fc.double({ noNaN: true, min: -1e37, max: 1e37 }),
  fc.integer(),
  fc.double({ min: -1000, max: 1000, noNaN: true }).map((value) => Number(value.toFixed(3))),
)
const irisRow = fc.record({
  sepalLength: number,
  sepalWidth: number,
  petalLength: number,
  petalWidth: number,
})
const flightRow = fc.record({
  distance: fc.option(number),
  hour: number,
  origin: fc.oneof(fc.constantFrom('ATL', 'ORD', 'XNA', ''), fc.string()),
  day: fc.option(fc.constantFrom('workday', 'weekend')),
})
const body = (row: fc.Arbitrary<object>) =>
  fc
    .tuple(
      fc.array(row, { minLength: 1, maxLength: most + 2 }),
      fc.option(fc.string({ minLength: 1, maxLength: 300 })),
      fc.boolean(),
      fc.constantFrom(undefined, 1, '\t'),
      fc.integer(),
    )
    .map(([rows, routingKey, keyFirst, indent, seed]) => {
      const instances = rows.map((each, index) => shuffled(each, seed + (index % 3)))
      const key = routingKey === null ? {} : { routing_key: routingKey }
      return JSON.stringify(keyFirst ? { ...key, instances } : { instances, ...key }, null, indent)
    })

function shuffled(row: object, seed: number): object {
  const entries = Object.entries(row)
  const at = Math.abs(seed) % entries.length
  return Object.fromEntries([...entries.slice(at), ...entries.slice(0, at)])
}

/** Mutations: bytes that are changed, removed, duplicated or inserted. */
const damage = fc.array(
  fc.tuple(
    fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    fc.constantFrom('change', 'remove', 'insert', 'double'),
    fc.oneof(fc.constantFrom(...Buffer.from('0123456789eE+-.,:{}[]" \n\\nultrefa')), fc.nat({ max: 255 })),
  ),
  { maxLength: 3 },
)
function damaged(text: string, changes: [number, string, number][]): Buffer {
  let bytes = Buffer.from(text)
  for (const [place, kind, byte] of changes) {
    const at = Math.floor(place * bytes.byteLength)
    const piece = kind === 'insert' || kind === 'change' ? [byte] : kind === 'double' ? [bytes[at]!] : []
    const rest = bytes.subarray(kind === 'change' || kind === 'remove' ? at + 1 : at)
    bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(piece), rest])
  }
  return bytes
}

describe.each([
  ['numbers alone', iris, irisRow],
  ['categories and nulls', flight, flightRow],
])('of %s', (_name, loaded, row) => {
  it('every body that the scanner accepts is parsed identically by the general parser', () => {
    let taken = 0
    fc.assert(
      fc.property(body(row), damage, (text, changes) => {
        const bytes = damaged(text, changes)
        const quick = scanned(loaded, bytes)
        if (quick === undefined) return
        taken++
        expect(quick).toEqual(slowly(loaded, bytes))
      }),
      { numRuns: 3_000 },
    )
    expect(taken).toBeGreaterThan(500)
  })
})

it.each([
  [
    'as JavaScript writes it',
    '{"instances":[{"sepalLength":5.1,"sepalWidth":3.5,"petalLength":1.4,"petalWidth":0.2}]}',
  ],
  [
    'as Python writes it',
    '{"instances": [{"sepalLength": 5.1, "sepalWidth": 3.5, "petalLength": 1.4, "petalWidth": 2e-1}], "routing_key": "a b"}',
  ],
  [
    'in another order',
    ' {"routing_key":"k","instances":[{"petalWidth":0.2,"petalLength":-1.4,"sepalWidth":3,"sepalLength":5.1},{"sepalLength":0,"sepalWidth":-0,"petalLength":1e5,"petalWidth":0.20}]}\n',
  ],
])('a plain body %s is scanned', (_name, text) => {
  const bytes = Buffer.from(text)
  expect(scanned(iris, bytes)).toBeDefined()
  expect(scanned(iris, bytes)).toEqual(slowly(iris, bytes))
})

it('known and unknown categories are accepted, and null where it is allowed', () => {
  const bytes = Buffer.from(
    '{"instances":[{"distance":null,"hour":3,"origin":"ORD","day":null},{"distance":1,"hour":4,"origin":"new","day":"weekend"}]}',
  )
  expect(scanned(flight, bytes)).toEqual(slowly(flight, bytes))
  expect(scanned(flight, bytes)).toMatchObject({ rows: 2, numbers: [NaN, 3, 1, 4] })
})

const one = '{"sepalLength":5.1,"sepalWidth":3.5,"petalLength":1.4,"petalWidth":0.2}'
it.each([
  ['nothing', ''],
  ['an empty list', '{"instances":[]}'],
  ['an unknown field', `{"instances":[${one}],"rows":1}`],
  ['a field twice', `{"instances":[${one}],"instances":[${one}]}`],
  ['a routing key twice', `{"routing_key":"a","instances":[${one}],"routing_key":"b"}`],
  [
    'a feature twice',
    '{"instances":[{"sepalLength":5.1,"sepalLength":3.5,"petalLength":1.4,"petalWidth":0.2}]}',
  ],
  ['a feature too many', `{"instances":[${one.slice(0, -1)},"x":1}]}`],
  ['a feature too few', '{"instances":[{"sepalLength":5.1,"sepalWidth":3.5,"petalLength":1.4}]}'],
  ['null', `{"instances":[${one.replace('5.1', 'null')}]}`],
  ['a text', `{"instances":[${one.replace('5.1', '"5.1"')}]}`],
  ['infinity', `{"instances":[${one.replace('5.1', '1e999')}]}`],
  ['an escape', `{"instances":[${one}],"routing_key":"\\u0041"}`],
  ['an escaped name', `{"instances":[${one.replace('sepalL', '\\u0073epalL')}]}`],
  ['text beyond ASCII', `{"instances":[${one}],"routing_key":"ä"}`],
  ['an empty routing key', `{"instances":[${one}],"routing_key":""}`],
  ['a routing key that is too long', `{"instances":[${one}],"routing_key":"${'k'.repeat(257)}"}`],
  ['too many rows', `{"instances":[${Array.from({ length: most + 1 }, () => one).join(',')}]}`],
  ['something behind', `{"instances":[${one}]} 1`],
  ['a comma too many', `{"instances":[${one},]}`],
  ['no end', `{"instances":[${one}]`],
])('the scanner skips %s', (_name, text) => {
  const bytes = Buffer.from(text)
  expect(scanned(iris, bytes)).toBeUndefined()
})

it('numbers are parsed as by JSON.parse', () => {
  const digits = fc.stringMatching(/^(0|[1-9]\d{0,24})$/)
  const text = fc
    .tuple(
      fc.constantFrom('', '-'),
      digits,
      fc.option(fc.stringMatching(/^\d{1,25}$/)),
      fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e+', 'e-', 'E-'), fc.nat({ max: 340 }))),
    )
    .map(
      ([sign, whole, part, exponent]) =>
        sign + whole + (part === null ? '' : `.${part}`) + (exponent?.join('') ?? ''),
    )
  fc.assert(
    fc.property(text, (written) => {
      const wanted = JSON.parse(written) as number
      const cursor: Cursor = { bytes: Buffer.from(`${written},`), at: 0 }
      expect(scanNumber(cursor)).toBe(Number.isFinite(wanted) ? wanted : NaN)
      expect(cursor.at).toBe(written.length)
    }),
    { numRuns: 10_000 },
  )
})
