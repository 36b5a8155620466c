/** Tests which columns, kinds and label are inferred from a CSV, and what stays open. */
import { describe, expect, it } from 'vitest'
import {
  asClasses,
  inferColumns,
  inferLabel,
  inferTime,
  labelIssue,
} from '../../../domain/project/infer-columns.ts'

const columnOf = (name: string, values: readonly string[]) =>
  inferColumns(
    [name],
    values.map((value) => [value]),
  )[0]!

describe('a column', () => {
  it.each([
    ['numbers', 'size', ['1', '-2.5', '1e3', ''], { use: 'number', whole: false, missing: 1 }],
    ['whole numbers', 'rooms', ['1', '2', '2'], { use: 'number', whole: true }],
    ['yes and no', 'paid', ['no', 'yes', 'no', 'no'], { use: 'flag', yes: 'yes', positives: 0.25 }],
    ['zeros and ones', 'paid', ['0', '1', '1', '1'], { use: 'flag', yes: '1', positives: 0.75 }],
    ['two other texts', 'kind', ['b', 'a', 'a'], { use: 'category', values: ['a', 'b'] }],
    ['days', 'day', ['2026-01-02', '2026-01-01'], { use: 'time', from: '2026-01-01', to: '2026-01-02' }],
    ['moments', 'at', ['2026-01-01 10:00', '2026-01-02T10:00:00Z'], { use: 'time', hasOffset: false }],
    [
      'moments with an offset',
      'at',
      ['2026-01-01T10:00:00+02', '2026-01-02', '2026/01/02T10:00:00.5-03:30'],
      { use: 'time', from: '2026-01-01T10:00:00+02:00', hasOffset: true },
    ],
    [
      'moments with slashes',
      'at',
      ['2026/01/02 10:00', '2026/01/01'],
      { use: 'time', from: '2026-01-01', to: '2026-01-02 10:00' },
    ],
    [
      'moments with a zone and no seconds, which DuckDB does not read',
      'at',
      ['2026-01-01', '2026-01-02T10:00Z'],
      {
        use: 'none',
        why: expect.stringMatching(/^`2026-01-02T10:00Z` .*: write 2026-01-02T10:00:00Z; then/) as string,
      },
    ],
    [
      'moments with points',
      'at',
      ['2026.1.2 10:00', '2026.1.3 10:00'],
      { use: 'none', why: expect.stringMatching(/: write 2026-01-02T10:00:00; then/) as string },
    ],
    ['one value', 'unit', ['m', 'm'], { use: 'none', why: 'it has the value m only' }],
    ['no value', 'unit', ['', ''], { use: 'none', why: 'it is empty' }],
    [
      'numbers and a space',
      'total',
      ['1', ' ', '2'],
      { use: 'none', why: 'a cell holds spaces only: leave it empty' },
    ],
    [
      'yes, no and a space',
      'paid',
      ['no', ' ', 'yes'],
      { use: 'none', why: 'a cell holds spaces only: leave it empty' },
    ],
    ['texts and a space', 'kind', ['b', ' ', 'a'], { use: 'category', missing: 1 }],
    ['a text of very many digits', 'code', [`${'1'.repeat(1_000_000)}x`, 'a'], { use: 'category' }],
    ['keys', 'order_id', ['1', '2', '3'], { use: 'none', why: 'it names the row' }],
    ['decimals under a key word', 'Reynolds Number', ['1.5', '2.25', '3'], { use: 'number' }],
    [
      'a running number',
      'order',
      Array.from({ length: 30 }, (_, row) => String(100 + row)),
      { use: 'none', why: 'it counts the rows' },
    ],
    [
      'ids that repeat',
      'customer_id',
      Array.from({ length: 120 }, (_, row) => `H${String(row % 60).padStart(5, '0')}`),
      {
        use: 'none',
        why: 'it has 60 different ids. If one has several rows, select it in `rows` and name it as `entity` of the evaluation; if they are of persons, also as `subject`, so that persons can be erased',
      },
    ],
    ['keys without a name', '', ['0', '1', '2'], { use: 'none', why: 'it names the row' }],
    [
      'many texts',
      'note',
      Array.from({ length: 120 }, (_, row) => `note ${row % 60}`),
      { use: 'none', why: 'it has 60 different texts' },
    ],
    [
      'another text in each row',
      'name',
      Array.from({ length: 30 }, (_, row) => `name ${row}`),
      { use: 'none', why: 'it has another text in each row' },
    ],
    ...['CustomerId', 'customerID', 'Customer ID', 'invoice-no', 'Account Number', 'ORDER_REF'].map(
      (name) => ['keys', name, ['17', '3', '250'], { use: 'none', why: 'it names the row' }] as const,
    ),
    ['numbers that differ', 'salary', ['17', '3', '250'], { use: 'number' }],
    ['numbers whose name only ends like a key', 'paid', ['17', '3', '250'], { use: 'number' }],
    [
      'decimals with a comma',
      'size',
      Array.from({ length: 20 }, (_, row) => `${row},5`),
      {
        use: 'none',
        why: '`0,5` is not a number: write decimals with a point, 0.5; then run `tenure init` again with --overwrite',
      },
    ],
    [
      'numbers and a word for a missing one',
      'size',
      ['NA', ...Array.from({ length: 20 }, (_, row) => `${row * row}`)],
      {
        use: 'none',
        why: '`NA` is not a number: leave such cells empty; then run `tenure init` again with --overwrite',
      },
    ],
    [
      'decimals with a comma, and a word for a missing one',
      'size',
      ['n/a', ...Array.from({ length: 20 }, (_, row) => `${row},5`)],
      {
        use: 'none',
        why: '`n/a` is not a number: leave such cells empty; `0,5` is not a number: write decimals with a point, 0.5; then run `tenure init` again with --overwrite',
      },
    ],
    [
      'days of another order',
      'day',
      ['31.01.2026', '01.02.2026'],
      { use: 'time', from: '2026-01-31', to: '2026-02-01', format: '%d.%m.%Y' },
    ],
    [
      'moments of another order',
      'at',
      ['08.06.2025 06:00', '31.05.2025 7:30'],
      { use: 'time', from: '2025-05-31 07:30', to: '2025-06-08 06:00', format: '%d.%m.%Y %H:%M' },
    ],
    [
      'moments of another order with seconds',
      'at',
      ['12/31/2025 06:00:01', '12/30/2025 06:00:01'],
      { use: 'time', to: '2025-12-31 06:00:01', format: '%m/%d/%Y %H:%M:%S' },
    ],
    [
      'numbers that name things',
      'Customer No.',
      Array.from({ length: 200 }, (_, row) => String(4000 + ((row * 37) % 120))),
      { use: 'none', why: expect.stringContaining('it has 120 different ids') as string },
    ],
    [
      'days of several orders',
      'day',
      ['31.01.2026', '01/02/2026'],
      {
        use: 'none',
        why: '`31.01.2026` is not a time: write the year first, 2026-01-31; then run `tenure init` again with --overwrite',
      },
    ],
    [
      'whole numbers of persons',
      'CardHolder',
      Array.from({ length: 120 }, (_, row) => String(4_000 + (row % 60))),
      { use: 'number' },
    ],
    [
      'whole numbers of persons under their usual name',
      'MainCustomer',
      Array.from({ length: 120 }, (_, row) => String(4_000 + (row % 60))),
      { use: 'none' },
    ],
    [
      'a date that does not exist',
      'day',
      ['2026-01-01', '2026-13-01'],
      { use: 'none', why: expect.stringMatching(/^`2026-13-01` is not a time/) as string },
    ],
    ...['s', 'zone', 'A-'].map(
      (before) =>
        [
          `codes such as ${before}07`,
          'shop',
          Array.from({ length: 40 }, (_, row) => `${before}${String(row % 20).padStart(2, '0')}`),
          { use: 'category', largest: 0.05 },
        ] as const,
    ),
    ...(
      [
        ['', ' kg'],
        ['', 'h'],
        ['€ ', '.50'],
        ['EUR', '.50'],
      ] as const
    ).map(
      ([before, after]) =>
        [
          `numbers with a unit, as in ${before}7${after}`,
          'size',
          Array.from({ length: 40 }, (_, row) => `${before}${row % 20}${after}`),
          {
            use: 'none',
            why: expect.stringMatching(/is not a number: write 0(\.50)? without a unit; then/) as string,
          },
        ] as const,
    ),
    [
      'codes with leading zeros',
      'zip',
      ['00123', '10115', '10115'],
      { use: 'category', values: ['00123', '10115'] },
    ],
    ['hours with leading zeros', 'hour', ['00', '07', '23', '23'], { use: 'category' }],
    ['zeros with decimals', 'size', ['0.5', '0', '00.5', '-0'], { use: 'number' }],
    [
      'many codes with leading zeros',
      'zip',
      Array.from({ length: 120 }, (_, row) => String(row % 60).padStart(5, '0')),
      { use: 'none', why: 'it has 60 different codes with leading zeros' },
    ],
    [
      'another code in each row',
      'zip',
      Array.from({ length: 30 }, (_, row) => String(row * 7).padStart(5, '0')),
      { use: 'none', why: 'it has another code in each row' },
    ],
    [
      'a few ids above 2⁵³',
      'shop',
      ['9007199254740993', '9007199254740992', '9007199254740992'],
      { use: 'category', values: ['9007199254740992', '9007199254740993'] },
    ],
    [
      'many ids above 2⁵³',
      'account',
      Array.from({ length: 120 }, (_, row) => `90071992547409${String(row % 60).padStart(3, '0')}`),
      { use: 'none', why: 'it has 60 different whole numbers above 2⁵³, which a number rounds' },
    ],
    ['numbers up to 2⁵³', 'size', ['9007199254740991', '5', '5'], { use: 'number' }],
    ...['01:30:00', '1:30:00', '0 days 01:30:00', '-01:30:00', '90:15', 'PT1H30M'].map(
      (duration) =>
        [
          `durations such as ${duration}`,
          'took',
          [duration, '00:10:00', '00:10:00'],
          {
            use: 'none',
            why: expect.stringMatching(
              /is a duration or a time of day and not a number: write .*; then/,
            ) as string,
          },
        ] as const,
    ),
    ['numbers and a text', 'size', ['1', 'n/a', '2'], { use: 'category' }],
  ] as const)('of %s is inferred', (_, name, values, expected) =>
    expect(columnOf(name, values)).toMatchObject(expected),
  )

  it('gets a name that a model file can use, and no other column has', () => {
    const names = inferColumns(
      ['Unit Price', '2nd', 'größe', 'a-b', 'a b', '%'],
      [['1', '2', '3', '4', '5', '6']],
    )
    expect(names.map(({ name }) => name)).toEqual(['Unit_Price', 'nd', 'grosse', 'a_b', 'a_b2', 'column6'])
  })
})

describe('the label', () => {
  const rows = [
    ['1', 'a', '2026-01-01', '3'],
    ['2', 'b', '2026-01-02', '5'],
  ]
  it.each([
    ['Titanic', 'PassengerId,Survived,Pclass,Name,Sex,Age,Fare,Embarked', 'Survived'],
    ['Titanic with the class as a text', 'survived,pclass,sex,class,who,alone', 'survived'],
    ['breast cancer', 'id,diagnosis,radius_mean,texture_mean', 'diagnosis'],
    ['penguins', 'species,island,bill_length_mm,sex,year', 'species'],
    ['a bank', 'age,job,default,balance,poutcome,y', 'y'],
    ['diamonds', 'carat,cut,price,x,y,z', 'price'],
    ['houses', 'SalePrice,area,rooms', 'SalePrice'],
    ['a flag with is', 'is_fraud,amount,merchant', 'is_fraud'],
    ['a flag with is, in one word', 'isFraud,amount,merchant', 'isFraud'],
  ])('is the column with the name of a label: %s', (_what, header, label) => {
    const names = header.split(',')
    const values = [3, 5, 8, 13].map((k) => names.map((_name, place) => String(k * (place + 1))))
    expect(inferLabel(inferColumns(names, values))).toMatchObject({
      label: { column: label },
      why: 'labels often have this name',
    })
  })
  it.each([
    ['no column is named so', ['x', 'kind', 'at', 'size'], 'size'],
    ['a name only begins so', ['classroom', 'island', 'at', 'size'], 'size'],
  ])('is otherwise the last column that can be a label: %s', (_what, names, label) =>
    expect(inferLabel(inferColumns(names, rows))).toMatchObject({
      label: { column: label },
      why: 'it is the last column that can be predicted',
    }),
  )
  it('does not exist where no column can be predicted', () =>
    expect(inferLabel(inferColumns(['a', 'b'], [['1', '1']]))).toBeUndefined())
  it.each([
    ['0, 1 and 2', ['0', '1', '2'], true],
    ['1 and 2', ['1', '2'], true],
    ['-1 and 1', ['-1', '1'], true],
    ['classes with gaps', ['1', '2', '3', '5', '7'], true],
    ['0.0 and 2.0, as floats', ['0.0', '1.0', '2.0'], true],
    ['amounts', ['3', '40', '7'], false],
    ['fractions', ['0.5', '1', '2'], false],
    ['more whole numbers than classes', Array.from({ length: 12 }, (_, row) => String(row)), false],
  ])('seems to have the codes of classes or not: %s', (_, values, likely) => {
    const column = columnOf('y', [...values, ...values, ...values])
    expect(column).toMatchObject({ use: 'number', codes: { likely } })
    expect(asClasses(column)).toMatchObject({
      use: 'category',
      values: values.toSorted((one, other) => Number(one) - Number(other)),
    })
  })
  it('has no codes where numbers do not repeat, and no classes where they are many', () => {
    expect(columnOf('y', ['0', '1', '2'])).toMatchObject({ codes: { likely: false } })
    expect(
      asClasses(
        columnOf(
          'y',
          Array.from({ length: 60 }, (_, row) => `${row * row}.5`),
        ),
      ),
    ).toBeUndefined()
  })
  it('is never a time', () => {
    const columns = inferColumns(['x', 'kind', 'at', 'size'], rows)
    expect(inferTime(columns)?.column).toBe('at')
    expect(
      inferTime(
        inferColumns(
          ['at', 'y'],
          [
            ['2026-01-01', '1'],
            ['', '2'],
            ['2026-01-02', '3'],
          ],
        ),
      ),
    ).toBeUndefined()
    expect(columns.map(labelIssue)).toEqual([
      undefined,
      undefined,
      expect.stringMatching(/^it holds times; write/),
      undefined,
    ])
  })
})
