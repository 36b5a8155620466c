/** Tests how the columns of an artifact are bound to the features of a model, and what prevents it. */
import { describe, expect, it } from 'vitest'
import { bindColumns } from '../../src/formats/bind-columns.ts'
import type { ArtifactColumn } from '../../src/formats/format.ts'
import { fileNameOf } from '../../src/formats/all-formats.ts'
import { formatOfFiles } from '../../src/format-names.ts'
import { parseDeclaredColumns, type DeclaredColumn, type Feature } from '../../src/features.ts'
import { readCases } from '../support/parity.ts'

type Features = Record<string, Feature>

const features: Features = {
  age: { kind: 'number' },
  city: { kind: 'category' },
  size: { kind: 'number' },
}
const numbers: Features = { age: { kind: 'number' }, size: { kind: 'number' } }
const number = (name: string) => ({ name, kind: 'number', mean: 0, std: 1, fill: null })
const cities = ['Bern', 'Oslo']

describe('the columns that an endpoint lists', () => {
  const columns = [
    { name: 'age', isText: false, vector: 0 },
    { name: 'city', isText: true, vector: 0 },
  ]
  const texts: Features = { ...features, note: { kind: 'text' } }
  const bind = (...given: ArtifactColumn[]) =>
    bindColumns({ columns: given, features: texts, columnsIn: 'endpoint.json' })
  const [age, city] = columns as [ArtifactColumn, ArtifactColumn]

  it('are bound to the features', () =>
    expect(bind(age, city, { ...city, name: 'note' }).fits).toMatchObject([
      { name: 'age', kind: 'number' },
      { name: 'city', encoding: 'text' },
      { name: 'note', encoding: 'text' },
      { name: 'size' },
    ]))

  it.each<[string, ArtifactColumn, string]>([
    ['an unknown one', { ...age, name: 'height' }, 'no feature is called "height": '],
    ['a category as a number', { ...age, name: 'city' }, 'write {"name": "city", "text": true}'],
    ['a text as a number', { ...age, name: 'note' }, 'write {"name": "note", "text": true}'],
    ['a number as a text', { ...city, name: 'size' }, 'leave "text" out'],
  ])('are refused with what to do in that file: %s', (_what, column, why) => {
    const refused = expect.objectContaining({
      message: expect.stringMatching(/^(?!.*columns\.json).*"columns" of endpoint\.json/) as string,
    }) as Error
    expect(() => bind(column)).toThrow(refused)
    expect(() => bind(column)).toThrow(why)
  })
})

describe('columns', () => {
  it('are bound by their names, in the order of the artifact', () =>
    expect(
      bindColumns({
        columns: [{ name: 'size' }, { name: 'city', categories: cities }, { name: 'age' }],
        features,
      }),
    ).toEqual({
      fits: [
        number('size'),
        { name: 'city', kind: 'category', vocabulary: cities, encoding: 'code' },
        number('age'),
      ],
      unused: [],
      unknown: [],
    }))

  it.each(['Column_', 'f', 'x', 'feature_', ''])('called %s0 are bound by the declared order', (stem) =>
    expect(
      bindColumns({ columns: [{ name: `${stem}0` }, { name: `${stem}1` }], features: numbers }).fits,
    ).toEqual([number('age'), number('size')]),
  )

  it('without names are bound as the model file lists the features, which Postgres stores in another order', () => {
    const stored: Features = {
      area: { kind: 'number' },
      price: { kind: 'number' },
      rooms: { kind: 'number' },
    }
    const columns = ['f0', 'f1', 'f2'].map((name) => ({ name }))
    const order = ['area', 'rooms', 'price']
    expect(bindColumns({ columns, features: stored, order })).toEqual({
      fits: order.map(number),
      unused: [],
      unknown: [],
      byPlace: order,
    })
    expect(bindColumns({ columns, features: stored }).byPlace).toEqual(['area', 'price', 'rooms'])
    const declared = parseDeclaredColumns(['price', 'area', 'rooms'])
    const named = bindColumns({ columns, features: stored, order, declared })
    expect(named.fits.map(({ name }) => name)).toEqual(['price', 'area', 'rooms'])
    expect(named).not.toHaveProperty('byPlace')
  })

  it('are bound by name where features have the names of a plain matrix', () => {
    const plain: Features = { f1: { kind: 'number' }, f0: { kind: 'number' } }
    const { fits } = bindColumns({ columns: [{ name: 'f0' }, { name: 'f1' }], features: plain })
    expect(fits.map(({ name }) => name)).toEqual(['f0', 'f1'])
  })

  it('leave out the features that the artifact does not use', () => {
    const { fits, unused } = bindColumns({ columns: [{ name: 'size' }], features })
    expect(unused).toEqual(['age', 'city'])
    expect(fits).toEqual([
      number('size'),
      number('age'),
      { name: 'city', kind: 'category', vocabulary: [], encoding: 'code' },
    ])
  })

  it('get their names, categories and fills from columns.json', () => {
    const columns = [{ name: 'Column_0' }, { name: 'Column_1' }]
    const declared = parseDeclaredColumns([
      { name: 'city', vocabulary: [10, 'Oslo'] },
      { name: 'age', fill: 3 },
    ])
    expect(bindColumns({ columns, features, declared }).fits.slice(0, 2)).toEqual([
      { name: 'city', kind: 'category', vocabulary: ['10', 'Oslo'], encoding: 'code' },
      { ...number('age'), fill: 3 },
    ])
  })

  it('accept integers that are their own codes', () =>
    expect(bindColumns({ columns: [{ name: 'age', categories: [0, 1, 2] }], features }).fits[0]).toEqual(
      number('age'),
    ))

  describe('of which the file leaves the categories open', () => {
    const sizes = ['s', 'm', 'l']
    const columns = ['size', 'code'].map((name) => ({ name, possibleCategories: [sizes] }))
    const kinds = (size: Features[string], code: Features[string]): Features => ({ size, code })
    const any = { kind: 'category' } as const
    const own = { name: 'size', kind: 'category', vocabulary: sizes, encoding: 'code' }

    it('get them from columns.json, and the others are numbers', () =>
      expect(
        bindColumns({
          columns,
          features: kinds(any, { kind: 'number' }),
          declared: parseDeclaredColumns([{ name: 'size', vocabulary: sizes }, 'code']),
        }).fits,
      ).toEqual([own, number('code')]))

    it('get the ones that hold all values of the feature', () =>
      expect(
        bindColumns({
          columns,
          features: kinds({ kind: 'category', values: ['l', 's'] }, { kind: 'number' }),
        }).fits,
      ).toEqual([own, number('code')]))

    it.each([
      ['for any text', kinds(any, { kind: 'number' }), undefined, /does not say to which .*"size", "code"/],
      ['for a number', kinds({ kind: 'number' }, any), undefined, /\["s","m","l"\] belong: list the columns/],
      [
        'for a number beside other categories',
        kinds({ kind: 'number' }, any),
        [{ name: 'size' }, { name: 'code', vocabulary: ['0', '1', '2'] }],
        /does not say to which/,
      ],
      [
        'in another order than the file',
        kinds(any, { kind: 'number' }),
        [{ name: 'size', vocabulary: ['l', 'm', 's'] }, { name: 'code' }],
        /categories of "size" in another order than the file: list them as \["s","m","l"\]/,
      ],
    ])('are refused %s', (_what, open, declared, why) =>
      expect(() => bindColumns({ columns, features: open, declared })).toThrow(why),
    )
  })

  it('of categories are refused where the feature has none of their values', () => {
    const columns = [{ name: 'colour', categories: ['s', 'm', 'l'] }]
    const withValues = (...values: string[]): Features => ({ colour: { kind: 'category', values } })
    expect(() => bindColumns({ columns, features: withValues('red', 'white') })).toThrow(
      /^no value of the feature "colour", such as "red", "white", is a category of that column in the file, such as "s", "m", "l": correct/,
    )
    const declared = [{ name: 'colour', vocabulary: ['red', 'white', 'blue'] }]
    for (const fitting of [
      { columns, features: withValues('s', 'xl') },
      { columns, features: withValues('red', 'white'), declared },
    ])
      expect(bindColumns(fitting).fits[0]).toMatchObject({ name: 'colour' })
  })

  it('of texts are refused where the model knows no text of the training rows', () => {
    const bound = (texts: string[], knownTexts?: ArtifactColumn['knownTexts'], vocabulary?: string[]) =>
      bindColumns({
        columns: [{ name: 'city', isText: true, knownTexts }],
        features,
        texts: { city: texts.map((text) => [text, 1]) },
        declared: vocabulary && [{ name: 'city', vocabulary }],
      })
    const isBern = { has: (text: string) => text === 'Bern', listed: ['Bern'] }
    expect(() => bound(['BERN', 'OSLO'], isBern)).toThrow(
      /^no value of "city" in the training rows, such as "BERN", "OSLO", is a category that the model knows, such as "Bern": write the values in the source as the model has them, or, if they are new to the model on purpose, list them/,
    )
    expect(bound(['BERN'], isBern, ['BERN']).fits).toHaveLength(3)
    expect(() => bound(['BERN'], undefined, ['Bern'])).toThrow(/model knows, such as "Bern": write/)
    for (const texts of [['BERN', 'Bern'], []]) expect(bound(texts, isBern).fits).toHaveLength(3)
    expect(bound(['BERN']).fits).toHaveLength(3)
    const rows = ['OSLO', 'Bern', '', 'BERN', 'ROME', 'ULM', 'GRAZ']
    expect(bound(rows, isBern).unknown).toEqual([
      { feature: 'city', rows: 5, examples: ['OSLO', 'BERN', 'ROME'], known: ['Bern'] },
    ])
  })

  it('of texts take a feature of free text, and others refuse it', () => {
    const note = { note: { kind: 'text' } } as const
    const bind = (column: object) =>
      bindColumns({ columns: [{ name: 'note', ...column }], features: note }).fits
    expect(bind({ isText: true })).toEqual([
      { name: 'note', kind: 'category', vocabulary: [], encoding: 'text' },
    ])
    for (const column of [{}, { categories: ['a', 'b'] }])
      expect(() => bind(column)).toThrow(
        'the column "note" takes numbers or codes, the feature is a text: an object of Python (job.save), an endpoint, or an ONNX graph with an input of texts takes it',
      )
  })

  it.each([
    ['vector', 'a vector', 'columns of numbers without categories, '],
    ['image', 'an image', 'send its pixels as vector(n), or decode it in '],
  ] as const)('of codes or words refuse a feature of the kind %s', (kind, name, takers) => {
    const bind = (column: object) =>
      bindColumns({ columns: [{ name: 'scan', ...column }], features: { scan: { kind } } })
    const remedy = `the feature is ${name}: ${takers}`
    expect(() => bind({ categories: ['a'] })).toThrow(`the column "scan" takes numbers or codes, ${remedy}`)
    expect(() => bind({ isText: true, isOfWords: true })).toThrow(`the column "scan" takes texts, ${remedy}`)
    expect(bind({ isText: true }).fits).toHaveLength(1)
  })

  describe('of numbers, which a vector fills', () => {
    const vector = (length: number): Feature => ({ kind: 'vector', length })
    const fit = (name: string, length: number) => ({
      name,
      kind: 'category',
      vocabulary: [],
      encoding: 'elements',
      length,
    })
    const input = (name: string, count: number) =>
      Array.from({ length: count }, () => ({ name: 'f', input: name }))
    const shape = { height: 2, width: 3, channels: 1, order: 'CHW' } as const
    const imageInput = (name: string): ArtifactColumn[] =>
      input(name, 6).map((column, at) => (at === 0 ? { ...column, image: shape } : column))
    const pixels = { name: 'scan', kind: 'category', vocabulary: [], encoding: 'pixels', image: shape }
    const matrix = (count: number) => Array.from({ length: count }, (_, at) => ({ name: `f${at}` }))
    const [text, one] = [{ name: 'note', isText: true, isOfWords: true }, { kind: 'number' } as const]

    it.each<[string, ArtifactColumn[], Features, DeclaredColumn[] | undefined, object[]]>([
      ['by its place', matrix(4), { a: one, v: vector(3) }, undefined, [number('a'), fit('v', 3)]],
      [
        'by columns.json',
        matrix(4),
        { a: one, v: vector(3) },
        [{ name: 'v' }, { name: 'a' }],
        [fit('v', 3), number('a')],
      ],
      ['by the place of its input', input('x', 3), { v: vector(3) }, undefined, [fit('v', 3)]],
      [
        'by the names of the inputs',
        [...input('v', 3), ...input('a', 1), ...input('w', 2)],
        { w: vector(2), a: one, v: vector(3) },
        undefined,
        [fit('v', 3), number('a'), fit('w', 2)],
      ],
      [
        'beside a text',
        [...input('v', 3), text],
        { note: { kind: 'text' }, v: vector(3) },
        undefined,
        [fit('v', 3), { name: 'note', kind: 'category', vocabulary: [], encoding: 'text' }],
      ],
      [
        'of names, by columns.json',
        [{ name: 'p' }, { name: 'q' }],
        { v: vector(2) },
        [{ name: 'v' }],
        [fit('v', 2)],
      ],
      ['of an image by its place', imageInput('x'), { scan: { kind: 'image' } }, undefined, [pixels]],
      [
        'of an image by the name of its input',
        [...input('v', 3), ...imageInput('scan')],
        { scan: { kind: 'image' }, v: vector(3) },
        undefined,
        [fit('v', 3), pixels],
      ],
      [
        'of an image by columns.json',
        [...imageInput('x'), ...input('y', 2)],
        { scan: { kind: 'image' }, v: vector(2) },
        [{ name: 'scan' }, { name: 'v' }],
        [pixels, fit('v', 2)],
      ],
      ['of an image as a vector', imageInput('x'), { v: vector(6) }, undefined, [fit('v', 6)]],
    ])('are bound %s', (_how, columns, features, declared, fits) =>
      expect(bindColumns({ columns, features, declared }).fits).toEqual(fits),
    )

    it.each<[string, ArtifactColumn[], Features, DeclaredColumn[] | undefined, string]>([
      [
        'of another number',
        matrix(4),
        { v: vector(3) },
        undefined,
        'does not name its 4 columns, and the model has 1 features, which are 3 with each number of the vectors',
      ],
      [
        'of another number by columns.json',
        matrix(4),
        { v: vector(3) },
        [{ name: 'v' }],
        'names 1 columns, which are 3 with each number of the vectors, the file has 4',
      ],
      [
        'of another input',
        input('v', 4),
        { v: vector(3) },
        undefined,
        'the input "v" takes 4 numbers a row, the feature is a vector of 3: declare vector(4)',
      ],
      [
        'of several inputs',
        [...input('v', 2), ...input('w', 2)],
        { u: vector(4) },
        undefined,
        'does not name its 4 columns',
      ],
      [
        'with categories among them',
        [{ name: 'f0' }, { name: 'f1', categories: ['a'] }],
        { v: vector(2) },
        undefined,
        'does not name its 2 columns',
      ],
      [
        'of a number',
        [...input('v', 3), text],
        { v: one, note: { kind: 'text' } },
        undefined,
        'the input "v" takes 3 numbers a row, the feature is a number: declare vector(3)',
      ],
      [
        'of an image',
        input('scan', 3),
        { scan: { kind: 'image' } },
        undefined,
        'the input "scan" takes 3 numbers a row, the feature is an image: declare vector(3), or name the features of all columns in columns.json; an image needs an input of floats or uint8 of the shape [any, C, H, W] or [any, H, W, C]',
      ],
      [
        'of a part of an image',
        imageInput('x').slice(0, 5),
        { scan: { kind: 'image' } },
        undefined,
        'does not name its 5 columns',
      ],
      [
        'of an image with a fill',
        imageInput('x'),
        { scan: { kind: 'image' } },
        [{ name: 'scan', fill: 0 }],
        'columns.json has a "fill" or "vocabulary" of "scan", which is an image: leave it out',
      ],
      [
        'that no feature has',
        [...input('v', 3), text],
        { note: { kind: 'text' } },
        undefined,
        'no feature is called "v": columns "v", "note"',
      ],
      [
        'with a fill',
        matrix(2),
        { v: vector(2) },
        [{ name: 'v', fill: 0 }],
        'columns.json has a "fill" or "vocabulary" of "v", which is a vector: leave it out',
      ],
    ])('are refused %s', (_what, columns, features, declared, why) =>
      expect(() => bindColumns({ columns, features, declared })).toThrow(why),
    )
  })

  it.each([
    [
      'a vector of another length',
      { kind: 'vector', length: 3 },
      2,
      'takes a vector of 2 numbers, but the feature is a vector of 3: write "vector": 3 in the column',
    ],
    [
      'a vector, where it takes none',
      { kind: 'vector', length: 3 },
      0,
      'takes no vector, but the feature is a vector of 3: write "vector": 3 in the column',
    ],
    [
      'a text, where it takes a vector',
      { kind: 'text' },
      2,
      'takes a vector of 2 numbers, but the feature is not a vector: leave "vector" out',
    ],
    [
      'a number, where it takes a vector',
      { kind: 'number' },
      2,
      'takes a vector of 2 numbers, but the feature is not a vector: leave "vector" out',
    ],
  ] as const)('of vectors refuse %s', (_what, feature, vector, why) => {
    const bind = (columns: { vector: number }) =>
      bindColumns({ columns: [{ name: 'scan', isText: true, ...columns }], features: { scan: feature } })
    expect(() => bind({ vector })).toThrow(`the column "scan" ${why}`)
    if (feature.kind !== 'number')
      expect(bind({ vector: feature.kind === 'vector' ? 3 : 0 }).fits).toHaveLength(1)
  })

  it('of texts take the text itself', () =>
    expect(bindColumns({ columns: [{ name: 'city', isText: true }], features }).fits[0]).toEqual({
      name: 'city',
      kind: 'category',
      vocabulary: [],
      encoding: 'text',
    }))

  it.each([
    [
      'an unknown name',
      [{ name: 'age' }, { name: 'height' }],
      undefined,
      /no feature is called "height": columns "age", "height"; features "age", "city", "size"; if features have these columns under other names, name the feature of each column in columns\.json, in the order of the file$/,
    ],
    [
      'an unknown name of columns.json',
      [{ name: 'age' }],
      [{ name: 'height' }],
      /no feature is called "height": columns "height"; features "age", "city", "size"$/,
    ],
    [
      'another number of unnamed columns',
      [{ name: 'f0' }],
      undefined,
      /does not name its 1 columns, and the model has 3 features: name them in columns.json/,
    ],
    [
      'names in another order than those of the file',
      [{ name: 'age' }, { name: 'size' }],
      [{ name: 'size' }, { name: 'age' }],
      /columns\.json has "size" where the file has "age": list the columns in the order of the file, "age", "size"/,
    ],
    [
      'categories in another order than those of the file',
      [{ name: 'city', categories: cities }],
      [{ name: 'city', vocabulary: ['Oslo', 'Bern'] }],
      /has the category "Oslo" of "city" where the file has "Bern": list them in the order of the file/,
    ],
    [
      'one of the categories of the file at the place of another',
      [{ name: 'city', categories: ['Bern', 'Rome', 'Oslo'] }],
      [{ name: 'city', vocabulary: ['Paris', 'Oslo', 'Lima'] }],
      /has the category "Oslo" of "city" where the file has "Rome": list them in the order of the file/,
    ],
    [
      'fewer categories than the file',
      [{ name: 'city', categories: ['Bern', 'Rome', 'Oslo'] }],
      [{ name: 'city', vocabulary: ['Bern', 'Rome'] }],
      /has 2 categories of "city", the file has 3 \("Bern", "Rome", "Oslo"\): list them/,
    ],
    ['a name twice', [{ name: 'age' }, { name: 'age' }], undefined, /two columns have the name "age"/],
    [
      'a category for a number',
      [{ name: 'age', categories: ['young'] }],
      undefined,
      /"age" is a category, the feature is a number/,
    ],
    [
      'a text for a number',
      [{ name: 'age', isText: true }],
      undefined,
      /"age" takes texts, the feature is a number/,
    ],
    [
      'a category without codes',
      [{ name: 'city' }],
      undefined,
      /holds no categories of the column "city": give them in columns.json, .* as {"name": "city", "vocabulary": /,
    ],
    [
      'categories that the library has cut',
      [{ name: 'city', hasCutNames: true }],
      undefined,
      /XGBoost before 3\.4 has cut the names of the categories of the column "city", which are not ASCII: give them in/,
    ],
    [
      'a category twice',
      [{ name: 'city', categories: ['Bern', 'Bern'] }],
      undefined,
      /category of the column "city" stands twice/,
    ],
    [
      'too few declared columns',
      [{ name: 'a' }, { name: 'b' }],
      [{ name: 'age' }],
      /columns.json names 1 columns, the file has 2: columns "age"; features "age", "city", "size"; the file has "a", "b"$/,
    ],
  ])('with %s are refused', (_what, columns, declared, why) =>
    expect(() => bindColumns({ columns, features, declared })).toThrow(why),
  )
})

describe('columns.json', () => {
  it('may be a list of names', () =>
    expect(parseDeclaredColumns(['a', 'b'])).toEqual([{ name: 'a' }, { name: 'b' }]))

  it.each([
    [{}, /not a list of 1 to/],
    [[], /not a list of 1 to/],
    [[1], /column 0 of columns.json is not an object/],
    [['a', {}], /column 1 of columns.json has no "name"/],
    [[{ name: 'a', codes: [] }], /unknown field "codes"/],
    [[{ name: 'a', vocabulary: [null] }], /"vocabulary" of column 0/],
    [[{ name: 'a', fill: 'x' }], /"fill" of column 0/],
  ])('%j is refused', (given, why) => expect(() => parseDeclaredColumns(given)).toThrow(why))
})

describe('a file', () => {
  const bytesOf = (name: string) => readCases().find((each) => each.name === name)!.bytes
  it.each([
    ['lightgbm-binary-0', 'model.txt'],
    ['xgboost-binary-0', 'model.json'],
    ['xgboost-binary-ubj-0', 'model.ubj'],
    ['catboost-binary-0', 'model.json'],
  ])('of %s is recognised by its first bytes', (name, file) => {
    expect(fileNameOf(bytesOf(name))).toBe(file)
    expect(formatOfFiles([file])).toBe('trees')
  })

  it.each([
    [Buffer.from('\x80\x04\x95', 'latin1'), /is a pickle/],
    [Buffer.from('a,b\n1,2'), /not a model of LightGBM \(model.txt\), XGBoost/],
    [Buffer.alloc(0), /is empty/],
  ])('%j is refused', (bytes, why) => expect(() => fileNameOf(bytes)).toThrow(why))
})
