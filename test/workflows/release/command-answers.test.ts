/** Tests that every command gets an answer, also when it comes under an idempotency key that was used before. */
import { sendReleaseCommand } from '../../../api/services/release-commands.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ownServers } from '../../support/servers/servers.ts'
import { openReleaseFixture, type ReleaseFixture } from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

it('another command with the idempotency key of an earlier one is carried out', async () => {
  const fixtureModel = await fixture.model()
  const release = await fixtureModel.start(await fixtureModel.register(await fixtureModel.champion()), {
    shadow: false,
    stages: [{ shareBp: 1_000, minMs: 600_000, minRequests: 1, deadlineMs: 1_200_000 }],
  })
  await release.reaches('awaiting_approval')
  const key = (await findActiveKeys(fixture.store)).find(({ name }) => name === 'anna')!
  const deps = {
    store: fixture.store,
    log: fixture.deps.log,
    serving: { wall: Date.now },
    temporal: { command: (_: number, work: (client: unknown) => unknown) => work(fixture.client) },
  }
  const send = (command: 'approve' | 'pause' | 'abort') =>
    sendReleaseCommand(deps as never, { id: key.id, name: 'anna', role: key.role } as never, {
      command,
      release: release.id,
      reason: 'the errors rise',
      once: 'one form',
    })
  await send('approve')
  await release.reaches('canary')
  expect(await send('pause')).toMatchObject({
    result: { message: expect.stringContaining('paused by anna') },
  })
  expect(await send('pause')).toMatchObject({
    result: { message: expect.stringContaining('paused by anna') },
  })
  expect(await send('abort')).toMatchObject({
    result: { message: expect.stringContaining('aborted by anna') },
  })
  expect(await release.result()).toMatchObject({ outcome: 'aborted' })
})
