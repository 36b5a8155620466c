/** Tests that every workflow refuses inputs of any shape at its start, as a terminal or another SDK may send them. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, it } from 'vitest'
import * as workflows from '../../workflows/index.ts'
import { startCore, type Core } from '../support/release/core.ts'
import { ownServers } from '../support/servers/servers.ts'

let core: Core
beforeAll(async () => {
  core = await startCore(await ownServers())
})
afterAll(async () => {
  await core?.stop()
})

const json = (value: unknown) => ({
  metadata: { encoding: Buffer.from('json/plain') },
  data: Buffer.from(JSON.stringify(value)),
})
const unprintable = { toString: 1 }
const long = 'x'.repeat(5_000)

/** Invalid values in every field that any of the workflows reads. */
const fieldsOf = (value: unknown) =>
  Object.fromEntries(
    (
      'model version requestedBy policy hotfix drill turn by reason id signature recordedAt view ' +
      'kinds changes input output key asOf evidence dedupeKey order retraining'
    )
      .split(' ')
      .map((name) => [name, value]),
  )

const inputs: Record<string, object | undefined> = {
  'no input': undefined,
  'an unknown encoding': {
    metadata: { encoding: Buffer.from('binary/encrypted') },
    data: Buffer.from([1, 2]),
  },
  'no JSON': { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('{') },
  bytes: { metadata: { encoding: Buffer.from('binary/plain') }, data: Buffer.from([1, 2]) },
  null: json(null),
  'a number': json(42),
  'a bare text': json('fast'),
  'an array': json([]),
  'an empty object': json({}),
  'a model alone': json({ model: 'unknown' }),
  'a model and a requester that is not a text': json({
    model: 'unknown',
    requestedBy: unprintable,
    by: unprintable,
  }),
  'a batch without its fields': json({ id: 'b1', requestedBy: 'ops', model: 'unknown' }),
  'objects as fields': json(fieldsOf(unprintable)),
  'numbers as fields': json(fieldsOf(1)),
  'null as fields': json(fieldsOf(null)),
  'NUL in fields': json(fieldsOf('a\0b')),
  'texts of 5,000 characters as fields': json(fieldsOf(long)),
}

/** Workflows that take no input and run as long as the installation. */
const withoutInput = ['alertDispatch', 'retention', 'warmUp']
const types = Object.keys(workflows).filter((type) => !withoutInput.includes(type))

it.concurrent.for(types)('%s ends at once with inputs of any shape', async (workflow, { expect }) => {
  const { namespace } = core.config.temporal
  const { workflowService, client } = { workflowService: core.client.workflowService, client: core.client }
  const started = await Promise.all(
    Object.entries(inputs).map(async ([name, payload]) => {
      const workflowId = `${workflow}/${randomUUID()}`
      await workflowService.startWorkflowExecution({
        namespace,
        workflowId,
        requestId: randomUUID(),
        workflowType: { name: workflow },
        taskQueue: { name: core.config.taskQueues.control },
        input: payload && { payloads: [payload] },
      })
      return { name, workflowId }
    }),
  )
  const open = async () => {
    const found = await Promise.all(
      started.map(async ({ name, workflowId }) => ({
        name,
        status: (await client.workflow.getHandle(workflowId).describe()).status.name,
      })),
    )
    return found.filter(({ status }) => status === 'RUNNING').map(({ name }) => name)
  }
  await expect.poll(open, { interval: 200 }).toEqual([])
})
