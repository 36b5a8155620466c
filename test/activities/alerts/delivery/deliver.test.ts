/** Tests what an alert becomes while its channel is unavailable: ended, acknowledged, or raised again. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deliverAlerts } from '../../../../activities/alerts/delivery/deliver.ts'
import {
  acknowledgeAlert,
  listAlerts,
  resolveAlert,
  upsertAlert,
} from '../../../../store/monitoring/alerts.ts'
import { openActivityDeps, type ActivityDeps } from '../../../support/activity-deps.ts'

interface RelayedAlert {
  labels: { severity: string }
  endsAt?: string
}

let deps: ActivityDeps
let receiver: Server
/** What each channel has received, as `path action`. */
let got: string[] = []
let isAway = false
/** The path of a single channel that is unavailable. */
let awayPath: string | undefined

beforeAll(async () => {
  deps = await openActivityDeps({
    environment: {
      TENURE_ALERT_CHANNELS: join(mkdtempSync(join(tmpdir(), 'tenure-channels-')), 'channels.json'),
    },
  })
  receiver = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      const body = JSON.parse(text) as { event_action: string; about?: string } | RelayedAlert[]
      const isOut = isAway || request.url === awayPath
      const kinds = Array.isArray(body)
        ? body.map(({ labels, endsAt }) => `${labels.severity} ${endsAt === undefined ? 'firing' : 'ended'}`)
        : [body.about ?? body.event_action]
      if (!isOut) got.push(...kinds.map((each) => `${request.url} ${each}`))
      response.writeHead(isOut ? 503 : 202).end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  const target = { kind: 'pagerduty', url, routingKey: 'k'.repeat(32) }
  const channels = [
    { name: 'pager', severities: ['critical'], target },
    { name: 'relay', severities: ['info', 'warning'], target: { kind: 'alertmanager', url } },
  ]
  writeFileSync(deps.config.alertChannels, JSON.stringify(channels))
})
beforeEach(async () => {
  got = []
  isAway = false
  awayPath = undefined
  await deps.store.query(sql`delete from alerts`)
})
afterAll(async () => {
  receiver.close()
  await deps.close()
})

const key = 'quality/iris'
const raise = (severity: 'info' | 'warning' | 'critical' = 'critical') =>
  upsertAlert(deps.store, {
    dedupeKey: key,
    model: 'iris',
    severity,
    kind: 'quality_lost',
    message: 'auc is 0.6',
  })
/** Delivers until nothing is due any more, however long a retry would wait. */
async function deliver(): Promise<string[]> {
  for (let rounds = 0; rounds < 4; rounds++) {
    await deps.store.query(sql`update alert_notifications set next_at = now() where next_at is not null`)
    await deliverAlerts(deps)
  }
  return got
}
const pages = '/v2/enqueue'

describe('a channel that was unavailable', () => {
  it('gets the end of an alert that ended meanwhile, and no page', async () => {
    isAway = true
    await raise()
    await deliver()
    await resolveAlert(deps.store, key, 'measured')
    await deliver()
    isAway = false
    expect(await deliver()).toEqual([`${pages} resolve`])
  })

  it('gets no page for an alert that was acknowledged meanwhile, but its end', async () => {
    isAway = true
    const id = await raise()
    await deliver()
    await acknowledgeAlert(deps.store, { id, by: 'anna' })
    isAway = false
    expect(await deliver()).toEqual([])
    await resolveAlert(deps.store, key, 'measured')
    expect(await deliver()).toEqual([`${pages} resolve`])
  })

  it('keeps the incident of an alert that was raised again, until that one ends', async () => {
    await raise()
    expect(await deliver()).toEqual([`${pages} trigger`])
    isAway = true
    await resolveAlert(deps.store, key, 'measured')
    await deliver()
    await raise()
    await deliver()
    isAway = false
    expect(await deliver()).toEqual([`${pages} trigger`, `${pages} trigger`])
    await resolveAlert(deps.store, key, 'measured')
    expect((await deliver()).slice(2)).toEqual([`${pages} resolve`])
  })

  it('gets the end of the first alert when the second also ended meanwhile, or is not sent there', async () => {
    await raise()
    await deliver()
    isAway = true
    await resolveAlert(deps.store, key, 'measured')
    await deliver()
    await raise()
    await deliver()
    await resolveAlert(deps.store, key, 'measured')
    await deliver()
    isAway = false
    expect(new Set((await deliver()).slice(1))).toEqual(new Set([`${pages} resolve`]))
    await raise()
    await deliver()
    got = []
    await resolveAlert(deps.store, key, 'measured')
    await raise('info')
    expect((await deliver()).filter((each) => each.startsWith(pages))).toEqual([`${pages} resolve`])
  })

  it('of the kind alertmanager gets an acknowledged alert', async () => {
    isAway = true
    const id = await raise('info')
    await deliver()
    await acknowledgeAlert(deps.store, { id, by: 'anna' })
    isAway = false
    expect(await deliver()).toEqual(['/api/v2/alerts info firing'])
  })
})

it('an Alertmanager gets the end of an alert under the severity that it had before', async () => {
  await raise('info')
  await deliver()
  await raise('warning')
  await deliver()
  await resolveAlert(deps.store, key, 'measured')
  expect((await deliver()).map((each) => each.slice('/api/v2/alerts '.length))).toEqual([
    'info firing',
    'warning firing',
    'info ended',
    'warning ended',
  ])
})

it('an Alertmanager that was unavailable gets the end of an alert that was raised again with another severity', async () => {
  await raise('info')
  await deliver()
  isAway = true
  await resolveAlert(deps.store, key, 'measured')
  await deliver()
  await raise('warning')
  await deliver()
  isAway = false
  got = []
  expect(new Set((await deliver()).map((each) => each.slice('/api/v2/alerts '.length)))).toEqual(
    new Set(['warning firing', 'info ended']),
  )
})

it('a channel that has delivered nothing for 15 minutes is told of by the others, until a message arrives', async () => {
  const file = deps.config.alertChannels
  const channels = readFileSync(file, 'utf8')
  const { url } = (JSON.parse(channels) as { target: { url: string } }[])[0]!.target
  const office = {
    name: 'office',
    severities: ['critical'],
    target: { kind: 'webhook', url: `${url}/office` },
  }
  writeFileSync(file, JSON.stringify([...(JSON.parse(channels) as object[]), office]))
  const age = (minutes: number) =>
    deps.store.query(sql`update alert_notifications set due_at = due_at - ${`${minutes} minutes`}::interval`)
  const failing = async () =>
    (await listAlerts(deps.store, { open: true }))
      .filter(({ kind }) => kind === 'channel_failing')
      .map(({ severity, message }) => `${severity}: ${message}`)
  try {
    awayPath = pages
    await raise()
    expect(await deliver()).toEqual(['/office raised'])
    await age(14)
    await deliver()
    expect(await failing()).toEqual([])
    await age(2)
    expect(await deliver()).toEqual(['/office raised', '/office raised'])
    expect(await failing()).toEqual([
      expect.stringMatching(/^critical: pager has delivered nothing since 20\S+Z: .*503/) as unknown,
    ])
    awayPath = undefined
    // The pager gets nothing about itself.
    expect((await deliver()).slice(2)).toEqual([`${pages} trigger`, '/office resolved'])
    expect(await failing()).toEqual([])
  } finally {
    writeFileSync(file, channels)
  }
})
