/** Tests that what a model file defines travels as data: the model that is made of it has the same definition as the file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadModelsInChild, type DeclaredModel } from '../../cli/sync/load-models.ts'
import * as vocabulary from '../../models/define.ts'
import { makeModel } from '../../models/define/printed-model.ts'
import { modelsDirectory } from '../../models/index.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { checkout } from '../../temporal.config.ts'

/** Words that return functions, views, patterns, and values that JSON has not. */
const everything = `import * as t from 'tenure'
const delays = t.view('delays', {
  entity: 'origin', source: t.csv('data/d.csv', { eventTime: 'at' }), knownAt: 'known', values: { mean: t.number() }, timeToLive: '1 d',
})
const approval = { by: 1 }
export const model = t.defineModel({
  name: 'everything',
  features: { origin: t.category(), delay: t.lookup(delays, 'mean', { by: 'origin' }), other: t.lookup(delays, 'mean', { by: 'origin' }) },
  label: t.yesNo({ column: 'late', positive: '1', threshold: 0.4 }),
  source: t.csv('data/flights.csv', { eventTime: 'at', key: ['id'] }),
  expect: [t.matches('origin', /^[A-Z]{3}$/i), t.warn(t.inSet('origin', ['JFK', 'LGA']))],
  split: t.byTime({ train: '60 d', test: '30 d' }),
  train: ({ tf }) => tf.sequential(),
  evaluation: {
    primary: 'auc', floors: { auc: 0.7, cost: 1 },
    metrics: { cost: { of: (y) => y.length, better: 'lower' } },
    slices: [{ name: 'jfk', where: "origin = 'JFK'" }],
  },
  release: { ...t.canary({ stages: [t.percent(5), t.percent(50)], soak: '30 min', approval }) },
  retrain: t.cron('0 3 * * *'),
  fallback: t.always(0.5),
})
`
const directories = [
  modelsDirectory,
  join(checkout, 'docs/examples/sky'),
  join(checkout, 'docs/examples/temperature'),
]
let own: string
let models: DeclaredModel[]
beforeAll(async () => {
  own = mkdtempSync(join(tmpdir(), 'tenure-printed-'))
  writeFileSync(join(own, 'everything.ts'), everything)
  const loaded = await Promise.all(
    [...directories, own].map((directory) => loadModelsInChild({ directory, isPrinted: true })),
  )
  expect(loaded.flatMap(({ broken }) => broken)).toEqual([])
  models = loaded.flatMap((each) => each.models)
})
afterAll(() => rmSync(own, { recursive: true }))

it('every model of the project and its examples, and one with each kind of value, is made again of its data', () => {
  expect(models.map(({ name }) => name).toSorted()).toEqual([
    'everything',
    'flight-delay',
    'iris',
    'sky',
    'temperature',
  ])
  for (const { file, definition, printed } of models) {
    const made = makeModel(file, printed!, vocabulary)
    expect.soft(digestOfJson(made.definition), file).toBe(digestOfJson(definition))
  }
})

it('a function of the data is there, and does not run', () => {
  const { file, printed } = models.find(({ name }) => name === 'everything')!
  const { train, metrics } = makeModel(file, printed!, vocabulary)
  for (const each of [train!, metrics['cost']!])
    expect(each as () => unknown).toThrow('a function of the file does not run here')
})
