/** Lets proven champions fail on real processes, and measures when a channel is told and when the former version answers. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import sql from 'sql-template-tag'
import { startAlerts } from '../../temporal/standing-workflows.ts'
import { markKnownGood, moveChampion } from '../../store/registry/champions.ts'
import { writeFaults } from '../../store/serving/replicas.ts'
import { findRouting, writeRoute } from '../../store/serving/routing.ts'
import { insertModel } from '../../test/support/release/candidates.ts'
import { releasePolicy } from '../../test/support/release/releases.ts'
import { waitUntil } from '../../test/support/serving/api-process.ts'
import { seatChampion } from '../../test/support/serving/seed-champion.ts'
import {
  startCallers,
  startRealSystem,
  type Callers,
  type RealSystem,
} from '../../test/support/servers/system-fixture.ts'

export interface FailingChampionRun {
  share: number
  /** Requests per second that were sent. */
  rate: number
  /** Seconds from the fault to the message in a channel, and to the first answer of the former version after it. */
  told: number
  back: number
  /** The requests that callers sent meanwhile, and the failed ones among them. */
  requests: number
  failed: number
}

const replicas = 2
/** So many requests of both versions are seen before the fault. */
const warm = 20
const longestMs = 900_000
const faults: Record<string, { invalidShare: number }> = {}
let writing: Promise<unknown> = Promise.resolve()

/** A message that a channel received. */
export interface Told {
  atMs: number
  about: 'raised' | 'resolved'
  kind: string
  model: string | undefined
  message: string
}

/** Runs `work` with a real system and the messages of its channel. */
export async function withSystem<T>(
  work: (system: RealSystem, told: readonly Told[]) => Promise<T>,
): Promise<T> {
  const told: Told[] = []
  const receiver = createServer((request, response) => {
    void json(request).then((body) => {
      const { about, alert } = body as Pick<Told, 'about'> & { alert: Omit<Told, 'about' | 'atMs'> }
      told.push({ atMs: Date.now(), about, kind: alert.kind, model: alert.model, message: alert.message })
      response.end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
  const system = await startRealSystem({
    replicas,
    leaseMs: 5_000,
    prepare: ({ alertChannels }) => {
      writeFileSync(alertChannels, JSON.stringify([{ name: 'phone', target: { kind: 'webhook', url } }]))
      return Promise.resolve()
    },
  })
  try {
    await startAlerts(system.client, system.config.taskQueues.control)
    return await work(system, told)
  } finally {
    await system.stop()
    receiver.close()
  }
}

/** Runs the champions of each group at the same time, and the groups one after another. */
export async function runFailing(
  system: RealSystem,
  told: readonly Told[],
  groups: readonly (readonly Pick<FailingChampionRun, 'share' | 'rate'>[])[],
): Promise<FailingChampionRun[]> {
  const found: FailingChampionRun[] = []
  for (const group of groups)
    found.push(...(await Promise.all(group.map((each) => runOne(system, each, told)))))
  return found
}

async function runOne(
  system: RealSystem,
  { share, rate }: Pick<FailingChampionRun, 'share' | 'rate'>,
  told: readonly Told[],
): Promise<FailingChampionRun> {
  const { store } = system
  const model = `fails-${share * 100}-at-${rate}`
  const { first, second } = await seatTwo(system, model)
  const callers = startCallers(system.urls, model, (1_000 * replicas) / rate)
  try {
    await waitUntil(() => (callers.answered.get(second) ?? 0) >= warm, `${model}: answers before the fault`)
    callers.reset()
    const faultMs = Date.now()
    faults[second] = { invalidShare: share }
    // One row holds the faults of all versions, so the writes must not overtake each other.
    await (writing = writing.then(() => writeFaults(store, faults)))
    const toldMs = () => told.find((each) => each.model === model && each.kind === 'champion_failing')?.atMs
    await waitUntil(() => toldMs() !== undefined, `${model}: the message`, longestMs)
    await waitUntil(() => (callers.answered.get(first) ?? 0) > 0, `${model}: an answer of the former version`)
    const backMs = Date.now()
    return {
      share,
      rate,
      told: (toldMs()! - faultMs) / 1_000,
      back: (backMs - faultMs) / 1_000,
      ...(await countServed(store, { model, sinceMs: faultMs })),
    }
  } finally {
    await callers.stop()
  }
}

export function requestsOf({ answered, failures }: Callers): Pick<FailingChampionRun, 'requests' | 'failed'> {
  const answers = [...answered.values()].reduce((sum, each) => sum + each, 0)
  return { requests: answers + failures.length, failed: failures.length }
}

/** Registers two proven versions of a model, of which the second serves. */
export async function seatTwo({ store, config }: RealSystem, model: string) {
  const { artifactRoot } = config
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const first = await registry.register()
  await seatChampion(store, model, first)
  const second = await registry.register(first)
  const promotion = { model, cause: 'promotion', actor: 'bench', reason: 'new' } as const
  await moveChampion(store, { ...promotion, from: first, to: second })
  await markKnownGood(store, second)
  const replaces = (await findRouting(store, model))!.route
  const arms = [{ arm: 'champion' as const, version: second, shareBp: 10_000 }]
  const route = { model, salt: model, arms, proven: second, standby: first }
  await store.transaction((database) => writeRoute(database, { route, replaces }))
  // It has served for an hour: a tick that began before a champion is not judged.
  await store.query(sql`update champions set since = since - interval '1 hour' where model = ${model}`)
  return { first, second }
}

/** The requests that the model served since a time, and those of them that failed. */
async function countServed(
  store: RealSystem['store'],
  { model, sinceMs }: { model: string; sinceMs: number },
): Promise<Pick<FailingChampionRun, 'requests' | 'failed'>> {
  const [found] = await store.query<Pick<FailingChampionRun, 'requests' | 'failed'>>(sql`
    select sum(requests)::int as requests, sum(errors + invalid)::int as failed from tick_counters
    where model = ${model} and tick + tick_ms * interval '1 ms' > to_timestamp(${sinceMs}::float8 / 1000)`)
  return found!
}
