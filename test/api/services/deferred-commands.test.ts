/** Tests commands to a release while Temporal is unreachable. See `test/faults/long/network/command-outbox.test.ts` for crashes. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { actorOfKey } from '../../../api/auth/authentication.ts'
import type { CommandDeps } from '../../../api/deps.ts'
import { deliverDue, deliveryPolicy } from '../../../api/services/command-delivery.ts'
import { sendReleaseCommand } from '../../../api/services/release-commands.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import { listOpenAlertKeys } from '../../../store/monitoring/alerts.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { openOutboxFixture, type OutboxFixture } from '../../support/release/outbox-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

/** Temporal with a workflow of a client of it, which accepts every command and looks at no row. */
const deaf = (temporal: CommandDeps['temporal']): CommandDeps['temporal'] => {
  const workflow = {
    getHandle: (id: string, run?: string) => ({
      executeUpdate: () => Promise.resolve({ accepted: true, stage: 'rolling_back', message: 'aborted' }),
      signal: () => Promise.resolve(),
      describe: async () =>
        await temporal.call(60_000, ({ workflow: real }) => real.getHandle(id, run).describe()),
    }),
  }
  const call = (_ms: number, work: (client: never) => Promise<unknown>) => work({ workflow } as never)
  return { ...temporal, call, command: call } as CommandDeps['temporal']
}

let office: OutboxFixture
beforeAll(async () => {
  office = await openOutboxFixture()
})
afterAll(async () => {
  await office?.close()
})

it('a deferred approval is recorded once with its audit row, is listed, and counts when it is delivered', async () => {
  const { toTemporal, approve, show, count, deliver, fixture } = office
  const { id } = await office.waiting()
  toTemporal.cut()
  const once = uniqueName('once')
  const first = await approve('anna', id, { reason: 'looked at it' }, once)
  expect(first).toMatchObject({
    status: 202,
    json: {
      release: id,
      command: 'approve',
      state: 'waiting',
      message: expect.stringMatching(/as soon as Temporal answers/) as string,
    },
  })
  const command = String(first.json['id'])
  const path = `/v1/commands/${command}`
  expect(first.headers.get('location')).toBe(path)
  // The delivery becomes due with the response, or not at all.
  const together = await fixture.store.query<{ transactions: number }>(sql`
    select count(distinct by)::int as transactions from (
      select xmin::text as by from commands where id = ${command}
      union all select xmin::text from idempotent_requests where name = ${once}) as rows having count(*) = 2`)
  expect(together).toEqual([{ transactions: 1 }])
  const again = await approve('anna', id, { reason: 'looked at it' }, once)
  expect(again).toMatchObject({ status: 202, json: first.json })
  expect([await count(id), await count(id, 'command.recorded')]).toEqual([1, 1])
  expect(await show(path)).toMatchObject({ state: 'waiting', actor: 'anna', reason: 'looked at it' })
  expect((await show(`/v1/releases/${id}`))['recorded']).toMatchObject([
    { command: 'approve', state: 'waiting' },
  ])
  // Temporal is still away.
  expect(await deliver()).toBe(false)
  expect(await show(path)).toMatchObject({ state: 'waiting', problem: expect.stringMatching(/./) as string })
  toTemporal.mend()
  await office.send(command)
  await office.answered(command)
  expect(await show(path)).toMatchObject({
    state: 'delivered',
    accepted: true,
    stage: 'awaiting_approval',
    message: 'approved by anna, 1 of 2',
  })
  expect((await show(`/v1/releases/${id}`))['recorded']).toEqual([])
  expect(await count(id, 'release.approve')).toBe(1)
})

describe('a command whose workflow accepts everything and looks at nothing', () => {
  let id: string
  let command: string
  let deps: CommandDeps
  const fate = () => office.show(`/v1/commands/${command}`)
  beforeAll(async () => {
    ;({ id } = await office.waiting())
    deps = { ...office.api.deps, temporal: deaf(office.api.deps.temporal) }
  })

  it('is answered by the row alone, whatever the workflow says', async () => {
    const [anna] = (await findActiveKeys(office.fixture.store)).filter(({ name }) => name === 'anna')
    const sent = await sendReleaseCommand(deps, actorOfKey(anna!), { command: 'abort', release: id })
    expect(sent).toMatchObject({
      deferred: { state: 'waiting', message: 'recorded; the release has not answered it yet' },
    })
    command = 'deferred' in sent ? sent.deferred.id : ''
    expect((await office.show(`/v1/releases/${id}`))['stage']).toBe('awaiting_approval')
  })

  it('is applied by its delivery after 30 s, with an alert, and shown until then', async () => {
    const { store } = office.fixture
    // Told once, and left unanswered.
    await office.dueNow()
    expect(await deliverDue(deps, deliveryPolicy)).toBe(true)
    expect(await fate()).toMatchObject({ state: 'delivered' })
    expect((await fate())['accepted']).toBeUndefined()
    const { releases } = (await office.show('/v1/releases?open=true')) as {
      releases: { id: string; warning?: string }[]
    }
    expect(releases.find((each) => each.id === id)?.warning).toMatch(/^abort by anna at .* not answered yet$/)
    const page = await office.api.request('GET', `/releases/${id}`, { key: office.keys['vera']! })
    expect(page.text).toMatch(/Abort by anna at [\d:]+Z not answered yet/)
    expect(page.text).toContain('no answer yet')
    await office.dueNow()
    await deliverDue(deps, deliveryPolicy)
    expect((await fate())['accepted']).toBeUndefined()
    await store.query(sql`update commands set at = at - interval '30 seconds' where id = ${command}`)
    await office.dueNow()
    await deliverDue(deps, deliveryPolicy)
    expect(await fate()).toMatchObject({ accepted: true, stage: 'ended' })
    expect((await findRelease(store, id))!.state).toMatchObject({ stage: 'ended', outcome: 'aborted' })
    expect(await listOpenAlertKeys(store, ['workflow_blocked'])).toEqual([`command_unanswered/${id}`])
  })
})
