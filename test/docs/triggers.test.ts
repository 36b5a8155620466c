/** Executes docs/how-to/projects/triggers.md and batches.md: syncs the model file, sends the request by curl, and runs the commands. */
import { Client, type Connection } from '@temporalio/client'
import { execFile } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { triggersGroup } from '../../cli/commands/lifecycle/triggers.ts'
import { getModel } from '../../store/registry/models.ts'
import { listWaitingBatchFirings, listWaitingFirings } from '../../store/triggers/firings.ts'
import { checkout } from '../../temporal.config.ts'
import { syncTriggers, triggersScheduleId } from '../../workflows/client/schedules.ts'
import { runCommand } from '../support/command-line.ts'
import { blocksOf } from '../support/docs/markdown.ts'
import { connectTemporal, migratedDatabase, temporalAddress, uniqueName } from '../support/servers/servers.ts'
import {
  servingFixtureOn,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../support/serving/serving-fixture.ts'
import { exampleModelDirectory, syncExampleModel } from '../support/training/example-model.ts'

const model = uniqueName('flights')
/** On a busy machine Temporal may not respond in time; the tests of the route distinguish the two responses. */
const recorded = /recorded; it starts (now|as soon as Temporal answers)/
const controlQueue = 'triggers-of-a-page'
const blocksIn = (page: string) =>
  blocksOf(readFileSync(join(checkout, 'docs/how-to/projects', page), 'utf8'))
const blockOf = (name: string, page = 'triggers.md') =>
  blocksIn(page)
    .find(({ notes }) => notes['run'] === name)!
    .text.replaceAll('flight-delay', model)

let fixture: ServingFixture
let api: TestApi
let server: Server
let connection: Connection
let client: Client
let key: string
let url: string
let models: string
beforeAll(async () => {
  models = await exampleModelDirectory()
  fixture = servingFixtureOn({
    databaseUrl: await migratedDatabase(),
    artifactRoot: join(models, 'artifacts'),
  })
  await syncExampleModel(fixture.store, models, {
    name: model,
    more: blockOf('model') + blockOf('model', 'batches.md'),
  })
  const address = temporalAddress()
  const namespace = 'default'
  connection = await connectTemporal(address)
  const { definition } = await getModel(fixture.store, model)
  client = new Client({ connection, namespace })
  await syncTriggers(client, definition, controlQueue)
  key = await fixture.key({ name: 'loader', role: 'operator', models: [model] })
  api = await startApi(fixture, { temporal: { address, namespace, controlQueue } })
  // The fixture has no socket.
  server = createServer((request, response) => void pass(request, response)).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const sent = await text(request)
  const once = request.headers['idempotency-key']
  const { status, json } = await api.request(request.method!, request.url!, {
    key: request.headers.authorization?.replace('Bearer ', ''),
    body: sent === '' ? undefined : (JSON.parse(sent) as unknown),
    headers: typeof once === 'string' ? { 'idempotency-key': once } : {},
  })
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
}
afterAll(async () => {
  server.close()
  await client.schedule.getHandle(triggersScheduleId(model)).delete()
  await api.stop()
  await connection.close()
  await fixture.close()
  rmSync(models, { recursive: true, force: true })
})

it('the model file of the page has its schedule and its triggers', async () => {
  const { definition } = await getModel(fixture.store, model)
  expect(definition.retrain).toMatchObject({ cron: '0 3 * * 1' })
  expect(definition.triggers?.map(({ kind }) => kind)).toEqual(['file', 'watermark', 'workflow', 'webhook'])
})

it('the request of the page fires the webhook once, however often it is sent', async () => {
  const env = { PATH: '/usr/bin:/bin', TENURE_URL: url, TENURE_KEY: key }
  const send = () => promisify(execFile)('sh', ['-c', blockOf('webhook')], { env })
  expect(JSON.parse((await send()).stdout)).toMatchObject({ model, trigger: 'webhook' })
  await send()
  expect(await listWaitingFirings(fixture.store, model)).toMatchObject([
    { trigger: 'webhook', evidence: { region: 'eu', epochs: 12 }, overrides: { epochs: 12 } },
  ])
})

it('the commands of the page run', async () => {
  vi.stubEnv('TENURE_KEY', key)
  const outputs: string[] = []
  for (const line of blockOf('commands').split('\n')) {
    const words = line.split(' ').slice(2)
    const { code, out, err } = await runCommand([triggersGroup], [...words, '--url', url])
    expect(code, err).toBe(0)
    outputs.push(out)
  }
  const [list, ...fired] = outputs
  expect(list).toMatch(/webhook +a request with epochs, region/)
  expect(list).toMatch(/file +files data\/ready\/\*\.done/)
  for (const each of fired) expect(each).toMatch(recorded)
  expect(fired.join()).toContain('it starts now')
  expect(await listWaitingFirings(fixture.store, model)).toHaveLength(3)
})

it('the batches of the page are taken in, listed and asked for once a day', async () => {
  vi.stubEnv('TENURE_KEY', key)
  const run = (line: string) => runCommand([triggersGroup], [...line.split(' ').slice(2), '--url', url])
  const [list = '', fire = ''] = blockOf('commands', 'batches.md').split('\n')
  expect((await run(list)).out).toMatch(/orders +orders\/\{date\}\.done, each day from 2026-11-01/)
  const day = (text: string) => fire.replace('2026-11-01', text)
  expect((await run(day('2026-02-30'))).err).toContain('takes one parameter, a day')
  expect((await run(day('2999-01-01'))).err).toContain('has not ended yet')
  expect((await run(day('2020-01-01'))).out).toContain(`bat_${model}_orders_2020-01-01_1: recorded`)
  expect((await run(day('2020-01-01'))).err).toContain('is being scored already')
})

it('the logged batch of the page is taken in', async () => {
  await syncExampleModel(fixture.store, models, {
    name: model,
    more: blockOf('model') + blockOf('log', 'batches.md'),
  })
  const { definition } = await getModel(fixture.store, model)
  expect(definition.batches).toMatchObject([{ name: 'flowers', log: 10_000 }])
})

it('the triggers of the batches of the page are taken in, listed and fired', async () => {
  await syncExampleModel(fixture.store, models, {
    name: model,
    more: blockOf('model') + blockOf('when', 'batches.md'),
  })
  const { definition } = await getModel(fixture.store, model)
  expect(
    definition.batches?.map(({ triggers = [], schedule }) => [
      ...triggers.map(({ name }) => name),
      schedule?.cron,
    ]),
  ).toEqual([
    ['nights.workflow', '0 3 * * *'],
    ['basket.watermark', undefined],
    ['regions.webhook', undefined],
  ])
  vi.stubEnv('TENURE_KEY', key)
  const run = (line: string) => runCommand([triggersGroup], [...line.split(' ').slice(2), '--url', url])
  for (const line of blockOf('fire', 'batches.md').split('\n')) {
    const { code, out, err } = await run(line)
    expect(code, err).toBe(0)
    expect(out).toMatch(recorded)
  }
  const list = await run(`npx tenure triggers list ${model}`)
  expect(list.out).toMatch(/nights.schedule +0 3 \* \* \*/)
  expect(list.out).toMatch(/regions.webhook +a request with region/)
  const wrong = await run(`npx tenure triggers fire ${model} regions.webhook --set region=asia`)
  expect(wrong.err).toContain('region is one of eu, us')
  expect((await run(`npx tenure triggers fire ${model} basket`)).err).toContain('it has file, watermark')
  expect(
    await listWaitingBatchFirings(fixture.store, { model, batches: ['regions', 'nights'] }),
  ).toMatchObject([
    { trigger: 'regions.webhook', batch: 'regions', evidence: { region: 'eu' } },
    { trigger: 'nights.workflow', batch: 'nights' },
  ])
})
