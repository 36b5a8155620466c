/**
 * Tests that a model file in Python gives the definition of the same file in TypeScript: every word with every argument, option and field, as
 * the declarations list them, and whole definitions by their digests.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { readVocabulary, type Field, type Shape, type Word } from '../../docs/generate/python/vocabulary.ts'
import { argumentOf, pythonWords, snakeOf } from '../../docs/generate/python/words.ts'
import { differing } from '../../docs/generate/pages/pages.ts'
import { jobOfDefinition } from '../../domain/training/program-job.ts'
import type { ModelFile } from '../../models/define/model.ts'
import type { Features } from '../../domain/model/features.ts'
import { listModelFiles, loadModelFile, modelsDirectory } from '../../models/index.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { tutorialBlocks } from '../support/docs/follow-tutorial.ts'
import { blocksOf } from '../support/docs/markdown.ts'

/** A word with its arguments, as the file in TypeScript calls it. */
interface Call {
  word: string
  given: readonly unknown[]
}
const { calls } = vi.hoisted(() => ({ calls: new WeakMap<object, Call>() }))
// Real words, whose calls are remembered by their results.
vi.mock('../../models/define.ts', async (original) => {
  const words = await original<Record<string, (...given: unknown[]) => object>>()
  const remembered = Object.entries(words).map(([word, made]) => {
    const call = (...given: unknown[]): object => {
      const result = made(...given)
      calls.set(result, { word, given })
      return result
    }
    return [word, call]
  })
  return Object.fromEntries(remembered) as object
})
const words = await import('../../models/define.ts')

const folder = mkdtempSync(join(tmpdir(), 'tenure-python-model-'))
afterAll(() => rmSync(folder, { recursive: true }))

const vocabulary = readVocabulary()
const wordOf = new Map(vocabulary.map((word) => [word.name, word]))
const leaf: Shape = { kind: 'data' }

/** The parts of a shape that match a value. */
const within = (shape: Shape, kind: 'object' | 'record' | 'list'): Shape | undefined =>
  shape.kind === kind
    ? shape
    : shape.kind === 'union'
      ? shape.of.map((each) => within(each, kind)).find((each) => each !== undefined)
      : undefined

/** Writes a value of the file in TypeScript as an expression of Python. */
function pythonOf(value: unknown, shape: Shape = leaf): string {
  if (value === null || value === undefined) return 'None'
  const call = calls.get(value)
  if (call !== undefined) return callText(call)
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (value instanceof RegExp)
    return `re.compile(${JSON.stringify(value.source)}${value.flags === '' ? '' : ', re.I'})`
  if (Array.isArray(value)) {
    const list = within(shape, 'list')
    return `[${value.map((each) => pythonOf(each, list?.kind === 'list' ? list.items : leaf)).join(', ')}]`
  }
  if (typeof value !== 'object') return JSON.stringify(value)
  const object = within(shape, 'object')
  const record = within(shape, 'record')
  const entries = Object.entries(value).flatMap(([name, each]) => {
    if (each === undefined) return []
    const field = object?.kind === 'object' ? object.fields.find((one) => one.name === name) : undefined
    const inner = field?.shape ?? (record?.kind === 'record' ? record.values : leaf)
    return [`${JSON.stringify(field === undefined ? name : snakeOf(name))}: ${pythonOf(each, inner)}`]
  })
  return `{${entries.join(', ')}}`
}

function callText({ word, given }: Call): string {
  const { positional, options } = wordOf.get(word)!
  // The arguments of a form without the first ones stand at the end.
  const isShort = word === 'postgres' && given.length === 1
  const isList = word === 'category' && Array.isArray(given[0])
  const before = isShort ? [] : isList ? given : given.slice(0, positional.length)
  const last = isList ? undefined : given[isShort ? 0 : positional.length]
  const keywords = Object.entries(last ?? {}).flatMap(([name, value]) => {
    const field = options?.find((each) => each.name === name)
    return value === undefined ? [] : [`${argumentOf(name)}=${pythonOf(value, field?.shape)}`]
  })
  return `tenure.${snakeOf(word)}(${[...before.map((each, at) => pythonOf(each, positional[at]?.shape)), ...keywords].join(', ')})`
}

const fileText = (file: object): string => {
  const { options = [] } = wordOf.get('defineModel')!
  const keywords = Object.entries(file).flatMap(([name, value]) =>
    value === undefined || typeof value === 'function'
      ? []
      : [`    ${snakeOf(name)}=${pythonOf(value, options.find((each) => each.name === name)?.shape)},`],
  )
  return `import re\nimport tenure\n\ntenure.define_model(\n${keywords.join('\n')}\n)\n`
}

interface Printed {
  model: Record<string, unknown>
  issues: string[]
}

async function printed(text: string): Promise<Printed> {
  const path = join(folder, 'printed.py')
  writeFileSync(path, text)
  const { stdout } = await python(['-m', 'tenure.define', path])
  return JSON.parse(stdout) as Printed
}

const python = (argv: readonly string[]) =>
  promisify(execFile)('python3', argv, {
    env: environmentWith({ PYTHONPATH: join(checkout, 'packages/python/src') }),
    maxBuffer: 2 ** 26,
  })

// Samples of every shape, as Python text beside what is printed for it.

interface Sample {
  text: string
  json: unknown
}
let count = 0
const sampleOf = (shape: Shape): Sample[] => {
  const [n, plain] = [++count, (json: unknown): Sample[] => [{ text: JSON.stringify(json), json }]]
  switch (shape.kind) {
    case 'data':
    case 'number':
      return plain(n)
    case 'text':
      return plain(`text ${n}`)
    case 'flag':
      return [{ text: 'True', json: true }]
    case 'literal':
      return plain(shape.value)
    case 'pattern':
      return [{ text: `r"^a${n}$"`, json: { $word: 'RegExp', arguments: [`^a${n}$`, ''] } }]
    case 'function':
      return []
    case 'made': {
      const word = vocabulary.find(({ result }) => result === shape.name)!
      return callsOf(word).slice(0, 1)
    }
    case 'list': {
      const items = sampleOf(shape.items)
      return [{ text: `[${items.map(({ text }) => text).join(', ')}]`, json: items.map(({ json }) => json) }]
    }
    case 'record':
      // Names are data: neither language changes them.
      return sampleOf(shape.values).map(({ text, json }) => ({
        text: `{"a_name": ${text}, "aName": ${text}}`,
        json: { a_name: json, aName: json },
      }))
    case 'object': {
      const fields = shape.fields.flatMap((field) => variants(field))
      return fields.map(({ name, sample: { text, json } }) => ({
        text: `{"${snakeOf(name)}": ${text}}`,
        json: { [name]: json },
      }))
    }
    case 'union':
      return shape.of.flatMap(sampleOf)
  }
}
const variants = ({ name, shape }: Field) => sampleOf(shape).map((sample) => ({ name, sample }))

/** Calls of a word with each of its options, one at a time. */
function callsOf({ name, positional, options = [] }: Word): Sample[] {
  const given = positional.flatMap(({ shape }) => sampleOf(shape).slice(0, 1))
  const call = (keyword?: { name: string; sample: Sample }): Sample => ({
    text: `tenure.${snakeOf(name)}(${[...given.map(({ text }) => text), ...(keyword ? [`${argumentOf(keyword.name)}=${keyword.sample.text}`] : [])].join(', ')})`,
    json: {
      $word: name,
      arguments: [
        ...given.map(({ json }) => json),
        ...(keyword ? [{ [keyword.name]: keyword.sample.json }] : []),
      ],
    },
  })
  return [call(), ...options.flatMap((field) => variants(field).map(call))]
}

const definitionWords = vocabulary.filter(({ name }) => name !== 'defineModel')

describe('the words of Python', () => {
  it('are those of the declarations in TypeScript', () => {
    const pages = new Map([['_words.py', pythonWords()]])
    expect(differing(pages, join(checkout, 'packages/python/src/tenure'))).toEqual([])
  })

  it('have one name for each name in TypeScript', () => {
    const camel = (name: string) => name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())
    const names = JSON.stringify(vocabulary).matchAll(/"name":"(\w+)"/g)
    for (const [, name = ''] of names) if (/^[a-z]/.test(name)) expect(camel(snakeOf(name))).toBe(name)
  })

  it('print every argument, option and field under its name in a definition', async () => {
    const samples = definitionWords.flatMap(callsOf)
    const fields = wordOf.get('defineModel')!.options!.flatMap((field) => variants(field))
    const all = [...samples, ...fields.map(({ sample }) => sample)]
    expect(all.length).toBeGreaterThan(600)
    const { model, issues } = await printed(
      `import tenure\ntenure.define_model(golden=[\n${samples.map(({ text }) => text).join(',\n')}\n])`,
    )
    expect(issues).toEqual([])
    expect(model['golden']).toEqual(samples.map(({ json }) => json))
    const script = [
      'import json, pathlib, tenure',
      'from tenure import _define',
      'reading = _define._reading = _define._Reading(pathlib.Path("model.py"))',
      ...fields.map(({ name, sample }) => `tenure.define_model(${snakeOf(name)}=${sample.text})`),
      'made = [_define._Definition(reading.path, {}) for _ in reading.models]',
      'print(json.dumps([[each.compile(model), each.issues] for each, model in zip(made, reading.models)]))',
    ]
    const { stdout } = await python(['-c', script.join('\n')])
    expect(JSON.parse(stdout)).toEqual(fields.map(({ name, sample }) => [{ [name]: sample.json }, []]))
  })

  it('refuse a misspelt option of every word with its line and the nearest name', async () => {
    const misspelt = definitionWords.flatMap(({ name, options = [] }) =>
      options.map((field) => ({ word: snakeOf(name), option: argumentOf(field.name).replace(/_$/, '') })),
    )
    const lines = misspelt.map(({ word, option }) => `tenure.${word}(${option}${option.at(-1)}=1),`)
    const { issues } = await printed(`import tenure\ntenure.define_model(golden=[\n${lines.join('\n')}\n])`)
    const unknown = issues.filter((issue) => issue.includes('has no keyword'))
    expect(unknown).toEqual(
      misspelt.map(
        ({ word, option }, at) =>
          `line ${at + 3}: golden[${at}]: ${word} has no keyword ${option}${option.at(-1)}: did you mean ${option}?`,
      ),
    )
  })
})

const features = {
  size: words.number({ unit: 'cm', min: 0, max: 10, missing: 'fill', outside: 'missing', about: 'its size' }),
  colour: words.category(['red', 'white']),
  shop: words.category({ values: ['north', 'south'], missing: 'fill' }),
  story: words.text({ maxLength: 2_000, missing: 'fill' }),
  place: words.vector(2, { about: 'where it is' }),
  photo: words.image({ maxBytes: 5_000, missing: 'fill' }),
}
const stages = [words.percent(5), words.percent(25, { soak: '10 min', requests: 1_000 })]
const base: ModelFile<Features, Record<never, never>> = {
  name: 'base',
  features,
  label: words.yesNo({
    column: 'late',
    positive: 'late',
    knownAt: 'known',
    threshold: 0.4,
    review: { from: 0.3, to: 0.6 },
  }),
  source: words.csv('models/data/roses.csv', {
    eventTime: 'at',
    lookback: '2 d',
    key: ['id'],
    derive: 'select * from known',
  }),
  split: words.byTime({
    train: '30 d',
    test: '3 d',
    validation: '2 d',
    matured: '1 d',
    maxRows: { train: 500 },
  }),
  evaluation: { floors: { auc: 0.6, averagePrecision: 0.1 } },
  train: words.python('programs/train.py', {
    requirements: 'programs/requirements.txt',
    memory: '2 GB',
    limit: '2 h',
  }),
  release: words.canary({ stages }),
}
const range = { min: 0, max: 1_000 }
const delays = words.view('delays', {
  entity: 'shop',
  source: words.parquet('models/data/delays.parquet', { rows: 'select * from source', eventTime: 'at' }),
  knownAt: 'known',
  values: { mean: words.number({ min: 0 }) },
  timeToLive: '1 d',
})

/** Whole definitions, which together use every word. */
const definitions: Readonly<
  Record<string, Partial<ModelFile<Features, Record<string, string | number | boolean>>>>
> = {
  base: {
    about: 'A "model" with $ and \\n',
    owner: 'shop-team',
    hyperparameters: { units: 16, learningRate: 0.01, name: 'sgd', deep: true },
    seed: 7,
    weights: { column: 'weight', classes: { late: 2, 'not late': 1 } },
    subject: 'customer',
    floods: 'leave_out',
    golden: [
      { size: 1.5, colour: 'red', shop: null, story: null, place: [0, 0.5], photo: null } as object as Record<
        string,
        string
      >,
    ],
    fallback: words.previousChampion({ automatic: true, otherwise: 0.1 }),
    retrain: [
      words.cron('0 3 * * 1', { catchUp: '2 h' }),
      words.whenFile('data/ready/*.done', { name: 'files' }),
      // oxlint-disable-next-line unicorn/no-thenable -- it holds no function, so nothing awaits it
      { then: words.compress('int8', { epsilon: 0.01 }) },
      words.whenWatermark({ table: 'orders', column: 'changed_at' }),
      words.afterWorkflow({ type: 'loadOrders' }),
      words.onWebhook({ parameters: { region: words.category(['eu', 'us']) } }),
    ],
    batches: {
      daily: {
        rows: words.parquet('in/{date}.parquet'),
        partition: words.daily({ from: '2026-11-01', after: '2 h' }),
        key: ['size'],
      },
    },
    tests: [
      words.exact('small', {
        row: { size: 1, colour: 'red', shop: null, story: null, place: [0, 0.5], photo: null },
        answer: true,
      }),
      words.invariance('the shop', { column: 'shop', to: ['north', null], within: 0.1 }),
      words.direction('larger', { column: 'size', by: [1, 2], never: 'lower' }),
    ],
    monitor: {
      every: '10 min',
      errors: { warn: 3, alarm: 5 },
      drift: {
        alarm: 0.3,
        exclude: ['shop'],
        features: { size: { warn: 0.25, reference: 'training' } },
        reference: '7 d',
      },
      importance: { size: 3, colour: 1 },
      resources: { rssMb: 256 },
      business: {
        name: 'saved',
        unit: '$',
        perPrediction: 'case when predicted = 1 then 1 else 0 end',
        warn: 1,
      },
      cooldown: { after: { drift: '12 h' }, maxPerWeek: 2 },
    },
    release: words.canary({
      stages,
      first: { allowList: ['alice'] },
      approval: { by: 1, within: '2 d', from: ['alice', 'bob'] },
      watch: { tick: '5 s' },
      limits: { harmBudget: 20 },
      hotfix: { stages: [words.percent(50)], soak: '5 min' },
      qualification: { p99Us: 9_000 },
      drill: 'off',
      shadow: words.percent(10, { soak: '20 min' }),
      probation: { holdback: 5, coverLabels: false },
      business: { revenue: words.event('purchase', { max: 500 }) },
      external: {
        complaints: words.promql('prometheus', 'sum(x{version="$version"})', { max: 0.2 }),
        refunds: words.sqlQuery('shop', 'select 1 where $version', { max: 1, minRequests: 5 }),
        calls: words.webhook('desk', 'calls', { max: 9, onError: 'hold' }),
      },
      refit: 'matured',
      refitDistance: 0.2,
    }),
    evaluation: {
      primary: 'auc',
      floors: { auc: 0.6, averagePrecision: 0.1 },
      margin: { relative: 0.01 },
      guards: ['brier'],
      margins: { brier: 0.02 },
      evidence: { rows: 100, sliceRows: 50 },
      fairness: { minRows: 10 },
      leakage: { featureAuc: 0.99 },
      slices: [{ name: 'red', where: "colour = 'red'" }],
      sliceLimits: { points: 0.03 },
      groups: ['shop'],
      importance: { rows: 500 },
    },
  },
  classes: {
    label: words.oneOf(['a', 'b'], { review: { below: 0.6 } }),
    source: words.parquet(
      { orders: 'a.parquet', shops: 'b.parquet' },
      { rows: 'select * from orders join shops using (id)' },
    ),
    split: words.stratified({ test: 0.3, validation: 0.1 }),
    evaluation: { floors: { accuracy: 0.5 }, calibration: 'off' },
    weights: { classes: 'balanced' },
    train: words.command(['Rscript', 'programs/train.R'], { files: ['programs'] }),
    release: words.rolling({ stages }),
    fallback: words.always('a'),
    retrain: { every: '1 week' },
    expect: [
      words.rowCount(range),
      words.complete('all'),
      words.complete(['size'], { mostly: 0.9 }),
      words.completeWhen('size', { column: 'colour', is: 'red' }),
      words.finite(['size']),
      words.inSet('colour', ['red', 'white']),
      words.between('size', { ...range, mostly: 0.9 }),
      words.textLength('colour', range),
      words.matches('colour', /^[a-z]+$/i),
      words.distinct('colour', range),
      words.mean('size', range),
      words.deviation('size', range),
      words.quantile('size', 0.95, range),
      words.everyClass({ min: 3 }),
      words.rowsAsUsual({ min: 0.5, max: 2 }),
      words.warn(words.ordered('low', 'high')),
      words.unique(undefined, { mostly: 0.999 }),
      words.unique(['id']),
    ],
  },
  looked: {
    features: { ...features, delay: words.lookup(delays, 'mean', { by: 'shop', otherwise: 0 }) },
    expect: [words.fresh('2 d'), words.labelAfterEvent(), words.positiveRate({ min: 0.1 })],
    release: words.shadow({ shadow: words.percent(100, { soak: '1 h' }), whenPassed: 'ask' }),
  },
  number: {
    label: words.quantity({ unit: 'min', min: 0 }),
    source: words.postgres({ rows: 'select * from shop.orders' }),
    split: words.random({ test: 0.3 }),
    evaluation: { floors: { rmse: 10 }, baseline: 'size' },
    traffic: words.haproxy({ address: '10.0.0.5:9999', backend: 'roses' }),
    train: words.queue('gpu', { limit: '1 h' }),
    release: words.blueGreen({ drill: 'off' }),
  },
  quantiles: {
    label: words.quantiles([0.1, 0.5, 0.9], { column: 'delay' }),
    source: words.postgres('warehouse', { rows: 'select * from shop.orders', key: ['id'] }),
    split: words.random({ test: 0.3 }),
    evaluation: { floors: { pinball: 10 } },
    serve: words.python('programs/extract.py'),
    traffic: words.httpRoute({ namespace: 'default', name: 'roses', metrics: { source: 'prometheus' } }),
    release: words.direct({ approval: { by: 2, within: '1 d' }, drill: 'off' }),
  },
  several: {
    label: words.quantities(['departure', 'arrival'], { min: 0 }),
    source: words.program('programs/extract.py', {
      rows: 'select * from source',
      secrets: ['WAREHOUSE_PASSWORD'],
    }),
    split: words.random({ test: 0.3 }),
    evaluation: { floors: { r2: 0.1 } },
    traffic: words.sagemaker({ region: 'eu-west-1', endpoint: 'roses', secret: 'aws' }),
    release: words.ab({
      split: words.percent(50, { soak: '1 d', deadline: '7 d' }),
      metric: 'errors',
      drill: 'off',
      watch: { exposure: '15 min' },
    }),
  },
  served: {
    label: words.yesNo({ column: 'outcome', positive: 'late' }),
    source: words.served({ since: '90 d', knownAt: 'observed', maxRequests: 5_000 }),
    traffic: words.kserve({
      namespace: 'default',
      name: 'roses',
      metrics: { source: 'prometheus', settle: '1 min' },
    }),
    release: words.direct({ drill: 'off' }),
    train: undefined,
    retrain: undefined,
  },
}

const used = (value: unknown, into = new Set<string>()): Set<string> => {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return into
  const call = calls.get(value)
  if (call !== undefined) into.add(call.word)
  for (const each of call?.given ?? Object.values(value)) used(each, into)
  return into
}
const write = (path: string, text: string) => writeFileSync(join(folder, path), text)

describe('a definition in Python', () => {
  mkdirSync(join(folder, 'programs'))
  for (const path of ['train.py', 'requirements.txt', 'extract.py', 'train.R']) write(`programs/${path}`, '')

  it.each(Object.entries(definitions))('is that of the file in TypeScript: %s', async (name, change) => {
    const { train, ...file } = { ...base, ...change, name }
    const whole = { ...file, ...(train !== undefined && { train }) } as typeof base
    const { definition } = words.defineModel(whole)
    write(`${name}.py`, fileText(whole))
    const loaded = await loadModelFile(`${name}.py`, folder)
    expect(loaded).toMatchObject({ name, definition: { name } })
    if (!('definition' in loaded)) return
    expect(loaded.definition).toEqual(definition)
    expect(digestOfJson(loaded.definition)).toBe(digestOfJson(definition))
  })

  it('can use every word', () => {
    const all = used([base, ...Object.values(definitions)])
    expect([...all].sort()).toEqual(definitionWords.map(({ name }) => name).sort())
  })

  it.each(['iris', 'flight-delay', 'sky', 'temperature', 'reviews', 'digits', 'sentiment'])(
    'is that of the example %s',
    async (name) => {
      const path =
        name === 'iris' || name === 'flight-delay' ? `models/${name}` : `docs/examples/${name}/${name}`
      const exported = (await import(join(checkout, `${path}.ts`))) as Record<string, object>
      const [model] = Object.values(exported)
      const { definition } = model as { definition: object }
      const [file] = calls.get(model!)!.given as [{ train?: unknown }]
      for (const each of ['train.py', 'requirements.txt']) write(each, '')
      const isFunction = typeof file.train === 'function'
      write(`${name}.py`, fileText(isFunction ? { ...file, train: words.queue('gpu') } : file))
      const loaded = await loadModelFile(`${name}.py`, folder)
      expect(loaded).toMatchObject({ name })
      // A function that trains has no equal in the other language.
      const known = isFunction ? { ...definition, trainer: { kind: 'queue', queue: 'gpu' } } : definition
      expect('definition' in loaded && digestOfJson(loaded.definition)).toBe(digestOfJson(known))
    },
  )
})

describe('a model file in Python', () => {
  const issuesOf = async (name: string, text: string) => {
    write(`${name}.py`, text)
    const loaded = await loadModelFile(`${name}.py`, folder)
    return 'issues' in loaded ? loaded.issues : []
  }
  const minimal = (name: string, more = '') => `import tenure

STAGES = [tenure.percent(5)]

def train(job):
    import a_package_of_the_requirements

tenure.define_model(
    name="${name}",
    features={"size": tenure.number()},
    label=tenure.quantity(),
    source=tenure.csv("a.csv"),
    split=tenure.random(test=0.5),
    evaluation={"floors": {"rmse": 1}},
    release=tenure.canary(stages=STAGES),
    ${more}
)
`

  it('is listed by its call of define_model, and is the program that trains', async () => {
    expect(await issuesOf('own', minimal('own', 'train=train,'))).toEqual([])
    write('module.py', 'def prepare(): pass')
    const files = await listModelFiles(folder)
    expect(files).toContain('own.py')
    expect(files).not.toContain('module.py')
    const first = await loadModelFile('own.py', folder)
    expect(first).toMatchObject({ definition: { trainer: { kind: 'python', file: 'own.py' } } })
    // Another model is no code of this one, and a module beside it is.
    await issuesOf('other', minimal('other', 'train=tenure.python(train, limit="1 h"),'))
    const same = await loadModelFile('own.py', folder)
    write('module.py', 'def prepare(): return 1')
    const changed = await loadModelFile('own.py', folder)
    const digestOf = (loaded: object) => (loaded as { codeDigest: string }).codeDigest
    expect(digestOf(same)).toBe(digestOf(first))
    expect(digestOf(changed)).not.toBe(digestOf(first))
  })

  it.each([
    [
      'a field of a part',
      minimal('wrong', 'monitor={"drift": {"warm": 0.1}},'),
      'line 16: monitor.drift: has no field warm: did you mean warn?',
    ],
    [
      'a field of the model',
      minimal('wrong', 'retran={"every": "1 d"},'),
      'line 16: model: define_model has no keyword retran: did you mean retrain?',
    ],
    ['a value', minimal('wrong', 'seed=-1,'), 'line 16: seed: a whole number from 0 is required, not -1'],
    [
      'a value elsewhere in the file',
      minimal('wrong').replace('percent(5)', 'percent(5, soak="long")'),
      "line 3: release.stages[0].soak: a duration such as '30 min' or '7 d' is required",
    ],
    [
      'a function where none can be called',
      minimal('wrong', 'seed=train,'),
      'line 16: seed: a function of Python cannot be called here: write the model file in TypeScript for it',
    ],
    [
      'a metric of other arguments',
      minimal('wrong').replace(
        '"floors":',
        '"metrics": {"cost": {"of": lambda labels, scores: 0, "better": "lower"}}, "floors":',
      ),
      'line 14: evaluation.metrics.cost.of: a function of (labels, scores, rows) is required',
    ],
    ['a syntax error', 'import tenure\ntenure.define_model(', 'line 2: the code cannot be parsed: '],
    [
      'an exception',
      `import tenure\n1 / 0\n${minimal('wrong')}`,
      'line 2: it raises while it is read: ZeroDivisionError: division by zero',
    ],
    [
      'a package that only the training has',
      `import no_such_package\n${minimal('wrong')}`,
      'line 1: there is no package no_such_package for ',
    ],
    [
      'an exit',
      `import sys\nsys.exit(1)\n${minimal('wrong')}`,
      'line 2: exit(1) ends the program that reads the file: remove the call',
    ],
    ['no call', '# define_model(', 'model: define_model was called 0 times'],
    [
      'no end',
      `import signal\nsignal.alarm(1)\nwhile True: pass\n${minimal('wrong')}`,
      'it was not read within 15 s',
    ],
    ['another name', minimal('right'), 'name: "right" must be in right.py, not in wrong.py'],
  ])('is refused with its line for %s', async (_, text, issue) => {
    const issues = await issuesOf('wrong', text)
    expect(issues).toEqual([expect.stringContaining(issue)])
    expect(issues[0]?.indexOf(issue)).toBe(0)
  })

  it('with a function that prepares rows is the definition without it, and refuses one that no training of the file could store', async () => {
    const prepared = (more: string) =>
      minimal('prepared', `train=tenure.python(train), prepare=${more},`).replace(
        /def train[^=]*requirements/,
        'def train(job): pass',
      )
    expect(await issuesOf('prepared', prepared('lambda df: df.assign(ratio=1)'))).toEqual([])
    const digestOf = async (text: string) => {
      write('prepared.py', text)
      const loaded = await loadModelFile('prepared.py', folder)
      return 'issues' in loaded ? loaded.issues : digestOfJson(loaded.definition)
    }
    expect(await digestOf(prepared('lambda df: df'))).toEqual(await digestOf(prepared('None')))
    expect(await issuesOf('prepared', prepared('lambda df, y: df'))).toEqual([
      'line 15: prepare: a function of one data frame is required',
    ])
    const program = prepared('lambda df: df').replace('tenure.python(train)', 'tenure.queue("gpu")')
    expect(await issuesOf('prepared', program)).toEqual([
      'line 15: prepare: a function of Python needs a function `train` of this file, whose job.save(model) stores both; use SQL beside another program',
    ])
  })

  it('trains by its function, with the job of a training', async () => {
    const trains =
      'def train(job):\n    (job.output / "seen.txt").write_text(f"{job.model} {job.columns[0].name} {job.seed}")'
    const text = minimal('program', 'train=tenure.python(train),').replace(
      /def train[^=]*requirements/,
      trains,
    )
    expect(await issuesOf('program', text)).toEqual([])
    const loaded = await loadModelFile('program.py', folder)
    if ('issues' in loaded) throw new Error(loaded.issues.join())
    const { definition } = loaded
    const places = { snapshot: { path: 'rows.parquet', digest: '' }, checkpoints: folder, output: folder }
    const job = {
      ...jobOfDefinition(definition, {}),
      training: 'trn_1',
      attempt: 1,
      seed: 7,
      limits: {},
      ...places,
    }
    const running = python([join(folder, 'program.py')])
    running.child.stdin?.end(JSON.stringify(job))
    await running
    expect(readFileSync(join(folder, 'seen.txt'), 'utf8')).toBe('program size 7')
  })

  it('of the documentation is right, and its issue is the one that is shown', async () => {
    const page = readFileSync(join(checkout, 'docs/how-to/train-in-python.md'), 'utf8')
    const shown = blocksOf(page).find(({ notes }) => notes['file'] === 'models/churn.py')?.text ?? ''
    write('requirements.txt', 'lightgbm')
    expect(await issuesOf('churn', shown)).toEqual([])
    const [issue = ''] = await issuesOf('churn', shown.replace('event_time', 'evnt_time'))
    expect(page).toContain(issue)
  })

  it('of the tutorial is that in TypeScript, but for how it trains', async () => {
    const place = join(folder, 'tutorial')
    mkdirSync(place)
    for (const language of ['typescript', 'python'] as const)
      for (const { text, notes } of tutorialBlocks(language))
        if (notes['file']?.startsWith('models/'))
          writeFileSync(
            join(place, notes['file'].slice('models/'.length)),
            text.replace('./define.ts', `${modelsDirectory}define.ts`),
          )
    const inPython = await loadModelFile('rain.py', place)
    expect(inPython).toMatchObject({
      issues: ['name: rain.ts defines the model rain too: remove one of the two'],
    })
    const inTypeScript = await loadModelFile('rain.ts', place)
    rmSync(join(place, 'rain.ts'))
    const trained = ({ definition }: { definition: object }) => ({
      ...definition,
      trainer: undefined,
      hyperparameters: undefined,
    })
    expect(trained((await loadModelFile('rain.py', place)) as never)).toEqual(trained(inTypeScript as never))
  })

  it('is refused with the name of a module of Python itself, which it would hide', async () => {
    expect(await issuesOf('numbers', minimal('numbers'))).toEqual([
      'name: numbers.py hides the module numbers of Python itself: choose another name',
    ])
  })

  it('takes what a module beside it has made, arrays and paths', async () => {
    write('parts.py', 'import tenure\n\n\nSTAGES = [tenure.percent(5, soak="long")]')
    const imported = `import array, pathlib\nfrom parts import STAGES as STAGES_OF_ALL\n${minimal('modular')}`
      .replace('stages=STAGES', 'stages=STAGES_OF_ALL')
      .replace('tenure.quantity()', "tenure.quantiles(array.array('d', [0.25, 0.5]))")
      .replace('"a.csv"', 'pathlib.Path("rows") / "a.csv"')
      .replace('"rmse"', '"pinball"')
    // The line of the model file, not that of the module.
    expect(await issuesOf('modular', imported)).toEqual([
      expect.stringMatching(/^line 17: release\.stages\[0\]\.soak: a duration/),
    ])
    write('parts.py', 'import tenure\n\nSTAGES = [tenure.percent(5)]')
    expect(await loadModelFile('modular.py', folder)).toMatchObject({
      definition: {
        label: { output: { kind: 'quantiles', levels: [0.25, 0.5] } },
        source: { files: { source: 'rows/a.csv' } },
      },
    })
  })

  it('is no folder and no link that leads nowhere', async () => {
    mkdirSync(join(folder, 'folder.py'))
    symlinkSync('gone', join(folder, 'link.py'))
    expect((await listModelFiles(folder)).filter((file) => /folder|link/.test(file))).toEqual([])
  })

  it('is refused beside a file of the same model in TypeScript', async () => {
    write('twice.ts', '')
    expect(await issuesOf('twice', minimal('twice'))).toEqual([
      'name: twice.ts defines the model twice too: remove one of the two',
    ])
  })
})
