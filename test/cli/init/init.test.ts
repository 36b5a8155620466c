/** Tests that `tenure init` makes a project that passes `tenure check`, and overwrites nothing. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { initCommand } from '../../../cli/commands/project/init.ts'
import { askForColumns } from '../../../cli/init/ask.ts'
import { initProject, type InitOptions } from '../../../cli/init/init-project.ts'
import { typescriptVersion, mergeManifest } from '../../../cli/init/write-project.ts'
import { loadModelsInChild } from '../../../cli/sync/load-models.ts'
import { inferColumns } from '../../../domain/project/infer-columns.ts'
import { periodsOf } from '../../../models/define/data/query.ts'
import { checkout, readVersion } from '../../../temporal.config.ts'
import { runCommand } from '../../support/command-line.ts'

let place: string
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'tenure-init-'))
})
afterEach(() => rmSync(place, { recursive: true }))

const csvOf = (name: string, text: string | Buffer): string => {
  writeFileSync(join(place, name), text)
  return join(place, name)
}
const init = (options: Partial<InitOptions> = {}) =>
  initProject({
    folder: join(place, 'shop'),
    overwrite: false,
    choose: (_, inferred) => Promise.resolve(inferred),
    ...options,
  })
const textOf = (path: string) => readFileSync(join(place, 'shop', path), 'utf8')

const orders = [
  'order_id,placed,Unit Price,quantity,channel,returned',
  ...Array.from({ length: 40 }, (_, row) =>
    [
      row,
      `2026-01-${String(1 + (row % 28)).padStart(2, '0')} 10:00:00`,
      5 + row / 2,
      row % 7 || '',
      row % 2 ? 'web' : "men's",
      row % 3 ? 'no' : 'yes',
    ].join(),
  ),
].join('\n')
const payments = [
  'amount,verdict',
  ...Array.from({ length: 100 }, (_, row) => `${row % 9},${row % 20 ? 'ok' : 'fraud'}`),
].join('\n')
const houses = [
  'area,city,price',
  ...Array.from({ length: 40 }, (_, row) => `${row},${row % 2 ? 'Ulm' : 'Bonn'},${row * 1_000}`),
].join('\n')

describe('a new project', () => {
  it.each([
    [
      'a yes or no with times',
      orders,
      {},
      /yesNo\(\{ column: 'returned'.*byTime\(\{ train: '21 d', test: '7 d' \}\)/s,
    ],
    ['classes', orders, { label: 'channel' }, /oneOf\(\['men\\'s', 'web'\], \{ column: 'channel' \}\)/],
    [
      'classes of which most rows have one',
      payments,
      {},
      /oneOf\(\['fraud', 'ok'\].*floors: \{ macroF1: 0\.5 \}/s,
    ],
    ['a number', houses, {}, /quantity\(\{ column: 'price' \}\).*random\(.*trainable: false/s],
  ])('has a model file for %s', async (_, text, options, expected) => {
    await init({ from: csvOf('My Rows.csv', text), ...options })
    expect(textOf('models/my-rows.ts')).toMatch(expected)
    const { models, broken } = await loadModelsInChild({ directory: join(place, 'shop', 'models') })
    expect(broken).toEqual([])
    expect(models.map(({ name }) => name)).toEqual(['my-rows'])
  })

  it('has settings, a policy, a test, a pipeline and pinned versions', async () => {
    const { model, label } = await init()
    expect([model, label]).toEqual(['iris', 'species'])
    expect(readdirSync(join(place, 'shop'), { recursive: true }).map(String).toSorted()).toEqual(
      expect.arrayContaining([
        '.env.example',
        '.github/workflows/check.yml',
        'README.md',
        'data/iris.csv',
        'models/iris.ts',
        'package.json',
        'policies/release.ts',
        'tenure.config.json',
        'test/models.test.mjs',
        'tsconfig.json',
      ]),
    )
    const { devDependencies } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
      devDependencies: Record<string, string>
    }
    expect(typescriptVersion).toBe(devDependencies['typescript'])
    expect(JSON.parse(textOf('package.json'))).toMatchObject({
      name: 'shop',
      type: 'module',
      dependencies: { tenure: readVersion() },
      devDependencies: { typescript: typescriptVersion },
    })
  })

  it('trains as of the moment after the last row', async () => {
    const { asOf } = await init({ from: csvOf('orders.csv', orders) })
    expect(asOf).toBe('2026-01-28T10:00:01.000Z')
    expect(textOf('README.md')).toContain(`tenure retrain orders --as-of ${asOf}`)
  })

  it('leaves a CSV in the folder where it is', async () => {
    mkdirSync(join(place, 'shop', 'rows'), { recursive: true })
    await init({ from: csvOf('shop/rows/orders.csv', orders) })
    expect(textOf('models/orders.ts')).toContain(`csv('rows/orders.csv'`)
  })
})

describe('the label', () => {
  const passengers = [
    'Survived,Pclass,Sex,Embarked',
    ...Array.from(
      { length: 40 },
      (_, row) => `${row % 2},${1 + (row % 3)},${row % 3 ? 'm' : 'f'},${'SCQ'[row % 3]}`,
    ),
  ].join('\n')
  const run = (...words: string[]) =>
    runCommand([initCommand], ['init', join(place, 'shop'), '--from', csvOf('p.csv', passengers), ...words])

  it('that was guessed is said with the reason, and --label names another', async () => {
    const { out } = await run()
    expect(out).toContain('models/p.ts predicts Survived.')
    expect(out).toContain(
      'The column Survived was taken because labels often have this name. To predict another, run `tenure init` again with --label <column> --overwrite.',
    )
    const named = await run('--label', 'Embarked', '--overwrite')
    expect(named.out).toContain('models/p.ts predicts Embarked.')
    expect(named.out).not.toContain('was taken because')
  })
})

describe('a label of few whole numbers', () => {
  const stars = ['size,stars', ...Array.from({ length: 40 }, (_, row) => `${row / 3},${row % 3}`)].join('\n')

  it('counts as classes, and the file and the answer say how to change it', async () => {
    const { note, narrow } = await init({ from: csvOf('stars.csv', stars) })
    expect(narrow).toMatch(
      /^Accuracy on about \d+ test rows: this test can show a loss of 0\.\d+ and the margin/,
    )
    expect(note).toMatch(/^stars has the numbers 0, 1, 2 only.*--label-kind number --overwrite/)
    expect(textOf('models/stars.ts')).toContain(
      `  // ${note}\n  label: oneOf(['0', '1', '2'], { column: 'stars' }),`,
    )
    await init({ from: csvOf('stars.csv', stars), labelKind: 'number', overwrite: true })
    expect(textOf('models/stars.ts')).toContain(`label: quantity({ column: 'stars' })`)
  })

  it('is of classes where that is asked for', async () => {
    const from = csvOf('stars.csv', stars.replaceAll(/,(\d)$/gm, ',2$1'))
    expect(await init({ from })).toMatchObject({ note: undefined })
    await init({ from, labelKind: 'classes', overwrite: true })
    expect(textOf('models/stars.ts')).toContain(`oneOf(['20', '21', '22']`)
  })

  it('is of no kind that its values do not have', async () => {
    const from = csvOf('stars.csv', stars)
    await expect(init({ from, labelKind: 'amount' })).rejects.toThrow('must be classes or number, not amount')
    await expect(init({ from: csvOf('o.csv', orders), labelKind: 'number' })).rejects.toThrow(
      '--label-kind number: returned holds yes or no',
    )
    const many = ['x,y', ...Array.from({ length: 60 }, (_, row) => `${row % 7},${row / 2}`)].join('\n')
    await expect(init({ from: csvOf('many.csv', many), labelKind: 'classes' })).rejects.toThrow(
      '--label-kind classes: y has more than 50 different numbers',
    )
  })
})

describe('a column', () => {
  const modelOf = async (name: string, ...lines: string[]) => {
    await init({ from: csvOf(name, lines.join('\n')) })
    const { models, broken } = await loadModelsInChild({ directory: join(place, 'shop', 'models') })
    expect(broken).toEqual([])
    expect(models).toHaveLength(1)
    return textOf(`models/${models[0]!.name}.ts`)
  }
  const repeated = (...lines: string[]) => Array.from({ length: 10 }, () => lines).flat()

  it('of zeros and ones is a number; other yes or no is sent as text', async () => {
    const text = await modelOf('rows.csv', 'a,b,c,y', ...repeated('0,0.0,yes,a', '1,1.0,no,b', ',0.0,no,a'))
    expect(text).toMatch(
      /a: number\(\{ missing: 'fill' \}\),\n {4}b: number\(\),\n {4}c: category\(\['no', 'yes'\]\)/,
    )
    expect(textOf('README.md')).toContain('{"a":0,"b":0,"c":"yes"}')
  })

  it('that names or counts the rows is their key, under a name that queries take', async () => {
    const rows = Array.from({ length: 40 }, (_, row) => [row + 1, row % 3 ? 'a' : 'b', row % 2].join())
    expect(await modelOf('rows.csv', 'Row number,kind,target', ...rows)).toMatch(
      /key: \['Row_number'\],\s+rows: `select .*, "Row number" as "Row_number" from source`/,
    )
    rmSync(join(place, 'shop'), { recursive: true })
    expect(await modelOf('rows.csv', 'row_number,kind,target', ...rows)).toContain("{ key: ['row_number'] }")
  })

  it('may have quotes within the values of a text', async () => {
    const rows = Array.from({ length: 200 }, (_, row) =>
      [row % 40 === 20 ? 'pipe of 5"' : `"pipe ""${row % 3}"""`, row % 7, 20 + (row % 9)].join(','),
    )
    const text = await modelOf('rows.csv', 'name,size,price', ...rows)
    expect(text).toContain(`name: category(['pipe "0"', 'pipe "1"', 'pipe "2"', 'pipe of 5"'])`)
    expect(text).toContain("label: quantity({ column: 'price' })")
  })

  it('may be named as a word of SQL or of JavaScript, with quotes and the end of a comment', async () => {
    const text = await modelOf(
      'class.csv',
      '"Order!","Group By",constructor,"a */ ""b""","*/"',
      ...repeated('1,a,2,x,m', '2,b,3,y,m'),
    )
    expect(text).toContain(
      `select row_number() over () as row_number, "Order!" as "Order", "Group By" as "Group_By", "constructor", "a */ ""b""" as "a_b" from source`,
    )
    expect(text).toContain('export const classModel = ')
  })

  it('with times within an hour divides the rows by minutes', async () => {
    const rows = Array.from(
      { length: 40 },
      (_, row) => `2026-01-01 10:${row + 10}:00,${row / 7},${'ab'[row % 2]}`,
    )
    expect(await modelOf('rows.csv', 'at,x,y', ...rows)).toContain(
      `byTime({ train: '30 min', test: '10 min' })`,
    )
  })

  it('that is the label may lack values: rows without one are left out', async () => {
    const text = await modelOf('rows.csv', 'x,y', ...repeated('1,a', '2,b', '3,'))
    expect(text).toContain(
      'select row_number() over () as row_number, "x", "y" from source where "y" is not null',
    )
    expect(text).toContain('rowCount({ min: 10 })')
  })

  it('that repeat each other are known by their numbers', async () => {
    const repeating = await modelOf('rows.csv', 'row_number,y', ...repeated('a,u', 'b,v'))
    expect(repeating).toContain("key: ['row_of_file'],")
    expect(repeating).toContain('select row_number() over () as row_of_file, "row_number", "y" from source')
    rmSync(join(place, 'shop'), { recursive: true })
    const rows = Array.from({ length: 40 }, (_, row) => `${row % 21},${'uv'[row % 2]}`)
    expect(await modelOf('rows.csv', 'x,y', ...rows)).not.toContain('row_number')
  })

  it('named as known_at is when the label became known, if it is not before the time of its row', async () => {
    const rows = (knownMonth: number) =>
      Array.from(
        { length: 40 },
        (_, row) =>
          `2026-01-${String((row % 20) + 2).padStart(2, '0')},${row / 7},2026-0${knownMonth}-0${1 + (row % 5)},${'ab'[row % 2]}`,
      )
    const text = await modelOf('rows.csv', 'at,x,known_at,y', ...rows(3))
    expect(text).toContain("knownAt: 'known_at'")
    expect(text).toContain(
      `select "at"::timestamp as "at", "known_at"::timestamp as "known_at", "x", "y" from source`,
    )
    expect(text).toContain('`matured` of the split')
    rmSync(join(place, 'shop'), { recursive: true })
    expect(await modelOf('rows.csv', 'at,x,known_at,y', ...rows(1))).not.toContain("knownAt: 'known_at'")
    rmSync(join(place, 'shop'), { recursive: true })
    const ofLabel = await modelOf('rows.csv', 'at,x,y_known_at,y', ...rows(3))
    expect(ofLabel).toContain("knownAt: 'y_known_at'")
    expect(ofLabel).not.toContain('Left out')
    rmSync(join(place, 'shop'), { recursive: true })
    const closed = await modelOf('rows.csv', 'at,x,closed_at,y', ...rows(3))
    expect(closed).toContain('Left out: closed_at: it holds times. If they are when the label became known')
    rmSync(join(place, 'shop'), { recursive: true })
    const both = rows(3).map((row) => `${row},2026-04-01 10:0${row.at(-1) === 'a' ? 0 : 1}`)
    const two = await modelOf('rows.csv', 'at,x,known_at,y,known_to', ...both)
    expect(two).toMatch(/Left out: known_at: .*; known_to: /)
  })

  it('of two texts, one of which is its name, is yes or no', async () => {
    const text = await modelOf('cards.csv', 'x,is_fraud', ...repeated('1,fraud', "2,it's fine", '3,'))
    expect(text).toContain("label: yesNo({ column: 'is_fraud', positive: 'is_fraud' })")
    expect(text).toContain(`"is_fraud" = 'fraud' as "is_fraud" from source where "is_fraud" is not null`)
    rmSync(join(place, 'shop'), { recursive: true })
    expect(await modelOf('cards.csv', 'x,kind', ...repeated('1,fraud', '2,genuine'))).toContain(
      "oneOf(['fraud'",
    )
  })

  it('of a class that becomes known later than the other sets `matured`, and the checks fit the rows that are left', async () => {
    const day = (at: number) => new Date(Date.UTC(2026, 0, 1) + at * 86_400_000).toISOString().slice(0, 10)
    const rows = Array.from({ length: 3_000 }, (_, row) => {
      const isFraud = row % 10 === 0
      return [day(row / 10), row % 7, day(row / 10 + (isFraud ? 3 : 45)), Number(isFraud)].join()
    })
    const text = await modelOf('cards.csv', 'at,amount,known_at,fraud', ...rows)
    expect(text).toContain("split: byTime({ train: '225 d', test: '75 d', matured: '45 d' })")
    rmSync(join(place, 'shop'), { recursive: true })
    const short = rows.filter((_, row) => row < 900)
    expect(await modelOf('cards.csv', 'at,amount,known_at,fraud', ...short)).toContain(
      "split: byTime({ train: '67 d', test: '23 d', matured: '45 d' })",
    )
    const [, min] = /rowCount\(\{ min: (\d+) \}\)/.exec(text)!
    const asOfMs = Date.parse(day(299 + 45)) + 1_000
    const periods = periodsOf(
      { trainMs: 225 * 86_400_000, testMs: 75 * 86_400_000, maturedMs: 45 * 86_400_000 },
      asOfMs,
    )
    const taken = rows.filter((row) =>
      ['train' as const, 'test' as const].some((part) => {
        const [atMs, knownMs] = [0, 2].map((place) => Date.parse(row.split(',')[place]!)) as [number, number]
        const { fromMs, toMs, knownByMs } = periods[part]
        return atMs > fromMs && atMs <= toMs && knownMs <= knownByMs
      }),
    )
    expect(Number(min)).toBe(Math.floor(taken.length / 2))
    rmSync(join(place, 'shop'), { recursive: true })
    const alike = rows.map((row) => row.replace(/,[^,]*,(\d)$/, (_, flag: string) => `,2027-01-01,${flag}`))
    expect(await modelOf('cards.csv', 'at,amount,known_at,fraud', ...alike)).not.toContain('matured: ')
  })

  it('of whole numbers that are many ids is left out', async () => {
    const rows = Array.from({ length: 600 }, (_, row) => [row % 200, row % 55, row % 7, row % 2].join())
    const text = await modelOf('rows.csv', 'customer,age,visits,y', ...rows)
    expect(text).toContain('Left out: customer: it has 200 different ids. If one has several rows, select it')
    expect(text).toContain('age: number(),')
  })

  it.each([
    ['the day', (day: number, month: number) => `${day}.${month}.2026`, '%d.%m.%Y'],
    ['the month', (day: number, month: number) => `${month}/${day}/2026`, '%m/%d/%Y'],
  ])(
    'of dates with %s first is the time of a row, if one of them can be read in one way only',
    async (_, of, format) => {
      const rows = Array.from(
        { length: 40 },
        (_each, row) => `${of(1 + (row % 20), 3)},${row / 7},${'ab'[row % 2]}`,
      )
      expect(await modelOf('rows.csv', 'at,x,y', ...rows)).toContain(
        `select coalesce(try_strptime("at"::varchar, '${format}'), "at"::varchar::timestamp) as "at_time", "x", "y" from source`,
      )
      expect(textOf('README.md')).toContain('--as-of 2026-03-20T00:00:01.000Z')
      rmSync(join(place, 'shop'), { recursive: true })
      const open = rows.filter((_each, row) => row % 20 < 12)
      expect(await modelOf('rows.csv', 'at,x,y', ...open)).toMatch(
        /Left out: at: .* is not a time: write the year first/,
      )
    },
  )

  it('of times in a file of more than 16 MB reaches to its last rows', async () => {
    const filler = 'x'.repeat(2_000)
    const rows = Array.from({ length: 9_000 }, (_, row) =>
      [new Date(Date.UTC(2026, 0, 1) + row * 3_600_000).toISOString(), filler, row % 7, 'ab'[row % 2]].join(),
    )
    const from = csvOf('rows.csv', ['at,note,x,y', ...rows].join('\n'))
    expect(await init({ from })).toMatchObject({
      cut: true,
      asOf: new Date(Date.UTC(2026, 0, 1) + 8_999 * 3_600_000 + 1_000).toISOString(),
    })
    // The test period lies behind what was read.
    expect(textOf('models/rows.ts')).toContain('evidence: { rows: 1000, positives: 10, negatives: 10 }')
  })

  it('with a number a day and no features are told to be a forecast', async () => {
    const rows = Array.from({ length: 120 }, (_, row) =>
      [
        new Date(Date.UTC(2026, 0, 1 + (row >> 1))).toISOString().slice(0, 10),
        'ab'[row % 2],
        20 + row / 7,
      ].join(),
    )
    const from = csvOf('sales.csv', ['day,store,sales', ...rows].join('\n'))
    expect((await init({ from })).forecast).toMatch(
      /^This is a forecast: each row is sales of a time and of store, .*lag\(sales, 7\) over \(partition by store order by day\)/,
    )
  })

  it('with offsets from UTC are read in UTC', async () => {
    const rows = Array.from(
      { length: 40 },
      (_, row) => `2026-01-01 10:${row + 10}:00+02,${row / 7},${'ab'[row % 2]}`,
    )
    expect(await modelOf('rows.csv', 'at,x,y', ...rows)).toContain(
      `select ("at"::timestamptz at time zone 'UTC') as "at", "x", "y" from source`,
    )
  })

  it('of codes with leading zeros and of True and False read them as requests send them', async () => {
    const rows = repeated('01067,True,false,a', '10115,False,true,b', '04109,True,true,a')
    const text = await modelOf('rows.csv', 'zip,member,paid,y', ...rows)
    expect(text).toMatch(
      /zip: category\(\['01067', '04109', '10115'\]\),\s+member: number\(\),\s+paid: category\(\['false', 'true'\]\)/,
    )
    expect(textOf('README.md')).toContain('{"zip":"01067","member":true,"paid":"false"}')
  })

  it('of numbers with a cell of spaces, which no training would read, is left out', async () => {
    const text = await modelOf('rows.csv', 'x,kind,total,y', ...repeated('1,u,5.5,a', '2,v, ,b', '3, ,7.5,a'))
    expect(text).toContain('Left out: total: a cell holds spaces only: leave it empty.')
    expect(text).toContain("kind: category({ values: ['u', 'v'], missing: 'fill' })")
  })

  it.each(['release', 'csv', 'index', 'define', 'new'])(
    'of a file named %s.csv gives a model that loads',
    async (name) => {
      await modelOf(`${name}.csv`, 'x,y', ...repeated('1.5,a', '2,b'))
    },
  )
})

/** Names and values with the quotes and the escapes of both languages. */
const quoted = [
  String.raw`"a """" b","it's","''' \ #",y`,
  ...Array.from({ length: 8 }, (_, row) => `${row},w'${row % 2},${row % 3},${row % 2 ? 'yes' : 'no'}`),
].join('\n')

describe('a project in Python', () => {
  // Every kind of a label, a source with and without a query, a key and times, names that need quotes.
  it.each([
    ['yes or no with times', orders, {}],
    ['classes', orders, { label: 'channel' }],
    ['classes of which most rows have one', payments, {}],
    ['a number', houses, {}],
    ['names with quotes', quoted, {}],
  ])('has the definition of the same project in TypeScript: %s', async (_, text, options) => {
    const from = csvOf('rows.csv', text)
    const definitionOf = async (language: 'python' | 'typescript') => {
      const folder = join(place, language)
      await init({ folder, from, language, ...options })
      const { models, broken } = await loadModelsInChild({ directory: join(folder, 'models') })
      expect(broken).toEqual([])
      return models[0]!.definition
    }
    const { trainer, hyperparameters: _tuned, release, ...same } = await definitionOf('python')
    const { hyperparameters: _own, release: known, ...typed } = await definitionOf('typescript')
    expect(same).toEqual(typed)
    expect(release).toEqual(known)
    expect(trainer).toMatchObject({ kind: 'python', file: 'rows.py', requirements: 'requirements.txt' })
  })

  it('has a test and requirements, and nothing in another language', async () => {
    const { created } = await init({ from: csvOf('houses.csv', houses), language: 'python' })
    expect(created.filter((file) => /\.(?:ts|mjs)$|tsconfig/.test(file))).toEqual([])
    expect(created).toEqual(
      expect.arrayContaining(['models/houses.py', 'models/requirements.txt', 'test/test_models.py']),
    )
    expect(JSON.parse(textOf('package.json'))).not.toHaveProperty('devDependencies')
    const example = readFileSync(join(checkout, 'docs/examples/flights/requirements.txt'), 'utf8')
    expect(textOf('models/requirements.txt')).toBe(example)
  })
})

describe('a second model', () => {
  it('is added to the project, whose own files stay as they are', async () => {
    await init({ from: csvOf('orders.csv', orders) })
    const own = textOf('README.md')
    writeFileSync(join(place, 'shop', 'policies', 'release.ts'), `${textOf('policies/release.ts')}// mine\n`)
    expect(await init({ from: csvOf('houses.csv', houses) })).toMatchObject({
      created: ['models/houses.ts', 'data/houses.csv'],
      overwritten: [],
      kept: ['policies/release.ts', 'README.md'],
      wasProject: true,
    })
    expect(textOf('README.md')).toBe(own)
    expect(textOf('policies/release.ts')).toContain('// mine')
    const { models, broken } = await loadModelsInChild({ directory: join(place, 'shop', 'models') })
    expect(broken).toEqual([])
    expect(models.map(({ name }) => name).toSorted()).toEqual(['houses', 'orders'])
  })

  it('is written into the folder of models that the project names', async () => {
    mkdirSync(join(place, 'shop'))
    writeFileSync(join(place, 'shop', 'tenure.config.json'), '{"models": "src/models"}')
    expect(await init({ from: csvOf('houses.csv', houses) })).toMatchObject({ file: 'src/models/houses.ts' })
    expect(textOf('src/models/houses.ts')).toContain(`from '../../policies/release.ts'`)
  })

  it('never replaces the first one or its data without --overwrite, which leaves the other files alone', async () => {
    await init({ from: csvOf('rows.csv', orders) })
    writeFileSync(join(place, 'shop', 'tenure.config.json'), '{"models": "models", "port": 7401}')
    const from = csvOf('rows.csv', houses)
    await expect(init({ from })).rejects.toThrow(
      'shop has models/rows.ts, data/rows.csv already, and nothing was written',
    )
    expect(textOf('data/rows.csv')).toBe(orders)
    expect((await init({ from, overwrite: true })).overwritten).toEqual(['models/rows.ts', 'data/rows.csv'])
    expect(textOf('tenure.config.json')).toContain('7401')
  })
})

describe('an existing file', () => {
  it('is not the checkout of Tenure, whose own files would be overwritten', async () => {
    const made = init({ folder: checkout, from: csvOf('rows.csv', orders), overwrite: true })
    await expect(made).rejects.toThrow('is the checkout of Tenure, and nothing was written')
  })

  it('is not overwritten, and nothing else is written', async () => {
    mkdirSync(join(place, 'shop'))
    writeFileSync(join(place, 'shop', 'README.md'), 'mine')
    await expect(init()).rejects.toThrow('README.md already, and nothing was written')
    expect(readdirSync(join(place, 'shop'))).toEqual(['README.md'])
  })

  it('is overwritten when that is asked for', async () => {
    mkdirSync(join(place, 'shop'))
    writeFileSync(join(place, 'shop', 'README.md'), 'mine')
    expect(await init({ overwrite: true })).toMatchObject({ overwritten: ['README.md'] })
    expect(textOf('README.md')).not.toBe('mine')
  })

  it('may be the same project: a second run changes nothing', async () => {
    await init()
    expect(await init()).toMatchObject({ created: [], overwritten: [], kept: [], added: [] })
  })

  it('gets only the fields of package.json that it lacks', () =>
    expect(
      mergeManifest(
        {
          name: 'mine',
          type: 'commonjs',
          scripts: { test: 'echo "Error: no test specified"', check: 'own' },
          dependencies: { tenure: 'file:x.tgz' },
        },
        {
          name: 'shop',
          type: 'module',
          scripts: { test: 'node --test', check: 'tenure check' },
          dependencies: { tenure: '1.0.0' },
        },
      ),
    ).toEqual({
      merged: {
        name: 'mine',
        type: 'module',
        scripts: { test: 'node --test', check: 'own' },
        dependencies: { tenure: 'file:x.tgz' },
      },
      added: ['type', 'scripts.test'],
    }))
})

describe('refuses', () => {
  it.each([
    [
      'a file that is not there',
      { from: '/nowhere/rows.csv' },
      '--from /nowhere/rows.csv cannot be read (ENOENT)',
    ],
    ['a label that is not a column', { label: 'colour' }, '--label must be one of sepalLength'],
    ['a column without times for the time', { time: 'species' }, '--time species holds no times'],
    [
      'a name of another file',
      { name: 'index' },
      '--name index is taken by another file of the folder for models',
    ],
    ['a wrong name', { name: 'My Model' }, '--name must be up to 63 lower-case letters'],
  ])('%s', async (_, options, message) => {
    await expect(init(options)).rejects.toThrow(message)
  })

  it('a CSV in the place of the folder, and says where it belongs', async () => {
    const folder = csvOf('orders.csv', orders)
    await expect(init({ folder })).rejects.toThrow(
      `orders.csv is a file: name the rows with --from ${folder}`,
    )
  })

  it.each([
    [
      'rows of another width',
      'a,b\n1,2\n3\n',
      'rows.csv, line 3: the row has 1 value, the header has 2 names',
    ],
    ['a header alone', 'a,b\n', 'and rows below it'],
    [
      'a quote that is not closed, before many rows',
      `a,b\n1,2\n1,"2\n${'3,4\n'.repeat(1_000)}`,
      'rows.csv, line 3: a double quote is opened and not closed before the end of its value: close it',
    ],
    ['one column', 'a\n1\n', 'the names of two columns or more'],
    [
      'values in place of names',
      '5.1,setosa\n4.9,setosa\n',
      'the first line holds values (5.1, setosa) and no names',
    ],
    ['a name twice', 'a,A,y\n1,2,3\n', 'two columns are named "a" and "A"'],
    ['a column without a name', 'a,,y\n1,2,3\n', 'column 2 has no name: name it in the first line'],
    ['Latin-1', Buffer.from('größe,y\n1,2\n', 'latin1'), 'is not encoded as UTF-8'],
    [
      'no feature',
      'text,y\nm,a\nm,b\n',
      'no column is left to predict y from: name another file with --from (text: it has the value m only)',
    ],
    ['empty columns', 'a,b\n,\n,\n', 'no column can be predicted'],
    ['JSON', '[{"a": 1}]', 'holds JSON and not CSV'],
    ['a label of one value', 'a,label\n1,x\n2,x\n', undefined],
  ])('%s', async (_, text, message) => {
    const made = init({ from: csvOf('rows.csv', text), label: message === undefined ? 'label' : undefined })
    await expect(made).rejects.toThrow(
      message ?? '--label label cannot be predicted: it has the value x only',
    )
  })
})

describe('questions on a terminal', () => {
  const columns = inferColumns(
    ['x', 'at', 'kind'],
    [
      ['1', '2026-01-01', 'a'],
      ['2', '2026-01-02', 'b'],
    ],
  )
  const [x, at, kind] = columns as [(typeof columns)[0], (typeof columns)[0], (typeof columns)[0]]
  const ask = async (...answers: string[]) => {
    const asked: string[] = []
    const chosen = await askForColumns(columns, { label: kind, time: at }, (text) => {
      asked.push(text)
      return Promise.resolve(answers.shift() ?? '')
    })
    return { chosen, asked }
  }

  it('take what was inferred for an empty answer', async () =>
    expect((await ask('', '')).chosen).toEqual({ label: kind, time: at }))
  it('take another column, and no time', async () =>
    expect((await ask('X', '-')).chosen).toEqual({ label: x }))
  it('are asked again, with the reason, for an answer that does not fit', async () => {
    const { chosen, asked } = await ask('colour', 'at', 'x', 'kind', 'at')
    expect(chosen).toEqual({ label: x, time: at })
    expect(asked.join('\n')).toMatch(
      /colour: there is no such column.*at: it holds times.*kind: it holds no times/s,
    )
  })
})
