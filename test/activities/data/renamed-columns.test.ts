/** Tests that training, batches and `tenure check` read the columns that a model file names, whatever letters these names have. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { freezeBatch } from '../../../activities/batch/freeze-input.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import type { Deps } from '../../../activities/deps.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { issueOfColumns } from '../../../cli/sync/check-columns.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { category, csv, defineModel, direct, number, parquet, random, yesNo } from '../../../models/define.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import type { Store } from '../../../store/postgres.ts'
import type { Batch } from '../../../store/serving/batches.ts'
import { projectFolder } from '../../../temporal.config.ts'

const cache = join(projectFolder, 'node_modules', '.cache')
mkdirSync(cache, { recursive: true })
const folder = mkdtempSync(join(cache, 'renamed-'))
afterAll(() => rmSync(folder, { recursive: true }))
const artifacts = openArtifacts(join(folder, 'artifacts'))

const features = {
  total: number({ column: 'Total Charges ($)' }),
  plan: category({ column: 'Plan "A"' }),
  seats: number(),
}
const sold = (row: number) => `2026-01-${row + 10} 08:00:00`
const rows = Array.from({ length: 20 }, (_, row) => [
  row,
  sold(row),
  1_000 + row,
  `0${row % 2}`,
  row % 5,
  row % 2,
])
const own = ['Row "ID"', 'Sold, at', 'Left?']
const header = (...named: readonly string[]) => [own[0]!, own[1]!, ...named, own[2]!]
const names = header('Total Charges ($)', 'Plan "A"', 'seats')

const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`
const writeCsv = (columns: readonly string[]) => {
  const path = join(folder, 'rows.csv')
  writeFileSync(path, [columns.map(quoted), ...rows].map((line) => `${line.join(',')}\n`).join(''))
  return path
}
const containers = {
  csv: () => Promise.resolve(writeCsv(names)),
  parquet: async () => {
    const path = join(folder, 'rows.parquet')
    const all = `read_csv(${textLiteral(writeCsv(names))}, types={'Plan "A"': 'VARCHAR'})`
    await withDuck((duck) => duck.run(`copy (select * from ${all}) to ${textLiteral(path)}`))
    return path
  },
}

const modelOf = (path: string) =>
  defineModel({
    name: 'churn',
    features,
    label: yesNo({ column: own[2]!, positive: 'left' }),
    source: (path.endsWith('.csv') ? csv : parquet)(relative(projectFolder, path), {
      eventTime: own[1]!,
      key: [own[0]!],
    }),
    split: random({ test: 0.3 }),
    train: () => Promise.reject(new Error('is not called here')),
    evaluation: { floors: { auc: 0.5 } },
    release: direct(),
  }).definition

const wanted = { total: [1_000, 1_001], plan: ['00', '01'], seats: [0, 1] }
const read = async (path: string) => {
  const found = await withDuck((duck) =>
    duck.table(`select total, plan, seats from read_parquet(${textLiteral(path)}) order by total limit 2`),
  )
  return { ...found.columns }
}

describe.each(Object.entries(containers))('of a %s file', (_kind, write) => {
  it('a snapshot has the values under the names of the features', async () => {
    const definition = modelOf(await write())
    const given = { definition, asOf: '2026-01-20T08:00:00Z', store: {} as Store, artifacts }
    const { digest } = await writeSnapshot(given)
    const path = await artifacts.locate('snapshots', digest)
    expect(await read(path)).toEqual(wanted)
    const known = await withDuck((duck) => duck.table(`select * from read_parquet(${textLiteral(path)})`))
    expect(known.rows).toBe(11)
  })

  it('a batch has the same values, and takes the names of the features too', async () => {
    const batch = async (path: string) => {
      const deps = {
        store: { query: () => Promise.resolve({ rows: [] }) },
        artifacts,
        config: { batchDir: folder },
      }
      const input = { kind: 'file', path: relative(folder, path) }
      const asked = { id: 'b', input, output: { kind: 'file', key: [own[0]] } } as unknown as Batch
      const frozen = await withDuck((duck) =>
        freezeBatch(deps as unknown as Deps, duck, {
          batch: asked,
          manifest: { features, preprocessing: [] } as unknown as Manifest,
          subjectKey: undefined,
        }),
      )
      return read(frozen.path)
    }
    expect(await batch(await write())).toEqual(wanted)
    expect(await batch(writeCsv(header('total', 'plan', 'seats')))).toEqual(wanted)
    await expect(batch(writeCsv(header('Total Charges', 'plan', 'seats')))).rejects.toThrow(
      'the column "Total Charges ($)" is missing',
    )
  })
})

it('a check names the column of the file that is missing, and so does a retraining', async () => {
  expect(await issueOfColumns(modelOf(writeCsv(names)))).toBeUndefined()
  const definition = modelOf(writeCsv(header('Total Charges', 'Plan "A"', 'seats')))
  const sentence = 'there is no column "total", a feature whose column in files is "Total Charges ($)"'
  expect(await issueOfColumns(definition)).toContain(sentence)
  const given = { definition, asOf: '2026-03-01T00:00:00Z', store: {} as Store, artifacts }
  await expect(writeSnapshot(given)).rejects.toThrow(sentence)
})

it.each([
  [{ total: number({ column: '' }) }, 'features.total.column: the name of a column'],
  [{ total: number({ column: 'Seats' }), seats: number() }, 'the column "seats" is another feature already'],
])('%j is refused', (wrong, sentence) => {
  const define = () =>
    defineModel({ ...({} as Parameters<typeof defineModel>[0]), name: 'm', features: wrong })
  expect(define).toThrow(sentence)
})
