/** `tenure init` makes a project that `tenure check` finds right, and overwrites nothing. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { askForColumns } from '../../../cli/init/ask.ts'
import { initProject, type InitOptions } from '../../../cli/init/init-project.ts'
import { typescriptVersion } from '../../../cli/init/project-files.ts'
import { mergeManifest } from '../../../cli/init/write-project.ts'
import { loadModelsInChild } from '../../../cli/sync/load-models.ts'
import { inferColumns } from '../../../domain/project/infer-columns.ts'
import { checkout, readVersion } from '../../../temporal.config.ts'

let place: string
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'tenure-init-'))
})
afterEach(() => rmSync(place, { recursive: true }))

const csvOf = (name: string, text: string): string => {
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

  it('leaves a CSV that lies in it where it is', async () => {
    mkdirSync(join(place, 'shop', 'rows'), { recursive: true })
    await init({ from: csvOf('shop/rows/orders.csv', orders) })
    expect(textOf('models/orders.ts')).toContain(`csv('rows/orders.csv'`)
  })
})

describe('what is there', () => {
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
    expect(await init()).toMatchObject({ overwritten: [], added: [] })
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
    ['a label that is no column', { label: 'colour' }, '--label must be one of sepalLength'],
    ['a column without times for the time', { time: 'species' }, '--time species holds no times'],
    ['a wrong name', { name: 'My Model' }, '--name must be up to 63 lower-case letters'],
  ])('%s', async (_, options, message) => {
    await expect(init(options)).rejects.toThrow(message)
  })

  it.each([
    ['rows of another width', 'a,b\n1,2\n3\n', 'row 2 has 1 values, and the first line 2 names'],
    ['a header alone', 'a,b\n', 'and rows below it'],
    ['one column', 'a\n1\n', 'the names of two columns or more'],
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
