/** Tests that every command gets a result, even when its sender cannot be verified. */
import { sendReleaseCommand } from '../../../api/services/release-commands.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import { trustedFile } from '../../../store/signing/key-files.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { listCommands } from '../../../store/release/releases.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
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

const answersTo = async ({ id }: FixtureRelease, command: string) =>
  (await listCommands(fixture.store, id)).filter((each) => each.id === `${id}/${command}`)

it('commands to a release are refused with the reason while senders cannot be verified, and the release continues', async () => {
  const fixtureModel = await fixture.model()
  const release = await fixtureModel.start(await fixtureModel.register())
  await release.reaches('awaiting_approval')
  const signingKey = trustedFile(fixture.config.signing, 'commands')
  await openSigner(fixture.config.signing, 'commands')
  const key = await readFile(signingKey)
  await writeFile(signingKey, 'no list at all')
  try {
    // Without the key the signer cannot be identified, in any attempt.
    const said = { by: 'anna', reason: 'r', signature: 'key.9999999999999.c2lnbmF0dXJl' }
    await release.signal('approve', { ...said, id: 'by signal' })
    const answer = await release.say('approve', 'anna', { ...said, id: 'by update' })
    const refused = {
      accepted: false,
      stage: 'awaiting_approval',
      message: expect.stringMatching(/Ed25519/) as string,
    }
    expect(answer).toMatchObject(refused)
    for (const id of ['by signal', 'by update'])
      await expect.poll(() => answersTo(release, id)).toMatchObject([refused])
    const { model, approvals } = await release.state()
    expect(approvals).toEqual([])
    const audited = await listAudit(fixture.store, { model })
    expect(audited.filter(({ action }) => action === 'release.approve')).toHaveLength(2)
  } finally {
    await writeFile(signingKey, key)
  }
  expect(await release.say('abort', 'olga')).toMatchObject({ accepted: true })
  expect(await release.result()).toMatchObject({ outcome: 'aborted' })
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
    signer: await openSigner(fixture.config.signing, 'commands'),
    serving: { wall: Date.now },
    temporal: { command: (_: number, work: (client: unknown) => unknown) => work(fixture.client) },
  }
  const send = (command: 'approve' | 'pause' | 'abort') =>
    sendReleaseCommand(deps as never, { id: key.id, name: 'anna' } as never, {
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
