/** Tests a second release of a model, which waits, supersedes another or is refused, and hotfix releases, on the real servers. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { awaitDequeued, enqueueRelease } from '../../../activities/release/release-queue.ts'
import { openAs } from '../../support/commands/open-ordered.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { releaseIdOf, type CommandName } from '../../../domain/release/state.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findOpenRelease, findRelease, listReleases } from '../../../store/release/releases.ts'
import {
  endQueued,
  findQueued,
  insertQueued,
  listQueued,
  type NewQueuedRelease,
} from '../../../store/release/release-queue.ts'
import { queueWorkflowId, releaseWorkflowId, queueChangedSignal } from '../../../workflows/messages.ts'
import { getRun } from '../../../store/training/runs.ts'
import { insertRetraining } from '../../../store/training/retrainings.ts'
import { ownServers } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'
import { signalOpenRelease, orderedStart, type GivenCommand } from '../../support/commands/signed.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

interface OpenRelease {
  fixtureModel: FixtureModel
  champion: string
  first: string
  second: string
  open: FixtureRelease
}
/** Starts a release that awaits approval, and registers a second candidate. */
async function busy(policy: ReleasePolicy = quickPolicy): Promise<OpenRelease> {
  const fixtureModel = await fixture.model(policy)
  const champion = await fixtureModel.champion()
  const [first, second] = [await fixtureModel.register(champion), await fixtureModel.register(champion)]
  const open = await fixtureModel.start(first, { shadow: false })
  await open.reaches('awaiting_approval')
  return { fixtureModel, champion, first, second, open }
}
/** Does what the API does when a release is open. */
async function join(
  { fixtureModel }: Pick<OpenRelease, 'fixtureModel'>,
  wanted: Omit<NewQueuedRelease, 'model' | 'requestedBy'> & { requestedBy?: string },
) {
  const waiting = await fixture.store.transaction((database) =>
    insertQueued(database, { model: fixtureModel.name, requestedBy: 'olga', ...wanted }),
  )
  await fixture.client.workflow.signalWithStart('releaseQueue', {
    workflowId: queueWorkflowId(fixtureModel.name),
    taskQueue: fixture.config.taskQueues.control,
    args: [{ model: fixtureModel.name }],
    signal: queueChangedSignal,
    signalArgs: [],
  })
  return waiting
}
const waited = async (fixtureModel: FixtureModel) =>
  (await listQueued(fixture.store, { model: fixtureModel.name }))
    .map(({ version, state }) => [version, state])
    .reverse()
/** Returns the open release of a version. */
const openFor = async (fixtureModel: FixtureModel, version: string) => {
  await until(
    async () => (await findOpenRelease(fixture.store, fixtureModel.name))?.state.version === version,
    `the release of ${version}`,
  )
  return (await findOpenRelease(fixture.store, fixtureModel.name))!.state
}
const signal = (
  { fixtureModel }: Pick<OpenRelease, 'fixtureModel'>,
  name: CommandName,
  command: GivenCommand,
) => signalOpenRelease(fixture, fixtureModel.name, name, command)

describe('a release requested while another is open', () => {
  it('waits for the end of the open release, and the newest replaces an older waiting release', async () => {
    const opened = await busy()
    const { fixtureModel, second, open, champion } = opened
    const third = await fixtureModel.register(champion)
    await join(opened, { version: second, preemption: 'none' })
    await join(opened, { version: third, preemption: 'none' })
    expect(await waited(fixtureModel)).toEqual([
      [second, 'superseded'],
      [third, 'waiting'],
    ])
    expect((await open.state()).stage).toBe('awaiting_approval')
    await open.say('reject', 'anna')
    await openFor(fixtureModel, third)
    await expect
      .poll(() => waited(fixtureModel))
      .toEqual([
        [second, 'superseded'],
        [third, 'started'],
      ])
    await signal(opened, 'abort', { by: 'olga' })
    const [started] = await listQueued(fixture.store, { model: fixtureModel.name })
    expect(
      (await listReleases(fixture.store, { model: fixtureModel.name })).map(({ state }) => state.id),
    ).toContain(started?.releaseId)
  })

  it('waits once when requested twice', async () => {
    const opened = await busy()
    const one = await join(opened, { version: opened.second, preemption: 'none' })
    expect(await join(opened, { version: opened.second, preemption: 'none' })).toMatchObject({ id: one.id })
    await opened.open.say('reject', 'anna')
  })

  it('waits once when a retraining asks again after its turn has come', async () => {
    const fixtureModel = await fixture.model(quickPolicy)
    const { name: model } = fixtureModel
    const champion = await fixtureModel.champion()
    const version = await fixtureModel.register(champion)
    const retraining = `retrain/${model}/${randomUUID()}`
    await insertRetraining(fixture.store, {
      id: retraining,
      model,
      reason: 'manual',
      requestedBy: 'olga',
      asOf: new Date().toISOString(),
      evidence: {},
    })
    await fixture.store.query(sql`
      update versions set lineage = lineage || ${JSON.stringify({ retrainingId: retraining })}::jsonb where version = ${version}`)
    const ask = () => enqueueRelease(fixture.deps)({ retraining })
    const refusal = async () => {
      expect(await ask()).toEqual({ isQueued: false })
      return (await getRun(fixture.store, retraining, ['retraining'])).failure?.message
    }
    const first = await ask()
    const [{ id } = { id: '' }] = await listQueued(fixture.store, { model })
    expect(first).toEqual({ isQueued: true })
    await endQueued(fixture.store, { id, state: 'started', message: 'its turn' })
    expect(await ask()).toEqual(first)
    expect(await waited(fixtureModel)).toEqual([[version, 'started']])
    // A hotfix that waits is not thrown out by a retraining.
    await fixture.store.query(sql`delete from release_queue where id = ${id}`)
    const fix = {
      model,
      version: champion,
      requestedBy: 'anna',
      preemption: 'none',
      hotfixReason: 'a leak',
    } as const
    await fixture.store.transaction((database) => insertQueued(database, fix))
    const refused = `${version} cannot queue: the hotfix ${champion} waits for its turn`
    expect(await refusal()).toBe(refused)
    // Nor by the release of a user that is no hotfix.
    const ordinary = { model, version, requestedBy: 'olga', preemption: 'exposed' } as const
    await expect(
      fixture.store.transaction((database) => insertQueued(database, ordinary)),
    ).rejects.toMatchObject({ code: 'release_in_progress', message: refused })
    expect(await waited(fixtureModel)).toEqual([[champion, 'waiting']])
    // Nor is a release that a user has started.
    const { hotfixReason: _, ...started } = { ...fix, preemption: 'unexposed' as const }
    await fixture.store.query(sql`delete from release_queue where model = ${model}`)
    await fixture.store.transaction((database) => insertQueued(database, started))
    expect(await refusal()).toBe(
      `${version} cannot queue: ${champion}, which anna has released, waits for its turn`,
    )
    expect(await waited(fixtureModel)).toEqual([[champion, 'waiting']])
  })

  it('by a user supersedes a release that awaits approval', async () => {
    const opened = await busy()
    await join(opened, { version: opened.second, preemption: 'unexposed' })
    expect(await opened.open.result()).toMatchObject({
      outcome: 'superseded',
      reason: `superseded by ${opened.second}, requested by olga`,
    })
    await openFor(opened.fixtureModel, opened.second)
    await signal(opened, 'abort', { by: 'olga' })
  })

  it('by a user does not supersede a release that serves requests', async () => {
    const opened = await busy()
    await opened.open.say('approve', 'anna')
    await opened.open.reaches('canary')
    await join(opened, { version: opened.second, preemption: 'unexposed' })
    expect(await opened.open.result()).toMatchObject({ outcome: 'promoted' })
    // It was compared with the previous champion, so the queue entry is rejected with that reason.
    await until(async () => (await waited(opened.fixtureModel))[0]?.[1] === 'refused', 'the refusal')
    const [row] = await listQueued(fixture.store, { model: opened.fixtureModel.name })
    expect(row?.message).toMatch(
      new RegExp(`was compared with ${opened.champion}, but ${opened.first} is champion`),
    )
  })

  it('refused when its turn comes raises an alert', async () => {
    const { deps, store } = fixture
    const fixtureModel = await fixture.model()
    const champion = await fixtureModel.champion()
    const version = await fixtureModel.register()
    const wanted = { model: fixtureModel.name, version, requestedBy: 'olga', preemption: 'none' } as const
    const waiting = await store.transaction((database) => insertQueued(database, wanted))
    const releaseId = releaseIdOf(fixtureModel.name)
    const run = { workflowId: releaseWorkflowId(fixtureModel.name), runId: fixtureModel.name }
    const opening = { id: releaseId, order: waiting.id, model: fixtureModel.name }
    expect(await openAs(deps, run, opening)).toHaveProperty('refused')
    await awaitDequeued(deps)({ queued: waiting.id })
    expect(await listQueued(store, { model: fixtureModel.name })).toMatchObject([
      {
        state: 'refused',
        releaseId,
        message: expect.stringContaining(`but ${champion} is champion`) as unknown,
      },
    ])
    const alerts = await listAlerts(store, { model: fixtureModel.name })
    expect(alerts).toMatchObject([
      {
        kind: 'release_failed',
        severity: 'warning',
        message: expect.stringMatching(
          `^${version} was queued .* its turn came: .*but ${champion} is champion`,
        ) as unknown,
      },
    ])
  })

  it('supersedes a release in its canary if the policy says so, and never one on probation', async () => {
    const opened = await busy()
    await opened.open.say('approve', 'anna')
    await opened.open.reaches('canary')
    await join(opened, { version: opened.second, preemption: 'exposed' })
    expect(await opened.open.result()).toMatchObject({ outcome: 'superseded' })
    expect(await findChampion(fixture.store, opened.fixtureModel.name)).toMatchObject({
      version: opened.champion,
    })
    const next = await openFor(opened.fixtureModel, opened.second)
    await until(
      async () => (await findRelease(fixture.store, next.id))?.state.stage === 'awaiting_approval',
      'awaiting_approval',
    )
    await signal(opened, 'promoteNow', { by: 'root', reason: 'it must be' })
    await until(
      async () => (await findRelease(fixture.store, next.id))?.state.stage === 'probation',
      'probation',
    )
    const last = await opened.fixtureModel.register(opened.champion)
    await join(opened, { version: last, preemption: 'exposed' })
    await until(async () => (await findRelease(fixture.store, next.id))?.outcome === 'promoted', 'promoted')
  })

  it('ends when its turn does not come in time', async () => {
    const { fixtureModel, second, open } = await busy()
    await fixture.store.transaction((database) =>
      insertQueued(
        database,
        { model: fixtureModel.name, version: second, requestedBy: 'olga', preemption: 'none' },
        -1,
      ),
    )
    expect(
      await fixture.store.transaction((database) => findQueued(database, fixtureModel.name)),
    ).toBeUndefined()
    expect(await waited(fixtureModel)).toEqual([[second, 'expired']])
    expect(await listAlerts(fixture.store, { model: fixtureModel.name })).toMatchObject([
      {
        kind: 'release_expired',
        message: expect.stringContaining(`${second}, which olga had released, expired`),
      },
    ])
    await open.say('reject', 'anna')
  })
})

describe('a hotfix release', () => {
  const short = { ...quickPolicy.stages[0]!, shareBp: 3_000 }
  const policy: ReleasePolicy = { ...quickPolicy, hotfix: { stages: [short] } }

  it('supersedes a canary, skips stages, and is still evaluated', async () => {
    const opened = await busy(policy)
    await opened.open.say('approve', 'anna')
    await opened.open.reaches('canary')
    await join(opened, {
      version: opened.second,
      preemption: 'exposed',
      requestedBy: 'anna',
      hotfixReason: 'it is down',
    })
    expect(await opened.open.result()).toMatchObject({
      outcome: 'superseded',
      reason: `superseded by ${opened.second}, requested by anna: it is down`,
    })
    const state = await openFor(opened.fixtureModel, opened.second)
    expect(state).toMatchObject({ hotfix: { by: 'anna', reason: 'it is down' }, policy: { stages: [short] } })
    expect(state.policy).not.toMatchObject({ shadow: expect.anything() })
    opened.fixtureModel.traffic.invalid.set(opened.second, 0.5)
    await until(
      async () => (await findRelease(fixture.store, state.id))?.state.stage === 'awaiting_approval',
      'awaiting_approval',
    )
    await signal(opened, 'approve', { by: 'anna' })
    await signal(opened, 'approve', { by: 'ben' })
    await until(
      async () => (await findRelease(fixture.store, state.id))?.outcome === 'rolled_back',
      'rolled_back',
    )
  })

  it.each([
    ['without a reason', 'anna', ' ', /needs a reason/],
    ['by an operator', 'olga', 'it is down', /cannot start a hotfix/],
    ['by an unknown key', 'mallory', 'it is down', /names no order/],
  ])('%s is refused', async (_name, requestedBy, reason, why) => {
    const fixtureModel = await fixture.model(policy)
    const version = await fixtureModel.register(await fixtureModel.champion())
    await until(
      async () => (await findOpenRelease(fixture.store, fixtureModel.name)) === undefined,
      'the end',
    )
    const outcome = await fixture.client.workflow.execute('release', {
      workflowId: `hotfix/${fixtureModel.name}`,
      taskQueue: fixture.config.taskQueues.control,
      args: [
        await orderedStart(fixture, 'release', {
          model: fixtureModel.name,
          version,
          requestedBy,
          hotfix: { reason },
        }),
      ],
    })
    expect(outcome).toMatchObject({ outcome: 'failed', reason: expect.stringMatching(why) as string })
  })
})

describe('qualification by policy', () => {
  const reachedMs = 1
  it.each([
    ['memory', { rssBytes: 1 }, /MiB, at most 0 are accepted/],
    ['room for its weights', { weightBytes: 1 }, /bytes, at most 1 are accepted/],
    ['time', { timeoutMs: reachedMs }, /did not end within 0.001 s/],
  ])(
    'refuses a candidate that takes too much %s, before it serves a request',
    async (_name, qualification, reason) => {
      const fixtureModel = await fixture.model()
      const release = await fixtureModel.start(await fixtureModel.register(), { qualification })
      expect(await release.result()).toMatchObject({
        outcome: 'failed',
        reason: expect.stringMatching(reason) as string,
      })
    },
  )
})
