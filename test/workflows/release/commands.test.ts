/** Tests commands to a release on the real servers: by update, by signal and by the command line of Temporal. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { planTemporal } from '@tenure/embedded'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { findChampion, moveChampion } from '../../../store/registry/champions.ts'
import { listCommands } from '../../../store/commands.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'
import { recorded } from '../../support/commands/signed.ts'
import { ownServers, temporalAddress } from '../../support/servers/servers.ts'

let fixture: ReleaseFixture
let fixtureModel: FixtureModel
let champion: string
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
  fixtureModel = await fixture.model()
  champion = await fixtureModel.champion()
})
afterAll(async () => {
  await fixture?.close()
})
const candidate = () => fixtureModel.register(champion)
const routed = async () => (await findRouting(fixture.store, fixtureModel.name))!.route

describe('a release before any request', () => {
  it('ends on a rejection', async () => {
    const release = await fixtureModel.start(await candidate())
    await release.reaches('awaiting_approval')
    await release.say('reject', 'anna', { reason: 'not this week' })
    expect(await release.result()).toMatchObject({
      outcome: 'rejected',
      reason: 'rejected by anna: not this week',
    })
    expect(await routed()).not.toMatchObject({ release: expect.anything() })
  })

  it('expires without approvals in time', async () => {
    const release = await fixtureModel.start(await candidate(), { approval: { approvers: 1, withinMs: 300 } })
    expect(await release.result()).toMatchObject({ outcome: 'expired' })
    expect((await listAlerts(fixture.store, { model: fixtureModel.name })).map(({ kind }) => kind)).toContain(
      'release_expired',
    )
  })

  it('ends on an abort', async () => {
    const release = await fixtureModel.start(await candidate())
    await release.reaches('awaiting_approval')
    await release.say('abort', 'olga')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  })

  it('requires two approvals of different users', async () => {
    const release = await fixtureModel.start(await candidate(), {
      approval: { approvers: 2, withinMs: 200_000 },
    })
    await release.reaches('awaiting_approval')
    expect(await release.say('approve', 'anna')).toMatchObject({ accepted: true, stage: 'awaiting_approval' })
    expect(await release.say('approve', 'anna')).toMatchObject({
      accepted: false,
      stage: 'awaiting_approval',
    })
    expect(await release.say('approve', 'ben')).toMatchObject({ accepted: true, stage: 'shadow' })
    await release.say('abort', 'olga')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  })

  it('is superseded by a change of champion', async () => {
    const other = await fixture.model()
    const first = await other.champion()
    const [second, third] = [await other.register(first), await other.register(first)]
    const release = await other.start(third)
    await release.reaches('awaiting_approval')
    await moveChampion(fixture.store, {
      model: other.name,
      from: first,
      to: second,
      cause: 'promotion',
      actor: 'test',
      reason: 'a hand in the database',
    })
    await release.say('approve', 'anna')
    expect(await release.result()).toMatchObject({ outcome: 'superseded' })
    expect(await findChampion(fixture.store, other.name)).toMatchObject({ version: second })
    const raised = await listAlerts(fixture.store, { model: other.name })
    expect(raised.map(({ kind }) => kind)).toContain('release_superseded')
  })
})

describe('signals to a release', () => {
  it('approve like updates; repeated, mistimed and unauthorised commands are refused, and signals that name no command change nothing', async () => {
    const release = await fixtureModel.start(await candidate(), {
      approval: { approvers: 2, withinMs: 200_000 },
    })
    await release.reaches('awaiting_approval')
    await release.signal('resume', { by: 'anna' })
    await release.signal('approve', { by: 'mallory' })
    await release.signal('approve', { by: 'vera' })
    await release.signal('approve', { by: 'olga' })
    await release.handle.signal('approve', 'not a command')
    await release.handle.signal('approve', null, 7)
    await release.handle.signal('approve', { command: `cmd_${'0'.repeat(32)}` })
    await release.signal('approve', { by: 'anna', id: 'same' })
    await release.signal('approve', { by: 'anna', id: 'same' })
    await expect.poll(async () => (await listCommands(fixture.store, release.id)).length).toBe(5)
    const state = await release.state()
    expect(state.stage).toBe('awaiting_approval')
    expect(state.approvals.map(({ by }) => by)).toEqual(['anna'])
    const commands = await listCommands(fixture.store, release.id)
    expect(commands.filter(({ accepted }) => accepted).map(({ actor }) => actor)).toEqual(['anna'])
    // The audit tells once that messages have named no command of this release.
    const told = async () =>
      (await listAudit(fixture.store, { subject: release.id, action: 'command.unknown' })).length
    await expect.poll(told).toBe(1)
    await release.signal('approve', { by: 'ben' })
    await release.reaches('shadow')
    await release.signal('rollback', { by: 'olga', reason: 'enough' })
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: 'rolled back by olga: enough',
    })
    expect((await routed()).arms).toEqual([{ arm: 'champion', version: champion, shareBp: 10_000 }])
  })

  it('are accepted from the command line of Temporal, and the release continues', async () => {
    const release = await fixtureModel.start(await candidate())
    await release.reaches('awaiting_approval')
    const command = await recorded(fixture, release.handle, 'approve', { by: 'anna', reason: 'by hand' })
    await promisify(execFile)((await planTemporal()).command, [
      'workflow',
      'signal',
      `--address=${temporalAddress()}`,
      `--workflow-id=${release.handle.workflowId}`,
      '--name=approve',
      `--input=${JSON.stringify(command)}`,
    ])
    await release.reaches('canary')
    await release.say('abort', 'olga')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  })
})

describe('updates to a release', () => {
  it('that are malformed are refused before they enter the history', async () => {
    const release = await fixtureModel.start(await candidate())
    await release.reaches('awaiting_approval')
    for (const sent of [undefined, null, 7, {}, { command: 7 }, { by: 'anna' }])
      await expect(release.handle.executeUpdate('approve', { args: [sent] })).rejects.toThrow(/Update failed/)
    expect(await listCommands(fixture.store, release.id)).toEqual([])
    expect(await release.say('approve', 'anna', { artifactDigest: 'another' })).toMatchObject({
      accepted: false,
      message: expect.stringContaining('another') as string,
    })
    await release.handle.cancel()
    expect(await release.result()).toMatchObject({ outcome: 'aborted', reason: 'the workflow was cancelled' })
  })

  it('break the glass for an admin with a reason: skip approvals and time, and reach probation by the traffic of one share', async () => {
    const other = await fixture.model()
    const first = await other.champion()
    const version = await other.register(first)
    const slow = { minMs: 600_000, minRequests: 20, deadlineMs: 3_600_000 }
    const release = await other.start(version, {
      stages: [
        { ...slow, shareBp: 1_000 },
        { ...slow, shareBp: 5_000 },
      ],
    })
    await release.reaches('awaiting_approval')
    expect(await release.say('promoteNow', 'anna', { reason: 'now' })).toMatchObject({ accepted: false })
    expect(await release.say('promoteNow', 'root')).toMatchObject({ accepted: false })
    expect(await release.say('promoteNow', 'root', { reason: 'the old one is broken' })).toMatchObject({
      accepted: true,
    })
    const state = await release.reaches('probation')
    const onTheWay = state.routings.filter(({ stage }) => stage !== 'probation')
    expect(onTheWay).toMatchObject([{ stage: 'canary', stageIndex: 0, shareBp: 1_000 }])
    expect(other.traffic.answered.get(version)).toBeGreaterThanOrEqual(20)
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  })

  it('that break the glass do not promote a bad candidate', async () => {
    const bad = await candidate()
    const release = await fixtureModel.start(bad, { shadow: false })
    await release.reaches('awaiting_approval')
    fixtureModel.traffic.invalid.set(bad, 0.5)
    expect(await release.say('promoteNow', 'root', { reason: 'hurry' })).toMatchObject({ accepted: true })
    expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
    expect((await release.state()).promoted).toBe(false)
  })
})

describe('a pause of a release', () => {
  it('stops the clock of the stage until it is resumed', async () => {
    const release = await fixtureModel.start(await candidate(), { shadow: false })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches('canary', 0)
    expect(await release.say('pause', 'olga')).toMatchObject({ accepted: true, stage: 'canary' })
    await expect
      .poll(async () => fixtureModel.traffic.answered.get((await release.state()).version) ?? 0)
      .toBeGreaterThan(400)
    expect(await release.state()).toMatchObject({ stage: 'canary', stageIndex: 0, paused: true })
    expect(await release.say('resume', 'anna')).toMatchObject({ accepted: true })
    await release.reaches('canary', 1)
    await release.say('abort', 'anna')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  })

  it('does not protect a bad candidate, and expires', async () => {
    const bad = await candidate()
    const release = await fixtureModel.start(bad, { shadow: false })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches('canary', 0)
    await release.say('pause', 'olga')
    fixtureModel.traffic.invalid.set(bad, 0.5)
    expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })

    const watch = { tickMs: 50, everyMs: 40, exposureMs: 1_000, acknowledgeMs: 1_000, decisionMs: 400 }
    const forgotten = await fixtureModel.start(await candidate(), { shadow: false, watch })
    await forgotten.reaches('awaiting_approval')
    await forgotten.say('approve', 'anna')
    await forgotten.reaches('canary', 0)
    await forgotten.say('pause', 'olga')
    expect(await forgotten.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/paused by olga and not resumed/) as string,
    })
  })
})
