/** A second release of a model: it waits, takes the place of another, or is refused; and the way of a hotfix. On the real servers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { markDequeued } from '../../../activities/release/release-queue.ts'
import { openRelease } from '../../../activities/release/open-release.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findOpenRelease, findRelease, listReleases } from '../../../store/release/releases.ts'
import {
  findQueued,
  insertQueued,
  listQueued,
  type NewQueuedRelease,
} from '../../../store/release/release-queue.ts'
import { queueWorkflowId, releaseWorkflowId, queueChangedSignal } from '../../../workflows/messages.ts'
import { migratedDatabase, temporalAddress } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let stage: ReleaseFixture
beforeAll(async () => {
  stage = await openReleaseFixture({
    databaseUrl: await migratedDatabase(),
    temporalAddress: temporalAddress(),
  })
})
afterAll(async () => {
  await stage?.close()
})

interface Scene {
  show: FixtureModel
  champion: string
  first: string
  second: string
  open: FixtureRelease
}
/** A release that awaits approval, and a second candidate beside it. */
async function busy(policy: ReleasePolicy = quickPolicy): Promise<Scene> {
  const show = await stage.model(policy)
  const champion = await show.champion()
  const [first, second] = [await show.register(champion), await show.register(champion)]
  const open = await show.start(first, { shadow: false })
  await open.reaches('awaiting_approval')
  return { show, champion, first, second, open }
}
/** What the API does when a release is open. */
async function join(
  { show }: Pick<Scene, 'show'>,
  wanted: Omit<NewQueuedRelease, 'model' | 'requestedBy'> & { requestedBy?: string },
) {
  const waiting = await stage.store.transaction((database) =>
    insertQueued(database, { model: show.name, requestedBy: 'olga', ...wanted }),
  )
  await stage.client.workflow.signalWithStart('releaseQueue', {
    workflowId: queueWorkflowId(show.name),
    taskQueue: stage.config.taskQueues.control,
    args: [{ model: show.name }],
    signal: queueChangedSignal,
    signalArgs: [],
  })
  return waiting
}
const waited = async (show: FixtureModel) =>
  (await listQueued(stage.store, { model: show.name }))
    .map(({ version, state }) => [version, state])
    .reverse()
/** The release that is open for a version now. */
const openFor = async (show: FixtureModel, version: string) => {
  await until(
    async () => (await findOpenRelease(stage.store, show.name))?.state.version === version,
    `the release of ${version}`,
    20_000,
  )
  return (await findOpenRelease(stage.store, show.name))!.state
}
const handleOf = ({ show }: Pick<Scene, 'show'>) =>
  stage.client.workflow.getHandle(releaseWorkflowId(show.name))

describe('a release that comes while another is open', () => {
  it('waits until it has ended, and the newest takes the place of an older one that waits', async () => {
    const scene = await busy()
    const { show, second, open, champion } = scene
    const third = await show.register(champion)
    await join(scene, { version: second, preemption: 'none' })
    await join(scene, { version: third, preemption: 'none' })
    expect(await waited(show)).toEqual([
      [second, 'superseded'],
      [third, 'waiting'],
    ])
    expect((await open.state()).stage).toBe('awaiting_approval')
    await open.say('reject', 'anna')
    await openFor(show, third)
    expect(await waited(show)).toEqual([
      [second, 'superseded'],
      [third, 'started'],
    ])
    await handleOf(scene).signal('abort', { by: 'olga' })
    const [started] = await listQueued(stage.store, { model: show.name })
    expect((await listReleases(stage.store, { model: show.name })).map(({ state }) => state.id)).toContain(
      started?.releaseId,
    )
  })

  it('asked twice waits once', async () => {
    const scene = await busy()
    const one = await join(scene, { version: scene.second, preemption: 'none' })
    expect(await join(scene, { version: scene.second, preemption: 'none' })).toMatchObject({ id: one.id })
    await scene.open.say('reject', 'anna')
  })

  it('by a person takes the place of one that only awaits approval', async () => {
    const scene = await busy()
    await join(scene, { version: scene.second, preemption: 'unexposed' })
    expect(await scene.open.result()).toMatchObject({
      outcome: 'superseded',
      reason: `superseded by ${scene.second}, asked for by olga`,
    })
    await openFor(scene.show, scene.second)
    await handleOf(scene).signal('abort', { by: 'olga' })
  })

  it('by a person does not take the place of one that callers have met', async () => {
    const scene = await busy()
    await scene.open.say('approve', 'anna')
    await scene.open.reaches('canary')
    await join(scene, { version: scene.second, preemption: 'unexposed' })
    expect(await scene.open.result()).toMatchObject({ outcome: 'promoted' })
    // It was compared with the champion of before, so that its turn comes to nothing, and says so.
    await until(async () => (await waited(scene.show))[0]?.[1] === 'refused', 'the refusal', 20_000)
    const [row] = await listQueued(stage.store, { model: scene.show.name })
    expect(row?.message).toMatch(
      new RegExp(`was compared with ${scene.champion}, but ${scene.first} is champion`),
    )
  })

  it.each(['before', 'after'])(
    'that is refused %s it is written that its turn has come is told so',
    async (when) => {
      const { deps, store } = stage
      const show = await stage.model()
      const champion = await show.champion()
      const version = await show.register()
      const wanted = { model: show.name, version, requestedBy: 'olga', preemption: 'none' } as const
      const waiting = await store.transaction((database) => insertQueued(database, wanted))
      const releaseId = `rel_${show.name}` as const
      const turn = { id: releaseId, turn: waiting.id, workflowId: releaseWorkflowId(show.name), runId: 'run' }
      const opening = { ...turn, model: show.name, version, requestedBy: 'olga', atMs: Date.now() }
      if (when === 'after') await markDequeued(deps)({ waiting, releaseId })
      expect(await openRelease(deps)(opening)).toHaveProperty('refused')
      if (when === 'before') await markDequeued(deps)({ waiting, releaseId })
      expect(await listQueued(store, { model: show.name })).toMatchObject([
        {
          state: 'refused',
          releaseId,
          message: expect.stringContaining(`but ${champion} is champion`) as unknown,
        },
      ])
    },
  )

  it('by a policy that says so takes the place of one in its canary, and never of one on probation', async () => {
    const scene = await busy()
    await scene.open.say('approve', 'anna')
    await scene.open.reaches('canary')
    await join(scene, { version: scene.second, preemption: 'exposed' })
    expect(await scene.open.result()).toMatchObject({ outcome: 'superseded' })
    expect(await findChampion(stage.store, scene.show.name)).toMatchObject({ version: scene.champion })
    const next = await openFor(scene.show, scene.second)
    await until(
      async () => (await findRelease(stage.store, next.id))?.state.stage === 'awaiting_approval',
      'awaiting_approval',
      20_000,
    )
    await handleOf(scene).signal('promoteNow', { by: 'root', reason: 'it must be' })
    await until(
      async () => (await findRelease(stage.store, next.id))?.state.stage === 'probation',
      'probation',
      20_000,
    )
    const last = await scene.show.register(scene.champion)
    await join(scene, { version: last, preemption: 'exposed' })
    await until(
      async () => (await findRelease(stage.store, next.id))?.outcome === 'promoted',
      'promoted',
      20_000,
    )
  })

  it('gives up when its turn does not come in time', async () => {
    const { show, second, open } = await busy()
    await stage.store.transaction((database) =>
      insertQueued(
        database,
        { model: show.name, version: second, requestedBy: 'olga', preemption: 'none' },
        -1,
      ),
    )
    expect(await stage.store.transaction((database) => findQueued(database, show.name))).toBeUndefined()
    expect(await waited(show)).toEqual([[second, 'expired']])
    await open.say('reject', 'anna')
  })
})

describe('a hotfix', () => {
  const short = { ...quickPolicy.stages[0]!, shareBp: 3_000 }
  const policy: ReleasePolicy = { ...quickPolicy, hotfix: { stages: [short] } }

  it('takes the place of a canary, goes the shorter way, and meets the judge all the same', async () => {
    const scene = await busy(policy)
    await scene.open.say('approve', 'anna')
    await scene.open.reaches('canary')
    await join(scene, {
      version: scene.second,
      preemption: 'exposed',
      requestedBy: 'anna',
      hotfixReason: 'it is down',
    })
    expect(await scene.open.result()).toMatchObject({
      outcome: 'superseded',
      reason: `superseded by ${scene.second}, asked for by anna: it is down`,
    })
    const state = await openFor(scene.show, scene.second)
    expect(state).toMatchObject({ hotfix: { by: 'anna', reason: 'it is down' }, policy: { stages: [short] } })
    expect(state.policy).not.toMatchObject({ shadow: expect.anything() })
    scene.show.traffic.invalid.set(scene.second, 0.5)
    await until(
      async () => (await findRelease(stage.store, state.id))?.state.stage === 'awaiting_approval',
      'awaiting_approval',
      20_000,
    )
    await handleOf(scene).signal('approve', { by: 'anna' })
    await handleOf(scene).signal('approve', { by: 'ben' })
    await until(
      async () => (await findRelease(stage.store, state.id))?.outcome === 'rolled_back',
      'rolled_back',
      20_000,
    )
  })

  it.each([
    ['without a reason', 'anna', ' ', /needs a reason/],
    ['by an operator', 'olga', 'it is down', /may not mark a release as a hotfix/],
    ['by nobody', 'nobody', 'it is down', /may not mark a release as a hotfix/],
  ])('%s is refused', async (_name, requestedBy, reason, why) => {
    const show = await stage.model(policy)
    const version = await show.register(await show.champion())
    await until(async () => (await findOpenRelease(stage.store, show.name)) === undefined, 'the end')
    const outcome = await stage.client.workflow.execute('release', {
      workflowId: `hotfix/${show.name}`,
      taskQueue: stage.config.taskQueues.control,
      args: [{ model: show.name, version, requestedBy, hotfix: { reason } }],
    })
    expect(outcome).toMatchObject({ outcome: 'failed', reason: expect.stringMatching(why) as string })
  })
})

describe('qualification by policy', () => {
  it.each([
    ['memory', { rssBytes: 1 }, /MiB, at most 0 are accepted/],
    ['time', { timeoutMs: 1 }, /was ended by SIGKILL/],
  ])(
    'refuses a candidate that takes too much %s, before it meets anybody',
    async (_name, qualification, reason) => {
      const show = await stage.model()
      const release = await show.start(await show.register(), { qualification })
      expect(await release.result()).toMatchObject({
        outcome: 'failed',
        reason: expect.stringMatching(reason) as string,
      })
    },
  )
})
