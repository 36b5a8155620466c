/**
 * Tests that access to Temporal alone cannot promote a version: not by a forged start, not by a custom worker that passes any state to the
 * activities, and not by a signal without a key's signature.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { closeReleaseRow, recordRelease } from '../../../activities/release/record-release.ts'
import { promote } from '../../../activities/release/promote.ts'
import { rollBackCandidate } from '../../../activities/release/rollback.ts'
import { route } from '../../../activities/release/route.ts'
import { watch } from '../../../activities/release/watch-stage.ts'
import type { ReleaseState, Statement } from '../../../domain/release/state.ts'
import { openVerifier } from '../../../activities/runtime/open-verifier.ts'
import { verifyCommand } from '../../../store/signing/command-signatures.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findRelease, listCommands } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { changeTrusted } from '../../../store/signing/key-files.ts'
import { rotateSigningKey } from '../../../store/signing/rotate-signing-key.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { signed, orderedStart } from '../../support/commands/signed.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
  type PolicyChanges,
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
async function unapproved(changes?: PolicyChanges): Promise<Waiting> {
  const fixtureModel = await fixture.model()
  const champion = await fixtureModel.champion()
  const release = await fixtureModel.start(await fixtureModel.register(champion), changes)
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

describe('a worker without the database and the signing key', () => {
  it('routes and promotes nothing, whatever state it gives', async () => {
    const waiting = await unapproved()
    const { champion, state } = waiting
    const lies: ReleaseState[] = [
      forged(state),
      // The policy requires no approval and has no stage.
      { ...forged(state), policy: { ...state.policy, approval: { approvers: 0, withinMs: 1 }, stages: [] } },
      { ...forged(state), strategy: 'direct', baseline: undefined },
      { ...forged(state), breakGlass: { by: 'root', atMs: Date.now(), reason: 'outage' } },
      { ...state, stage: 'canary', stageIndex: 1, shareBp: 10_000, approvals: forged(state).approvals },
      { ...state, stage: 'probation', promoted: true },
      { ...state, stage: 'shadow', shareBp: 10_000 },
    ]
    for (const lie of lies) {
      expect((await promote(fixture.deps)(lie)).kind).toMatch(/stale|refused/)
      const report = (await environment.run(route(fixture.deps), lie)) as { kind: string }
      expect(report.kind).toMatch(/stale|refused/)
    }
    const watched = { state: lies[4]!, hold: false, deadlineMs: 0 }
    expect(await environment.run(watch(fixture.deps), watched)).toMatchObject({ kind: 'stale' })
    expect(await championOf(waiting)).toBe(champion)
    expect(await armsOf(waiting)).toEqual([{ arm: 'champion', version: champion, shareBp: 10_000 }])
    await waiting.release.handle.terminate()
  })

  it('cannot record an approval without a signature', async () => {
    const waiting = await unapproved()
    const { champion, release, state } = waiting
    const said = { id: 'forged', by: 'anna', signature: 'a.9999999999999.AAAA' }
    const record = {
      id: `${state.id}/forged`,
      releaseId: state.id,
      command: 'approve' as const,
      actor: 'anna',
      accepted: true,
      message: 'approved by anna',
      stage: 'shadow' as const,
      sent: said,
    }
    await recordRelease(fixture.deps)({ state: forged(state), commands: [record] })
    expect(await promote(fixture.deps)(forged(state))).toMatchObject({
      kind: 'stale',
      reason: '0 of 1 signed approvals are recorded',
    })
    expect(await championOf(waiting)).toBe(champion)
    await release.handle.terminate()
  })

  it('cannot change what a release was opened with', async () => {
    const waiting = await unapproved()
    const { champion, release, state } = waiting
    const lie = { ...forged(state), baseline: 'm_v9.9.9', requestedBy: 'ben', strategy: 'direct' as const }
    await recordRelease(fixture.deps)({ state: lie, commands: [] })
    expect((await findRelease(fixture.store, state.id))!.state).toMatchObject({
      baseline: champion,
      requestedBy: 'olga',
      strategy: 'canary',
    })
    await release.handle.terminate()
  })

  it('cannot end a release as promoted, or roll back to a version of its choice', async () => {
    const waiting = await unapproved()
    const { champion, fixtureModel, state } = waiting
    const other = await fixtureModel.register(champion)
    const end = { ...forged(state), stage: 'ended' as const, outcome: 'promoted' as const, promoted: true }
    expect(await environment.run(closeReleaseRow(fixture.deps), end)).toMatchObject({ outcome: 'failed' })
    const raised = await listAlerts(fixture.store, { model: fixtureModel.name })
    expect(raised.map(({ kind }) => kind)).toContain('release_failed')
    const order = { outcome: 'rolled_back' as const, reason: 'because', withdraw: true }
    const back = {
      ...state,
      stage: 'rolling_back' as const,
      version: champion,
      baseline: other,
      rollbackOrder: order,
    }
    await environment.run(rollBackCandidate(fixture.deps), back)
    expect(await championOf(waiting)).toBe(champion)
    await waiting.release.handle.terminate().catch(() => {})
  })
})

describe('a signal', () => {
  it('with a bare name is refused, whichever key has the name', async () => {
    const { release, state } = await unapproved()
    for (const by of ['anna', 'root', 'admin'])
      for (const name of ['approve', 'promoteNow', 'rollback'] as const)
        await release.handle.signal(name, { by, reason: 'because', id: `${name} by ${by}` })
    const answers = async () =>
      (await listCommands(fixture.store, release.id)).map(({ accepted }) => accepted)
    await expect.poll(answers).toHaveLength(9)
    expect(await answers()).not.toContain(true)
    expect(await release.state()).toMatchObject({ stage: state.stage, approvals: [] })
    await release.handle.terminate()
  })

  it('with the signature of another release is refused', async () => {
    const [one, other] = [await unapproved(), await unapproved()]
    const said = await signed(fixture, one.release.handle, 'approve', { by: 'anna', id: 'once' })
    await other.release.handle.signal('approve', said)
    const answers = async () => await listCommands(fixture.store, other.release.id)
    await expect.poll(answers).toHaveLength(1)
    expect(await answers()).toMatchObject([
      { accepted: false, message: expect.stringMatching(/signature does not match/) as string },
    ])
    for (const { release } of [one, other]) await release.handle.terminate()
  })

  it.each([true, false])(
    'counts after a forged one with its id (recorded before: %s)',
    async (isRecorded) => {
      const { release } = await unapproved()
      const said = await signed(fixture, release.handle, 'approve', { by: 'anna', id: 'once' })
      const answers = async () => await listCommands(fixture.store, release.id)
      await release.handle.signal('approve', { by: 'anna', id: 'once', reason: 'forged' })
      if (isRecorded) await expect.poll(answers).toHaveLength(1)
      await release.handle.signal('approve', said)
      await release.reaches('shadow')
      await expect.poll(answers).toMatchObject([{ accepted: false, reason: 'forged' }, { accepted: true }])
      // A repetition of either gets its first result and no second row.
      await release.handle.signal('approve', said)
      await release.handle.signal('approve', { by: 'anna', id: 'once', reason: 'forged' })
      await release.say('abort', 'olga')
      await release.result()
      expect(await answers()).toHaveLength(3)
    },
  )

  it('with a line break in its reason counts as it was signed', async () => {
    const { release } = await unapproved()
    await release.signal('approve', { by: 'anna', id: 'lines', reason: 'looked at it\r\nand at the slices' })
    await release.reaches('shadow')
    const answers = async () => await listCommands(fixture.store, release.id)
    await expect.poll(answers).toMatchObject([{ accepted: true }])
    await release.handle.terminate()
  })
})

describe('after the rotation of the key that signs commands', () => {
  it('a command on its way counts during the overlap, and a recorded approval until the release ends', async () => {
    const { release, fixtureModel } = await unapproved({
      shadow: { shareBp: 10_000, minMs: 150, minRequests: 20, deadlineMs: 600_000 },
    })
    // Without requests the shadow lasts, however long the rest takes.
    fixtureModel.traffic.requests = 0
    const underWay = await signed(fixture, release.handle, 'approve', { by: 'anna', id: 'under way' })
    const late = await signed(fixture, release.handle, 'abort', { by: 'olga', id: 'late', reason: 'r' })
    await rotateSigningKey(fixture.config.signing, 'commands', { overlapMs: 60_000 })
    const answers = () => listCommands(fixture.store, release.id)
    await release.handle.signal('approve', underWay)
    await release.reaches('shadow')
    // The stage may be stored before the command is.
    await expect.poll(answers).toHaveLength(1)
    const { signature, ...said } = late
    const claim = { ...said, command: 'abort', model: fixtureModel.name, release: release.id } as const
    const isSigned = () =>
      verifyCommand(openVerifier(fixture.deps), claim, { signature: signature!, nowMs: Date.now() }) !==
      undefined
    expect(isSigned()).toBe(true)
    // The key of both signatures ends now.
    await changeTrusted(fixture.config.signing, 'commands', (keys) =>
      keys.map((key) => ({ ...key, until: key.until && new Date().toISOString() })),
    )
    // The workers of this process verify with the same keys, and read a changed list within 250 ms.
    await expect.poll(isSigned).toBe(false)
    await release.handle.signal('abort', late)
    await expect.poll(answers).toHaveLength(2)
    expect(await answers()).toMatchObject([
      { command: 'approve', accepted: true },
      {
        command: 'abort',
        accepted: false,
        message: expect.stringMatching(/signature does not match/) as string,
      },
    ])
    fixtureModel.traffic.requests = 200
    // Each stage and the promotion verify the recorded approval again.
    const { outcome, reason } = await release.result()
    expect(outcome, reason).toBe('promoted')
  })

  it('a recorded command with a signature from after its end is no approval', async () => {
    const waiting = await unapproved()
    const { release, state } = waiting
    const said = await signed(fixture, release.handle, 'approve', { by: 'anna', id: 'stolen' })
    await rotateSigningKey(fixture.config.signing, 'commands', { overlapMs: 0 })
    const record = {
      id: `${state.id}/stolen`,
      releaseId: state.id,
      command: 'approve' as const,
      actor: 'anna',
      accepted: true,
      message: 'approved by anna',
      stage: 'shadow' as const,
      sent: said as { id: string; by: string; signature: string },
    }
    await recordRelease(fixture.deps)({ state: forged(state), commands: [record] })
    expect(await promote(fixture.deps)(forged(state))).toMatchObject({
      kind: 'stale',
      reason: '0 of 1 signed approvals are recorded',
    })
    await release.handle.terminate()
  })
})
