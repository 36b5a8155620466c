/** Tests snapshots of remote rows, on a real S3 server and on a web server. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import type { Deps } from '../../../activities/deps.ts'
import { takeSnapshot, type SnapshotResult } from '../../../activities/retrain/snapshot.ts'
import type { ModelDefinition, SourceDefinition } from '../../../domain/model-definition.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { iris } from '../../../models/iris.ts'
import { openArtifacts } from '../../../store/artifacts.ts'

import { upsertModels } from '../../../store/registry/models.ts'
import { getSnapshot } from '../../../store/training/snapshots.ts'
import { checkout, readConfig } from '../../../temporal.config.ts'
import type { S3Settings } from '../../../store/objects/object-store.ts'
import { environmentOf, openTestStore, sharedMoto } from '../../support/objects/moto-server.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const moto = await sharedMoto()
const file = iris.definition.source.files['source']!
let root: string
let rows: Buffer
let deps: Deps
let bucket = ''
let served = 0
let status = 200
const web = createServer((_request, response) => {
  served++
  // The first response of each test is a transient error.
  if (served === 1) return void response.writeHead(503).end()
  response.writeHead(status).end(status === 200 ? rows : 'no')
})
let address: string
let settings: S3Settings | undefined

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-remote-'))
  rows = await readFile(join(checkout, file))
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${(web.address() as AddressInfo).port}/iris.csv`
  settings = await moto?.bucket('')
  const environment = settings && environmentOf(settings)
  const config = readConfig({
    DATABASE_URL: await migratedDatabase(),
    TENURE_STATE: root,
    TENURE_BUILD_ID: 'test',
    ...environment,
    TENURE_OBJECT_STORE: undefined,
    TENURE_PRIVATE_HOSTS: '127.0.0.1',
  })
  bucket = settings?.bucket ?? ''
  const quiet = () => {}
  const log = { info: quiet, warn: quiet, error: quiet, debug: quiet }
  deps = {
    store: openPatientStore(config.databaseUrl),
    artifacts: openArtifacts(config.artifactRoot),
    config,
    log,
  }
  if (settings === undefined) return
  const store = openTestStore(settings)
  await store.put('rows/iris.csv', rows)
  const parquet = join(root, 'iris.parquet')
  await withDuck((duck) =>
    duck.run(`copy (from ${textLiteral(join(checkout, file))}) to ${textLiteral(parquet)} (format parquet)`),
  )
  await store.put('rows/iris.parquet', { path: parquet })
  await store.put('rows/broken.csv', Buffer.from(rows.toString().replace('5.1', 'five')))
})
afterAll(async () => {
  web.close()
  await moto?.stop()
  await deps.store.close()
  await rm(root, { recursive: true })
})

const logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const sync = (definition: ModelDefinition) =>
  upsertModels(deps.store, [{ name: 'iris', definition, codeDigest: 'sha256:code' }])
async function take(source: string, kind: SourceDefinition['kind'] = 'csv'): Promise<SnapshotResult> {
  const definition = { ...iris.definition, source: { ...iris.definition.source, kind, files: { source } } }
  await sync(definition)
  const run = () => takeSnapshot(deps)({ model: 'iris', asOf: '2026-03-01T00:00:00Z' })
  return new MockActivityEnvironment({}, { logger }).run<[], SnapshotResult, typeof run>(run)
}

describe('a snapshot of remote rows', () => {
  let local: string
  it('has the digest of one of the same rows in the project', async () => {
    local = (await take(file)).digest
    expect((await take(address)).digest).toBe(local)
    expect(served).toBe(2)
  })

  it.skipIf(moto === undefined)(
    'has the same digest from S3, as CSV and as Parquet, and names its object',
    async () => {
      const source = `s3://${bucket}/rows/iris.csv`
      expect((await take(source)).digest).toBe(local)
      expect((await getSnapshot(deps.store, local)).source).toBeDefined()
      expect((await take(`s3://${bucket}/rows/iris.parquet`, 'parquet')).digest).toBe(local)
      expect(await readdir(join(deps.config.artifactRoot, 'drafts'))).toEqual([])
    },
  )

  it.skipIf(moto === undefined)('has the same digest from the parts that a pattern matches', async () => {
    const [head, ...lines] = rows.toString().trimEnd().split('\n')
    const store = openTestStore({ ...settings!, prefix: '' })
    for (const [part, at] of [0, 75].entries())
      await store.put(`parts/${part}.csv`, Buffer.from([head, ...lines.slice(at, at + 75), ''].join('\n')))
    const source = `s3://${bucket}/parts/*.csv`
    expect((await take(source)).digest).toBe(local)
    const { source: kept } = await getSnapshot(deps.store, local)
    expect(kept).toBeDefined()
    await store.put('parts/2.csv', Buffer.from('other\n1\n'))
    await expect(take(source)).rejects.toMatchObject({
      code: 'source_unreadable',
      message: expect.stringContaining(`s3://${bucket}/parts/2.csv: has no column`),
    })
    expect(await readdir(join(deps.config.artifactRoot, 'drafts'))).toEqual([])
  })

  it.skipIf(moto === undefined)(
    'names the address of a row that cannot be read, and of an absent object',
    async () => {
      await expect(take(`s3://${bucket}/rows/broken.csv`)).rejects.toMatchObject({
        code: 'source_unreadable',
        message: expect.stringContaining(`s3://${bucket}/rows/broken.csv`),
      })
      await expect(take(`s3://${bucket}/rows/none.csv`)).rejects.toMatchObject({
        code: 'source_unreadable',
        message: expect.stringMatching(/rows\/none.csv: there is no such object/),
      })
    },
  )

  it('is refused for good when the server refuses, and may be taken later when it does not answer', async () => {
    status = 404
    await expect(take(address)).rejects.toMatchObject({
      code: 'source_unreadable',
      message: expect.stringContaining(`${address}: the server answers with status 404`),
    })
    await expect(take('http://127.0.0.1:9/iris.csv')).rejects.toMatchObject({
      code: 'object_store_unavailable',
      message: expect.stringMatching(/^http:\/\/127.0.0.1:9\/iris.csv does not answer/),
    })
    expect(await readdir(join(deps.config.artifactRoot, 'drafts'))).toEqual([])
  })

  it('needs a key for S3', async () => {
    const config = { ...deps.config, s3: undefined }
    const definition = {
      ...iris.definition,
      source: { ...iris.definition.source, files: { source: 's3://rows/iris.csv' } },
    }
    await sync(definition)
    const run = () => takeSnapshot({ ...deps, config })({ model: 'iris', asOf: '2026-03-01T00:00:00Z' })
    await expect(new MockActivityEnvironment({}, { logger }).run(run)).rejects.toMatchObject({
      code: 'source_unreadable',
      message: expect.stringContaining('the workers have no key for S3'),
    })
  })
})
