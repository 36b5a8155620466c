/** Tests commands to releases while the API cannot reach Temporal: permissions, crashes during delivery, late commands. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { deliverDue, deliveryPolicy } from '../../../../api/services/command-delivery.ts'
import { claimDue } from '../../../../store/release/command-outbox.ts'
import { listCommands } from '../../../../store/release/releases.ts'
import type { Store } from '../../../../store/postgres.ts'
import { releaseWorkflowId } from '../../../../workflows/messages.ts'
import { signed } from '../../../support/commands/signed.ts'
import { openOutboxFixture, type OutboxFixture } from '../../../support/release/outbox-fixture.ts'
import { until } from '../../../support/serving/serving-fixture.ts'

let office: OutboxFixture
beforeAll(async () => {
  office = await openOutboxFixture()
})
afterAll(async () => {
  await office?.close()
})
let id: string
let model: string
beforeEach(async () => {
  office.toPostgres.mend()
  await office.back()
  ;({ id, model } = await office.waiting())
})
const timeoutMs = 60_000
const ends = (outcome: string) =>
  until(async () => (await office.show(`/v1/releases/${id}`))['outcome'] === outcome, outcome, timeoutMs)

it('a command without permission, with an invalid body or for an unknown release is refused at once and not recorded', async () => {
  const { approve, say, count, fixture, toTemporal } = office
  toTemporal.cut()
  expect((await approve('vera', id)).status).toBe(403)
  // The key is for other models and must learn nothing about this one.
  expect((await approve('otto', id)).status).toBe(404)
  expect((await approve('anna', id, { artifact_digest: 'x' })).status).toBe(400)
  expect((await say('anna', '/v1/releases/rel_0/approve')).status).toBe(404)
  await fixture.store.query(
    sql`update releases set state = jsonb_set(state, '{requestedBy}', '"ben"') where id = ${id}`,
  )
  expect(await approve('ben', id)).toMatchObject({
    status: 409,
    json: { code: 'command_refused', detail: expect.stringMatching(/requested the release/) as string },
  })
  expect([await count(id), await count(id, 'command.recorded')]).toEqual([0, 0])
})

it('a recorded command is visible only to keys that cover its model', async () => {
  office.toTemporal.cut()
  const { json } = await office.approve('anna', id)
  const path = `/v1/commands/${String(json['id'])}`
  expect(await office.show(path, 'otto')).toMatchObject({ code: 'not_found' })
  expect(await office.show('/v1/commands/cmd_0')).toMatchObject({ code: 'not_found' })
})

it('a command whose sender dies before acknowledging is sent again and applied once, even by concurrent senders', async () => {
  const { approve, api, fixture, count, deliver, dueNow, answered, show, toTemporal } = office
  toTemporal.cut()
  const recorded = [await approve('anna', id), await approve('ben', id)]
  toTemporal.mend()
  // A sender that crashes while sending records nothing, and its lease expires.
  const query: Store['query'] = (statement) =>
    /times = times \+ 1/.test(statement.text)
      ? Promise.reject(new Error('killed'))
      : fixture.store.query(statement)
  const dying = { ...api.deps, store: { ...fixture.store, query } }
  const isApproved = async (times: number) => (await count(id, 'release.approve')) === times
  await until(
    async () => {
      await dueNow()
      await deliverDue(dying, deliveryPolicy)
      return isApproved(1)
    },
    'the first command',
    timeoutMs,
  )
  await until(
    async () => {
      await dueNow()
      await Promise.all([deliver(), deliver(), deliver()])
      return isApproved(2)
    },
    'the second command',
    timeoutMs,
  )
  for (const { json } of recorded) await answered(String(json['id']))
  await ends('promoted')
  // A command with a result was sent, although the sender crashed before recording it.
  await deliver()
  for (const { json } of recorded)
    expect(await show(`/v1/commands/${String(json['id'])}`)).toMatchObject({
      sent_at: expect.any(String) as string,
    })
  expect(await count(id, 'release.approve')).toBe(2)
  const { commands } = (await show(`/v1/releases/${id}`)) as { commands: { accepted: boolean }[] }
  expect(commands.map(({ accepted }) => accepted)).toEqual([true, true])
})

it('the commands of a release are sent in order, and a claimed command is leased', async () => {
  const { approve, fixture, toTemporal } = office
  toTemporal.cut()
  await approve('anna', id)
  await approve('ben', id)
  const take = async () =>
    (await claimDue(fixture.store, { limit: 100, leaseMs: 60_000 })).filter(
      ({ releaseId }) => releaseId === id,
    )
  const taken = (await Promise.all([take(), take(), take()])).flat()
  expect(taken.map(({ message }) => message.by)).toEqual(['anna'])
  expect(await take()).toEqual([])
})

it('an approval after its window or after the end of its release is refused and audited', async () => {
  const { approve, say, fixture, count, send, answered, show, toTemporal, core } = office
  await fixture.store.query(sql`
    update releases set state = jsonb_set(state, '{enteredMs}', to_jsonb((state ->> 'enteredMs')::bigint - 7200000))
    where id = ${id}`)
  toTemporal.cut()
  const late = String((await approve('anna', id)).json['id'])
  toTemporal.mend()
  await send(late)
  await answered(late)
  expect(await show(`/v1/commands/${late}`)).toMatchObject({
    state: 'refused',
    accepted: false,
    message: expect.stringMatching(/was valid until/) as string,
  })
  expect(await count(id, 'release.approve')).toBe(1)
  toTemporal.cut()
  const useless = String((await approve('ben', id)).json['id'])
  toTemporal.mend()
  const abort = async () => (await say('olga', `/v1/releases/${id}/abort`)).status
  await until(async () => (await abort()) !== 202, 'a Temporal that answers', timeoutMs)
  await core.client.workflow.getHandle(releaseWorkflowId(model)).result()
  await send(useless)
  expect(await show(`/v1/commands/${useless}`)).toMatchObject({
    state: 'refused',
    message: 'the release has ended: aborted',
  })
  expect(await count(id, 'release.approve')).toBe(2)
})

it('a command is not accepted while Postgres is unavailable too', async () => {
  office.toTemporal.cut()
  office.toPostgres.cut()
  const answer = await office.approve('anna', id)
  expect(answer).toMatchObject({ status: 503, json: { code: 'postgres_unavailable' } })
  expect(answer.headers.get('retry-after')).toBe('1')
})

it('a release after continue-as-new receives commands and remembers earlier ones', async () => {
  const { core, say, count } = office
  const handle = core.client.workflow.getHandle(releaseWorkflowId(model))
  const { runId } = await handle.describe()
  const run = { workflowId: handle.workflowId, firstExecutionRunId: runId }
  const first = await signed(core, run, 'approve', { by: 'anna', id: 'the first' })
  expect(await handle.executeUpdate('approve', { args: [first] })).toMatchObject({ accepted: true })
  // More commands than one run takes.
  const others = Array.from({ length: 260 }, (_, each) =>
    handle.signal('approve', { by: 'mallory', id: `other ${each}` }),
  )
  await Promise.all(others)
  await expect.poll(async () => (await handle.describe()).runId, { timeout: timeoutMs }).not.toBe(runId)
  await expect.poll(() => count(id, 'release.approve'), { timeout: timeoutMs }).toBe(1 + others.length)
  const answer = await say('olga', `/v1/releases/${id}/pause`)
  const detail = expect.stringMatching(/no stage is running/) as string
  expect(answer).toMatchObject({ status: 409, json: { detail } })
  // A repeated command id with other content; if applied, it would count as ben's approval.
  await handle.signal('approve', await signed(core, run, 'approve', { by: 'ben', id: 'the first' }))
  expect((await say('ben', `/v1/releases/${id}/approve`)).status).toBe(200)
  await ends('promoted')
  expect(await count(id, 'release.approve')).toBe(2 + others.length)
  const commands = await listCommands(core.store, id)
  expect(commands.filter(({ accepted }) => accepted)).toHaveLength(2)
})
