/** Tests that each alert reaches its channels once, while the control worker or Temporal is away and after it is back. */
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { resolveAlert, upsertAlert } from '../../../../store/monitoring/alerts.ts'
import { startAlerts } from '../../../../workflows/client/permanent-workflows.ts'
import { openCuttableLink, type CuttableLink } from '../../../support/servers/cuttable-link.ts'
import { startRealSystem, withEnvironment, type RealSystem } from '../../../support/servers/system-fixture.ts'
import { reached } from '../../figures.ts'

let system: RealSystem
let link: CuttableLink
let receiver: Server
/** Key such as `raised worker_silent/control` → the texts that have arrived. */
const got = new Map<string, string[]>()

beforeAll(async () => {
  receiver = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      const { about, alert } = JSON.parse(text) as {
        about: string
        alert: { dedupeKey: string; message: string }
      }
      const key = `${about} ${alert.dedupeKey}`
      got.set(key, [...(got.get(key) ?? []), alert.message])
      response.end()
    })
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
  system = await startRealSystem({
    replicas: 2,
    leaseMs: 5_000,
    prepare: ({ alertChannels }) => {
      writeFileSync(alertChannels, JSON.stringify([{ name: 'hook', target: { kind: 'webhook', url } }]))
      return Promise.resolve()
    },
    async changes({ databaseUrl }) {
      link = await openCuttableLink(databaseUrl)
      return (spec) => (spec.name === 'control' ? withEnvironment(spec, { DATABASE_URL: link.url }) : spec)
    },
  })
  await startAlerts(system.client, system.config.taskQueues.control)
})
afterAll(async () => {
  await link?.close()
  await system?.stop()
  receiver?.close()
})
afterEach((context) => {
  if (context.task.result?.state === 'fail') process.stderr.write(`${system.lines.slice(-60).join('\n')}\n`)
})

const raise = (dedupeKey: string) =>
  upsertAlert(system.store, { dedupeKey, severity: 'critical', kind: 'drift_alarm', message: dedupeKey })
/** Waits for a notification and returns its text and the seconds until it arrived. */
async function arrived(key: string): Promise<{ text: string; seconds: number }> {
  const from = performance.now()
  await expect.poll(() => got.get(key)?.[0]).toBeDefined()
  return { text: got.get(key)![0]!, seconds: Math.round((performance.now() - from) / 1_000) }
}
const expectEachOnce = () =>
  expect([...got].filter(([, texts]) => texts.length !== 1).map(([key]) => key)).toEqual([])

const conditions: readonly [string, string, () => () => void][] = [
  [
    'frozen',
    'worker_silent/control',
    () => {
      system.signal('control', 'SIGSTOP')
      return () => system.signal('control', 'SIGCONT')
    },
  ],
  [
    'killed, and cut off when it is restarted',
    'worker_silent/control',
    () => {
      link.cut()
      system.signal('control', 'SIGKILL')
      return () => link.mend()
    },
  ],
]

it.each(conditions)(
  'each alert arrives once while the control worker is %s, and when it is back',
  async (name, about, strike) => {
    await raise(`before ${name}`)
    await arrived(`raised before ${name}`)
    got.clear()
    const heal = strike()
    try {
      await raise(name)
      const { seconds } = await arrived(`raised ${name}`)
      const silence = await arrived(`raised ${about}`)
      expect(silence.text).toMatch(/^No control worker has sent a heartbeat .* Restart it\.$/)
      reached(
        'F53',
        `control worker ${name}: another alert delivered after ${seconds} s, its own after ${seconds + silence.seconds} s`,
      )
    } finally {
      heal()
    }
    await arrived(`resolved ${about}`)
    await resolveAlert(system.store, name, 'measured')
    await arrived(`resolved ${name}`)
    expectEachOnce()
  },
)

it('one notification reports that Temporal does not respond, and one that it is back', async () => {
  got.clear()
  system.signal('temporal', 'SIGSTOP')
  try {
    const { text, seconds } = await arrived('raised temporal_unavailable')
    expect(text).toMatch(
      /^Temporal has not answered the control worker .* `tenure doctor` names its address\.$/,
    )
    reached('F53', `Temporal frozen: alert delivered after ${seconds} s`)
  } finally {
    system.signal('temporal', 'SIGCONT')
  }
  await arrived('resolved temporal_unavailable')
  expectEachOnce()
})
