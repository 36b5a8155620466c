/**
 * Takes snapshots of the same rows from a DuckDB database, a Delta table, an Iceberg table and a MariaDB server, each by the program of
 * docs/examples/sources with its packages from PyPI. The environments are kept in the cache.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { withDuck } from '../../activities/data/duckdb.ts'
import { takeSnapshot, type SnapshotResult } from '../../activities/retrain/snapshot.ts'
import { installerEnvironment } from '../../temporal.config.ts'
import { preparePython } from '../../store/python/python-environment.ts'
import { textLiteral } from '../../domain/sql-text.ts'
import { getSnapshot } from '../../store/training/snapshots.ts'
import { cacheDir, checkout } from '../../temporal.config.ts'
import { openActivityDeps, type ActivityDeps } from '../support/activity-deps.ts'
import { freePort } from '@tenure/embedded'
import {
  exampleDay,
  exampleModelDirectory,
  exampleRows,
  syncExampleModel,
} from '../support/training/example-model.ts'

const run = promisify(execFile)
const hasMariadb = await run('mariadbd', ['--version']).then(
  () => true,
  () => false,
)
let deps: ActivityDeps
let models: string
let folder: string
let mariadb: ChildProcess | undefined
const places: Record<string, string> = {}

/** Starts a MariaDB of this test; its data lies in `folder`. */
async function startMariadb(): Promise<string> {
  const data = join(folder, 'mariadb')
  const port = String(await freePort())
  const own = ['--no-defaults', `--datadir=${data}`, `--user=${userInfo().username}`]
  await run('mariadb-install-db', [...own, '--auth-root-authentication-method=normal'])
  mariadb = spawn(
    'mariadbd',
    [
      ...own,
      `--socket=${join(folder, 'mariadb.socket')}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--performance-schema=OFF',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  await new Promise<void>((resolve, reject) => {
    mariadb!.once('exit', (code) => reject(new Error(`mariadbd ended with ${code}`)))
    mariadb!.stderr!.on('data', (text: Buffer) => text.includes('ready for connections') && resolve())
  })
  return `127.0.0.1:${port}`
}

beforeAll(async () => {
  deps = await openActivityDeps({ environment: { TENURE_CACHE: cacheDir() } })
  models = await exampleModelDirectory()
  folder = join(deps.config.stateDir, 'warehouses')
  await mkdir(folder, { recursive: true })
  await cp(join(checkout, 'docs/examples/sources'), join(models, 'sources'), { recursive: true })
  const rows = join(folder, 'roses.parquet')
  await writeFile(join(folder, 'roses.json'), JSON.stringify(exampleRows({ from: 0, to: 40 })))
  await withDuck((duck) =>
    duck.run(
      `copy (select id::bigint as id, planted_at::timestamptz as planted_at, known_at::timestamptz as known_at, size::double as size, colour, age::double as age, blooms from read_json(${textLiteral(join(folder, 'roses.json'))}) order by id) to ${textLiteral(rows)} (format parquet)`,
    ),
  )
  Object.assign(places, { duck: join(folder, 'duck.db'), delta: join(folder, 'delta'), iceberg: folder })
  if (hasMariadb) places['mariadb'] = await startMariadb()
  const { python } = await preparePython({
    requirements: join(checkout, 'test/support/training/warehouses.txt'),
    cache: deps.config.cacheDir,
    env: installerEnvironment(),
    signal: new AbortController().signal,
  })
  const { mariadb: server } = places
  await run(python, [
    join(checkout, 'test/support/training/warehouses.py'),
    rows,
    folder,
    ...(server === undefined ? [] : [server]),
  ])
})
afterAll(async () => {
  mariadb?.kill('SIGKILL')
  await deps.close()
  await rm(models, { recursive: true })
})

async function snapshotOf(name: string): Promise<string> {
  vi.stubEnv('ROSES', places[name])
  vi.stubEnv('ROSES_PASSWORD', 'thorn')
  const secrets = JSON.stringify(['ROSES', ...(name === 'mariadb' ? ['ROSES_PASSWORD'] : [])])
  await syncExampleModel(deps.store, models, {
    source: `program('sources/${name}.py', { requirements: 'sources/${name}.txt', secrets: ${secrets}, eventTime: 'planted_at', key: ['id'] })`,
  })
  const take = () => takeSnapshot(deps, { models })({ model: 'roses', asOf: exampleDay(35) })
  const { digest } = await new MockActivityEnvironment().run<[], SnapshotResult, typeof take>(take)
  return digest
}

it.each(['delta', 'iceberg', ...(hasMariadb ? ['mariadb'] : [])])(
  'gives the rows of DuckDB also from %s, with the packages in the lineage',
  async (name) => {
    const digest = await snapshotOf('duck')
    expect(await snapshotOf(name)).toBe(digest)
    const { source } = await getSnapshot(deps.store, digest)
    expect(source['program']).toMatchObject({ packages: { duckdb: expect.any(String) } })
  },
)
it.skipIf(hasMariadb)('needs mariadbd for the rows of MariaDB: install mariadb-server', () => {})
