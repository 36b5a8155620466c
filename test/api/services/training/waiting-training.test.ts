/** Tests what a training, or the reading of a brought artifact, that no worker has taken says about the workers of its queue. Temporal is a stand-in whose queue has no poller. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { waitingFor } from '../../../../api/services/training/waiting-training.ts'
import type { TemporalClient } from '../../../../api/temporal/client.ts'
import { keepHeartbeat, listHeartbeats } from '../../../../store/maintenance/worker-heartbeats.ts'
import type { Store } from '../../../../store/postgres.ts'
import type { RetrainProgress } from '../../../../workflows/messages.ts'
import { migratedDatabase, openPatientStore } from '../../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store.close())

/** `PENDING_ACTIVITY_STATE_SCHEDULED`. */
const pendingActivities = [{ state: 1 }]
const client = {
  options: { namespace: 'default' },
  connection: { workflowService: { describeTaskQueue: () => Promise.resolve({ pollers: [] }) } },
  workflow: { getHandle: () => ({ describe: () => Promise.resolve({ raw: { pendingActivities } }) }) },
}
const temporal = {
  call: (_ms: number, work: (given: typeof client) => unknown) => Promise.resolve(work(client)),
} as unknown as TemporalClient
const said = (isOwn: boolean, stage: RetrainProgress['stage'] = 'train') =>
  waitingFor({ store, temporal }, { workflowId: 'retrain/iris', runId: 'run' }, 'iris', {
    stage,
    queue: { name: 'tenure-train', isOwn },
  } as RetrainProgress)

it('a training waits for a busy worker, for one that is missing, or for one of its own queue', async () => {
  expect(await said(false)).toMatch(/^no worker polls tenure-train for activities\. Start one/)
  expect(await said(false, 'adopt')).toMatch(/^no worker polls tenure-train for activities/)
  expect(await said(false, 'evaluate')).toBeUndefined()
  const worker = { kind: 'train', process: 'here/1', queue: 'tenure-train', payloadKeys: [] } as const
  const beats = keepHeartbeat(store, worker, () => {})
  await expect.poll(() => listHeartbeats(store)).toHaveLength(1)
  expect(await said(false)).toBe('every worker of tenure-train is busy; the training begins when one is free')
  expect(await said(true)).toMatch(/^no worker has polled the task queue tenure-train for 90 s: .* iris/)
  await beats.stop()
  expect(await said(false)).toMatch(/^no worker polls tenure-train for activities/)
})
