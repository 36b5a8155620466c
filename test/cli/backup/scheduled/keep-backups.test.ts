/** Tests scheduled backups on a real database: the backups of one round, the reports of failures, and the findings of a verification. */
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { backupNameOf, fetchBackup, listBackups } from '../../../../cli/backup/backup-place.ts'
import { makeBackup } from '../../../../cli/backup/create.ts'
import type { Installation } from '../../../../cli/backup/installation.ts'
import { fileName, sealArchive } from '../../../../cli/backup/manifest.ts'
import { openArchive } from '../../../../cli/backup/read-archive.ts'
import { keepBackups, type KeeperOptions } from '../../../../cli/backup/scheduled/keep-backups.ts'
import { endSchedule } from '../../../../cli/backup/scheduled/end-schedule.ts'
import { rehearseRestore } from '../../../../cli/backup/scheduled/rehearse-restore.ts'
import { readManifest } from '../../../../cli/backup/verify.ts'
import { createArchive } from '../../../../cli/backup/write-archive.ts'
import { checkBackups } from '../../../../cli/doctor/servers.ts'
import { appendAudit } from '../../../../store/audit/audit-log.ts'
import { headFiles, openHeads } from '../../../../store/audit/signed-heads.ts'
import {
  alertsOfBackups,
  findBackupState,
  forgetBackupState,
  watchBackups,
  type FoundBackups,
} from '../../../../store/maintenance/backup-state.ts'
import { openArtifacts } from '../../../../store/artifacts.ts'
import { openDirectoryStore } from '../../../../store/objects/directory.ts'
import { openSigner } from '../../../../store/signing/signing-key.ts'
import type { Config } from '../../../../temporal.config.ts'
import {
  openServingFixture,
  threeVersions,
  until,
  type ServingFixture,
} from '../../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'

let fixture: ServingFixture
let dir: string
let installation: Installation
let versions: Awaited<ReturnType<typeof threeVersions>>

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-scheduled-'))
  fixture = await openServingFixture()
  versions = await threeVersions(fixture)
  const { databaseUrl, artifactRoot } = fixture
  const config = { databaseUrl, artifactRoot, stateDir: dir, signing: keyPlacesOf(artifactRoot) } as Config
  installation = { databaseUrl, config, running: true, close: () => Promise.resolve() }
})
afterAll(async () => {
  await fixture.close()
  rmSync(dir, { recursive: true, force: true })
})
afterEach(() => vi.unstubAllEnvs())

const openPlace = (name: string) => openDirectoryStore(join(dir, name))

/** Runs the schedule until its state meets a condition. */
async function keepUntil(
  options: Pick<KeeperOptions, 'store' | 'verify'> & Partial<KeeperOptions>,
  condition: (found: FoundBackups) => boolean,
): Promise<FoundBackups> {
  const ending = new AbortController()
  const settings = { to: options.store.address, everyMs: 3_600_000, keep: 2 }
  const kept = keepBackups(installation, { settings, log: () => {}, ...options, signal: ending.signal })
  let found: FoundBackups | undefined
  await until(async () => {
    found = await findBackupState(fixture.store)
    return found !== undefined && found.to === options.store.address && condition(found)
  }, 'the state of the schedule')
  ending.abort()
  await kept
  return found!
}

describe('a schedule of backups', () => {
  it('takes the first backup at once, verifies it and deletes what is too old', async () => {
    const store = openPlace('first')
    const old = ['2020', '2021', '2022'].map((year) => `tenure-${year}0101T000000Z.tar`)
    // Its name has a time so long ago that a backup is due.
    for (const name of old) await store.put(name, Buffer.from('a backup'))
    for (const name of old.slice(0, 2)) await store.put(`${name}.verified`, Buffer.from(''))
    const verified: string[] = []
    const verify = async (name: string) => void verified.push(name)
    const found = await keepUntil({ store, verify }, (state) => state.verified !== undefined)
    const name = backupNameOf(found.newest!.takenAt)
    expect(verified).toEqual([name])
    expect(found).toMatchObject({ newest: { file: `${store.address}/${name}` }, failures: {} })
    // Two good ones are kept, and everything after the older of them.
    expect(await listBackups(store)).toEqual([old[1], old[2], name])
    expect(alertsOfBackups(found)).toEqual([])
    expect(checkBackups(found)).toMatchObject({ state: 'ok', found: expect.stringContaining('; verified') })
    // A second start finds the backup and makes none.
    await keepUntil({ store, verify }, (state) => state.newest?.file === `${store.address}/${name}`)
    expect(verified).toEqual([name])
  })

  it('verifies the backup that it has made, although another process puts a newer one there', async () => {
    const store = openPlace('shared')
    const other = 'tenure-29990101T000000Z.tar'
    const shared = {
      ...store,
      put: async (...args: Parameters<typeof store.put>) => {
        const isStored = await store.put(...args)
        if (args[0].endsWith('.tar')) await store.put(other, Buffer.from('a backup'))
        return isStored
      },
    }
    const verified: string[] = []
    const verify = async (name: string) => void verified.push(name)
    const found = await keepUntil({ store: shared, verify }, (state) => state.verified !== undefined)
    expect(verified).toEqual([backupNameOf(found.newest!.takenAt)])
    expect(verified).not.toContain(other)
  })

  it('keeps every backup and raises an alert while none can be verified', async () => {
    const store = openPlace('bad')
    const verify = () => Promise.reject(new Error('an artifact is missing'))
    const found = await keepUntil({ store, verify }, (state) => state.failures.verification !== undefined)
    expect(await listBackups(store)).toHaveLength(1)
    expect(alertsOfBackups(found)).toMatchObject([
      { kind: 'backup_failed', message: expect.stringMatching(/verification .*: an artifact is missing/) },
    ])
    const watch = watchBackups(fixture.store, (error) => expect(error).toBeUndefined(), { everyMs: 20 })
    const openAlerts = () =>
      fixture.store.query<{ key: string }>(
        sql`select dedupe_key as key from alerts where kind like 'backup%' and resolved_at is null`,
      )
    await until(async () => (await openAlerts()).length === 1, 'the alert')
    await forgetBackupState(fixture.store)
    await until(async () => (await openAlerts()).length === 0, 'the end of the alert')
    expect(watch.found()).toBeUndefined()
    await watch.stop()
  })

  it('tries a failed verification again, without another backup', async () => {
    const store = openPlace('damaged')
    let attempts = 0
    const verify = () =>
      ++attempts < 3 ? Promise.reject(new Error('an artifact is missing')) : Promise.resolve()
    const found = await keepUntil({ store, verify, retryMs: 10 }, (state) => state.verified !== undefined)
    expect(found.failures).toEqual({})
    expect(await listBackups(store)).toHaveLength(1)
  })

  it('verifies the newest backup at its start if no process has, and keeps the failure until then', async () => {
    const store = openPlace('killed')
    const refused = () => Promise.reject(new Error('an artifact is missing'))
    const failed = await keepUntil(
      { store, verify: refused },
      (state) => state.failures.verification !== undefined,
    )
    const verified: string[] = []
    const kept: unknown[] = []
    const verify = async (name: string) => {
      verified.push(name)
      kept.push((await findBackupState(fixture.store))?.failures)
    }
    const found = await keepUntil({ store, verify }, (state) => state.verified !== undefined)
    expect(kept).toEqual([failed.failures])
    expect(verified).toEqual([backupNameOf(failed.newest!.takenAt)])
    expect(found.failures).toEqual({})
    expect(await listBackups(store)).toEqual(verified)
  })

  it('tries again after a backup that failed', async () => {
    const store = openPlace('away')
    let attempts = 0
    const flaky = {
      ...store,
      put: (...args: Parameters<typeof store.put>) =>
        ++attempts === 1 ? Promise.reject(new Error('the store is away')) : store.put(...args),
    }
    const failures: string[] = []
    const log = (line: string) => void failures.push(line)
    const found = await keepUntil(
      { store: flaky, verify: () => Promise.resolve(), retryMs: 10, log },
      (state) => state.verified !== undefined,
    )
    expect(failures[0]).toBe('backup: the store is away')
    expect(found.failures).toEqual({})
  })

  it('is ended by a person once its process has stopped, and nothing is late then', async () => {
    await keepUntil({ store: openPlace('ended'), verify: () => Promise.resolve() }, () => true)
    await expect(endSchedule(fixture.store)).rejects.toThrow(/sent a heartbeat \d+ s ago/)
    await fixture.store.query(
      sql`update service_state set at = at - interval '61 seconds' where name = 'backups'`,
    )
    const to = openPlace('ended').address
    expect(alertsOfBackups(await findBackupState(fixture.store))).toMatchObject([{ kind: 'backup_late' }])
    expect(await endSchedule(fixture.store)).toBe(to)
    expect(alertsOfBackups(await findBackupState(fixture.store))).toEqual([])
    expect(await endSchedule(fixture.store)).toBeUndefined()
  })

  it('is run by one process at a time', async () => {
    const first = new AbortController()
    const verify = () => Promise.resolve()
    const log = () => {}
    const store = openPlace('first')
    const settings = { to: store.address, everyMs: 3_600_000, keep: 2 }
    await forgetBackupState(fixture.store)
    const kept = keepBackups(installation, { settings, store, verify, log, signal: first.signal })
    await until(async () => (await findBackupState(fixture.store)) !== undefined, 'the first')
    const second = new AbortController()
    const other = openPlace('second')
    const waiting = keepBackups(installation, { settings, store: other, verify, log, signal: second.signal })
    await until(async () => (await waitingForTurn()) === 2, 'the second')
    second.abort()
    await waiting
    expect(await listBackups(other)).toEqual([])
    first.abort()
    await kept
  })
})

/** Returns the connections of schedules that hold the lock or wait for it. */
async function waitingForTurn(): Promise<number> {
  const [row] = await fixture.store.query<{ count: number }>(sql`
    select count(*)::int as count from pg_stat_activity
    where application_name = 'tenure backups' and datname = current_database() and query like '%advisory_lock%'`)
  return row!.count
}

const state: FoundBackups = {
  to: 's3://backups',
  everyMs: 3_600_000,
  since: '2026-01-01T00:00:00Z',
  failures: {},
  ageMs: 1_000,
  silentMs: 0,
}

it.each<[string, Partial<FoundBackups>, RegExp | undefined]>([
  ['is recent', {}, undefined],
  [
    'is older than one and a half intervals',
    { ageMs: 5_500_000 },
    /is 1\.5 h old, and one is due every 1\.0 h/,
  ],
  ['is taken by a process that is silent', { silentMs: 61_000 }, /no heartbeat for 61 s/],
  [
    'lacks the last minutes of the log',
    { logAgeMs: 150_000 },
    /in the last 150 s is not yet in s3:\/\/backups/,
  ],
  ['has a log up to now', { logAgeMs: 3_000 }, undefined],
])('the newest backup that %s is told', (_what, changes, message) => {
  const alerts = alertsOfBackups({ ...state, ...changes })
  if (message === undefined) expect(alerts).toEqual([])
  else expect(alerts).toMatchObject([{ kind: 'backup_late', message: expect.stringMatching(message) }])
})

describe('tenure backup verify', () => {
  let file: string
  const rehearse = () =>
    rehearseRestore(installation.config, {
      backup: { path: file, name: file, remove: () => Promise.resolve() },
    })

  beforeAll(async () => {
    await fixture.store.transaction((database) =>
      appendAudit(database, { actor: 'ada', action: 'model.noted', subject: 'iris', detail: {} }),
    )
    await fixture.store.query(sql`
      insert into champions (model, version) values (${versions.model}, ${versions.champion})`)
    await fixture.route(versions.model, { proven: versions.champion })
    file = join(dir, 'rehearsed.tar')
    await makeBackup(installation, { file, snapshots: true, allowMissing: false })
  })

  it('restores into a scratch place, and leaves nothing of it', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'tenure-scratch-'))
    vi.stubEnv('TMPDIR', scratch)
    chmodSync(scratch, 0o711)
    const found = await rehearse()
    expect(found).toMatchObject({
      versions: 3,
      routes: [{ model: versions.model, version: versions.champion }],
    })
    expect(found.rows).toBeGreaterThan(10)
    expect(readdirSync(scratch)).toEqual([])
    rmSync(scratch, { recursive: true })
    const [epochs] = await fixture.store.query<{ count: number }>(
      sql`select count(*)::int as count from routing_epochs`,
    )
    expect(epochs?.count).toBe(1)
  })

  it('names a list of data subjects that is not in the backup', async () => {
    const artifacts = openArtifacts(fixture.artifactRoot)
    const { digest: list } = await artifacts.put('snapshots', Buffer.from('hashes of persons'))
    await fixture.store.query(sql`insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
      values ('listed', ${versions.model}, now(), 2, 10, '{}', ${JSON.stringify({ subjects: list })})`)
    const options = { snapshots: false, allowMissing: false }
    const whole = join(dir, 'with-list.tar')
    await makeBackup(installation, { file: whole, ...options })
    file = join(dir, 'without-list.tar')
    await copyWithout(whole, fileName('snapshots', list))
    await expect(rehearse()).rejects.toThrow(`restores to something else: the list of data subjects ${list}`)
    // A list that is lost already cannot be in a backup, which says so.
    await artifacts.remove('snapshots', list)
    file = join(dir, 'list-lost.tar')
    const { missing } = await makeBackup(installation, { file, ...options })
    expect(missing).toEqual([expect.stringContaining(`the list of data subjects ${list}`)])
    await rehearse()
    await fixture.store.query(sql`delete from snapshots where digest = 'listed'`)
    file = join(dir, 'rehearsed.tar')
  })

  /** Writes the backup of a build that left out an entry. */
  async function copyWithout(whole: string, name: string): Promise<void> {
    const archive = await openArchive({ path: whole, name: whole })
    const manifest = await readManifest(archive, whole)
    delete manifest.entries[name]
    const copy = await createArchive(file)
    for (const each of Object.keys(manifest.entries)) await copy.add(each, await archive.bytes(each))
    await sealArchive(copy, manifest, await openSigner(installation.config.signing, 'artifacts'))
    await copy.finish()
  }

  it('refuses a backup whose audit log differs from the heads that were signed here', async () => {
    const list = openHeads(
      headFiles(installation.config).slice(0, 1),
      await openSigner(installation.config.signing, 'heads'),
    )
    await list.append({ seq: 1, hash: 'f'.repeat(64) })
    await expect(rehearse()).rejects.toThrow('row 1 differs from the row whose hash was signed')
    rmSync(join(dir, 'audit'), { recursive: true })
  })

  it('names a version whose artifact is not in the backup', async () => {
    const { digest } = (
      await fixture.store.query<{ digest: string }>(
        sql`select artifact_digest as digest from versions where version = ${versions.old}`,
      )
    )[0]!
    await openArtifacts(fixture.artifactRoot).remove('artifacts', digest)
    file = join(dir, 'incomplete.tar')
    await makeBackup(installation, { file, snapshots: true, allowMissing: true })
    await expect(rehearse()).rejects.toThrow(`restores to something else: ${versions.old}`)
    const fetched = await fetchBackup({ path: file })
    expect(fetched.name).toBe(file)
  })
})
