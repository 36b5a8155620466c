/** Checks the servers of an installation: its object store, its database and its Temporal. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { isError } from '../../domain/errors.ts'
import { diagnose } from '../../store/maintenance/diagnostics.ts'
import { listHeartbeats } from '../../store/maintenance/worker-heartbeats.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { openObjectStore } from '../../store/objects/open-store.ts'
import { openStore } from '../../store/postgres.ts'
import type { Config } from '../../temporal.config.ts'
import { openInstallation } from '../backup/installation.ts'
import { postgresBinaries } from '@tenure/embedded'
import { findingsOfDatabase } from './database.ts'
import { checkExpectedWork } from './expected-work.ts'
import { checkChampions, checkDataDirectory, checkKeys } from './files.ts'
import { skipped, type Note, ok, warning, type Finding, broken } from './finding.ts'
import { checkServing } from './replicas.ts'
import { checkTemporal } from './temporal.ts'
import { changedSince, textOfChanged } from '../../domain/installation/plan.ts'
import type { AppliedResource, Resource } from '../../domain/installation/resource.ts'
import { listApplied } from '../../store/installation/applied-state.ts'
import { readLiveState } from '../../store/installation/live-state.ts'
import { alertsOfBackups, type FoundBackups } from '../../store/maintenance/backup-state.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'

/** The known facts of an installation before its servers are checked. */
export interface KnownServers {
  config: Config
  stateDir: string
  /** Whether `tenure up` runs on this state. */
  running: boolean
  /** URL of the API; absent while it is stopped. */
  url?: string
  databaseUrl?: string
  temporalKnown: boolean
}

/** Whether processes of Tenure should run, here or elsewhere. */
const isExpected = ({ running, url }: KnownServers): boolean => running || url !== undefined

export async function examineObjectStore({ config }: KnownServers, note: Note): Promise<void> {
  if (config.objectStore !== undefined) note(await checkObjectStore(openObjectStore(config.objectStore)))
}

export async function examineTemporal(target: KnownServers, note: Note): Promise<void> {
  const { config, databaseUrl, temporalKnown } = target
  if (!temporalKnown) return note(skipped('temporal', 'Not running; `tenure up` starts it'))
  // Without a database, a busy worker cannot be told from none; its own check says why it does not answer.
  const heartbeats = databaseUrl === undefined ? [] : await readHeartbeats(databaseUrl).catch(() => [])
  const findings = await checkTemporal(config, { workersExpected: isExpected(target), heartbeats })
  note(...findings)
  if (findings.some(({ check, state }) => check === 'temporal' && state === 'broken')) return
  if (databaseUrl === undefined || !isExpected(target)) return
  note(
    ...(await checkExpectedWork(config, databaseUrl).catch((error: unknown) => {
      if (!isError(error, 'postgres_unavailable')) throw error
      // The check of the database says why.
      return [skipped('workflows', 'Not checked, because Postgres does not answer')]
    })),
  )
}

async function readHeartbeats(databaseUrl: string) {
  const store = openStore(databaseUrl, { name: 'tenure doctor', max: 1 })
  try {
    return await listHeartbeats(store)
  } finally {
    await store.close()
  }
}

export async function examineDatabase(
  target: KnownServers,
  { deep, note }: { deep: boolean; note: Note },
): Promise<void> {
  const { databaseUrl, stateDir } = target
  if (databaseUrl !== undefined) return checkDatabase(target, databaseUrl, note)
  const data = checkDataDirectory(stateDir, embeddedMajor())
  note(data)
  const exists = existsSync(join(stateDir, 'postgres', 'PG_VERSION'))
  if (deep && data.state === 'ok' && !exists)
    return note(skipped('database', 'Not there yet; `tenure up` creates it'))
  if (!deep || data.state !== 'ok')
    return note(skipped('database', 'Not running; `tenure doctor --deep` starts it for the check'))
  const place = await openInstallation({ make: false })
  try {
    // This connection uses the owner, a role that no process uses, so its privileges do not show whether processes could rewrite the audit
    // log.
    await checkDatabase(target, place.databaseUrl, (...findings) =>
      note(...findings.filter(({ check }) => check !== 'roles')),
    )
  } finally {
    await place.close()
  }
}

async function checkDatabase(target: KnownServers, databaseUrl: string, note: Note): Promise<void> {
  const { signing } = target.config
  const diagnosis = await diagnose(databaseUrl, 'tenure doctor')
  note(...findingsOfDatabase(databaseUrl, diagnosis, { running: isExpected(target) }))
  if ('code' in diagnosis) return
  if (diagnosis.migrations.pending.length === 0) {
    note(...(await checkAppliedState(databaseUrl)))
    note(...(await checkServing(databaseUrl)))
  }
  if (isExpected(target)) note(checkBackups(diagnosis.backups))
  const { finding, verifier } = checkKeys(signing, { versions: diagnosis.versions ?? 0 })
  note(finding)
  if (diagnosis.champions !== undefined)
    note(
      ...(await checkChampions(diagnosis.champions, {
        artifacts: openSharedArtifacts(target.config),
        verifier,
      })),
    )
}

function embeddedMajor(): number {
  const text = execFileSync(join(postgresBinaries(), 'bin', 'postgres'), ['--version']).toString()
  return Number(/(\d+)/.exec(text)?.[1] ?? 0)
}

// Compares the installation with the state of the last `tenure apply`.

/** Returns no finding if nothing was ever applied. */
export async function checkAppliedState(databaseUrl: string): Promise<Finding[]> {
  const store = openStore(databaseUrl, { name: 'tenure doctor', max: 1 })
  try {
    const applied = (await listApplied(store)).filter(({ kind }) => kind !== 'schedule')
    return applied.length === 0 ? [] : [findingOfApplied(applied, await readLiveState(store))]
  } finally {
    await store.close()
  }
}

export function findingOfApplied(applied: readonly AppliedResource[], live: readonly Resource[]): Finding {
  const changed = changedSince(applied, live).map(textOfChanged)
  if (changed.length === 0)
    return ok('state file', `${applied.length} resources are as the last \`tenure apply\` has set them`)
  return warning(
    'state file',
    `changed since the last \`tenure apply\`: ${changed.join(', ')}`,
    'Read the differences with `tenure plan`; add them to the state file or the model files and run `tenure apply`, or undo them with it.',
  )
}

// Checks the scheduled backups: one is recent, it was verified, and nothing has failed since.

const backupCheck = 'backups'

export function checkBackups(found: FoundBackups | undefined): Finding {
  if (found === undefined) return skipped(backupCheck, 'None are scheduled; set TENURE_BACKUP_TO')
  const problems = alertsOfBackups(found).map(({ message }) => message)
  if (problems.length > 0)
    return broken(
      backupCheck,
      problems.join(' '),
      'Correct what the message names; the next attempt begins within five minutes. See docs/runbooks/backup-failed.md.',
    )
  const { newest, verified, log, to } = found
  if (newest === undefined)
    return warning(
      backupCheck,
      `the first backup to ${to} is being taken`,
      'Run `tenure doctor` again when it is done.',
    )
  return ok(
    backupCheck,
    [
      `${newest.file}, ${(found.ageMs / 3_600_000).toFixed(1)} h old`,
      verified?.file === newest.file ? 'verified' : 'not verified yet',
      ...(log === undefined ? [] : [`every moment from ${log.from} to ${log.to} can be restored`]),
    ].join('; '),
  )
}

// Checks that the object store responds, keeps written objects, and accepts only one of two concurrent creations of an object.

const storeCheck = 'object store'

/** Writes a small object and removes it. */
export async function checkObjectStore(store: ObjectStore): Promise<Finding> {
  const key = `doctor/${randomUUID()}`
  try {
    const first = await store.put(key, Buffer.from('first'), { ifAbsent: true })
    const second = await store.put(key, Buffer.from('second'), { ifAbsent: true })
    const stored = (await store.get(key))?.toString()
    await store.remove(key)
    if (first && !second && stored === 'first')
      return ok(storeCheck, `${store.address} keeps what is written`)
    const why = second
      ? 'lets every conditional write win (If-None-Match)'
      : `gave back ${JSON.stringify(stored)} for "first"`
    return broken(
      storeCheck,
      `${store.address} ${why}`,
      'Use an object store that honours conditional writes, such as Amazon S3, or a directory.',
    )
  } catch (error) {
    if (!isError(error, 'object_store_unavailable')) throw error
    return broken(
      storeCheck,
      error.message,
      'Correct TENURE_OBJECT_STORE, TENURE_S3_ENDPOINT, AWS_REGION or the key, or make the store reachable; predictions continue meanwhile.',
    )
  }
}
