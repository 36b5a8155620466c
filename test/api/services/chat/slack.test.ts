/** Tests clicks on Slack cards, from the sent card to the release, on a whole replica. */
import { createHmac } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import sql from 'sql-template-tag'
import { z } from 'zod'
import { deliverAlerts } from '../../../../activities/alerts/delivery/deliver.ts'
import { findRelease } from '../../../../store/release/releases.ts'
import { startMessageReceiver, type Receiver } from '../../../support/chat/receiver.ts'
import { slackFormat } from '../../../support/chat/vendor-formats.ts'
import { openDashboard, type DashboardFixture } from '../../../support/dashboard/dashboard-fixture.ts'
import { until } from '../../../support/serving/serving-fixture.ts'
import { ownServers } from '../../../support/servers/servers.ts'

const secret = '8f742231b10e8888abcd99yyyzzz85a5'
let dashboard: DashboardFixture
let slack: Receiver
let release: string
let card: string

beforeAll(async () => {
  const servers = await ownServers()
  dashboard = await openDashboard(servers, { model: 'slack-model' })
  slack = await startMessageReceiver((path) =>
    path === '/hook' ? slackFormat : z.object({ text: z.string() }),
  )
  const users = { U0ANNA: 'anna', U0OLGA: 'olga', U0VERA: 'vera', U0GONE: 'gone' }
  const target = { kind: 'slack', url: `${slack.url}/hook`, signingSecret: secret, users }
  const { core } = dashboard
  writeFileSync(
    core.config.alertChannels,
    JSON.stringify([
      // Another channel of the same app, with the same secret.
      { name: 'other', target: { ...target, users: { U0ELSE: 'anna' } }, models: ['another'] },
      { name: 'chat', target },
    ]),
  )
  release = await dashboard.release(dashboard.candidate)
  const log = { warn: () => {} }
  await until(async () => {
    await deliverAlerts({ store: core.store, config: core.config, log })
    return cardOf(slack) !== undefined
  }, 'a card')
  card = cardOf(slack)!
})
afterAll(async () => {
  await dashboard?.close()
  await slack?.stop()
})

interface Blocks {
  blocks?: { elements?: { action_id?: string; value?: string }[] }[]
}

const cardOf = ({ received }: Receiver): string | undefined =>
  received
    .flatMap(({ body }) => (body as Blocks).blocks ?? [])
    .flatMap(({ elements = [] }) => elements)
    .find(({ action_id }) => action_id === 'approve')?.value

let clicks = 0

interface Click {
  user?: string
  value?: string
  action?: string
  /** How far the clock of the sender is ahead. */
  aheadMs?: number
  signedWith?: string
  responseUrl?: string
  once?: string
}

async function click(clicked: Click = {}): Promise<number> {
  const { user = 'U0ANNA', value = card, action = 'approve', once = `1700000000.${clicks++}` } = clicked
  const payload = {
    type: 'block_actions',
    user: { id: user, username: 'someone', team_id: 'T1' },
    response_url: clicked.responseUrl ?? `${slack.url}/response`,
    actions: [{ type: 'button', action_id: action, block_id: 'b', action_ts: once, value }],
  }
  const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString()
  const timestamp = String(Math.floor((Date.now() + (clicked.aheadMs ?? 0)) / 1_000))
  const digest = createHmac('sha256', clicked.signedWith ?? secret)
    .update(`v0:${timestamp}:${body}`)
    .digest('hex')
  const answer = await fetch(`${dashboard.url}/v1/chat/slack`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'x-slack-request-timestamp': timestamp,
      'x-slack-signature': `v0=${digest}`,
    },
    body,
  })
  return answer.status
}

/** Returns the message that Slack receives after a click. */
async function told(clicked: Click): Promise<string> {
  const before = responses().length
  expect(await click(clicked)).toBe(200)
  await expect.poll(() => responses().length).toBe(before + 1)
  return responses().at(-1)!
}
const responses = (): string[] =>
  slack.received.filter(({ path }) => path === '/response').map(({ body }) => (body as { text: string }).text)
const stage = async () => (await findRelease(dashboard.core.store, release))!.state.stage

it.each([
  ['another secret', { signedWith: 'x'.repeat(32) }, 401],
  ['a recorded request of six minutes ago', { aheadMs: -360_000 }, 401],
  ['a time that is still to come', { aheadMs: 360_000 }, 401],
  ['an address of another host', { responseUrl: 'https://elsewhere.example/x' }, 400],
  ['an unknown button', { action: 'promoteNow' }, 400],
] as const)('a click with %s is refused', async (_what, clicked, status) => {
  expect(await click(clicked)).toBe(status)
  expect(await stage()).toBe('awaiting_approval')
})

it('a click counts as the key of its user: roles, the two-person rule and the digests hold as everywhere', async () => {
  expect(await told({ user: 'U0NEW' })).toBe('Refused: the channel names no key for the Slack user U0NEW')
  expect(await told({ user: 'U0GONE' })).toBe('Refused: no active key is named gone')
  expect(await told({ user: 'U0VERA' })).toMatch(/^Refused: the key vera is a viewer/)
  // The requester is not an approver either.
  expect(await told({ user: 'U0OLGA' })).toMatch(/^Refused: /)
  const stale = card.replace(/"policy":"sha256:..../, '"policy":"sha256:0000')
  expect(stale).not.toBe(card)
  expect(await told({ value: stale })).toMatch(/^Refused: .*policy/)
  expect(await stage()).toBe('awaiting_approval')
  // Another approver has approved, and a stage now requires a decision.
  const { store } = dashboard.core
  const asks = (at: string) =>
    store.query(sql`
      update releases set state = state || jsonb_build_object('stage', ${at}::text) where id = ${release}`)
  await asks('awaiting_decision')
  expect(await told({})).toMatch(/^Refused: the release is in the stage awaiting_decision now/)
  await asks('awaiting_approval')
  expect(await told({ once: '1.1' })).toMatch(/^anna: /)
  await expect.poll(stage).not.toBe('awaiting_approval')
  expect(await told({})).toMatch(/^Refused: /)
})
