/** Tests what the doctor finds in Temporal: a missing namespace, missing search attributes, and workers that are missing or busy. */
import { msToTs } from '@temporalio/common/lib/time.js'
import { describe, expect, it } from 'vitest'
import type { Finding } from '../../../cli/doctor/finding.ts'
import { checkTemporal } from '../../../cli/doctor/temporal.ts'
import type { WorkerHeartbeat } from '../../../store/maintenance/worker-heartbeats.ts'
import { connectTemporal, temporalAddress, uniqueName } from '../../support/servers/servers.ts'

const of = (findings: readonly Finding[], check: string): Finding[] =>
  findings.filter((each) => each.check === check && each.state !== 'ok')

describe('the Temporal check', () => {
  const config = (namespace: string) => ({
    temporal: { address: temporalAddress(), namespace },
    taskQueues: { control: uniqueName('queue'), train: uniqueName('queue') },
  })

  it('reports a missing namespace and missing search attributes', async () => {
    const [missing] = await checkTemporal(config('not-there'), { workersExpected: true })
    expect(missing).toMatchObject({
      state: 'broken',
      found: expect.stringContaining('no namespace not-there'),
      next: expect.stringContaining('namespace create'),
    })
    const namespace = uniqueName('bare')
    const connection = await connectTemporal()
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: msToTs('1 day'),
    })
    await connection.close()
    const bare = () => checkTemporal(config(namespace), { workersExpected: true })
    await expect
      .poll(async () => of(await bare(), 'search attributes')[0]?.found, { interval: 200 })
      .toContain('lacks Model')
    expect(of(await bare(), 'workers')).toMatchObject([
      { state: 'broken' },
      { state: 'broken' },
      { state: 'broken' },
    ])
  })

  it('takes a train worker that is busy for one that polls, and no silent, ended or foreign one', async () => {
    const { temporal, taskQueues } = config('default')
    const busy = {
      kind: 'train',
      process: 'a/1',
      queue: taskQueues.train,
      payloadKeys: [],
      ageMs: 4_000,
    } as const
    const workers = async (changed: Partial<WorkerHeartbeat>) => {
      const heartbeats = [{ ...busy, ended: false, temporalSilentMs: 0, ...changed }]
      const findings = await checkTemporal({ temporal, taskQueues }, { workersExpected: true, heartbeats })
      return findings.filter(({ check }) => check === 'workers').map(({ found }) => found)
    }
    const control = ['workflows', 'activities'].map(
      (kind) => `no worker polls ${taskQueues.control} for ${kind}`,
    )
    const others = [{ ageMs: 40_000 }, { ended: true }, { temporalSilentMs: 40_000 }, { queue: 'other' }]
    // At once, because each waits a few seconds for a worker.
    const [busyOne, ...absent] = await Promise.all([{}, ...others].map(workers))
    expect(busyOne).toEqual([...control, `every worker of ${taskQueues.train} is busy`])
    expect(absent).toEqual(
      others.map(() => [...control, `no worker polls ${taskQueues.train} for activities`]),
    )
  })
})
