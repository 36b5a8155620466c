/** Tests sources whose rows a program writes, with a DuckDB database as the warehouse. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { createReadStream } from 'node:fs'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { takeSnapshot, type SnapshotResult } from '../../../activities/retrain/snapshot.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { loadModel } from '../../../models/index.ts'
import { getSnapshot } from '../../../store/training/snapshots.ts'
import { checkout } from '../../../temporal.config.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import {
  exampleDay,
  exampleModelDirectory,
  exampleRows,
  syncExampleModel,
} from '../../support/training/example-model.ts'

let deps: ActivityDeps
let models: string
let parquet: string
let address: string
/** The same rows as a file of a web server, since a source names no path outside of the project. */
const web = createServer((_request, response) => void createReadStream(parquet).pipe(response))
const lines: unknown[] = []
const logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }

/** Reads the warehouse as of the job's moment; other modes do something wrong. */
const extract = `
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '${checkout}/node_modules/@duckdb/node-api/lib/index.js'
const mode = process.argv[2]
const { contract, kind, model, asOf, output, limits } = JSON.parse(readFileSync(0, 'utf8'))
console.log(JSON.stringify({ contract, kind, model, asOf, limits, secret: process.env.WAREHOUSE_PASSWORD, address: process.env.DATABASE_URL, pid: process.pid }))
if (mode === 'fault') {
  console.error('the table roses is gone')
  process.exit(2)
}
if (mode === 'nothing') process.exit(0)
if (mode === 'text') writeFileSync(join(output, 'rows.csv'), 'id')
if (mode === 'link') symlinkSync('/etc/passwd', join(output, 'rows.parquet'))
if (mode === 'wait') setInterval(() => console.log('waiting'), 50)
if (mode === 'rows') {
  const connection = await (await DuckDBInstance.create(join(import.meta.dirname, 'warehouse.duckdb'), { access_mode: 'READ_ONLY' })).connect()
  for (const half of [0, 1])
    await connection.run(\`copy (from roses where planted_at <= '\${asOf}'::timestamptz and id % 2 = \${half} order by id) to '\${join(output, \`part-\${half}.parquet\`)}' (format parquet)\`)
}
`

beforeAll(async () => {
  deps = await openActivityDeps({
    environment: { TENURE_PRIVATE_HOSTS: '127.0.0.1' },
    log: { info: ({ line }) => void (typeof line === 'string' && lines.push(JSON.parse(line))) },
  })
  models = await exampleModelDirectory()
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${(web.address() as AddressInfo).port}/roses.parquet`
  parquet = join(deps.config.stateDir, 'roses.parquet')
  await writeFile(join(models, 'extract.mjs'), extract)
  await writeFile(join(models, 'rows.json'), JSON.stringify(exampleRows({ from: 0, to: 40 })))
  await withDuck(async (duck) => {
    const rows = `select id::bigint as id, planted_at::timestamptz as planted_at, known_at::timestamptz as known_at, size::double as size, colour, age::double as age, blooms from read_json(${textLiteral(join(models, 'rows.json'))}) order by id % 2, id`
    await duck.run(`attach ${textLiteral(join(models, 'warehouse.duckdb'))} as warehouse`)
    await duck.run(`create table warehouse.roses as ${rows}`)
    await duck.run('detach warehouse')
    await duck.run(`copy (${rows}) to ${textLiteral(parquet)} (format parquet)`)
  })
})
afterAll(async () => {
  web.close()
  await deps.close()
  await rm(models, { recursive: true })
})

const options = `eventTime: 'planted_at', key: ['id']`
const byProgram = (mode: string, more = '') =>
  `program(['node', 'extract.mjs', '${mode}'], { ${options}, silence: '1 min', ${more} })`

async function snapshotOf(source: string, environment = new MockActivityEnvironment({}, { logger })) {
  await syncExampleModel(deps.store, models, { source })
  const take = () => takeSnapshot(deps, { models })({ model: 'roses', asOf: exampleDay(35) })
  return environment.run<[], SnapshotResult, typeof take>(take)
}
const leftDrafts = () => readdir(join(deps.config.artifactRoot, 'drafts')).catch(() => [])

describe('a source by a program', () => {
  it('gives the same snapshot as a file with the same rows, with the program in its lineage', async () => {
    const { digest } = await snapshotOf(byProgram('rows'))
    const { source } = await getSnapshot(deps.store, digest)
    expect(lines.at(-1)).toMatchObject({ contract: 1, kind: 'source', model: 'roses', asOf: exampleDay(35) })
    expect(source).toMatchObject({
      files: {
        source: {
          path: 'program:node extract.mjs rows',
          files: { 'part-0.parquet': expect.stringMatching(/^sha256:/) },
        },
      },
      program: { command: ['node', 'extract.mjs', 'rows'], dependencies: expect.stringMatching(/^sha256:/) },
    })
    const file = await snapshotOf(`parquet('${address}', { ${options} })`)
    expect(file.digest).toBe(digest)
    expect(await leftDrafts()).toEqual([])
  })

  it.each([
    ['fault', /extract\.mjs fault failed: exit code 2\nthe table roses is gone/],
    ['nothing', /has no file: write the rows as \.parquet files there and nothing else/],
    ['text', /the folder "output" of the job of .* has "rows\.csv"/],
    ['link', /has "rows\.parquet", which is no plain file/],
  ])('is refused when the program does this: %s', async (mode, message) => {
    await expect(snapshotOf(byProgram(mode))).rejects.toMatchObject({ code: 'source_unreadable', message })
    expect(await leftDrafts()).toEqual([])
  })

  it('gives the program the variables that it names, and no others', async () => {
    await expect(snapshotOf(byProgram('rows', `secrets: ['WAREHOUSE_PASSWORD']`))).rejects.toMatchObject({
      code: 'source_unreadable',
      message: expect.stringMatching(
        /needs WAREHOUSE_PASSWORD, which the worker does not have: set this variable/,
      ),
    })
    vi.stubEnv('WAREHOUSE_PASSWORD', 'open sesame')
    await snapshotOf(byProgram('rows', `secrets: ['WAREHOUSE_PASSWORD']`))
    expect(lines.at(-1)).toMatchObject({ secret: 'open sesame' })
    await snapshotOf(byProgram('rows'))
    expect(lines.at(-1)).not.toHaveProperty('secret')
    expect(lines.at(-1)).not.toHaveProperty('address')
  })

  it('ends with its program when the snapshot is cancelled', async () => {
    const environment = new MockActivityEnvironment({}, { logger })
    const before = lines.length
    const taken = snapshotOf(byProgram('wait'), environment).catch((error: unknown) => error)
    await expect.poll(() => lines.length).toBeGreaterThan(before)
    const { pid } = lines.at(-1) as { pid: number }
    environment.cancel()
    expect(String(await taken)).toMatch(/cancel/i)
    await expect.poll(() => isRunning(pid)).toBe(false)
    expect(await leftDrafts()).toEqual([])
  })

  it('makes other code of the model when the program changes', async () => {
    await snapshotOf(byProgram('rows'))
    const before = (await loadModel('roses', models)).codeDigest
    await writeFile(join(models, 'extract.mjs'), `${extract}\n// changed`)
    expect((await loadModel('roses', models)).codeDigest).not.toBe(before)
  })

  it.each([
    [`program('../extract.py', {})`, /source: a path inside the folder of the model file is required/],
    [
      `program(['node', 'extract.mjs'], { secrets: ['TENURE_KEY'] })`,
      /source\.secrets: the name of a variable/,
    ],
    [`program(['node', 'missing.mjs'], { ${options}, files: ['gone'] })`, /source: there is no file gone/],
    [`program(['node', 'extract.mjs'], { minutes: 3 })`, /source/],
  ])('is refused in a model file: %s', async (source, message) => {
    await expect(syncExampleModel(deps.store, models, { source })).rejects.toMatchObject({
      code: 'invalid_model_file',
      message: expect.stringMatching(message),
    })
  })
})

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
