/** Breaks one part after another on real processes, and measures when a channel is told and what callers meet. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { artifactKey } from '../../../store/artifacts.ts'
import { insertKey, revokeKey } from '../../../store/access/api-keys.ts'
import { waitUntil } from '../../../test/support/serving/api-process.ts'
import { freeze } from '../../../test/support/servers/freeze.ts'
import { startCallers, type Callers, type RealSystem } from '../../../test/support/servers/system-fixture.ts'
import { seatTwo, type Notification } from './live.ts'

export interface IncidentRow {
  incident: string
  /** Seconds from the fault to the message; absent when the incident is over before anyone has to be told. */
  notifiedS?: number
  message: string
  requests: number
  failed: number
}

interface Incident {
  name: string
  /** The alert that tells of it; absent for a fault that heals itself. */
  kind?: string
  /** How long the fault lasts without a message, in ms. */
  lastsMs?: number
  /** Causes the fault; returns what ends it. */
  cause: (system: RealSystem) => Promise<() => void | Promise<void>>
}

const model = 'steady'

const frozen = (name: string) => (system: RealSystem) =>
  Promise.resolve(freeze(system.supervision.pidOf(name)!))

const incidents: readonly Incident[] = [
  {
    name: 'one of two replicas is killed',
    lastsMs: 10_000,
    cause(system) {
      system.signal('api-2', 'SIGKILL')
      return Promise.resolve(() => {})
    },
  },
  {
    name: 'the control worker is killed',
    lastsMs: 10_000,
    cause(system) {
      system.signal('control', 'SIGKILL')
      return Promise.resolve(() => {})
    },
  },
  { name: 'Temporal is frozen', kind: 'temporal_unavailable', cause: frozen('temporal') },
  { name: 'Postgres is frozen', kind: 'postgres_unavailable', cause: frozen('postgres') },
  { name: 'a revoked key is used', kind: 'ended_key_used', cause: useRevokedKey },
  {
    name: 'an artifact is corrupt, without a copy, when one replica starts again',
    kind: 'replica_cannot_load',
    async cause(system) {
      const [row] = await system.store.query<{ digest: string }>(sql`
        select artifact_digest as digest from champions join versions using (version) where champions.model = ${model}`)
      const path = join(system.config.artifactRoot, artifactKey('artifacts', row!.digest))
      const whole = readFileSync(path)
      writeFileSync(path, 'corrupt')
      // A replica starts from its own copy where it has one.
      rmSync(join(system.config.stateDir, 'cache', 'files'), { recursive: true })
      system.signal('api-2', 'SIGKILL')
      return () => writeFileSync(path, whole)
    },
  },
]

export async function runIncidents(
  system: RealSystem,
  notifications: () => Notification[],
): Promise<IncidentRow[]> {
  const { first, second } = await seatTwo(system, model)
  const rows: IncidentRow[] = []
  for (const { name, kind, lastsMs, cause } of incidents) {
    const callers = startCallers(system.urls, model, 100, 2_000)
    const answers = () => (callers.answered.get(first) ?? 0) + (callers.answered.get(second) ?? 0)
    await waitUntil(() => answers() > 20, `${name}: answers before it`)
    callers.reset()
    const seen = notifications().length
    const end = await cause(system)
    const beganMs = Date.now()
    const message = () =>
      notifications()
        .slice(seen)
        .find(({ about, alert }) => about === 'raised' && alert.kind === kind)
    if (kind === undefined) await pause(lastsMs)
    else await waitUntil(() => message() !== undefined, `${name}: the message`)
    await end()
    await callers.stop()
    const found = message()
    rows.push({
      incident: name,
      ...(found && { notifiedS: (found.atMs - beganMs) / 1_000 }),
      message: found?.alert.message ?? '',
      ...requestsOf(callers),
    })
    console.log(JSON.stringify(rows.at(-1)))
    // Both servers answer again before the next fault.
    await waitUntil(
      () => system.processes.every((each) => system.supervision.pidOf(each) !== undefined),
      'all processes',
    )
    await pause(10_000)
  }
  return rows
}

function requestsOf({ answered, failures }: Callers): Pick<IncidentRow, 'requests' | 'failed'> {
  const answers = [...answered.values()].reduce((sum, each) => sum + each, 0)
  return { requests: answers + failures.length, failed: failures.length }
}

/** A service asks five times a second with a key that is revoked while it is used. */
async function useRevokedKey({ store, urls }: RealSystem): Promise<() => Promise<void>> {
  const { key, facts } = await insertKey(store, { name: 'shop', role: 'viewer' })
  const stopping = new AbortController()
  let last: number | undefined
  const asking = (async () => {
    while (!stopping.signal.aborted) {
      const answer = await fetch(`${urls[0]}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
      await answer.arrayBuffer()
      last = answer.status
      await pause(200)
    }
  })()
  await waitUntil(() => last === 200, 'the key is accepted')
  await revokeKey(store, facts.id)
  return () => {
    stopping.abort()
    return asking
  }
}
