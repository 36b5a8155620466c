/** Tests that an embedded Postgres whose data, artifacts and heads are deleted is restored to a moment, from a directory of copies. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Installation } from '../../../../cli/backup/installation.ts'
import { listBases, listLog } from '../../../../cli/backup/point-in-time/places.ts'
import { keepBackups } from '../../../../cli/backup/scheduled/keep-backups.ts'
import { restoreCommand } from '../../../../cli/commands/admin/restore.ts'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { archivedLogOf, embeddedDataDir } from '../../../../cli/state-dir.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { runProgram } from '../../../../cli/program.ts'
import { openArtifacts } from '../../../../store/artifacts.ts'
import { migrate } from '../../../../store/database/migrate.ts'
import { findBackupState } from '../../../../store/maintenance/backup-state.ts'
import { openDirectoryStore } from '../../../../store/objects/directory.ts'
import type { Store } from '../../../../store/postgres.ts'
import { findRouting } from '../../../../store/serving/routing.ts'
import type { Config } from '../../../../temporal.config.ts'
import {
  servingFixtureOn,
  threeVersions,
  until,
  type ServingFixture,
} from '../../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'

let root: string
let server: RunningPostgres | undefined
let fixture: ServingFixture
let versions: Awaited<ReturnType<typeof threeVersions>>
let epoch: number
/** The list of data subjects of the snapshots. */
let list: string
/** Between the first two notes. */
let moment: string
/** The log file of the note that was written just before the process of the backups was stopped. */
let fileOfNote3: string
let copiedAtEnd: string[]
const places = () => ({
  state: join(root, 'state'),
  artifacts: join(root, 'artifacts'),
  copies: join(root, 'copies'),
})
const copies = () => openDirectoryStore(places().copies)

const copiedFiles = async () => {
  const [base] = await listBases(copies())
  return (await listLog(copies(), base!.systemId)).map(({ name }) => name)
}

const start = async () =>
  (server = await startPostgres({
    dataDir: embeddedDataDir(places().state),
    archiveTo: archivedLogOf(places().state),
  }))

const stop = async () => {
  if (server === undefined) return
  await fixture.close()
  await server.stop()
  server = undefined
}

const note = (store: Store, name: string) =>
  store.query(sql`insert into service_state (name, value) values (${name}, 'true')`)

const notesIn = async (store: Store) =>
  (
    await store.query<{ name: string }>(
      sql`select name from service_state where name like 'note %' order by name`,
    )
  ).map(({ name }) => name)

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'tenure-moment-'))
  chmodSync(root, 0o711)
  mkdirSync(places().state, { mode: 0o711 })
  const { url } = await start()
  await migrate(url)
  fixture = servingFixtureOn({ databaseUrl: url, artifactRoot: places().artifacts })
  versions = await threeVersions(fixture)
  await fixture.store.query(sql`
    insert into champions (model, version) values (${versions.model}, ${versions.old})`)
  list = (await openArtifacts(places().artifacts).put('snapshots', Buffer.from('hashes of persons'))).digest
  await fixture.store.query(sql`update snapshots set source = ${JSON.stringify({ subjects: list })}`)
  epoch = (await fixture.route(versions.model, { proven: versions.old })).epoch
  const signing = keyPlacesOf(places().artifacts)
  const config = {
    databaseUrl: url,
    artifactRoot: places().artifacts,
    stateDir: places().state,
    signing,
  } as Config
  const installation: Installation = {
    databaseUrl: url,
    config,
    running: true,
    close: () => Promise.resolve(),
  }
  const ending = new AbortController()
  const kept = keepBackups(installation, {
    settings: { to: places().copies, everyMs: 3_600_000, keep: 2 },
    store: copies(),
    // A verification under way does not delay the end.
    verify: () => new Promise(() => {}),
    log: () => {},
    shipMs: 50,
    signal: ending.signal,
  })
  await until(async () => (await listBases(copies())).length > 0, 'the base')
  await note(fixture.store, 'note 1')
  // Times of Postgres have microseconds; the moment has none, and must not be cut to before the note.
  const [next] = await fixture.store.query<{ at: Date }>(
    sql`select date_trunc('milliseconds', clock_timestamp()) + interval '1 millisecond' as at`,
  )
  moment = next!.at.toISOString()
  await until(async () => Date.now() > Date.parse(moment) + 2, 'the next milliseconds')
  await note(fixture.store, 'note 2')
  await fixture.store.query(sql`select pg_switch_wal()`)
  await until(async () => {
    const state = await findBackupState(fixture.store)
    expect(state?.failures ?? {}).toEqual({})
    return state?.log !== undefined && state.log.to > moment
  }, 'the copy of the log')
  await note(fixture.store, 'note 3')
  const [{ file }] = (await fixture.store.query<{ file: string }>(
    sql`select pg_walfile_name(pg_current_wal_lsn()) as file`,
  )) as [{ file: string }]
  fileOfNote3 = file
  ending.abort()
  await kept
  copiedAtEnd = await copiedFiles()
  // Postgres archives its file as it stops, and no process copies it.
  await note(fixture.store, 'note 4')
  await stop()
})

afterAll(async () => {
  await stop()
  rmSync(root, { recursive: true, force: true })
})
afterEach(() => vi.unstubAllEnvs())

async function restore(...words: string[]) {
  const variables = {
    TENURE_STATE: places().state,
    TENURE_ARTIFACTS: places().artifacts,
    TENURE_KEYS: keyPlacesOf(places().artifacts).keys,
    TENURE_BACKUP_TO: places().copies,
    DATABASE_URL: '',
    TENURE_OWNER_DATABASE_URL: '',
  }
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  const code = await runProgram([restoreCommand], ['restore', ...words], streams)
  return { code, out, err }
}

it('a process of the backups that is stopped copies all that was written before', () =>
  expect(copiedAtEnd).toContain(fileOfNote3))

describe('tenure restore --at', () => {
  it('keeps the database that is there without --replace', async () => {
    const { code, err } = await restore('--at', moment)
    expect(code).toBe(exitCodes.usage)
    expect(err).toContain('Add --replace')
  })

  it('brings rows and artifacts of a moment back after all of them were deleted, under a new epoch', async () => {
    rmSync(embeddedDataDir(places().state), { recursive: true })
    for (const area of ['sha256', 'snapshots', 'audit'])
      rmSync(join(places().artifacts, area), { recursive: true, force: true })
    const { code, out, err } = await restore('--at', moment, '--json')
    expect(err).toBe('')
    expect(code).toBe(exitCodes.done)
    const done = JSON.parse(out) as { epoch: number; missing: string[]; artifacts: number }
    // The snapshots of the fixture are rows without files.
    expect(done.missing.filter((each) => !each.startsWith('the snapshot'))).toEqual([])
    expect(done.artifacts).toBeGreaterThan(3)
    const { url } = await start()
    fixture = servingFixtureOn({ databaseUrl: url, artifactRoot: places().artifacts })
    expect(await notesIn(fixture.store)).toEqual(['note 1'])
    const { route } = (await findRouting(fixture.store, versions.model))!
    expect(route.epoch).toBe(done.epoch)
    expect(route.epoch).toBeGreaterThan(epoch)
    const digests = await fixture.store.query<{ digest: string }>(
      sql`select artifact_digest as digest from versions`,
    )
    for (const { digest } of digests) await openArtifacts(places().artifacts).locate('artifacts', digest)
    await openArtifacts(places().artifacts).locate('snapshots', list)
    await stop()
    expect(readdirSync(places().state).filter((name) => /restored|replay/.test(name))).toEqual([])
  })

  it('restores the newest moment, also what was written last before the stop, and keeps the replaced data beside it', async () => {
    const { code, err } = await restore('--at', 'latest', '--replace')
    expect(err).toBe('')
    expect(code).toBe(exitCodes.done)
    const { url } = await start()
    fixture = servingFixtureOn({ databaseUrl: url, artifactRoot: places().artifacts })
    expect(await notesIn(fixture.store)).toEqual(['note 1', 'note 2', 'note 3', 'note 4'])
    await stop()
    expect(readdirSync(places().state).some((name) => name.startsWith('postgres.before-epoch-'))).toBe(true)
  })

  it.each<[string, () => Promise<string[]>, RegExp]>([
    ['before the first base', async () => ['--at', '2020-01-01T00:00:00Z'], /has no base from before 2020/],
    [
      'behind the end of the log',
      async () => ['--at', new Date(Date.now() + 86_400_000).toISOString()],
      /nothing was written after/,
    ],
    ['that is not a time', async () => ['--at', 'yesterday'], /--at: Invalid time "yesterday"/],
    ['without its zone', async () => ['--at', '2026-03-01 12:00:00'], /is not a time with its zone/],
    [
      'whose log has a gap',
      async () => {
        const [{ systemId }] = (await listBases(copies())) as unknown as [{ systemId: string }]
        const segments = (await listLog(copies(), systemId)).filter(({ name }) => name.length === 24)
        rmSync(join(places().copies, `point-in-time/log/${systemId}/${segments.at(-2)!.name}`))
        return ['--at', 'latest']
      },
      /the log file [0-9A-F]{16} is missing/,
    ],
  ])('refuses a moment %s, and changes nothing', async (_what, words, pattern) => {
    const { code, err } = await restore(...(await words()), '--replace')
    expect([exitCodes.otherwise, exitCodes.usage]).toContain(code)
    expect(err).toMatch(pattern)
    expect(existsSync(join(embeddedDataDir(places().state), 'PG_VERSION'))).toBe(true)
  })
})
