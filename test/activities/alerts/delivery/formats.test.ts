/** Tests messages against receivers that check the published formats of their vendors. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Message } from '../../../../activities/alerts/delivery/message.ts'
import { send } from '../../../../activities/alerts/delivery/send.ts'
import type { About, ChannelTarget } from '../../../../domain/monitoring/alert-escalation.ts'
import {
  opsgenieCloseFormat,
  opsgenieFormat,
  pagerdutyChangeFormat,
  pagerdutyFormat,
  slackFormat,
  teamsFormat,
} from '../../../support/chat/vendor-formats.ts'
import { startMessageReceiver, type Receiver } from '../../../support/chat/receiver.ts'

let receiver: Receiver

beforeAll(async () => {
  receiver = await startMessageReceiver((path) => {
    if (path === '/slack') return slackFormat
    if (path === '/teams') return teamsFormat
    if (path === '/v2/enqueue') return pagerdutyFormat
    if (path === '/v2/change/enqueue') return pagerdutyChangeFormat
    if (path === '/v2/alerts') return opsgenieFormat
    return /^\/v2\/alerts\/[^/]+\/close\?identifierType=alias$/.test(path) ? opsgenieCloseFormat : undefined
  })
})
afterAll(() => receiver?.stop())

const digests = { artifact: 'sha256:a', evaluation: 'sha256:e', policy: 'sha256:p' }
const messageOf = (about: About, kind = 'approval_needed'): Message => ({
  id: 7,
  about,
  link: 'https://tenure.example/releases/rel_1',
  runbook: 'https://tenure.example/runbooks/approval-needed',
  alert: {
    id: 'alr_1',
    dedupeKey: 'request/rel_1/awaiting_approval/1',
    kind,
    severity: 'warning',
    model: 'iris',
    message: `Approve iris_v1.1.0? <AUC> ${'x'.repeat(5_000)}`,
    raisedAt: '2026-01-01T00:00:00.000Z',
    evidence: {
      release: 'rel_1',
      digests,
      headline: `Approve iris_v1.1.0? ${'y'.repeat(300)}`,
      until: '2026-01-02T00:00:00.000Z',
    },
  } as unknown as Message['alert'],
})

const targets = (): ChannelTarget[] => [
  { kind: 'slack', url: `${receiver.url}/slack`, signingSecret: 's'.repeat(32) },
  { kind: 'teams', url: `${receiver.url}/teams` },
  { kind: 'pagerduty', url: receiver.url, routingKey: 'r'.repeat(32) },
  { kind: 'opsgenie', url: `${receiver.url}/`, apiKey: 'k'.repeat(36) },
]

it.each(['raised', 'reminder', 'resolved'] as const)(
  'a message of the kind %s has the format of each vendor',
  async (about) => {
    receiver.received.length = 0
    for (const target of targets()) await send(target, messageOf(about), 'all')
    expect(receiver.received.map(({ path }) => path)).toEqual([
      '/slack',
      '/teams',
      '/v2/enqueue',
      about === 'resolved'
        ? '/v2/alerts/tenure%2Frequest%2Frel_1%2Fawaiting_approval%2F1/close?identifierType=alias'
        : '/v2/alerts',
    ])
    const [slack, teams, pager, genie] = receiver.received
    const texts = JSON.stringify(slack!.body)
    expect(texts).toContain('&lt;AUC&gt;')
    expect(texts.includes('"action_id":"approve"')).toBe(about !== 'resolved')
    expect(JSON.stringify(teams!.body)).toContain('"url":"https://tenure.example/releases/rel_1"')
    expect(pager!.body).toMatchObject({
      event_action: about === 'resolved' ? 'resolve' : 'trigger',
      dedup_key: 'tenure/request/rel_1/awaiting_approval/1',
    })
    expect(genie!.headers.authorization).toBe(`GenieKey ${'k'.repeat(36)}`)
  },
)

/** All texts in a body. */
const textsIn = (value: unknown): string[] =>
  typeof value === 'string'
    ? [value]
    : typeof value === 'object' && value !== null
      ? Object.values(value).flatMap(textsIn)
      : []

it.each(['raised', 'reminder', 'resolved'] as const)(
  'a long text of the kind %s is whole or ends with an ellipsis, in every format',
  async (about) => {
    receiver.received.length = 0
    // Each sign is a pair of units, so that a cut could leave half of one.
    const [long, headline] = ['😀'.repeat(25_000), '🌧'.repeat(200)]
    const message = messageOf(about)
    Object.assign(message.alert, { message: `!${long}`, evidence: { ...message.alert.evidence, headline } })
    for (const target of targets()) await send(target, message, 'all')
    const texts = receiver.received.flatMap(({ body }) => textsIn(body))
    const cut = texts.filter((text) => /😀|🌧/u.test(text.replaceAll(long, '').replaceAll(headline, '')))
    expect(cut.filter((text) => !text.endsWith('…'))).toEqual([])
    expect(cut.filter((text) => /[\ud800-\udfff]/u.test(text))).toEqual([])
    expect(cut.length).toBeGreaterThan(0)
  },
)

it('the times of a message to Slack are in the zone of each reader, those of others in UTC, which they name', async () => {
  receiver.received.length = 0
  const message = messageOf('raised')
  message.alert.message =
    'Expires 2026-01-02 00:00 UTC; seen at 2026-01-01T12:00:00.000Z, not 2026-99-99 00:00 UTC'
  for (const target of targets().slice(0, 2)) await send(target, message, 'all')
  const [slack, teams] = receiver.received.map(({ body }) => JSON.stringify(body))
  const date = (timestamp: number, fallback: string) =>
    JSON.stringify({ type: 'date', timestamp, format: '{date_num} {time}', fallback })
  expect(slack).toContain(date(1_767_312_000, '2026-01-02 00:00 UTC'))
  expect(slack).toContain(date(1_767_268_800, '2026-01-01 12:00 UTC'))
  expect(slack).toContain('{"type":"text","text":"2026-99-99 00:00 UTC"}')
  expect(slack).toContain('until <!date^1767312000^{date_num} {time}|2026-01-02 00:00 UTC>')
  expect(teams).toContain('until 2026-01-02 00:00 UTC')
})

it('the buttons of Slack carry the release with its three digests, only where a click can be verified', async () => {
  receiver.received.length = 0
  const [slack] = targets()
  await send(slack!, messageOf('raised'), 'all')
  await send({ kind: 'slack', url: `${receiver.url}/slack` }, messageOf('raised'), 'all')
  await send(slack!, messageOf('raised', 'drift'), 'all')
  const actions = receiver.received.map(({ body }) =>
    (
      body as { blocks: { type: string; elements?: { value?: string; action_id: string }[] }[] }
    ).blocks.flatMap(({ type, elements = [] }) => (type === 'actions' ? elements : [])),
  )
  expect(actions.map(({ length }) => length)).toEqual([2, 0, 0])
  expect(actions[0]!.map(({ action_id, value }) => [action_id, JSON.parse(value!)])).toEqual([
    ['approve', { release: 'rel_1', digests }],
    ['reject', { release: 'rel_1', digests }],
  ])
})

it('a promotion pages no one: PagerDuty gets it as a change', async () => {
  receiver.received.length = 0
  await send(
    { kind: 'pagerduty', url: receiver.url, routingKey: 'r'.repeat(32) },
    messageOf('raised', 'release_promoted'),
    'all',
  )
  expect(receiver.received.map(({ path }) => path)).toEqual(['/v2/change/enqueue'])
})
