/** Tests commands to releases while the API cannot reach Temporal: permissions, crashes during delivery, late commands. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { deliverDue, deliveryPolicy } from '../../../../api/services/command-delivery.ts'
import { claimDueCommands, listCommands } from '../../../../store/commands.ts'
import type { Store } from '../../../../store/postgres.ts'
import { findRelease } from '../../../../store/release/releases.ts'
import { releaseWorkflowId } from '../../../../workflows/messages.ts'
import { recorded } from '../../../support/commands/signed.ts'
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
const ends = (outcome: string) =>
  until(async () => (await office.show(`/v1/releases/${id}`))['outcome'] === outcome, outcome)

it('a command without permission, with an invalid body or for an unknown release is refused at once and not recorded', async () => {
  const { approve, say, count, fixture, toTemporal } = office
  toTemporal.cut()
  expect((await approve('vera', id)).status).toBe(403)
  // The key is for other models and must learn nothing about this one.
  expect((await approve('otto', id)).status).toBe(404)
  expect((await approve('anna', id, { artifact_digest: 'x' })).status).toBe(400)
  expect((await say('anna', '/v1/releases/rel_0/approve')).status).toBe(404)
  expect([await count(id), await count(id, 'command.recorded')]).toEqual([0, 0])
  await fixture.store.query(
    sql`update releases set state = jsonb_set(state, '{requestedBy}', '"ben"') where id = ${id}`,
  )
  // Its row waits for the answer of the release, which is the same.
  expect(await approve('ben', id)).toMatchObject({
    status: 409,
    json: { code: 'command_refused', detail: expect.stringMatching(/requested the release/) as string },
  })
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
  const given = [await approve('anna', id), await approve('ben', id)]
  toTemporal.mend()
  // A sender that crashes while sending records nothing, and its lease expires.
  const query: Store['query'] = (statement) =>
    /times = times \+ 1/.test(statement.text)
      ? Promise.reject(new Error('killed'))
      : fixture.store.query(statement)
  const dying = { ...api.deps, store: { ...fixture.store, query } }
  // The signal of one tells the release of both.
  await until(async () => {
    await dueNow()
    await deliverDue(dying, deliveryPolicy)
    return (await count(id, 'release.approve')) === 2
  }, 'the commands')
  await Promise.all([deliver(), deliver(), deliver()])
  for (const { json } of given) await answered(String(json['id']))
  await ends('promoted')
  for (const { json } of given)
    expect(await show(`/v1/commands/${String(json['id'])}`)).toMatchObject({
      state: 'delivered',
    })
  expect(await count(id, 'release.approve')).toBe(2)
  const { commands } = (await show(`/v1/releases/${id}`)) as { commands: { accepted: boolean }[] }
  expect(commands.map(({ accepted }) => accepted)).toEqual([true, true])
})

it('the commands of a release are sent in order, and a claimed command is leased', async () => {
  const { approve, fixture, toTemporal } = office
  toTemporal.cut()
  const { json: first } = await approve('anna', id)
  await approve('ben', id)
  const take = async () =>
    (await claimDueCommands(fixture.store, { limit: 100, leaseMs: 60_000 })).filter(
      ({ releaseId }) => releaseId === id,
    )
  const taken = (await Promise.all([take(), take(), take()])).flat()
  expect(taken.map((each) => each.id)).toEqual([first['id']])
  expect(await take()).toEqual([])
})

it('an approval after its window is refused, one recorded before the end of its release is answered before it, and both are audited', async () => {
  const { approve, fixture, count, send, answered, show, toTemporal, core } = office
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
  await fixture.store.query(sql`
    update releases set state = jsonb_set(state, '{enteredMs}', to_jsonb((state ->> 'enteredMs')::bigint + 7200000))
    where id = ${id}`)
  toTemporal.cut()
  const early = String((await approve('ben', id)).json['id'])
  // The act that ends the release answers what was recorded before it, without a look of the workflow.
  const handle = core.client.workflow.getHandle(releaseWorkflowId(model))
  await handle.cancel()
  await handle.result()
  toTemporal.mend()
  await send(early)
  expect(await show(`/v1/commands/${early}`)).toMatchObject({
    state: 'delivered',
    accepted: true,
    message: 'approved by ben, 1 of 2',
  })
  expect((await findRelease(fixture.store, id))?.state).toMatchObject({
    outcome: 'aborted',
    reason: 'the workflow was cancelled',
    approvals: [{ by: 'ben' }],
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
  const first = await recorded(core, run, 'approve', { by: 'anna', id: 'the first' })
  expect(await handle.executeUpdate('approve', { args: [first] })).toMatchObject({ accepted: true })
  // More messages than one run takes; all but the first name no command.
  for (let sent = 0; sent < 5_000; sent += 200)
    await Promise.all(Array.from({ length: 200 }, () => handle.signal('approve', { by: 'mallory' })))
  await expect.poll(async () => (await handle.describe()).runId).not.toBe(runId)
  expect(await count(id, 'release.approve')).toBe(1)
  const answer = await say('olga', `/v1/releases/${id}/pause`)
  const detail = expect.stringMatching(/no stage is running/) as string
  expect(answer).toMatchObject({ status: 409, json: { detail } })
  // A repetition of the first is no second approval.
  expect(await handle.executeUpdate('approve', { args: [first] })).toMatchObject({ accepted: true })
  expect((await say('ben', `/v1/releases/${id}/approve`)).status).toBe(200)
  await ends('promoted')
  expect(await count(id, 'release.approve')).toBe(2)
  const commands = await listCommands(core.store, id)
  expect(commands.filter(({ accepted }) => accepted)).toHaveLength(2)
})
