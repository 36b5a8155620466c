/** Tests that the log of an embedded Postgres that was restarted is copied without waiting for a checkpoint. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import sql from 'sql-template-tag'
import { openLogKeeper } from '../../../../cli/backup/point-in-time/keep-log.ts'
import { listBases, listLog } from '../../../../cli/backup/point-in-time/places.ts'
import { startPostgres } from '@tenure/embedded'
import { archivedLogOf, embeddedDataDir } from '../../../../cli/state-dir.ts'
import { migrate } from '../../../../store/database/migrate.ts'
import { openDirectoryStore } from '../../../../store/objects/directory.ts'
import { openStore } from '../../../../store/postgres.ts'
import type { Config } from '../../../../temporal.config.ts'
import { until } from '../../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'

let root: string

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-restart-'))
  chmodSync(root, 0o711)
  mkdirSync(join(root, 'state'), { mode: 0o711 })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

it('the log of a Postgres that was restarted is completed in time', async () => {
  const stateDir = join(root, 'state')
  const artifactRoot = join(root, 'artifacts')
  const copies = openDirectoryStore(join(root, 'copies'))
  const start = () =>
    startPostgres({
      dataDir: embeddedDataDir(stateDir),
      archiveTo: archivedLogOf(stateDir),
      settings: { archive_timeout: '1s' },
    })
  const former = await start()
  await migrate(former.url)
  await former.stop()
  const server = await start()
  const database = openStore(server.url, { name: 'test', max: 2 })
  try {
    const config = { stateDir, artifactRoot, signing: keyPlacesOf(artifactRoot) } as Config
    const options = { database, store: copies, everyMs: 3_600_000, keep: 2 }
    const keeper = (await openLogKeeper({ databaseUrl: server.url, config }, options))!
    await database.query(sql`insert into service_state (name, value) values ('note', 'true')`)
    const [system] = await database.query<{ id: string }>(
      sql`select system_identifier::text as id from pg_control_system()`,
    )
    const lsn = async () =>
      (await database.query<{ file: string }>(sql`select pg_walfile_name(pg_current_wal_lsn()) as file`))[0]!
        .file
    const file = await lsn()
    await until(async () => {
      await keeper.ship()
      return (await listLog(copies, system!.id)).some(({ name }) => name === file)
    }, 'the copy of the file with the note')
    expect(await listBases(copies)).toEqual([])
  } finally {
    await database.close()
    await server.stop()
  }
})
