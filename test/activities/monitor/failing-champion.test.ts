/**
 * Tests on real processes that a proven champion that begins to fail is told by a channel and rolled back, and that without a version to
 * return to the message names the command.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findChampion, markKnownGood, moveChampion } from '../../../store/registry/champions.ts'
import { writeFaults } from '../../../store/serving/replicas.ts'
import { findRouting, writeRoute } from '../../../store/serving/routing.ts'
import { insertModel, type Registry } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { seatChampion } from '../../support/serving/seed-champion.ts'
import {
  startCallers,
  startRealSystem,
  type Callers,
  type RealSystem,
} from '../../support/servers/system-fixture.ts'
import { until } from '../../support/serving/serving-fixture.ts'

const model = 'pulse'
const told: string[] = []
const receiver = createServer((request, response) => {
  void text(request).then((body) => {
    told.push(body)
    response.end('{}')
  })
}).listen(0, '127.0.0.1')
const folder = mkdtempSync(join(tmpdir(), 'tenure-failing-'))
const channels = join(folder, 'channels.json')

let system: RealSystem
let registry: Registry
let callers: Callers
beforeAll(async () => {
  if (!receiver.listening) await once(receiver, 'listening')
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
  writeFileSync(channels, JSON.stringify([{ name: 'phone', target: { kind: 'webhook', url } }]))
  system = await startRealSystem({
    replicas: 2,
    leaseMs: 5_000,
    environment: { TENURE_ALERT_CHANNELS: channels },
  })
  const { artifactRoot } = system.config
  registry = await insertModel(system.store, { model, policy: releasePolicy, artifactRoot })
})
afterAll(async () => {
  await callers?.stop()
  await system?.stop()
  receiver.close()
  rmSync(folder, { recursive: true })
})

const saysOf = (kind: string) => told.filter((body) => body.includes(kind))

it('is told and rolled back, and without a version to return to the message names the command', async () => {
  const { store } = system
  const first = await registry.register()
  await seatChampion(store, model, first)
  const second = await registry.register(first)
  const promotion = { model, cause: 'promotion', actor: 'anna', reason: 'new' } as const
  await moveChampion(store, { ...promotion, from: first, to: second })
  await markKnownGood(store, second)
  const now = (await findRouting(store, model))!.route
  const arms = [{ arm: 'champion' as const, version: second, shareBp: 10_000 }]
  await store.transaction((database) =>
    writeRoute(database, {
      route: { model, salt: model, arms, proven: second, standby: first },
      replaces: now,
    }),
  )
  callers = startCallers(system.urls, model, 50)
  await until(
    () => Promise.resolve((callers.answered.get(second) ?? 0) > 20),
    'answers of the second version',
  )

  const faultMs = Date.now()
  await writeFaults(store, { [second]: { invalidShare: 0.5 } })
  await until(() => Promise.resolve(saysOf('champion_failing').length > 0), 'the message')
  const toldMs = Date.now() - faultMs
  await until(async () => (await findChampion(store, model))?.version === first, 'the rollback')
  await until(() => Promise.resolve((callers.answered.get(first) ?? 0) > 20), 'answers of the first version')
  process.stdout.write(`told after ${toldMs} ms, back after ${Date.now() - faultMs} ms\n`)
  expect(saysOf('champion_failing')[0]).toContain(`Tenure now tries to roll back to ${first}`)

  // The first version has none before it.
  await writeFaults(store, { [first]: { invalidShare: 0.5 } })
  await until(async () => {
    const open = await listAlerts(store, { model, open: true })
    const message = open.find(({ kind }) => kind === 'champion_failing')?.message ?? ''
    return message.startsWith(first) && message.includes(`kill-switches set ${model} refuse`)
  }, 'the command')
  expect((await findChampion(store, model))?.version).toBe(first)
})
