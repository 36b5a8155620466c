/**
 * Tests on real processes that a proven champion that begins to fail is told by a channel and rolled back, and that without a version to
 * return to the message names the command.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { writeFaults } from '../../../store/serving/replicas.ts'
import { startMessageReceiver, type Receiver } from '../../support/chat/receiver.ts'
import { insertModel, type Registry } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { seatSecond } from '../../support/serving/seed-champion.ts'
import {
  startCallers,
  startRealSystem,
  type Callers,
  type RealSystem,
} from '../../support/servers/system-fixture.ts'
import { until } from '../../support/serving/serving-fixture.ts'

const model = 'pulse'
const folder = mkdtempSync(join(tmpdir(), 'tenure-failing-'))
const channels = join(folder, 'channels.json')

let receiver: Receiver
let system: RealSystem
let registry: Registry
let callers: Callers
beforeAll(async () => {
  receiver = await startMessageReceiver(() => z.unknown())
  const target = { kind: 'webhook', url: `${receiver.url}/hook` }
  writeFileSync(channels, JSON.stringify([{ name: 'phone', target }]))
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
  await receiver?.stop()
  rmSync(folder, { recursive: true })
})

const saysOf = (kind: string) =>
  receiver.received.map(({ body }) => JSON.stringify(body)).filter((body) => body.includes(kind))

it('is told and rolled back, and without a version to return to the message names the command', async () => {
  const { store } = system
  const first = await registry.register()
  const second = await registry.register(first)
  await seatSecond(store, { model, first, second })
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
  expect(saysOf('champion_failing')[0]).toContain(`Tenure rolls back to ${first} now`)
  expect(saysOf('champion_failing')[0]).toMatch(/all with the code `output_invalid`/)
  expect(saysOf('champion_failing')[0]).toContain(`\`tenure versions failures ${second}\` lists them`)

  // The first version has none before it.
  await writeFaults(store, { [first]: { invalidShare: 0.5 } })
  await until(async () => {
    const open = await listAlerts(store, { model, open: true })
    const { message = '', evidence } = open.find(({ kind }) => kind === 'champion_failing') ?? {}
    return (
      message.startsWith(first) && String(evidence?.['next']).includes(`kill-switches set ${model} refuse`)
    )
  }, 'the command')
  expect((await findChampion(store, model))?.version).toBe(first)
})
