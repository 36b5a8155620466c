/** Sends a burst of signals to one release: each one twice, out of order, some late. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { seededRandom } from '@tenure/sequential'
import type { CommandName } from '../../../domain/release/state.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { commandSignals } from '../../../workflows/messages.ts'
import { recorded as recordedCommand, type GivenCommand } from '../commands/signed.ts'
import { fetchRuns } from './histories.ts'
import { seatChampion } from '../serving/seed-champion.ts'
import { quickPolicy, type ReleaseFixture } from './release-fixture.ts'

export interface BurstResult {
  sent: number
  /** Number of distinct command ids. */
  different: number
  /** Number of events of each workflow run, oldest first. */
  histories: number[]
  outcome: string
  issues: string[]
  tookMs: number
}

/** Prefix of the command ids of a burst. Other commands have random ids that may begin with any letter. */
const mark = 'burst-'
const words: readonly [CommandName, string][] = [
  ['pause', 'olga'],
  ['resume', 'anna'],
  ['approve', 'anna'],
  ['approve', 'mallory'],
  ['reject', 'ben'],
]

/** Sends `count` signals to a release in its shadow stage, of which twice `real` name a row, and then ends the release. */
export async function sendBurst(
  fixture: ReleaseFixture,
  count: number,
  { real = 20, timeoutMs = 240_000 }: { real?: number; timeoutMs?: number } = {},
): Promise<BurstResult> {
  const from = performance.now()
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.register()
  await seatChampion(fixture.store, fixtureModel.name, first)
  const long = { minMs: 3_600_000, minRequests: 20, deadlineMs: 7_200_000, shareBp: 10_000 }
  // A pause in the burst must not expire while signals arrive.
  const watch = { ...quickPolicy.watch, decisionMs: 3_600_000 }
  const release = await fixtureModel.start(await fixtureModel.register(first), { shadow: long, watch })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await release.reaches('shadow', 0)

  const given = Array.from({ length: real }, (_, index) => {
    const [name, by] = words[index % words.length]!
    return { name, given: { by, id: `${mark}${index}`, reason: mark } satisfies GivenCommand }
  })
  // Each twice.
  const named = await Promise.all(
    [...given, ...given].map(async (each) => ({
      name: each.name,
      message: await recordedCommand(fixture, release.handle, each.name, each.given),
    })),
  )
  const invented = Array.from({ length: count - named.length }, () => ({
    name: 'approve' as const,
    message: { command: `cmd_${randomUUID().replaceAll('-', '')}` },
  }))
  const signals = shuffled([...named, ...invented])
  const different = real
  const handle = fixture.client.workflow.getHandle(release.handle.workflowId)
  const send = async () => {
    for (let each = signals.shift(); each !== undefined; each = signals.shift())
      await handle.signal(commandSignals[each.name], each.message)
  }
  await Promise.all(Array.from({ length: 40 }, send))

  const recorded = async () => {
    const [row] = await fixture.store.query<{ count: number }>(sql`
      select count(*)::int as count from commands
      where release_id = ${release.id} and reason = ${mark} and answered_at is not null`)
    return row?.count ?? 0
  }
  while ((await recorded()) < different && performance.now() - from < timeoutMs)
    await new Promise((resolve) => setTimeout(resolve, 100))
  const issues: string[] = []
  if ((await recorded()) !== different)
    issues.push(`${await recorded()} of ${different} commands are recorded`)
  const [doubled] = await fixture.store.query<{ count: number }>(sql`
    select count(*)::int as count from (
      select detail ->> 'id' from audit where subject = ${release.id} and detail ->> 'reason' = ${mark}
        and action <> 'command.recorded'
      group by 1 having count(*) > 1) as twice`)
  if (doubled?.count !== 0) issues.push(`${doubled?.count} commands are audited more than once`)
  const [audited] = await fixture.store.query<{ count: number }>(sql`
    select count(*)::int as count from audit where subject = ${release.id} and detail ->> 'reason' = ${mark}
      and action <> 'command.recorded'`)
  if (audited?.count !== different)
    issues.push(`${audited?.count} audit rows stand for ${different} commands`)
  const after = await findRelease(fixture.store, release.id)
  if (after?.endedAt !== undefined)
    issues.push(`the burst has ended it: ${after.state.outcome}, ${after.state.reason}`)

  if (issues.length > 0) throw new Error(issues.join('; '))
  await release.signal('abort', { by: 'olga', reason: 'enough' })
  const { outcome } = await release.handle.result()
  return {
    sent: count,
    different,
    histories: await lengthsOf(fixture, release.handle.workflowId, release.handle.firstExecutionRunId),
    outcome,
    issues,
    tookMs: performance.now() - from,
  }
}

/** Returns the lengths of all histories, starting with the first run. */
export async function lengthsOf(
  { client }: Pick<ReleaseFixture, 'client'>,
  workflowId: string,
  firstRunId: string,
): Promise<number[]> {
  const runs = await fetchRuns(client, workflowId, firstRunId)
  return runs.map(({ history }) => history.events?.length ?? 0)
}

function shuffled<T>(list: T[]): T[] {
  const random = seededRandom(7)
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[list[i], list[j]] = [list[j]!, list[i]!]
  }
  return list
}
