/**
 * Tests F32: thirty days of hourly windows, each a few milliseconds long. A monitor evaluates every window across several runs, and a
 * release of the same length receives signals throughout, also during continue-as-new.
 *
 * TENURE_TEST_DAYS=30    days (default)
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { defaultGatePolicy } from '../../../../domain/evaluation/policy.ts'
import { defaultMonitorPolicy } from '../../../../domain/monitoring/policy.ts'
import { seededRandom } from '@tenure/sequential'
import type { CommandName } from '../../../../domain/release/state.ts'
import { insertMonitorWindow } from '../../../../store/monitoring/monitor-windows.ts'
import { moveChampion } from '../../../../store/registry/champions.ts'
import { findRelease } from '../../../../store/release/releases.ts'
import { environmentWith } from '../../../../temporal.config.ts'
import { recorded as recordedCommand } from '../../../support/commands/signed.ts'
import { commandSignals, monitorWorkflowId } from '../../../../workflows/messages.ts'
import { lengthsOf } from '../../../support/release/signal-burst.ts'
import { reached } from '../../figures.ts'
import { seatChampion } from '../../../support/serving/seed-champion.ts'
import { ownServers } from '../../../support/servers/servers.ts'
import { until } from '../../../support/serving/serving-fixture.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type ReleaseFixture,
} from '../../../support/release/release-fixture.ts'

const days = Number(environmentWith({})['TENURE_TEST_DAYS'] ?? 30)
const windows = 24 * days
const everyMs = 40
/** Limits of a workflow run. */
const mostEvents = 5_000

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

it('a monitor evaluates every window once across continue-as-new runs', async () => {
  const { client, config, store } = fixture
  const { name: model, register } = await fixture.model()
  const version = await register()
  const monitor = { ...defaultMonitorPolicy, everyMs, settleMs: 0 }
  const definition = { evaluation: { policy: defaultGatePolicy('binary') }, monitor }
  await store.query(sql`
    update models set definition = definition || ${JSON.stringify(definition)}::jsonb where name = ${model}`)
  await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' })
  // The worker was away for the whole time and has all windows to evaluate.
  const afterMs = Math.floor(Date.now() / everyMs) * everyMs - windows * everyMs
  const before = { model, fromMs: afterMs - everyMs, toMs: afterMs, facts: {}, findings: {}, judge: 'test' }
  await insertMonitorWindow(store, before)
  const handle = await client.workflow.start('monitor', {
    workflowId: monitorWorkflowId(model),
    taskQueue: config.taskQueues.control,
    args: [{ model }],
  })
  const seen = async () => {
    const [row] = await store.query<{ count: number; distinct: number; span: number }>(sql`
      select count(*)::int as count, count(distinct to_at)::int as distinct,
        (extract(epoch from max(to_at) - min(from_at)) * 1000)::float8 as span
      from monitor_windows where model = ${model} and from_at >= to_timestamp(${afterMs / 1_000})`)
    return row!
  }
  await until(async () => (await seen()).count >= windows, `${windows} windows`)
  await handle.terminate('the end')
  const { count, distinct, span } = await seen()
  expect([distinct, span]).toEqual([count, count * everyMs])
  const lengths = await lengthsOf(fixture, handle.workflowId, handle.firstExecutionRunId)
  expect(lengths.length).toBeGreaterThan(Math.floor(windows / 200))
  expect(Math.max(...lengths)).toBeLessThanOrEqual(mostEvents)
  reached(
    'F32',
    `${count} windows of a monitor, each once, in ${lengths.length} runs of at most ${Math.max(...lengths)} events`,
  )
})

const words: readonly [CommandName, string][] = [
  ['pause', 'olga'],
  ['resume', 'anna'],
  ['approve', 'anna'],
  ['pause', 'mallory'],
  ['reject', 'ben'],
]

it('a signal sent to a release during continue-as-new counts once and is answered', async () => {
  const { client, store } = fixture
  const fixtureModel = await fixture.model()
  const champion = await fixtureModel.register()
  await seatChampion(store, fixtureModel.name, champion)
  const month = { minMs: 3_600_000, minRequests: 20, deadlineMs: 7_200_000, shareBp: 10_000 }
  const watch = { ...quickPolicy.watch, everyMs, decisionMs: 3_600_000 }
  const release = await fixtureModel.start(await fixtureModel.register(champion), { shadow: month, watch })
  const { workflowId, firstExecutionRunId } = release.handle
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna', { id: 'first' })
  await release.reaches('shadow', 0)

  const chance = seededRandom(32)
  const handle = client.workflow.getHandle(workflowId)
  const sent = new Set<string>()
  const answers = new Map<string, string>()
  let going = true
  const talker = async (who: number) => {
    for (let i = 0; going; i++) {
      const [name, by] = words[Math.floor(chance() * words.length)]!
      const command = { by, id: `said-${who}-${i}`, reason: `said-${who}-${i}` }
      sent.add(command.id)
      if (chance() < 0.05) {
        const { message } = await release.say(name, by, command)
        answers.set(command.id, message)
      } else {
        const said = await recordedCommand(fixture, release.handle, name, command)
        await handle.signal(commandSignals[name], said)
        if (chance() < 0.2) await handle.signal(commandSignals[name], said)
      }
      await pause(20)
    }
  }
  const talkers = [0, 1, 2].map(talker)
  const runIds = new Set<string>()
  const handedOver = async () => runIds.add((await handle.describe()).runId).size > 5
  const fromMs = performance.now()
  const isOver = async () => (await handedOver()) && performance.now() - fromMs > windows * everyMs
  await until(isOver, 'the month, and five runs that hand over').finally(() => (going = false))
  await Promise.all(talkers)

  const recorded = () =>
    store.query<{ id: string; command: string; accepted: boolean; message: string }>(sql`
      select reason as id, kind as command, accepted, message from commands
      where release_id = ${release.id} and reason like 'said-%' and answered_at is not null`)
  await until(async () => (await recorded()).length >= sent.size, 'all that was said')
  const rows = await recorded()
  expect(rows.map(({ id }) => id).sort()).toEqual([...sent].sort())
  const audited = await store.query<{ id: string }>(sql`
    select detail ->> 'reason' as id from audit
    where subject = ${release.id} and detail ->> 'reason' like 'said-%' and action <> 'command.recorded'`)
  expect(audited.map(({ id }) => id).sort()).toEqual([...sent].sort())
  // Every waiting sender received the recorded result.
  expect(answers.size).toBeGreaterThan(0)
  const written = new Map(rows.map(({ id, message }) => [id, message]))
  for (const [id, message] of answers) expect(message).toBe(written.get(id))
  // Pauses and resumes alternate, so their counts differ by one while the release is paused.
  const carriedOut = (name: string) => rows.filter(({ command, accepted }) => accepted && command === name)
  const { state } = (await findRelease(store, release.id))!
  expect(carriedOut('pause').length - carriedOut('resume').length).toBe(state.paused ? 1 : 0)
  expect(carriedOut('pause').length).toBeGreaterThan(0)
  expect(state.stage).toBe('shadow')

  await release.say('abort', 'olga', { reason: 'enough' })
  expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  const lengths = await lengthsOf(fixture, workflowId, firstExecutionRunId)
  expect(lengths.length).toBeGreaterThan(5)
  expect(Math.max(...lengths)).toBeLessThanOrEqual(mostEvents)
  reached(
    'F32',
    `${sent.size} commands to a release over ${lengths.length} runs of at most ${Math.max(...lengths)} events: 0 lost, 0 counted twice`,
  )
})
