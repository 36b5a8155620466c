/** Tests queries of a Postgres other than Tenure's own, which a model file names. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { rm, writeFile } from 'node:fs/promises'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { takeSnapshot, type SnapshotResult } from '../../../activities/retrain/snapshot.ts'
import { ingestView } from '../../../activities/features/ingest-view.ts'
import { findView, upsertView } from '../../../store/features/feature-views.ts'
import type { Store } from '../../../store/postgres.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { freshDatabase, openPatientStore } from '../../support/servers/servers.ts'
import {
  exampleDay,
  exampleModelDirectory,
  insertExampleRows,
  syncExampleModel,
} from '../../support/training/example-model.ts'

let deps: ActivityDeps
let garden: Store
let models: string

beforeAll(async () => {
  deps = await openActivityDeps()
  models = await exampleModelDirectory()
  const url = await freshDatabase()
  garden = openPatientStore(url)
  for (const store of [deps.store, garden]) await insertExampleRows(store, { from: 0, to: 40 })
  await writeFile(deps.config.metricSources, JSON.stringify({ garden: { kind: 'sql', url } }), {
    mode: 0o600,
  })
})
afterAll(async () => {
  await garden.close()
  await deps.close()
  await rm(models, { recursive: true })
})

const query = `{ rows: 'select id, planted_at, known_at, size, colour, age, blooms from roses', eventTime: 'planted_at', key: ['id'] }`

async function snapshotOf(source: string): Promise<string> {
  await syncExampleModel(deps.store, models, { source })
  const take = () => takeSnapshot(deps)({ model: 'roses', asOf: exampleDay(35) })
  return (await new MockActivityEnvironment().run<[], SnapshotResult, typeof take>(take)).digest
}

describe('a source in another Postgres', () => {
  it('gives the same snapshot as the same rows in the own one', async () => {
    const own = await snapshotOf(`postgres(${query})`)
    await deps.store.query(sql`delete from roses`)
    expect(await snapshotOf(`postgres('garden', ${query})`)).toBe(own)
  })

  it('reads in a read-only transaction', async () => {
    await garden.query(sql`
      create function plant() returns setof roses language sql as 'insert into roses select -1 - id from roses limit 1 returning *'`)
    await expect(
      snapshotOf(`postgres('garden', ${query.replace('from roses', 'from plant()')})`),
    ).rejects.toMatchObject({ message: expect.stringContaining('read-only transaction') })
  })

  it.each([
    ['bed', /there is no source bed of the kind sql: add it to .*metric-sources\.json/],
    ['Bed!', /source: the name of a source in metric-sources\.json is required, such as 'shop', not "Bed!"/],
  ])('is refused by the name %s', async (name, message) => {
    await expect(snapshotOf(`postgres('${name}', ${query})`)).rejects.toMatchObject({
      message: expect.stringMatching(message),
    })
  })

  it('gives a feature view its values', async () => {
    const definition = {
      name: 'roses',
      digest: 'sha256:roses',
      source: {
        kind: 'postgres' as const,
        files: {},
        rows: 'select id, planted_at, known_at, size from roses',
        database: 'garden',
      },
      entity: ['id'],
      eventTime: 'planted_at',
      knownAt: 'known_at',
      values: { size: 'number' as const },
      everyMs: 1,
      lateMs: 0,
      keepMs: 400 * 86_400_000,
    }
    await upsertView(deps.store, definition)
    const stored = (await findView(deps.store, definition.digest))!
    const untilMs = Date.parse(exampleDay(60))
    expect(await ingestView(deps.store, stored, { untilMs, subjectKey: undefined })).toMatchObject({
      read: 2_400,
      added: 2_400,
    })
  })
})
