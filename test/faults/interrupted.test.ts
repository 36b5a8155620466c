/**
 * Tests `temporal workflow reset`, `cancel` and `terminate` at every stage. No effect is repeated, the champion is a proven version, and no
 * release stays open without a workflow.
 */
import { WorkflowUpdateFailedError, type Client, type WorkflowHandle } from '@temporalio/client'
import { RawValue, type PayloadConverter } from '@temporalio/common'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSweep, sweepMs } from '../../activities/worker/parted-runs.ts'
import { listAudit, verifyAudit } from '../../store/audit/audit-log.ts'
import { findChampion, listChampionHistory } from '../../store/registry/champions.ts'
import { findRelease } from '../../store/release/releases.ts'
import { listOpenWorkflows } from '../../workflows/client/inspect.ts'
import { releaseWorkflowId } from '../../workflows/messages.ts'
import { issuesOfInvariants } from '../support/release/ending.ts'
import { reached } from './figures.ts'
import { seatChampion } from '../support/serving/seed-champion.ts'
import { ownServers } from '../support/servers/servers.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
} from '../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

const places = ['awaiting_approval', 'shadow', 'canary', 'probation'] as const
type Place = (typeof places)[number]

/** Starts a release that stays in a stage until a command or a verdict, or for `holdMs`, so that all earlier stages are passed. */
async function releaseAt(
  place: Place,
  holdMs?: number,
): Promise<{ fixtureModel: FixtureModel; first: string; version: string; release: FixtureRelease }> {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.register()
  await seatChampion(fixture.store, fixtureModel.name, first)
  const version = await fixtureModel.register(first)
  const minMs = holdMs ?? 60_000
  const slow = { minMs, minRequests: 20, deadlineMs: 2 * minMs + 1_000 }
  const all = holdMs !== undefined
  const { shadow, stages, probation } = quickPolicy
  const release = await fixtureModel.start(version, {
    shadow: place === 'shadow' ? { ...shadow!, ...slow } : all && shadow,
    stages: place === 'canary' ? [{ ...stages[0]!, ...slow }] : all ? stages : [stages[0]!],
    probation: place === 'probation' ? { ...probation!, ...slow } : probation,
  })
  await release.reaches('awaiting_approval')
  if (place !== 'awaiting_approval') {
    await release.say('approve', 'anna')
    await release.reaches(place, 0)
    await expect.poll(async () => (await release.state()).routed).toBe(true)
  }
  return { fixtureModel, first, version, release }
}

function sweeper(): () => Promise<string[]> {
  const sweep = createSweep(fixture.deps, fixture.client)
  return async () => (await sweep()).closed
}
/** Temporal's list of open workflows lags behind. */
const unlisted = ({ handle: { workflowId } }: FixtureRelease) =>
  expect
    .poll(() => listOpenWorkflows(fixture.client, fixture.config.taskQueues.control))
    .not.toContain(workflowId)
const whole = (fixtureModel: FixtureModel, { id }: FixtureRelease) =>
  issuesOfInvariants(fixture.store, { model: fixtureModel.name, releaseId: id, seated: 1 })

describe('a terminated release workflow', () => {
  it.each(places)('at %s is closed after two sweeps, and the baseline serves', async (place) => {
    const { fixtureModel, first, release } = await releaseAt(place)
    const sweep = sweeper()
    expect(await sweep()).toEqual([])
    await release.handle.terminate('by hand')
    await unlisted(release)
    // A single look may have come between two writes.
    expect(await sweep()).toEqual([])
    expect(await sweep()).toEqual([release.id])
    expect(await sweep()).toEqual([])
    expect(await findRelease(fixture.store, release.id)).toMatchObject({
      outcome: place === 'probation' ? 'rolled_back' : 'failed',
      reason: 'its workflow no longer runs: it was terminated, or a backup was restored',
    })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: first })
    await expect.poll(() => whole(fixtureModel, release)).toEqual([])
  })

  it('swept by several workers at once is closed once', async () => {
    const { fixtureModel, release } = await releaseAt('probation')
    await release.handle.terminate('by hand')
    await unlisted(release)
    const sweeps = Array.from({ length: 10 }, sweeper)
    for (const sweep of sweeps) expect(await sweep()).toEqual([])
    await Promise.all(sweeps.map((sweep) => sweep()))
    await expect.poll(() => whole(fixtureModel, release)).toEqual([])
    expect(await listChampionHistory(fixture.store, fixtureModel.name)).toHaveLength(3)
  })

  it('is not detected while Temporal does not respond', async () => {
    const { release } = await releaseAt('awaiting_approval')
    const sweep = createSweep(fixture.deps, {
      options: fixture.client.options,
      withDeadline: (_untilMs: number, call: () => Promise<unknown>) => call(),
      workflowService: { listWorkflowExecutions: () => Promise.reject(new Error('no answer')) },
    } as unknown as Client)
    for (let look = 0; look < 3; look++) await expect(sweep()).rejects.toThrow('no answer')
    expect((await findRelease(fixture.store, release.id))?.endedAt).toBeUndefined()
    await release.say('reject', 'anna')
  })
})

describe('a cancelled release workflow', () => {
  it.each(places)('at %s is rolled back and closed at once', async (place) => {
    const { fixtureModel, first, release } = await releaseAt(place)
    const from = performance.now()
    await release.handle.cancel()
    const { outcome } = await release.result()
    expect(outcome).toBe(place === 'probation' ? 'rolled_back' : 'aborted')
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: first })
    await expect.poll(() => whole(fixtureModel, release)).toEqual([])
    reached('F39', `cancelled: closed in ${Math.round(performance.now() - from)} ms`)
  })
})

/** Payloads as other SDKs and clients with a codec encode them. */
const encoded = (encoding: string) => ({
  payloads: [{ metadata: { encoding: Buffer.from(encoding) }, data: Buffer.from([8, 150, 1]) }],
})
const unreadable: PayloadConverter = {
  toPayload: <T>() => encoded('binary/encrypted').payloads[0] as T,
  fromPayload: () => undefined as never,
}

describe('a release that receives payloads in an unknown encoding', () => {
  it.each(['awaiting_approval', 'shadow', 'probation'] as const)(
    'at %s refuses the payloads, responds, and can still be cancelled at once',
    async (place) => {
      const { fixtureModel, first, release } = await releaseAt(place)
      const { workflowId } = release.handle
      const run = { namespace: fixture.config.temporal.namespace, workflowExecution: { workflowId } }
      const { workflowService } = fixture.client
      for (const encoding of ['binary/encrypted', 'binary/protobuf', 'json/protobuf'])
        for (const signalName of ['approve', 'supersede'])
          await workflowService.signalWorkflowExecution({ ...run, signalName, input: encoded(encoding) })
      const told = () => listAudit(fixture.store, { subject: release.id, action: 'command.unknown' })
      await expect.poll(told).toHaveLength(1)
      await expect(
        release.handle.executeUpdate('approve', { args: [new RawValue(undefined, unreadable) as never] }),
      ).rejects.toThrow(WorkflowUpdateFailedError)
      await release.handle.cancel()
      expect((await release.result()).outcome).toBe(place === 'probation' ? 'rolled_back' : 'aborted')
      expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: first })
      await expect.poll(() => whole(fixtureModel, release)).toEqual([])
    },
  )
})

/** Resets the workflow to a workflow task, so that it repeats everything after it. */
async function reset(handle: WorkflowHandle, to: 'first' | 'middle' | 'newest'): Promise<WorkflowHandle> {
  const { events } = await handle.fetchHistory()
  // EVENT_TYPE_WORKFLOW_TASK_COMPLETED
  const tasks = (events ?? []).flatMap(({ eventType, eventId }) =>
    eventType === 7 && eventId ? [eventId] : [],
  )
  const at = { first: 0, middle: Math.floor(tasks.length / 2), newest: tasks.length - 1 }[to]
  const { workflowId } = handle
  const request = {
    namespace: fixture.config.temporal.namespace,
    workflowExecution: { workflowId, runId: (await handle.describe()).runId },
    workflowTaskFinishEventId: tasks[at]!,
    requestId: randomUUID(),
    reason: 'by hand',
  }
  const { runId } = await fixture.client.workflowService.resetWorkflowExecution(request)
  return fixture.client.workflow.getHandle(workflowId, runId)
}

describe('a reset release workflow', () => {
  it.each(
    (['shadow', 'canary', 'probation'] as const).flatMap((place) =>
      (['first', 'newest'] as const).map((to) => [place, to] as const),
    ),
  )('at %s to the %s task continues to its end, and repeats no effect', async (place, to) => {
    const { fixtureModel, version, release } = await releaseAt(place, 2_500)
    const again = await reset(fixture.client.workflow.getHandle(releaseWorkflowId(fixtureModel.name)), to)
    const sweep = sweeper()
    for (let look = 0; look < 3; look++) expect(await sweep()).toEqual([])
    expect(await again.result()).toMatchObject({ outcome: 'promoted', releaseId: release.id })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version })
    await expect.poll(() => whole(fixtureModel, release)).toEqual([])
    expect(await listChampionHistory(fixture.store, fixtureModel.name)).toHaveLength(2)
  })

  it.each(['first', 'newest'] as const)('after its end to the %s task keeps its outcome', async (to) => {
    const { fixtureModel, version, release } = await releaseAt('canary', 200)
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    const before = await findRelease(fixture.store, release.id)
    const again = await reset(fixture.client.workflow.getHandle(releaseWorkflowId(fixtureModel.name)), to)
    expect(await again.result()).toMatchObject({ outcome: 'promoted' })
    expect(await findRelease(fixture.store, release.id)).toEqual(before)
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version })
    expect(await whole(fixtureModel, release)).toEqual([])
  })

  it('to its middle after its promotion and end keeps the champion', async () => {
    const { fixtureModel, version, release } = await releaseAt('canary', 200)
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    const again = await reset(
      fixture.client.workflow.getHandle(releaseWorkflowId(fixtureModel.name)),
      'middle',
    )
    await again.result()
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version })
    expect(await whole(fixtureModel, release)).toEqual([])
  })
})

it('an interrupted release is closed within two sweeps', async () => {
  expect(2 * sweepMs).toBeLessThanOrEqual(60_000)
  expect(await verifyAudit(fixture.store)).not.toMatchObject({ breach: expect.anything() })
})
