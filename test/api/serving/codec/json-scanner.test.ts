/** Compares the scanner of bodies with JSON.parse: every accepted body is parsed identically, and plain bodies are accepted. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createPredictProtocol } from '../../../../api/serving/request/native-protocol.ts'
import { createInputBuffer } from '../../../../api/serving/codec/input-buffer.ts'
import { scanNumber, type Cursor } from '../../../../api/serving/codec/json-scanner.ts'
import type { Feature } from '../../../../domain/model/features.ts'
import { flightSpec, irisSpec, lookingSpec } from '../../../support/serving/artifact.ts'
import { loadedOf, contentsOf, understood } from '../../../support/serving/input-buffers.ts'

const most = 20
const iris = loadedOf(irisSpec())
const flight = loadedOf(flightSpec())
/** A version whose requests may carry fields of other versions, as in a rollout. */
const rollout = { ...loadedOf(flightSpec()), ignores: (field: string) => /^(former|next|day)$/.test(field) }
/** Reads a body with JSON.parse instead of the scanner. */
const slowly = (loaded: typeof iris, body: Buffer) =>
  understood(loaded, (input) =>
    createPredictProtocol(most).read({ ...loaded, scan: () => false }, body, input),
  )

function scanned(loaded: typeof iris, body: Buffer) {
  const input = createInputBuffer()
  return loaded.scan(body, input, most, loaded.ignores) ? contentsOf(input, loaded) : undefined
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
const rolloutRow = fc
  .tuple(
    fc.record({ hour: number, origin: fc.constantFrom('ATL', 'new') }, { noNullPrototype: true }),
    fc.record(
      {
        distance: fc.option(number),
        day: fc.option(fc.constantFrom('workday', 'weekend')),
        former: fc.oneof(
          { weight: 40, arbitrary: fc.oneof(number, fc.constantFrom('', 'a b', true, false, null)) },
          fc.constantFrom('a "text"', 'ö', [{ day: 1 }]),
        ),
        next: fc.oneof({ weight: 40, arbitrary: number }, fc.string()),
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  )
  .chain(([needed, rest]) => {
    const entries = Object.entries({ ...needed, ...rest })
    return fc.shuffledSubarray(entries, { minLength: entries.length })
  })
  .map((entries): object => Object.fromEntries(entries))
const body = (row: fc.Arbitrary<object>) =>
  fc
    .tuple(
      fc.array(row, { minLength: 1, maxLength: most + 2 }),
      fc.option(fc.string({ minLength: 1, maxLength: 300 })),
      fc.option(fc.string({ minLength: 1, maxLength: 240 })),
      fc.boolean(),
      fc.constantFrom(undefined, 1, '\t'),
      fc.integer(),
    )
    .map(([rows, routingKey, reference, keyFirst, indent, seed]) => {
      const instances = rows.map((each, index) => shuffled(each, seed + (index % 3)))
      const key = {
        ...(routingKey !== null && { routing_key: routingKey }),
        ...(reference !== null && { reference }),
      }
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
  ['absent features and fields of other versions', rollout, rolloutRow],
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
    expect(taken).toBeGreaterThan(400)
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
    ' {"reference": "A-7","routing_key":"k","instances":[{"petalWidth":0.2,"petalLength":-1.4,"sepalWidth":3,"sepalLength":5.1},{"sepalLength":0,"sepalWidth":-0,"petalLength":1e5,"petalWidth":0.20}]}\n',
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

describe('in a rollout', () => {
  const asked = (...rows: string[]) => Buffer.from(`{"instances":[${rows.join()}]}`)
  const needed = '"hour":3,"origin":"ORD"'
  const whole = `{"distance":1,${needed},"day":"weekend"}`

  it.each([
    ['without the features that are filled', [`{${needed}}`, `{${needed}}`]],
    ['with a field of another version first', [`{"former":1,${needed},"day":null,"distance":2}`]],
    [
      'with such fields of every kind',
      '2e1,"a b",true,false, null '
        .split(',')
        .map((value) => `{"distance":2,"next": ${value},${needed},"former" :${value}}`),
    ],
    [
      'of several orders and fields',
      [whole, `{"next":1,${needed}}`, whole, `{${needed},"former":2,"day":"workday"}`, whole],
    ],
  ])('rows %s are scanned', (_name, rows) => {
    expect(scanned(rollout, asked(...rows))).toBeDefined()
    expect(scanned(rollout, asked(...rows))).toEqual(slowly(rollout, asked(...rows)))
  })

  it('more rows are scanned than whole ones would fit in the body', () => {
    const fill = (feature: Feature): Feature => ({ ...feature, missing: 'fill' })
    const spec = irisSpec()
    const features = Object.fromEntries(
      Object.entries(spec.features).map(([name, feature]) => [name, fill(feature)]),
    )
    const filled = loadedOf({
      ...spec,
      features,
      preprocessing: spec.preprocessing.map((fit) => ({ ...fit, fill: 1 })),
    })
    const short = asked(...Array.from({ length: most }, (_, at) => `{"petalWidth":${at}}`))
    expect(scanned(filled, short)).toMatchObject({ rows: most })
    expect(scanned(filled, short)).toEqual(slowly(filled, short))
  })

  it.each([
    ['without a feature that is needed', '{"hour":3}', 'missing_feature'],
    ['with a misspelt field', `{${needed},"nxet":1}`, 'unknown_feature'],
    ['with a wrong value', `{${needed},"former":1,"distance":"far"}`, 'wrong_type'],
  ])('the scanner skips rows %s, and the parser refuses them', (_name, row, code) => {
    expect(scanned(rollout, asked(whole, row))).toBeUndefined()
    expect(slowly(rollout, asked(whole, row))).toBe(code)
  })

  it('the scanner skips rows without a looked-up feature, and the parser refuses them', () => {
    const looking = loadedOf(lookingSpec('distance'))
    expect(scanned(looking, asked(whole))).toBeDefined()
    expect(scanned(looking, asked(`{${needed}}`))).toBeUndefined()
    expect(slowly(looking, asked(`{${needed}}`))).toBe('missing_feature')
  })

  it.each([
    ['nested values', `{${needed},"former":[1]}`],
    ['a field twice', `{${needed},"former":1,"former":2}`],
    ['a feature twice, of which the last counts', `{${needed},"day":"workday","day":"weekend"}`],
    ['no field', '{}'],
  ])('the scanner skips %s', (_name, row) => expect(scanned(rollout, asked(whole, row))).toBeUndefined())
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
  ['a reference twice', `{"reference":"a","instances":[${one}],"reference":"b"}`],
  ['an empty reference', `{"instances":[${one}],"reference":""}`],
  ['a reference that is too long', `{"instances":[${one}],"reference":"${'k'.repeat(201)}"}`],
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
