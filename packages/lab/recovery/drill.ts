/**
 * Deletes everything of a running system except its signing keys, in the middle of a release and of predictions, and restores it from a
 * bucket. The bucket is moto's, which keeps objects in memory.
 */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import sql from 'sql-template-tag'
import { listBases, listLog } from '../../../cli/backup/point-in-time/places.ts'
import { findBackupState } from '../../../store/maintenance/backup-state.ts'
import { openS3Store } from '../../../store/objects/s3/s3-store.ts'
import type { Store } from '../../../store/postgres.ts'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import { openShow, showPolicy, type Show } from '../../../test/support/fleet/fleet-fixture.ts'
import { environmentOf, startMoto } from '../../../test/support/objects/moto-server.ts'
import { startCallers, startRealSystem } from '../../../test/support/servers/system-fixture.ts'

const run = promisify(execFile)

export interface DrillReport {
  /** Rows of the prediction log and marks, which are written continuously. */
  rpoSeconds: number
  rtoSeconds: number
  /** The parts of it. */
  restoreSeconds: number
  startSeconds: number
  answeredBefore: number
  marks: { written: number; lost: number }
  predictions: { restored: number }
  release: { stage: string; outcome: string }
  /** Whether the baseline champion serves, and the candidate's answers after the restore. */
  champion: boolean
  byCandidate: number
  missing: number
  objects: { bases: number; baseMb: number; logFiles: number; logMb: number }
  /** Whether the log is archived again, on the new timeline, without a failure. */
  keptAgain: boolean
}

/** A release that is still in its canary when everything is deleted. */
const longPolicy = {
  ...showPolicy,
  stages: showPolicy.stages.map((stage) => ({ ...stage, minMs: 3_600_000, deadlineMs: 7_200_000 })),
}

export async function runRecoveryDrill({ loadSeconds }: { loadSeconds: number }): Promise<DrillReport> {
  const moto = await startMoto()
  const settings = await moto.bucket('recovery')
  const { TENURE_OBJECT_STORE: address, ...access } = environmentOf(settings)
  const environment = { ...access, TENURE_BACKUP_TO: address }
  const store = openS3Store(settings)
  const safe = mkdtempSync(join(tmpdir(), 'tenure-keys-'))
  const show = await openShow({ replicas: 2, leaseMs: 5_000, environment }, { policy: showPolicy })
  const { system, model } = show
  const { stateDir } = system.config
  cpSync(system.config.signing.keys, safe, { recursive: true })
  const { release, champion } = await show.approved(longPolicy)
  await release.reaches('canary')
  const callers = startCallers(system.urls, model, 5, 2_000)
  // Before that, a restore would bring back a system without the release.
  await untilFresh(system.store, Date.now())
  const marks = startMarks(system.store)
  await pause(loadSeconds * 1_000)
  const { stage } = (await release.state()) as { stage: string }
  const objects = await measureObjects()

  const destroyedMs = Date.now()
  const startedAt = performance.now()
  for (const name of system.processes) kill(show, name)
  rmSync(stateDir, { recursive: true, force: true })
  const written = await marks.stop()
  await callers.stop()
  const answeredBefore = [...callers.answered.values()].reduce((sum, each) => sum + each, 0)
  await system.stop()
  rmSync(stateDir, { recursive: true, force: true })

  const restoreAt = performance.now()
  mkdirSync(stateDir, { mode: 0o711 })
  cpSync(safe, join(stateDir, 'keys'), { recursive: true })
  const words = ['restore', '--at', 'latest', '--json']
  const none = { DATABASE_URL: '', TENURE_OWNER_DATABASE_URL: '', TENURE_URL: '', TENURE_KEY: '' }
  const { stdout } = await run(process.execPath, [join(checkout, 'cli/tenure.mjs'), ...words], {
    env: environmentWith({ ...environment, ...none, TENURE_STATE: stateDir }),
  })
  const restored = JSON.parse(stdout) as { missing: string[] }
  const restoredAt = performance.now()

  const again = await startRealSystem({ replicas: 2, leaseMs: 5_000, environment, stateDir })
  try {
    const after = startCallers(again.urls, model, 5, 2_000)
    await until(() => after.answered.size > 0, 'the first answer')
    const rtoSeconds = (performance.now() - startedAt) / 1_000
    const kept = await rowsFrom<{ at: Date }>(
      again.store,
      sql`select value ->> 'at' as at from service_state where name like 'drill/%' order by 1 desc`,
    )
    const newest = Date.parse(String(kept[0]?.at ?? 0))
    const [{ count: predictions }] = (await rowsFrom<{ count: number }>(
      again.store,
      sql`select count(*)::int as count from predictions`,
    )) as [{ count: number }]
    const outcome = await untilClosed(again.store, release.id)
    const keptAgain = await untilFresh(again.store, Date.now()).then(
      () => true,
      () => false,
    )
    await after.stop()
    const byCandidate = [...after.answered].filter(([version]) => version !== champion)
    return {
      rpoSeconds: (destroyedMs - newest) / 1_000,
      rtoSeconds,
      restoreSeconds: (restoredAt - restoreAt) / 1_000,
      startSeconds: rtoSeconds - (restoredAt - startedAt) / 1_000,
      answeredBefore,
      marks: { written, lost: written - kept.length },
      predictions: { restored: predictions },
      release: { stage, outcome },
      champion: after.answered.has(champion),
      byCandidate: byCandidate.reduce((sum, [, count]) => sum + count, 0),
      // The snapshot of the fixture is a row without a file.
      missing: restored.missing.filter((each) => !each.startsWith('the snapshot')).length,
      objects,
      keptAgain,
    }
  } finally {
    await again.stop()
    await moto.stop()
    for (const each of [stateDir, safe]) rmSync(each, { recursive: true, force: true })
  }

  async function measureObjects(): Promise<DrillReport['objects']> {
    const bases = await listBases(store)
    const base = bases.at(-1)!
    const log = await listLog(store, base.systemId)
    let logBytes = 0
    for await (const { bytes } of store.list('point-in-time/log/')) logBytes += bytes
    return {
      bases: bases.length,
      baseMb: ((await store.find(base.key))?.bytes ?? 0) / 1e6,
      logFiles: log.length,
      logMb: logBytes / 1e6,
    }
  }
}

function kill({ system }: Show, name: string): void {
  const pid = system.supervision.pidOf(name)
  // The whole process group, because a helper of Postgres would continue to archive the log.
  if (pid !== undefined) process.kill(-pid, 'SIGKILL')
}

/** Writes a row every 50 ms; each is committed before the next. */
function startMarks(store: Store) {
  const stopping = new AbortController()
  let written = 0
  const writing = (async () => {
    while (!stopping.signal.aborted) {
      const value = JSON.stringify({ at: new Date().toISOString() })
      const isWritten = await store
        .query(sql`insert into service_state (name, value) values (${`drill/${written}`}, ${value}::jsonb)`)
        .then(
          () => true,
          () => false,
        )
      if (isWritten) written++
      await pause(50)
    }
  })()
  return {
    async stop() {
      stopping.abort()
      await writing
      return written
    },
  }
}

const rowsFrom = <T extends object>(store: Store, statement: ReturnType<typeof sql>): Promise<T[]> =>
  store.query<T>(statement)

/** Waits until a base exists and the log is archived up to a moment. */
const untilFresh = (store: Store, sinceMs: number): Promise<void> =>
  until(async () => {
    const found = await findBackupState(store)
    return (
      found?.log !== undefined &&
      Date.parse(found.log.to) > sinceMs &&
      Object.keys(found.failures).length === 0
    )
  }, 'the copies of the log')

async function untilClosed(store: Store, release: string): Promise<string> {
  let outcome: string | null | undefined
  await until(async () => {
    const [row] = await rowsFrom<{ outcome: string | null }>(
      store,
      sql`select outcome from releases where id = ${release}`,
    )
    outcome = row === undefined ? 'not known' : row.outcome
    return outcome !== null
  }, 'the end of the release')
  return outcome!
}

async function until(
  isTrue: () => Promise<boolean> | boolean,
  what: string,
  withinMs = 300_000,
): Promise<void> {
  const endMs = performance.now() + withinMs
  while (!(await Promise.resolve(isTrue()).catch(() => false))) {
    if (performance.now() > endMs) throw new Error(`${what} did not come within ${withinMs} ms`)
    await pause(100)
  }
}
