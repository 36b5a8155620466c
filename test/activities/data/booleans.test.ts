/** Tests that true and false give a feature the same value in every form of a file and in a request, and how times of day are refused. */
import { inputWidthOf } from '@tenure/predictors/features'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { compileReader } from '../../../api/serving/codec/row-reader.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { category, csv, defineModel, direct, number, parquet, random, yesNo } from '../../../models/define.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import type { Store } from '../../../store/postgres.ts'

/** A source is a file of the project. */
const folder = join('node_modules', '.cache', `tenure-booleans-${process.pid}`)
const artifactsRoot = mkdtempSync(join(tmpdir(), 'tenure-booleans-'))
const artifacts = openArtifacts(artifactsRoot)
beforeAll(() => void mkdirSync(folder, { recursive: true }))
afterAll(() => [folder, artifactsRoot].forEach((path) => rmSync(path, { recursive: true })))

/** Twenty rows with one value for both features, as a snapshot has them. */
async function snapshotOf(write: (path: string) => Promise<string> | string) {
  const path = await write(join(folder, `rows-${Math.random()}`))
  const { definition } = defineModel({
    name: 'flags',
    features: { amount: number(), word: category() },
    label: yesNo({ column: 'late', positive: 'late' }),
    source: path.endsWith('.csv') ? csv(path, { key: ['id'] }) : parquet(path, { key: ['id'] }),
    split: random({ test: 0.3 }),
    evaluation: { floors: { auc: 0.5 } },
    release: direct(),
  })
  const { digest } = await writeSnapshot({
    definition,
    asOf: '2026-03-01T00:00:00Z',
    store: {} as Store,
    artifacts,
  })
  const taken = textLiteral(await artifacts.locate('snapshots', digest))
  return withDuck((duck) => duck.rows(`select distinct amount, word from ${taken}`))
}
const csvOf = (value: string) => (path: string) => {
  const rows = Array.from({ length: 20 }, (_, row) => `${row},${value},${value},${row % 2}`)
  writeFileSync(`${path}.csv`, ['id,amount,word,late', ...rows, ''].join('\n'))
  return `${path}.csv`
}
const parquetOf =
  (value: string, { word = value } = {}) =>
  async (path: string) => {
    await withDuck((duck) =>
      duck.run(`copy (select range as id, ${value} as amount, ${word} as word, range % 2 as late from range(20))
      to ${textLiteral(`${path}.parquet`)} (format parquet)`),
    )
    return `${path}.parquet`
  }
const requestOf = (value: unknown, words = ['false', 'true']) => {
  const fits = [
    { name: 'amount', kind: 'number' as const, mean: 0, std: 1, fill: null },
    { name: 'word', kind: 'category' as const, vocabulary: words },
  ]
  const read = compileReader({ amount: { kind: 'number' }, word: { kind: 'category' } }, fits)
  const into = new Float64Array(inputWidthOf(fits))
  const given = { amount: value, word: value }
  const row = read(given, 0, into, 0)
  // The request may be read again for a version with other words.
  expect(given).toEqual({ amount: value, word: value })
  return { row, into: [...into] }
}

it.each([
  [true, 1],
  [false, 0],
])('%s is one value of a feature in Parquet, CSV and JSON', async (flag, amount) => {
  const expected = { amount, word: String(flag) }
  expect(await snapshotOf(csvOf(String(flag)))).toEqual([expected])
  expect(await snapshotOf(parquetOf(String(flag)))).toEqual([expected])
  expect(requestOf(flag)).toEqual({ row: expected, into: [amount, Number(!flag), Number(flag), 0] })
})

it('True in a CSV is a number as true is, and a category of its own that refuses a boolean', async () => {
  expect(await snapshotOf(csvOf('True'))).toEqual([{ amount: 1, word: 'True' }])
  for (const words of [['False', 'True'], ['0', '1'], []])
    expect(() => requestOf(true, words)).toThrow('instance 0: feature "word" is a boolean, not a text')
})

it('a time of day in Parquet is no number, and the message says what to write', async () => {
  await expect(snapshotOf(parquetOf(`time '01:30:00'`, { word: `'a'` }))).rejects.toMatchObject({
    code: 'source_unreadable',
    message: expect.stringMatching(
      /column "amount": `01:30:00` .*: write its seconds, 5400, or select/,
    ) as string,
  })
})
