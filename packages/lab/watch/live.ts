/** Lets proven champions fail on real processes, and measures when a channel is told and when the former version answers. */
import { writeFileSync } from 'node:fs'
import sql from 'sql-template-tag'
import { z } from 'zod'
import { startAlerts } from '../../../workflows/client/permanent-workflows.ts'
import { writeFaults } from '../../../store/serving/replicas.ts'
import { startMessageReceiver } from '../../../test/support/chat/receiver.ts'
import { insertModel } from '../../../test/support/release/candidates.ts'
import { releasePolicy } from '../../../test/support/release/releases.ts'
import { waitUntil } from '../../../test/support/serving/api-process.ts'
import { seatSecond } from '../../../test/support/serving/seed-champion.ts'
import {
  startCallers,
  startRealSystem,
  type RealSystem,
} from '../../../test/support/servers/system-fixture.ts'

export interface FailingChampionRun {
  share: number
  /** Requests per second that were sent. */
  rate: number
  /** Seconds from the fault to the message in a channel, and to the first answer of the former version after it. */
  notifiedS: number
  back: number
  /** The requests that callers sent meanwhile, and the failed ones among them. */
  requests: number
  failed: number
}

const replicas = 2
/** So many requests of both versions are seen before the fault. */
const warm = 20
const faults: Record<string, { invalidShare: number }> = {}
let writing: Promise<unknown> = Promise.resolve()

/** A message that a channel received. */
export interface Notification {
  atMs: number
  about: 'raised' | 'resolved'
  alert: { kind: string; model?: string; message: string }
}

const notificationFormat = z.looseObject({
  about: z.enum(['raised', 'resolved']),
  alert: z.looseObject({ kind: z.string(), model: z.string().optional(), message: z.string() }),
})

/** Runs `work` with a real system and the messages of its channel so far. */
export async function withSystem<T>(
  work: (system: RealSystem, notifications: () => Notification[]) => Promise<T>,
): Promise<T> {
  const receiver = await startMessageReceiver(() => notificationFormat)
  const system = await startRealSystem({
    replicas,
    leaseMs: 5_000,
    prepare: ({ alertChannels }) => {
      const target = { kind: 'webhook', url: `${receiver.url}/hook` }
      writeFileSync(alertChannels, JSON.stringify([{ name: 'phone', target }]))
      return Promise.resolve()
    },
  })
  try {
    await startAlerts(system.client, system.config.taskQueues.control)
    return await work(system, () =>
      receiver.received.map(({ atMs, body }) => ({ atMs, ...notificationFormat.parse(body) })),
    )
  } finally {
    await system.stop()
    await receiver.stop()
  }
}

/** Runs the champions of each group at the same time, and the groups one after another. */
export async function runFailing(
  system: RealSystem,
  notifications: () => Notification[],
  groups: readonly (readonly Pick<FailingChampionRun, 'share' | 'rate'>[])[],
): Promise<FailingChampionRun[]> {
  const found: FailingChampionRun[] = []
  for (const group of groups)
    found.push(...(await Promise.all(group.map((each) => runOne(system, each, notifications)))))
  return found
}

async function runOne(
  system: RealSystem,
  { share, rate }: Pick<FailingChampionRun, 'share' | 'rate'>,
  notifications: () => Notification[],
): Promise<FailingChampionRun> {
  const { store } = system
  const model = `fails-${share * 100}-at-${rate}`
  const { first, second } = await seatTwo(system, model)
  const callers = startCallers(system.urls, model, (1_000 * replicas) / rate, 2_000)
  try {
    await waitUntil(() => (callers.answered.get(second) ?? 0) >= warm, `${model}: answers before the fault`)
    callers.reset()
    const faultMs = Date.now()
    faults[second] = { invalidShare: share }
    // One row holds the faults of all versions, so the writes must not overtake each other.
    await (writing = writing.then(() => writeFaults(store, faults)))
    const notifiedMs = () =>
      notifications().find(({ alert }) => alert.model === model && alert.kind === 'champion_failing')?.atMs
    await waitUntil(() => notifiedMs() !== undefined, `${model}: the message`)
    await waitUntil(() => (callers.answered.get(first) ?? 0) > 0, `${model}: an answer of the former version`)
    const backMs = Date.now()
    return {
      share,
      rate,
      notifiedS: (notifiedMs()! - faultMs) / 1_000,
      back: (backMs - faultMs) / 1_000,
      ...(await countServed(store, { model, sinceMs: faultMs })),
    }
  } finally {
    await callers.stop()
  }
}

/** Registers two proven versions of a model, of which the second serves. */
export async function seatTwo({ store, config }: RealSystem, model: string) {
  const { artifactRoot } = config
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const first = await registry.register()
  const second = await registry.register(first)
  await seatSecond(store, { model, first, second })
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
