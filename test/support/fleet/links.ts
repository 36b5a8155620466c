/**
 * Cuts every link of every process during a canary and heals them in another order. Afterwards the release must end, every replica
 * must follow the newest route, and the audit and prediction logs must be complete.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { seededRandom } from '@tenure/sequential'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { laggingReplicas, listReplicaProgress } from '../../../store/serving/replicas.ts'
import type { LinkedShow } from './linked-fleet.ts'
import { showPolicy, type Show } from './fleet-fixture.ts'
import { countLogRows } from '../servers/private-database.ts'
import { sumBy } from '../figures.ts'
import { lostRequests, startAsker } from './callers.ts'
import { cutRow } from './cut.ts'
import { metricsOf, stateOf, untilHolds } from './fleet-stage.ts'
import { cutDirections } from './proxy.ts'

export type LinkResult = Awaited<ReturnType<typeof cutAllLinks>>

/** Ten links: three replicas and two workers, each to both servers. */
export const linkedStage = { replicas: 3, workers: 2, leaseMs: 2_000, policy: showPolicy }

export async function cutAllLinks(show: LinkedShow, seed: number) {
  const { system, links, model } = show
  const random = seededRandom(seed)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
  const champion = { version: '', fromMs: Infinity, answers: 0, strange: 0 }
  const asker = startAsker({
    targets: system.urls,
    each: 1,
    model,
    row: cutRow,
    pauseMs: 10,
    onAnswer({ version, sentMs }) {
      if (sentMs < champion.fromMs) return
      if (version === champion.version) champion.answers++
      else champion.strange++
    },
  })
  const { release } = await show.approved()
  await release.reaches('canary', 0)
  const fromMs = performance.now()
  for (const link of shuffled(links, random)) {
    link.cut(pick(cutDirections))
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
  await untilHolds(() => isFollowed(show), Boolean, { what: 'every replica follows' })
  const settledMs = performance.now() - healedMs
  champion.version = await show.champion()
  // Requests sent before may still get the old version.
  champion.fromMs = performance.now()
  await untilHolds(
    async () => champion.answers,
    (count) => count > 100,
    { what: 'the champion answers' },
  )
  await asker.stop()
  const failures = lostRequests(asker).map(({ target, why }) => `${system.urls[target]}: ${why}`)
  const { breach } = { breach: undefined, ...(await verifyAudit(system.store)) }
  return {
    seed,
    /** Of the release. */
    outcome,
    /** From the first cut to the last, and to the last repair. */
    cutMs: Math.round(cutMs),
    downMs: Math.round(healedMs - fromMs),
    /** From the last repair until the release has ended and every replica follows. */
    settledMs: Math.round(settledMs),
    /** Failed requests with their reason. */
    failures,
    /** Responses of other versions than the champion after the end. */
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
async function logOf({ system, key }: Show) {
  const countsOf = async (url: string) => {
    const text = await metricsOf(url, key)
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
  const all = await untilHolds(read, (counts) => counts.every(({ waiting }) => waiting === 0), {
    what: 'the log is written',
  })
  return {
    served: sumBy(all, ({ served }) => served),
    stored: sumBy(all, ({ stored }) => stored),
    dropped: sumBy(all, ({ dropped }) => dropped),
    rows: await countLogRows(system),
  }
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const left = [...list]
  return list.map(() => left.splice(Math.floor(random() * left.length), 1)[0]!)
}
