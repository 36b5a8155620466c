/**
 * Measures how fast each road takes a table into a snapshot, and the memory it needs; writes packages/lab/intake/intake.md. Each road runs in a
 * process of its own. `npm run bench -- intake [--rows 1000000] [--out FILE]`
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sql, { raw } from 'sql-template-tag'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import {
  category,
  csv,
  defineModel,
  direct,
  number,
  parquet,
  postgres,
  random,
  yesNo,
} from '../../../models/define.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { openStore } from '../../../store/postgres.ts'
import { withServers } from '../../../test/support/servers/own-servers.ts'
import { figureTable, machine, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'

const options = readOptions({
  rows: 1_000_000,
  road: '',
  folder: '',
  database: '',
  out: reportFile('intake/intake.md'),
})
const keys = { key: ['id'], eventTime: 'at' }
const columns = `
  i as id, timestamp '2025-01-01' + i * interval '20 seconds' as at, (i * 7919 % 100003) / 7.0 as n, i * 104729 % 1000 as m,
  'code ' || (i * 31 % 500) as c, i * 17 % 90 as d, (i * 2654435761 % 1000) < 300 as y`

const sources = {
  CSV: () => csv(join(options.folder, 'table.csv'), keys),
  Parquet: () => parquet(join(options.folder, 'table.parquet'), keys),
  'three Parquet files of different types': () => parquet(join(options.folder, 'parts/*.parquet'), keys),
  Postgres: () => postgres({ rows: 'select * from intake_rows', ...keys }),
}

interface Taken {
  seconds: number
  megabytes: number
}

async function takeOne(source: ReturnType<typeof parquet>): Promise<void> {
  const { definition } = defineModel({
    name: 'intake',
    features: { n: number(), m: number(), c: category(), d: category() },
    label: yesNo({ column: 'y', positive: 'yes' }),
    source,
    split: random({ test: 0.2 }),
    train: () => {
      throw new Error('the model is not trained')
    },
    evaluation: { floors: { auc: 0.5 } },
    release: direct({ approval: { by: 1, within: '1 h' } }),
  })
  const root = mkdtempSync(join(tmpdir(), 'tenure-intake-artifacts-'))
  const store = openStore(options.database, { max: 2, onError: () => {} })
  const began = performance.now()
  await writeSnapshot({ definition, asOf: '2026-12-01T00:00:00Z', store, artifacts: openArtifacts(root) })
  const taken: Taken = {
    seconds: (performance.now() - began) / 1_000,
    megabytes: process.resourceUsage().maxRSS / 1_024,
  }
  await store.close()
  rmSync(root, { recursive: true })
  console.log(JSON.stringify(taken))
}

async function measureAll(): Promise<void> {
  // A source is a file of the project.
  const folder = join('node_modules', '.cache', `tenure-intake-${process.pid}`)
  mkdirSync(join(folder, 'parts'), { recursive: true })
  try {
    await withServers(async ({ databaseUrl }) => {
      const store = openStore(databaseUrl, { max: 2, onError: () => {} })
      await store.query(
        sql`create table intake_rows as select ${raw(columns)} from generate_series(1, ${options.rows}::bigint) as i`,
      )
      await store.query(sql`grant select on intake_rows to tenure_reader`)
      await store.close()
      await writeFiles(folder)
      const rows = Object.keys(sources).map((road) => {
        const { seconds, megabytes } = measured(road, folder, databaseUrl)
        console.log(road, seconds.toFixed(1), 's', Math.round(megabytes), 'MB')
        return [
          road,
          seconds.toFixed(1),
          roundedNumber((60 * options.rows) / seconds),
          roundedNumber(megabytes),
        ]
      })
      writeFileSync(options.out, page(rows))
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const writeFiles = (folder: string) =>
  withDuck(async (duck) => {
    await duck.run(`create temp view t as select ${columns} from range(1, ${options.rows + 1}) as r(i)`)
    const copy = (rows: string, name: string, format: string) =>
      duck.run(`copy (${rows}) to ${textLiteral(join(folder, name))} (format ${format})`)
    await copy('select * from t', 'table.csv', 'csv')
    await copy('select * from t', 'table.parquet', 'parquet')
    await copy('select * replace (id::int as id) from t where id % 3 = 0', 'parts/0.parquet', 'parquet')
    await copy('select * replace (m::smallint as m) from t where id % 3 = 1', 'parts/1.parquet', 'parquet')
    await copy('select * replace (m::double as m) from t where id % 3 = 2', 'parts/2.parquet', 'parquet')
  })

function measured(road: string, folder: string, database: string): Taken {
  const words = ['--road', road, '--folder', folder, '--database', database, '--rows', String(options.rows)]
  const said = execFileSync(process.execPath, ['--import', 'tsx', fileURLToPath(import.meta.url), ...words])
  return JSON.parse(said.toString().trim().split('\n').at(-1)!) as Taken
}

const page = (rows: readonly string[][]): string =>
  `${[
    '# Intake',
    '',
    `\`npm run bench -- intake\` on ${machine}: ${roundedNumber(options.rows)} rows of two numbers, two categories, key, time and label become a snapshot.`,
    '',
    ...figureTable('Road | seconds | rows a minute | peak memory of the process, MB', rows),
    '',
  ].join('\n')}`

if (options.road === '') await measureAll()
else await takeOne(sources[options.road as keyof typeof sources]())
