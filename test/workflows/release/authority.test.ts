/**
 * Tests that access to Temporal alone cannot promote a version or route requests to it: not by a forged start, not by steps that a custom
 * worker asks for, and not by a signal that names anything but the row of a command to this release.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { closeRelease } from '../../../activities/release/end-release.ts'
import {
  cancelRelease,
  endWait,
  failStep,
  lookAtBasis,
  lookAtCommands,
  lookAtQueue,
} from '../../../activities/release/look.ts'
import { promote } from '../../../activities/release/promote.ts'
import { qualify } from '../../../activities/release/qualify.ts'
import { rollBackCandidate } from '../../../activities/release/rollback.ts'
import { routeStage } from '../../../activities/release/route.ts'
import { watch } from '../../../activities/release/watch-stage.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import type { ReleaseState, Statement } from '../../../domain/release/state.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listCommands } from '../../../store/commands.ts'
import { type StepInput, findRelease, saveRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { recorded, orderedStart } from '../../support/commands/signed.ts'
import { stateAt, stages } from '../../support/release/releases.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
let environment: MockActivityEnvironment
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
  environment = new MockActivityEnvironment()
})
afterAll(async () => {
  await fixture?.close()
})

interface Waiting {
  fixtureModel: FixtureModel
  champion: string
  release: FixtureRelease
  state: ReleaseState
}
/** Starts a release without an approval. */
async function unapproved(): Promise<Waiting> {
  const fixtureModel = await fixture.model()
  const champion = await fixtureModel.champion()
  const release = await fixtureModel.start(await fixtureModel.register(champion))
  return { fixtureModel, champion, release, state: await release.reaches('awaiting_approval') }
}
/** Forges a state: approved by a user, and past every stage. */
const forged = (state: ReleaseState): ReleaseState => {
  const approvals: Statement[] = [{ by: 'anna', atMs: Date.now(), digests: state.digests }]
  return { ...state, stage: 'promoting', routed: true, approvals, revision: state.revision + 100 }
}
const championOf = async ({ fixtureModel }: Waiting) =>
  (await findChampion(fixture.store, fixtureModel.name))?.version
const armsOf = async ({ fixtureModel }: Waiting) =>
  (await findRouting(fixture.store, fixtureModel.name))!.route.arms

it('a start with a forged state opens a release that waits for its approval', async () => {
  const waiting = await unapproved()
  const { fixtureModel, champion, release, state } = waiting
  await release.handle.terminate()
  const handle = await fixture.client.workflow.start('release', {
    workflowId: releaseWorkflowId(fixtureModel.name),
    taskQueue: fixture.config.taskQueues.control,
    args: [
      await orderedStart(fixture, 'release', {
        model: fixtureModel.name,
        version: state.version,
        requestedBy: 'olga',
      }),
      { state: forged(state), commands: { pending: [] } },
    ],
  })
  const ended = await Promise.race([
    handle.result().then(() => 'ended'),
    expect
      .poll(async () => (await findRelease(fixture.store, release.id))?.outcome)
      .toBeDefined()
      .then(() => 'opened anew'),
  ])
  expect(await championOf(waiting)).toBe(champion)
  expect(ended).not.toBe('promoted')
  await handle.terminate().catch(() => {})
})

describe('a worker without the database', () => {
  const steps = {
    promote,
    route: routeStage,
    watch,
    qualify,
    closeRelease,
    rollBackCandidate,
    endWait,
    failStep,
  }
  type StepName = keyof typeof steps
  const call = (name: StepName, input: object): Promise<ReleaseState> =>
    environment.run(
      steps[name](fixture.deps) as (given: StepInput) => Promise<ReleaseState>,
      input as StepInput,
    )
  const kinds: Partial<Record<StepName, string>> = {
    promote: 'promote',
    route: 'route',
    watch: 'watch',
    qualify: 'qualify',
    closeRelease: 'close',
    rollBackCandidate: 'roll_back',
  }

  it.each(stages)('changes nothing at %s by a step that the row does not ask for', async (where) => {
    const waiting = await unapproved()
    const { champion, release, state } = waiting
    await release.handle.terminate()
    const { stage, stageIndex, shareBp, routed, undecidedStage, promoted, outcome } = stateAt[where]
    const now = { ...state, stage, stageIndex, shareBp, routed, promoted, undecidedStage, outcome }
    const placed = JSON.parse(JSON.stringify(now)) as ReleaseState
    await saveRelease(fixture.store, placed)
    const present = nextEffect(placed)
    const keys = new Set(stages.map((each) => nextEffect({ ...stateAt[each], attempts: 0 }).key))
    for (const step of [
      'promoting/0/0/0',
      'promoting/0/0/0/warm',
      'canary/1/0/0/route',
      'none',
      '',
      present.key,
    ])
      keys.add(step)
    const arms = await armsOf(waiting)
    for (const name of Object.keys(steps) as StepName[])
      for (const step of keys) {
        // A step that the row asks for may be asked for by anyone; a wait that ends early and a failed step roll back.
        const isAsked = step === present.key && (kinds[name] === undefined || kinds[name] === present.kind)
        if (isAsked) continue
        const input = { release: release.id, step, seen: placed.revision, state: forged(state), policy: {} }
        expect(await call(name, input)).toEqual(placed)
      }
    expect((await findRelease(fixture.store, release.id))?.state).toEqual(placed)
    expect(await championOf(waiting)).toBe(champion)
    expect(await armsOf(waiting)).toEqual(arms)
  })

  it('names no release but a recorded one', async () => {
    for (const release of ['rel_0', '', "' or true --"]) {
      for (const name of Object.keys(steps) as StepName[])
        await expect(call(name, { release, step: 'promoting/0/0/0', seen: 0 })).rejects.toMatchObject({
          code: 'release_not_found',
        })
      for (const look of [lookAtBasis, lookAtQueue, cancelRelease])
        await expect(look(fixture.deps)({ release, seen: 0 })).rejects.toMatchObject({
          code: 'release_not_found',
        })
    }
  })

  it('that claims to have seen more than the row says returns it to the baseline', async () => {
    const waiting = await unapproved()
    const { champion, release, state } = waiting
    await release.handle.terminate()
    const seen = state.revision + 1_000_000
    const after = await call('promote', { release: release.id, step: 'promoting/0/0/0', seen })
    expect(after).toMatchObject({ stage: 'ended', outcome: 'failed', promoted: false, revision: seen + 1 })
    expect(await championOf(waiting)).toBe(champion)
    expect(await armsOf(waiting)).toEqual([{ arm: 'champion', version: champion, shareBp: 10_000 }])
  })

  it('that looks at a release finds what the rows say, and nothing else', async () => {
    const { release, state } = await unapproved()
    const given = { release: release.id, seen: state.revision }
    const forgedRow = { accepted: true, stage: 'shadow', message: 'approved by anna' }
    const commands = [`cmd_${'0'.repeat(32)}`, 'anna', '', forgedRow as never]
    expect(await lookAtCommands(fixture.deps)({ ...given, commands })).toEqual({
      state,
      answers: [null, null, null, null],
    })
    expect(await lookAtBasis(fixture.deps)(given)).toEqual(state)
    expect(await lookAtQueue(fixture.deps)(given)).toEqual(state)
    expect(await release.state()).toEqual(state)
    await release.handle.terminate()
  })
})

describe('a signal', () => {
  const answersOf = ({ release }: Waiting) => listCommands(fixture.store, release.id)

  it('that carries a command instead of naming one changes nothing, and is told once', async () => {
    const waiting = await unapproved()
    const { release, state } = waiting
    for (const by of ['anna', 'root'])
      for (const name of ['approve', 'promoteNow', 'rollback'] as const) {
        await release.handle.signal(name, { by, reason: 'because', id: `${name} by ${by}` })
        await release.handle.signal(name, { command: { by } })
      }
    const told = () => listAudit(fixture.store, { subject: release.id, action: 'command.unknown' })
    await expect.poll(told).toHaveLength(1)
    // Answered after them.
    const unknown = { command: `cmd_${'0'.repeat(32)}` }
    expect(await release.handle.executeUpdate('approve', { args: [unknown] })).toMatchObject({
      accepted: false,
    })
    expect(await told()).toHaveLength(1)
    expect(await answersOf(waiting)).toEqual([])
    expect(await release.state()).toEqual(state)
    await release.handle.terminate()
  })

  it('that names a command of another release applies it to neither', async () => {
    const [one, other] = [await unapproved(), await unapproved()]
    const said = await recorded(fixture, one.release.handle, 'approve', { by: 'anna' })
    expect(await other.release.handle.executeUpdate('approve', { args: [said] })).toMatchObject({
      accepted: false,
      message: 'no such command to this release is recorded',
    })
    expect([await answersOf(one), await answersOf(other)]).toEqual([[], []])
    expect(await other.release.state()).toEqual(other.state)
    // Under any name, its own release does what the row says.
    await one.release.handle.signal('rollback', said)
    await one.release.reaches('shadow')
    expect(await answersOf(one)).toMatchObject([{ command: 'approve', actor: 'anna', accepted: true }])
    for (const { release } of [one, other]) await release.handle.terminate()
  })

  it('counts once, however often it is sent, before and after the answer', async () => {
    const waiting = await unapproved()
    const { release } = waiting
    const said = await recorded(fixture, release.handle, 'approve', { by: 'anna', id: 'once' })
    for (let times = 0; times < 3; times++) await release.handle.signal('approve', { ...said, by: 'root' })
    await release.reaches('shadow')
    expect(await recorded(fixture, release.handle, 'approve', { by: 'anna', id: 'once' })).toEqual(said)
    for (let times = 0; times < 3; times++) await release.handle.signal('approve', said)
    expect(await release.handle.executeUpdate('approve', { args: [said] })).toMatchObject({ accepted: true })
    await release.say('abort', 'olga')
    await release.result()
    expect(await answersOf(waiting)).toMatchObject([{ accepted: true }, { command: 'abort' }])
    expect((await release.state()).approvals).toHaveLength(1)
  })
})
