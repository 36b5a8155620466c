/**
 * Creates a small model with rows in Postgres for pipeline tests: large red roses mostly bloom. The model file is in a directory of the
 * test, so a test may edit it.
 */
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { seededRandom } from '@tenure/sequential'
import { loadModel, modelsDirectory } from '../../../models/index.ts'
import type { Store } from '../../../store/postgres.ts'
import { upsertModels } from '../../../store/registry/models.ts'

export interface ExampleModelFile {
  /** Part of workflow ids: files that run retrainings need a unique name. */
  name?: string
  epochs?: number
  batchSize?: number
  seed?: number
  /** 0 keeps the initial random weights of the network. */
  learningRate?: number
  /** The layers of the network, as source text. */
  layers?: string
  /** Additional source text of the model file. */
  more?: string
  /** The source, as source text. Default: a query of Postgres. */
  source?: string
  /** Whether the file has a `train` section. Default: true. */
  trains?: boolean
  /** Whether an evaluation measures feature importance, which takes 0.2 s. Default: false. */
  importance?: boolean
}

const plainLayers = `
        tf.layers.dense({ inputShape: [inputs], units: 8, activation: 'relu' }),
        tf.layers.dropout({ rate: 0.1 }),
        tf.layers.dense({ units: 1, activation: 'sigmoid' }),
      `

/** Makes a package of ES modules; otherwise Node would load the model file as CommonJS. */
export async function exampleModelDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tenure-roses-'))
  await writeFile(join(directory, 'package.json'), '{"type": "module"}')
  return directory
}

/** Writes the model file and syncs it. */
export async function syncExampleModel(
  store: Store,
  directory: string,
  file: ExampleModelFile = {},
): Promise<void> {
  const {
    name = 'roses',
    epochs = 4,
    batchSize = 256,
    seed = 1,
    learningRate = 0.05,
    layers = plainLayers,
    more = '',
    source = `postgres({ rows: 'select id, planted_at, known_at, size, colour, age, blooms from roses', eventTime: 'planted_at', key: ['id'] })`,
    trains = true,
    importance = false,
  } = file
  const train = `train: async ({ tf, inputs, hyperparameters, fit }) => {
    const { epochs, batchSize, learningRate } = hyperparameters
    const network = tf.sequential({
      layers: [${layers}],
    })
    network.compile({ optimizer: tf.train.adam(learningRate), loss: 'binaryCrossentropy' })
    await fit(network, { epochs, batchSize })
    return network
  },`
  await writeFile(
    join(directory, `${name}.ts`),
    `
import { afterWorkflow, byTime, canary, category, command, complete, compress, cron, csv, daily, defineModel, direct, direction, exact, invariance, number, onWebhook, parquet, percent, pinball, positiveRate, postgres, program, python, oneOf, quantiles, quantities, quantity, queue, random, rowCount, served, stratified, warn, whenFile, whenWatermark, yesNo, between, fresh, labelAfterEvent, unique } from '${modelsDirectory}define.ts'
const file = {
  name: '${name}',
  features: { size: number({ min: 0, max: 10 }), colour: category(['red', 'white']), age: number({ missing: 'fill' }) },
  label: yesNo({ column: 'blooms', positive: 'blooms', knownAt: 'known_at' }),
  source: ${source},
  expect: [rowCount({ min: 500 }), positiveRate({ min: 0.2, max: 0.8 }), labelAfterEvent(), unique(), warn(between('age', { max: 90 }))],
  split: byTime({ train: '20 d', test: '10 d', matured: '1 d' }),
  seed: ${seed},
  hyperparameters: { epochs: ${epochs}, batchSize: ${batchSize}, learningRate: ${learningRate} },
  ${trains ? train : ''}
  evaluation: { primary: 'auc', floors: { auc: 0.7 }, evidence: { rows: 300, positives: 50, negatives: 50 }, calibration: 'off', ${importance ? '' : "importance: 'off', "}slices: [{ name: 'red', where: "colour = 'red'" }] },
  release: direct({ approval: { by: 1, within: '1 h' } }),
  ${more}
}
export const roses = defineModel({ ...file, release: { ...file.release, spec: { refit: 'off', ...file.release.spec } } })
`,
  )
  await upsertModels(store, [await loadModel(name, directory)])
}

export const exampleDayMs = 86_400_000
/** When the first rose was planted. */
export const exampleStartMs = Date.parse('2024-03-01T00:00:00Z')
export const exampleDay = (days: number): string =>
  new Date(exampleStartMs + days * exampleDayMs).toISOString()

/** Inserts `perDay` roses for each day of a range; each blooms, or does not, a day later. The same arguments give the same roses. */
export async function insertExampleRows(
  store: Store,
  { from, to, perDay = 60 }: { from: number; to: number; perDay?: number },
): Promise<void> {
  await store.query(sql`
    create table if not exists roses (
      id bigint primary key, planted_at timestamptz, known_at timestamptz, size float8, colour text, age numeric, blooms boolean
    )`)
  await store.query(sql`grant select on roses to tenure_reader`)
  const rows = exampleRows({ from, to, perDay })
  await store.query(sql`
    insert into roses select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as rose (id bigint, planted_at timestamptz, known_at timestamptz, size float8, colour text, age numeric, blooms boolean)`)
}

/** Returns the roses of some days. */
export function exampleRows({ from, to, perDay = 60 }: { from: number; to: number; perDay?: number }) {
  const rows = []
  for (let each = from * perDay; each < to * perDay; each++) {
    const chance = seededRandom(each)
    const size = Math.round(chance() * 1000) / 100
    const colour = chance() < 0.5 ? 'red' : 'white'
    const blooms = chance() < 1 / (1 + Math.exp(5 - size - (colour === 'red' ? 2 : -2)))
    const planted = exampleStartMs + (each / perDay) * exampleDayMs
    rows.push({
      id: each,
      planted_at: new Date(planted).toISOString(),
      known_at: new Date(planted + exampleDayMs).toISOString(),
      size,
      colour,
      age: chance() < 0.1 ? null : Math.round(chance() * 80),
      blooms,
    })
  }
  return rows
}
