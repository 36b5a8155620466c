/**
 * Tests commands to releases while Temporal is down. The candidate is withdrawn; every command is recorded within a second and applied once
 * after recovery, although a replica is killed in between. The outage lasts 20 s, or TENURE_TEST_AWAY_S: `TENURE_TEST_AWAY_S=600 npm run
 * test:faults -- F15` runs ten minutes.
 */
import { execFile } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { syncSchedule } from '../../../../workflows/client/schedules.ts'
import type { ReleasePolicy } from '../../../../domain/release/policy.ts'
import { iris } from '../../../../models/iris.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { findRelease } from '../../../../store/release/releases.ts'
import { checkout, environmentWith } from '../../../../temporal.config.ts'
import {
  freshClient,
  startOutageSystem,
  type OutageSystem,
} from '../../../support/servers/temporal-outage.ts'
import { insertModel } from '../../../support/release/candidates.ts'
import { expectWithinLease, reached } from '../../figures.ts'
import { quickPolicy } from '../../../support/release/release-fixture.ts'
import { startedBy } from '../../../support/servers/started.ts'
import { insertKnownKey, startCallers, type Callers } from '../../../support/servers/system-fixture.ts'

const awayMs = Number(environmentWith({})['TENURE_TEST_AWAY_S'] ?? 20) * 1_000
const exposureMs = 3_000
const everyMs = 2_000
const hour = 3_600_000
const people = { anna: 'approver', ben: 'approver', olga: 'operator', vera: 'viewer' } as const
type Person = keyof typeof people

const limits = { ...quickPolicy.limits, maxStaleMs: 5_000 }
const watch = { tickMs: 200, everyMs: 200, exposureMs, acknowledgeMs: 5_000, decisionMs: hour }
/** Returns the policy of a first version, which only users advance. */
const direct = (approvers: number, withinMs: number): ReleasePolicy => ({
  strategy: 'direct',
  approval: { approvers, withinMs },
  stages: [],
  watch,
  limits,
})
const stage = { minMs: hour, minRequests: 20, deadlineMs: 2 * hour }
const canary: ReleasePolicy = {
  ...direct(1, hour),
  strategy: 'canary',
  stages: [{ ...stage, shareBp: 3_000 }],
}

let system: OutageSystem
let callers: Callers
const keys = {} as Record<Person, string>
beforeAll(async () => {
  system = await startOutageSystem({ replicas: 2, leaseMs: 2_000 })
  for (const [name, role] of Object.entries(people) as [Person, (typeof people)[Person]][])
    keys[name] = await insertKnownKey(system, { name, role })
})
afterEach((context) => {
  if (context.task.result?.state === 'fail') process.stderr.write(`${system.lines.slice(-80).join('\n')}\n`)
})
afterAll(async () => {
  await callers?.stop()
  await system?.stop()
})

let asked = 0
/** Alternates between both replicas. */
async function ask(who: Person, method: string, path: string, body?: object, once?: string) {
  const from = performance.now()
  const answer = await fetch(`${system.urls[asked++ % system.urls.length]}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${keys[who]}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(once === undefined ? {} : { 'idempotency-key': once }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const json = (await answer.json()) as Record<string, unknown>
  return { status: answer.status, json, tookMs: performance.now() - from }
}
const say = (who: Person, id: string, word: string, once?: string) =>
  ask(who, 'POST', `/v1/releases/${id}/${word}`, { reason: 'said while Temporal was away' }, once)

async function register(model: string, policy: ReleasePolicy) {
  return insertModel(system.store, { model, policy, artifactRoot: system.config.artifactRoot })
}
async function start(model: string, version: string, stage: string): Promise<string> {
  const { status, json } = await ask('olga', 'POST', '/v1/releases', { model, version })
  expect(status, JSON.stringify(json)).toBe(202)
  const { id } = await startedBy(
    json as { id: string },
    async (path) => (await ask('olga', 'GET', path)).json,
  )
  await reaches(id, stage)
  return id
}
const first = async (model: string, policy: ReleasePolicy) =>
  start(model, await (await register(model, policy)).register(), 'awaiting_approval')
const reaches = (id: string, stage: string) =>
  expect.poll(async () => (await findRelease(system.store, id))?.state.stage).toBe(stage)
const ends = (id: string, outcome: string) =>
  expect.poll(async () => (await findRelease(system.store, id))?.outcome).toBe(outcome)
const count = async (statement: ReturnType<typeof sql>) =>
  (await system.store.query<{ n: number }>(statement))[0]?.n ?? 0

it('a command during a Temporal outage is recorded within a second and applied once after recovery', async () => {
  // A candidate that serves requests, and first versions that await approval.
  const pulse = await register('pulse', canary)
  const champion = await pulse.register()
  const ready = await start('pulse', champion, 'awaiting_approval')
  // Applied, or recorded and applied when the worker has time.
  expect([200, 202]).toContain((await say('anna', ready, 'approve')).status)
  await ends(ready, 'promoted')
  const candidate = await pulse.register(champion)
  const exposed = await start('pulse', candidate, 'awaiting_approval')
  expect([200, 202]).toContain((await say('anna', exposed, 'approve')).status)
  callers = startCallers(system.urls, 'pulse')
  await expect.poll(() => callers.answered.get(candidate) ?? 0).toBeGreaterThan(5)
  const approved = await first('approved', direct(1, hour))
  const byTwo = await first('by-two', direct(2, hour))
  const rejected = await first('rejected', direct(1, hour))
  const aborted = await first('aborted', direct(1, hour))
  const words = await (await register('typed', direct(1, hour))).register()
  // The command line sends the digests that it displayed.
  await system.store.query(sql`
    update evaluations set report_digest = 'sha256:' || repeat('0', 64) where model = 'typed'`)
  const typed = await start('typed', words, 'awaiting_approval')
  const own = await first('own', direct(1, hour))
  await system.store.query(
    sql`update releases set requested_by = 'ben', state = jsonb_set(state, '{requestedBy}', '"ben"') where id = ${own}`,
  )
  // Its schedule fires continuously; each retraining fails at once.
  await register('scheduled', direct(1, hour))
  const definition = { ...iris.definition, name: 'scheduled', retrain: { everyMs, catchUpMs: hour } }
  await syncSchedule(system.client, definition, system.config.taskQueues.control)
  const runs = async (client = system.client) => {
    const { info } = await client.schedule.getHandle('retrain/scheduled').describe()
    return info.recentActions.map(({ scheduledAt }) => scheduledAt.getTime())
  }
  await expect.poll(async () => (await runs()).length).toBeGreaterThan(1)
  const late = await first('late', direct(1, 8_000))

  const from = performance.now()
  const awayFromMs = Date.now()
  system.hold()
  const said = [
    // Before its deadline of a few seconds.
    await say('anna', late, 'approve'),
    await say('anna', approved, 'approve', 'mine'),
    await say('anna', approved, 'approve', 'mine'),
    await say('anna', byTwo, 'approve'),
    await say('ben', byTwo, 'approve'),
    await say('ben', rejected, 'reject'),
    await say('olga', aborted, 'abort'),
  ]
  expect(said.map(({ status, json }) => `${status} ${String(json['state'] ?? json['detail'])}`)).toEqual(
    said.map(() => '202 waiting'),
  )
  expect(said[2]!.json).toEqual(said[1]!.json)
  // Users without permission are refused as usual.
  expect((await say('vera', typed, 'approve')).status).toBe(403)
  expect((await say('ben', own, 'approve')).status).toBe(409)
  const cli = await promisify(execFile)(
    process.execPath,
    ['cli/tenure.mjs', 'approve', typed, '--reason', 'typed'],
    { cwd: checkout, env: environmentWith({ TENURE_URL: system.urls[0]!, TENURE_KEY: keys.anna }) },
  )
  expect(cli.stdout).toMatch(/recorded; it will be delivered as soon as Temporal answers/)
  const slowestMs = Math.max(...said.map(({ tookMs }) => tookMs))
  const since = sql`from commands where at > to_timestamp(${awayFromMs}::float8 / 1000)`
  // Six, one by the command line, and the approval of its requester.
  expect(await count(sql`select count(*)::int as n ${since}`)).toBe(8)

  // Without a watcher the exposure of the candidate expires.
  await pause(Math.max(0, exposureMs + 1_000 - (performance.now() - from)))
  callers.reset()
  await expect.poll(() => callers.answered.get(champion) ?? 0).toBeGreaterThan(100)
  expect([...callers.answered.keys()]).toEqual([champion])
  const lastMs = Math.max(0, (callers.lastMs.get(candidate) ?? from) - from)
  expectWithinLease(lastMs, exposureMs)
  // A rollback does not wait for a workflow: the replicas follow it at once, and the release is notified later.
  expect(await say('olga', exposed, 'rollback')).toMatchObject({ status: 200, json: { accepted: true } })
  const recorded = await count(sql`select count(*)::int as n ${since}`)
  expect(recorded).toBe(9)
  await pause(Math.max(0, awayMs - (performance.now() - from)))
  expect(await count(sql`select count(*)::int as n ${since} and sent_at is not null`)).toBe(0)

  // Temporal is back, and a replica crashes while it delivers commands.
  const backMs = await system.release()
  // If the run ended first because of its own deadline, the command is refused instead of sent.
  const sent = () =>
    count(sql`
      select count(*)::int as n ${since} and (sent_at is not null or answered_at is not null and kind <> 'rollback')`)
  await expect.poll(sent, { interval: 5 }).toBeGreaterThan(0)
  system.signal('api-2', 'SIGKILL')
  await expect.poll(sent, { interval: 20 }).toBe(recorded)
  const deliveredMs =
    (await count(sql`select (extract(epoch from max(sent_at)) * 1000)::float8 as n ${since}`)) - backMs
  const open = sql`select count(*)::int as n ${since} and answered_at is null`
  await expect.poll(() => count(open)).toBe(0)
  const answeredMs = Date.now() - backMs
  await ends(approved, 'promoted')
  await ends(byTwo, 'promoted')
  await ends(typed, 'promoted')
  await ends(rejected, 'rejected')
  await ends(aborted, 'aborted')
  await ends(late, 'expired')
  await ends(exposed, 'rolled_back')
  expect(await findChampion(system.store, 'pulse')).toMatchObject({ version: champion })
  await reaches(own, 'awaiting_approval')

  // Each is applied once, and the late command and that of the requester are refused.
  const answers = await system.store.query<{ release_id: string; accepted: boolean; rows: number }>(sql`
    select release_id, accepted,
      (select count(*)::int from audit where subject = release_id and detail ->> 'id' = commands.id
        and action = 'release.' || kind) as rows
    ${since}`)
  expect(answers.map(({ rows }) => rows)).toEqual(answers.map(() => 1))
  const refusals = answers.filter(({ accepted }) => !accepted).map(({ release_id }) => release_id)
  expect(refusals.sort()).toEqual([late, own].sort())
  const isUp = async () => (await fetch(`${system.urls[1]}/readyz`)).status
  await expect.poll(isUp).toBe(200)
  const refused = (await ask('vera', 'GET', `/v1/commands/${String(said[0]!.json['id'])}`)).json
  expect(refused).toMatchObject({ state: 'refused', accepted: false })

  // Missed runs of the schedule are made up for at most once.
  const { client, close } = await freshClient(system)
  await expect.poll(async () => Math.max(...(await runs(client)))).toBeGreaterThan(backMs)
  const missed = (await runs(client)).filter((at) => at > awayFromMs + everyMs && at < backMs - everyMs)
  await close()
  expect(missed.length).toBeLessThanOrEqual(1)
  expect(await verifyAudit(system.store)).not.toMatchObject({ breach: expect.anything() })
  reached(
    'F15',
    `away for ${Math.round(awayMs / 1_000)} s: ${recorded} commands answered 202 within ${Math.round(slowestMs)} ms, ` +
      `delivered within ${Math.round(deliveredMs)} ms of its return and answered within ${Math.round(answeredMs)} ms, once each; ` +
      `last answer of the candidate after ${Math.round(lastMs)} ms (lease ${exposureMs} ms); ${missed.length} catch-up run`,
  )
})
