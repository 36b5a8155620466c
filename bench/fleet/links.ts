/**
 * Cuts every link of every process during a canary and heals them in another order. Afterwards the release must end, every replica
 * must follow the newest route, and the audit and prediction logs must be complete.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { seededRandom } from '../../domain/statistics/random.ts'
import { verifyAudit } from '../../store/audit/audit-log.ts'
import { findRouting, laggingReplicas, listReplicaProgress } from '../../store/serving/routing.ts'
import type { LinkedShow } from '../../test/support/fleet/linked-fleet.ts'
import { showPolicy, type Show } from '../../test/support/fleet/fleet-fixture.ts'
import { startAsker } from './callers.ts'
import { cutRow } from './cut.ts'
import { stateOf } from './fixture.ts'

export interface LinkResult {
  seed: number
  /** Outcome of the release. */
  outcome: string
  /** From the first cut to the last, and to the last repair. */
  cutMs: number
  downMs: number
  /** From the last repair until the release has ended and every replica follows. */
  settledMs: number
  /** Failed requests with their reason. */
  failures: string[]
  /** Responses of other versions than the champion after the end. */
  strange: number
  audit: 'whole' | 'broken'
  log: LogEquation
}

export interface LogEquation {
  served: number
  stored: number
  dropped: number
  rows: number
}

/** The dropped direction of a cut link. */
const cuts = [
  { requests: true, replies: true },
  { requests: true, replies: false },
  { requests: false, replies: true },
] as const

/** Ten links: three replicas and two workers, each to both servers. */
export const linkedStage = { replicas: 3, workers: 2, leaseMs: 2_000, policy: showPolicy }

const timeoutMs = 120_000

export async function cutAllLinks(show: LinkedShow, seed: number): Promise<LinkResult> {
  const { system, links, model } = show
  const random = seededRandom(seed)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
  const champion = { version: '', answers: 0, strange: 0 }
  const asker = startAsker({
    targets: system.urls,
    each: 1,
    model,
    row: cutRow,
    pauseMs: 10,
    onAnswer({ version }) {
      if (version === champion.version) champion.answers++
      else if (champion.version !== '') champion.strange++
    },
  })
  const { release } = await show.approved()
  await release.reaches('canary', 0)
  const fromMs = performance.now()
  for (const link of shuffled(links, random)) {
    link.cut(pick(cuts))
    await pause(random() * 200)
  }
  const cutMs = performance.now() - fromMs
  await pause(500 + random() * 3_500)
  for (const link of shuffled(links, random)) {
    link.heal()
    await pause(random() * 300)
  }
  const healedMs = performance.now()
  const { outcome } = await release.result()
  await until(() => isFollowed(show), 'every replica follows')
  const settledMs = performance.now() - healedMs
  // Requests sent before the end may still get the old version.
  await pause(100)
  champion.version = await show.champion()
  await until(() => Promise.resolve(champion.answers > 100), 'the champion answers')
  await asker.stop()
  const failures = asker.failures.map(({ target, why }) => `${system.urls[target]}: ${why}`)
  const { breach } = { breach: undefined, ...(await verifyAudit(system.store)) }
  return {
    seed,
    outcome,
    cutMs: Math.round(cutMs),
    downMs: Math.round(healedMs - fromMs),
    settledMs: Math.round(settledMs),
    failures,
    strange: champion.strange,
    audit: breach === undefined ? 'whole' : 'broken',
    log: await logOf(show),
  }
}

/** Whether every replica is ready, unmarked, and has acknowledged the newest route. */
export async function isFollowed({ system, model, key }: Show): Promise<boolean> {
  const { store, urls } = system
  const routing = await findRouting(store, model)
  const followers = await listReplicaProgress(store, model)
  if (routing === undefined || followers.length !== urls.length) return false
  if (laggingReplicas(followers, routing.route).length > 0) return false
  const states = await Promise.all(urls.map((url) => stateOf(url, key)))
  return states.every(({ status, stale }) => status === 'ready' && stale === false)
}

/** The prediction log of all replicas after it is flushed. */
async function logOf({ system, key }: Show): Promise<LogEquation> {
  const countsOf = async (url: string) => {
    const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } })
    const text = await answer.text()
    const count = (name: string, state: string): number =>
      Number(new RegExp(`^tenure_prediction_log_${name}\\{state="${state}"\\} (\\d+)`, 'm').exec(text)?.[1])
    return {
      served: count('total', 'served'),
      stored: count('total', 'stored'),
      dropped: count('total', 'dropped'),
      waiting: count('rows', 'waiting') + count('rows', 'spooled'),
    }
  }
  const read = () => Promise.all(system.urls.map(countsOf))
  await until(async () => (await read()).every(({ waiting }) => waiting === 0), 'the log is written')
  const all = await read()
  const sum = (of: 'served' | 'stored' | 'dropped'): number =>
    all.reduce((total, each) => total + each[of], 0)
  const { rows } = await system.store.pool.query<{ count: number }>('select count(*) from predictions')
  return { served: sum('served'), stored: sum('stored'), dropped: sum('dropped'), rows: rows[0]!.count }
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const left = [...list]
  return list.map(() => left.splice(Math.floor(random() * left.length), 1)[0]!)
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await pause(50)
  }
}
