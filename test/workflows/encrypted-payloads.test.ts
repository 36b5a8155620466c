/** Tests what Temporal stores when payloads are encrypted: its database, histories of former keys, and payloads of unknown keys. */
import { Client, type WorkflowClient } from '@temporalio/client'
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkTemporal } from '../../cli/doctor/temporal.ts'
import { withTemporal } from '../../cli/sync/sync-models.ts'
import { type RunningTemporal, startTemporal } from '@tenure/embedded'
import { createPayloadCodec, dataConverterOf, keyIdOf } from '../../workflows/client/payload-codec.ts'
import { createTemporalClient } from '../../api/temporal/client.ts'
import { environmentWith, launcher, readConfig, searchAttributes } from '../../temporal.config.ts'
import { startCore, type Core } from '../support/release/core.ts'
import { connectTemporal, migratedDatabase, uniqueName } from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-payloads-'))
const ring = (...ids: string[]): string =>
  ids.map((id) => `${id}:${Buffer.alloc(32, id).toString('base64')}`).join(',')
const keysOf = (text: string) =>
  readConfig({ DATABASE_URL: 'postgres://h/d', TENURE_PAYLOAD_KEYS: text }).temporal.payloadKeys!
let temporal: RunningTemporal
let databaseUrl: string
let core: Core | undefined

beforeAll(async () => {
  temporal = await startTemporal({ dbFile: join(root, 'temporal.db'), searchAttributes })
  databaseUrl = await migratedDatabase()
})
afterAll(async () => {
  await core?.stop()
  await temporal.stop()
  rmSync(root, { recursive: true, force: true })
})

async function restart(keys: string): Promise<Core> {
  await core?.stop()
  const environment = { TENURE_CONTROL_QUEUE: 'control-encrypted', TENURE_PAYLOAD_KEYS: keys }
  return (core = await startCore({ databaseUrl, temporalAddress: temporal.address }, environment))
}
const planted = () => `planted-${randomBytes(12).toString('hex')}`
const order = (workflowId: string, args: unknown[]) => ({ workflowId, taskQueue: 'control-encrypted', args })
/** Returns the message of the failure that ends a run, with the messages of its causes. */
async function failureOf(workflow: WorkflowClient, id: string): Promise<string> {
  const error = await workflow.result(id).then(
    () => new Error('it ended'),
    (thrown: unknown) => thrown as Error,
  )
  const messages: string[] = []
  for (let each: Error | undefined = error; each !== undefined; each = each.cause as Error | undefined)
    messages.push(each.message)
  return messages.join(': ')
}
/** Returns the output of a worker that exits by itself. */
async function workerEnd(
  environment: Record<string, string>,
): Promise<{ code: number | null; lines: string }> {
  const child = spawn(process.execPath, [launcher, 'activities/worker.ts', 'train'], {
    env: environmentWith(environment),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [lines, code] = await Promise.all([
    text(child.stdout),
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
  ])
  return { code, lines }
}
const stored = (): Buffer =>
  Buffer.concat(
    readdirSync(root)
      .filter((name) => name.startsWith('temporal.db'))
      .map((name) => readFileSync(join(root, name))),
  )

it('the database of Temporal holds none of 100 planted texts, and runs go on through a new key', async () => {
  // Unencrypted first: the search below finds plain text, and the run is in progress when encryption begins.
  const clear = planted()
  const inFlight = uniqueName('erase')
  const connection = await connectTemporal(temporal.address)
  await new Client({ connection }).workflow.start('erase', order(inFlight, [{ id: clear }]))
  await connection.close()
  expect(stored().includes(clear)).toBe(true)

  const texts = Array.from({ length: 100 }, planted)
  const [ids, notes, reasons, parameters] = [0, 25, 50, 75].map((from) => texts.slice(from, from + 25))
  const { client } = await restart(ring('first'))
  const runs = ids!.map(() => uniqueName('erase'))
  await Promise.all(
    ids!.map(async (id, index) => {
      await client.workflow.start('erase', {
        ...order(runs[index]!, [{ id }]),
        memo: { note: notes![index] },
      })
      await client.workflow
        .getHandle(runs[index]!)
        .signal('note', { reason: reasons![index] })
        .catch(() => {})
      const given = { model: 'absent', hyperparameters: { note: parameters![index] } }
      await client.workflow.start('retrain', order(uniqueName('retrain'), [given]))
    }),
  )
  // The failure of an activity repeats the id, and stays readable with the key.
  for (const [index, id] of ids!.entries())
    expect(await failureOf(client.workflow, runs[index]!)).toContain(id)
  expect(await failureOf(client.workflow, inFlight)).toContain(clear)
  await core!.stop()
  core = undefined

  const kept = stored()
  expect(texts.filter((text) => kept.includes(text))).toEqual([])
  expect(kept.includes('binary/encrypted')).toBe(true)
  expect(kept.includes('Encoded failure')).toBe(true)

  const { client: rotated } = await restart(ring('second', 'first'))
  expect(await failureOf(rotated.workflow, runs[0]!)).toContain(ids![0])
  expect(await failureOf(rotated.workflow, inFlight)).toContain(clear)
})

it('a payload of an unknown key is refused as any other that cannot be read', async () => {
  const { client } = core ?? (await restart(ring('second', 'first')))
  const stranger = new Client({
    connection: client.connection,
    namespace: client.options.namespace,
    dataConverter: dataConverterOf({ payloadKeys: keysOf(ring('stranger')) }),
  })
  const id = uniqueName('erase')
  await stranger.workflow.start('erase', order(id, [{ id: 'x' }]))
  expect(await failureOf(client.workflow, id)).toMatch(/the payload cannot be read: .*binary\/encrypted/)
})

it('a worker and a replica refuse to work without the key of an open workflow or with another key of its id, and doctor says so', async () => {
  await core?.stop()
  const environment = { TENURE_CONTROL_QUEUE: uniqueName('control'), TENURE_PAYLOAD_KEYS: ring('first') }
  core = await startCore({ databaseUrl, temporalAddress: temporal.address }, environment)
  const workflowId = uniqueName('erase')
  const taskQueue = environment.TENURE_CONTROL_QUEUE
  await core.client.workflow.start('erase', { workflowId, taskQueue, args: [{ id: 'x' }], startDelay: '1 h' })
  const { workflow } = core.client
  const isListed = async () => (await workflow.count(`TaskQueue = "${taskQueue}"`)).count > 0
  await until(isListed, 'the workflow in the list')
  const other = `first:${Buffer.alloc(32, 'other').toString('base64')}`
  const wrong = { '': 'TENURE_PAYLOAD_KEYS does not hold it', [other]: 'is another one' }
  for (const [keys, why] of Object.entries({ ...wrong, [ring('second', 'first')]: '' })) {
    const config = readConfig({
      ...environment,
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporal.address,
      TENURE_PAYLOAD_KEYS: keys,
    })
    const said = why === '' ? '' : `the workflow ${workflowId} is encrypted with the key "first"`
    const replica = createTemporalClient(config)
    const refused = replica.command(5_000, ({ workflow }) => workflow.getHandle(workflowId).describe())
    if (why === '') await refused
    else await expect(refused).rejects.toMatchObject({ code: 'configuration_invalid' })
    await replica.close()
    const finding = (await checkTemporal(config, { workersExpected: false })).find(
      ({ check }) => check === 'payload keys',
    )
    expect(finding).toMatchObject(
      why === '' ? { state: 'ok' } : { state: 'broken', found: expect.stringContaining(why) as string },
    )
    await expect(
      withTemporal(config, async () => 'read').catch((error: Error) => error.message),
    ).resolves.toContain(why === '' ? 'read' : said)
    if (why === '') continue
    const { code, lines } = await workerEnd({
      ...environment,
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporal.address,
      TENURE_PAYLOAD_KEYS: keys,
      TENURE_STATE: join(root, 'state'),
      TENURE_KEYS: join(root, 'keys'),
      TENURE_TRUST: join(root, 'trust'),
    })
    expect(code).toBe(1)
    expect(lines.replaceAll(`\\"`, `"`)).toContain(said)
    expect(lines).toContain(why)
  }
})

it('a changed payload, a foreign key and one that is too short stay as they are', async () => {
  const [first, second] = keysOf(ring('first', 'second')) as [
    { id: string; secret: Buffer },
    { id: string; secret: Buffer },
  ]
  const clear = { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('"secret"') }
  const [sealed] = await createPayloadCodec([second, first]).encode([clear])
  expect(Buffer.from(sealed!.data!).includes('secret')).toBe(false)
  const decoded = async (payload: typeof sealed, keys = [first, second]) =>
    (await createPayloadCodec(keys).decode([payload!]))[0]
  expect(await decoded(sealed)).toEqual(clear)
  expect(await decoded(clear)).toBe(clear)
  expect(await decoded(sealed, [first])).toBe(sealed)
  const changed = { ...sealed!, data: Buffer.from(sealed!.data!) }
  changed.data[20]! ^= 1
  expect(await decoded(changed)).toBe(changed)
  const relabelled = {
    ...sealed!,
    metadata: { ...sealed!.metadata, 'encryption-key-id': Buffer.from('first') },
  }
  expect(await decoded(relabelled)).toBe(relabelled)
  const short = { ...sealed!, data: Buffer.alloc(5) }
  expect(await decoded(short)).toBe(short)
  // A workflow that was started manually with such an encoding must not keep every worker from starting.
  const unnamed = { ...sealed!, metadata: { ...sealed!.metadata, 'encryption-key-id': Buffer.of() } }
  expect([keyIdOf(sealed!), keyIdOf(clear), keyIdOf(unnamed)]).toEqual(['second', undefined, undefined])
})

it('keys that are no keys are refused at the start', () => {
  for (const text of ['abc', 'a:short', `${ring('a')},${ring('a')}`])
    expect(() => keysOf(text)).toThrow(/TENURE_PAYLOAD_KEYS is a list such as/)
})
