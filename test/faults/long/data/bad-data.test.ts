/**
 * Runs broken exports through a whole retraining of a model with a champion, for each place that refuses them some. Each is rejected, quarantined, or trained
 * without becoming better, and the record names the column and the rule. No version is registered and the champion stays. Unusual but valid
 * data is trained.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findChampion } from '../../../../store/registry/champions.ts'
import { findRetraining } from '../../../../store/training/retrainings.ts'
import { findTraining } from '../../../../store/training/trainings.ts'
import { findValidation } from '../../../../store/training/snapshots.ts'
import { listVersions } from '../../../../store/registry/versions.ts'
import { checkout } from '../../../../temporal.config.ts'
import { releaseWorkflowId, type RetrainOutcome } from '../../../../workflows/messages.ts'
import { reached } from '../../figures.ts'
import { openPipeline, type Pipeline } from '../../../support/training/pipeline.ts'
import { writeChampion } from '../../../support/serving/registration.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../../support/training/example-model.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('roses')
const fromFiles = uniqueName('lilies')
/** Sources must be inside the checkout; this directory belongs to the test. */
const folder = join('node_modules', '.cache', uniqueName('tenure'))
const file = join(folder, 'lilies.csv')
const tested: string[] = []

const more = `
  features: { size: number({ min: 0, max: 10 }), colour: category(['red', 'white']), age: number({ missing: 'fill' }), plot: category() },
  source: postgres({ rows: 'select * from roses', eventTime: 'planted_at', key: ['id'] }),
  expect: [rowCount({ min: 500 }), positiveRate({ min: 0.1, max: 0.9 }), labelAfterEvent(), unique(), fresh('3 d')],
  evaluation: { primary: 'auc', floors: { auc: 0.7 }, margin: 0.05, evidence: { rows: 300, positives: 50, negatives: 50 }, calibration: 'off' },
`
const moreOfFiles = `
  features: { size: number({ min: 0, max: 10 }), colour: category(['red', 'white']), plot: category() },
  label: yesNo({ column: 'blooms', positive: 'blooms' }),
  source: csv('${file}', { key: ['id'] }),
  expect: [rowCount({ min: 500 })],
  split: stratified({ test: 0.3 }),
`

beforeAll(async () => {
  pipeline = await openPipeline()
  const { store } = pipeline
  await insertExampleRows(store, { from: 0, to: 40 })
  await store.query(sql`alter table roses add column plot text`)
  await store.query(sql`update roses set plot = (array['north', 'south', 'east'])[id % 3 + 1]`)
  await store.query(sql`create table good as table roses`)
  await syncExampleModel(store, pipeline.models, { name: model, more })
  await takeChampion(model)
  mkdirSync(join(checkout, folder), { recursive: true })
})
afterAll(async () => {
  rmSync(join(checkout, folder), { recursive: true, force: true })
  await pipeline?.close()
})

const retrain = async (of: string): Promise<RetrainOutcome> =>
  (await pipeline.start({ model: of, asOf: exampleDay(35), requestedBy: 'olga' })).result()
const endRelease = (of: string) => pipeline.client.workflow.getHandle(releaseWorkflowId(of)).terminate()

async function takeChampion(of: string): Promise<void> {
  const { outcome, version = '', message } = await retrain(of)
  expect([outcome, message]).toEqual(['released', expect.any(String)])
  await endRelease(of)
  await writeChampion(pipeline.store, of, version)
}

/** Restores the valid rows and applies the statements that break them. */
async function corrupt(...statements: string[]): Promise<void> {
  const { store } = pipeline
  await store.query(sql`drop table roses`)
  await store.query(sql`create table roses as table good`)
  await store.query(sql`grant select on roses to tenure_reader`)
  for (const statement of statements) await store.query(sql`${raw(statement)}`)
}

async function expectRefused(
  of: string,
  expected: { outcome: RetrainOutcome['outcome']; message: RegExp; what: string },
): Promise<void> {
  const { store } = pipeline
  const before = await listVersions(store, { model: of })
  const champion = await findChampion(store, of)
  const outcome = await retrain(of)
  expect(outcome).toMatchObject({
    outcome: expected.outcome,
    message: expect.stringMatching(expected.message) as unknown,
  })
  expect(await findRetraining(store, outcome.retrainingId)).toMatchObject({ message: outcome.message })
  expect(outcome.message.length).toBeLessThan(5_000)
  const run = outcome.retrainingId.split('/').at(-1)?.replaceAll('-', '') ?? ''
  if (expected.outcome !== 'not_better') expect(await findTraining(store, `trn_${run}`)).toBeUndefined()
  if (expected.outcome === 'quarantined')
    expect(await findValidation(store, `val_${run}`)).toMatchObject({ verdict: 'block' })
  expect(await listVersions(store, { model: of })).toHaveLength(before.length)
  expect(await findChampion(store, of)).toEqual(champion)
  tested.push(expected.what)
}

describe('bad data in a table', () => {
  const q = 'quarantined' as const
  it.each<[string, string[], RetrainOutcome['outcome'], RegExp]>([
    ['flipped labels', ['update roses set blooms = not blooms'], 'not_better', /labels may be inverted/],
    ['one class', ['update roses set blooms = true'], q, /blooms: rows of each class: 0: 0,/],
    [
      'a leak',
      ['update roses set size = case when blooms then 5 else 4 end + random() * 0.5'],
      'not_better',
      /"size" alone has AUC/,
    ],
    ['no rows', ['delete from roses'], 'failed', /no train rows/],
    [
      'a renamed column',
      ['alter table roses rename column size to length'],
      'failed',
      /there is no column "size", a feature/,
    ],
    [
      'a number that has become a text',
      [`alter table roses alter column size type text using size || ' cm'`],
      'failed',
      /column "size": `[\d.]+ cm` is not a number/,
    ],
    [
      'another unit, of no declared range',
      ['update roses set age = age * 1000'],
      q,
      /age: eight tenths of the rows lie .*the champion's rows: /,
    ],
    ['missing values', ['update roses set size = null where id % 20 = 0'], q, /size: [\d.]+ % are null/],
    [
      'duplicates',
      ['insert into roses select * from roses where id % 10 = 0'],
      q,
      /id: [\d.]+ % are repeated/,
    ],
    [
      'labels known before their events',
      [`update roses set known_at = planted_at - interval '1 hour' where id % 50 = 0`],
      q,
      /planted_at, known_at: .* have planted_at above known_at/,
    ],
    [
      'a field of 10 MB',
      [`update roses set plot = repeat('x', 10485760) where id = 1700`],
      q,
      /plot: .* are longer than 1000 characters/,
    ],
  ])('%s', async (what, statements, outcome, message) => {
    await corrupt(...statements)
    await expectRefused(model, { outcome, message, what })
  })

  it('names of object properties are accepted as values and columns', async () => {
    await corrupt(
      `update roses set plot = '__proto__' where plot = 'south'`,
      `update roses set plot = 'constructor' where plot = 'north' and id % 2 = 0`,
      'alter table roses add column "__proto__" text default \'{"polluted": true}\'',
      'alter table roses add column "hasOwnProperty" int default 1',
    )
    const { outcome, version = '', message } = await retrain(model)
    expect([outcome, message]).toEqual([expect.stringMatching('released|registered'), expect.any(String)])
    const made = (await listVersions(pipeline.store, { model })).find((each) => each.version === version)
    const plot = made?.manifest.preprocessing.find(({ name }) => name === 'plot')
    expect(plot).toMatchObject({ vocabulary: ['__proto__', 'constructor', 'east', 'north'] })
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    await endRelease(model)
  })

  it('does not prevent the release of the next good batch', async () => {
    await corrupt('delete from roses where id % 100 = 0')
    expect((await retrain(model)).outcome).toBe('released')
    await endRelease(model)
  })
})

describe('bad data in a file', () => {
  const header = 'id,size,colour,plot,blooms'
  const lines = (plotOf: (row: number) => string = () => 'north'): string[] =>
    Array.from({ length: 1_200 }, (_, row) => {
      const size = (row * 7) % 100
      // Each row differs: an import that ran twice is a fault of its own.
      return `${row},${size / 10 + row / 100_000},${row % 2 ? 'red' : 'white'},${plotOf(row)},${size + (row % 13) * 3 > 65}`
    })
  const textOf = (rows: string[], head = header): string => [head, ...rows, ''].join('\n')
  const write = (bytes: Buffer | string) => writeFileSync(join(checkout, file), bytes)

  beforeAll(async () => {
    write(textOf(lines()))
    await syncExampleModel(pipeline.store, pipeline.models, { name: fromFiles, more: moreOfFiles })
    await takeChampion(fromFiles)
  })

  it.each<[string, () => Buffer | string, RetrainOutcome['outcome'], RegExp]>([
    ['an empty file', () => '', 'failed', /lilies\.csv: the file is empty/],
    [
      'Latin-1 in place of UTF-8',
      () => Buffer.from(textOf(lines((row) => (row === 700 ? 'süd' : 'north'))), 'latin1'),
      'failed',
      /line 702: the text `süd` is not encoded as UTF-8/,
    ],
    [
      'NUL in a text',
      () => textOf(lines((row) => (row === 700 ? 'no\0rth' : 'north'))),
      'quarantined',
      /plot: .* have unreadable characters/,
    ],
    [
      'a row that breaks off',
      () => textOf(lines((row) => (row === 700 ? 'north\n7' : 'north'))),
      'failed',
      /line 702: the row has 4 values, the header has 5 names/,
    ],
  ])('%s', async (what, bytes, outcome, message) => {
    write(bytes())
    await expectRefused(fromFiles, { outcome, message, what })
  })

  it('does not prevent the release of the next good file', async () => {
    write(textOf(lines().slice(1)))
    expect((await retrain(fromFiles)).outcome).toBe('released')
    await endRelease(fromFiles)
    reached(
      'F25',
      `${tested.length} of ${tested.length} kinds refused, quarantined or not better, by column and rule`,
    )
  })
})
