/** Checks the servers of an installation: its object store, its database and its Temporal. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isError } from '../../domain/errors.ts'
import { diagnose } from '../../store/maintenance/diagnostics.ts'
import { listHeartbeats } from '../../store/maintenance/worker-heartbeats.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { openObjectStore } from '../../store/objects/open-store.ts'
import { openStore } from '../../store/postgres.ts'
import type { Config } from '../../temporal.config.ts'
import { openInstallation } from '../backup/installation.ts'
import { readParts } from '../embedded/binaries.ts'
import { checkAppliedState } from './applied-state.ts'
import { checkBackups } from './backups.ts'
import { findingsOfDatabase } from './database.ts'
import { checkDuties } from './duties.ts'
import { checkChampions, checkDataDirectory, checkKeys } from './files.ts'
import { skipped, type Note } from './finding.ts'
import { checkObjectStore } from './object-store.ts'
import { checkServing } from './replicas.ts'
import { checkTemporal } from './temporal.ts'

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
    ...(await checkDuties(config, databaseUrl).catch((error: unknown) => {
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
  const text = execFileSync(join(readParts().postgres, 'bin', 'postgres'), ['--version']).toString()
  return Number(/(\d+)/.exec(text)?.[1] ?? 0)
}
