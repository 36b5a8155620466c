/** Tests that the alert channels are told of a database that is away, once, by the control worker or a replica, and of its end. */
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { upsertChannel } from '../../store/monitoring/alert-channels.ts'
import { startAlerts } from '../../workflows/client/permanent-workflows.ts'
import { freeze } from '../support/servers/freeze.ts'
import { waitUntil } from '../support/serving/api-process.ts'
import { startRealSystem, type RealSystem } from '../support/servers/system-fixture.ts'
import { join } from 'node:path'

interface Notification {
  path: string
  about: string
  title: string
  alert: { kind: string; message: string }
}

let system: RealSystem
let receiver: Server
const notifications: Notification[] = []
const of = (path: string, about: string) =>
  notifications
    .filter(
      (each) => each.path === path && each.about === about && each.alert.kind === 'postgres_unavailable',
    )
    .map(({ alert }) => alert)

beforeAll(async () => {
  receiver = createServer((request, response) => {
    void json(request).then((body) => {
      notifications.push({ path: request.url ?? '', ...(body as Omit<Notification, 'path'>) })
      response.end()
    })
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  system = await startRealSystem({
    replicas: 2,
    leaseMs: 5_000,
    environment: { TENURE_OUTAGE_ALERT_MS: '3000', TENURE_PRIVATE_HOSTS: '127.0.0.1' },
    prepare: ({ alertChannels }) => {
      const target = { kind: 'webhook', url: `${url}/file` }
      writeFileSync(alertChannels, JSON.stringify([{ name: 'file', target }]))
      return Promise.resolve()
    },
  })
  const channel = { severities: ['warning' as const, 'critical' as const], afterMinutes: 0 }
  await upsertChannel(system.store, {
    name: 'stored',
    target: { kind: 'webhook', url: `${url}/stored` },
    ...channel,
  })
  await startAlerts(system.client, system.config.taskQueues.control)
  const copy = join(system.config.stateDir, 'cache', 'alert-channels.json')
  await waitUntil(
    () => Promise.resolve(existsSync(copy) && readFileSync(copy, 'utf8').includes('/stored')),
    'the copy of the channels',
  )
})
afterAll(async () => {
  await system?.stop()
  receiver?.close()
})
afterEach((context) => {
  if (context.task.result?.state === 'fail') process.stderr.write(`${system.lines.slice(-60).join('\n')}\n`)
})

const line = /^Postgres was away \d+ s; no request failed because of it, 0 log rows lost\.$/

it.each([
  ['by the control worker', [] as string[]],
  ['by one replica, when the control worker is frozen too', ['control']],
])('every channel is told once of a frozen Postgres %s, and once of its end', async (_, others) => {
  notifications.length = 0
  for (const name of others) system.signal(name, 'SIGSTOP')
  const thaw = freeze(system.supervision.pidOf('postgres')!)
  try {
    for (const path of ['/file', '/stored'])
      await expect
        .poll(() => of(path, 'raised'))
        .toMatchObject([
          {
            kind: 'postgres_unavailable',
            message: expect.stringMatching(/^Postgres did not answer for \d+ s: .* Predictions continue/),
          },
        ])
  } finally {
    thaw()
    for (const name of others) system.signal(name, 'SIGCONT')
  }
  for (const path of ['/file', '/stored'])
    await expect
      .poll(() => of(path, 'resolved'))
      .toMatchObject([{ kind: 'postgres_unavailable', message: expect.stringMatching(line) }])
  await system.store.query(sql`select 1`)
  const rows = (await listAlerts(system.store, {})).filter(({ kind }) => kind === 'postgres_unavailable')
  expect(rows[0]).toMatchObject({ message: expect.stringMatching(line), resolvedAt: expect.any(String) })
  expect(notifications.filter(({ alert }) => alert.kind === 'postgres_unavailable')).toHaveLength(4)
})
