/** Every command has one answer: the same when it comes again long after, and a refusal when nobody can find out who has said it. */
import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listAudit } from '../../store/audit.ts'
import { listCommands } from '../../store/releases.ts'
import { seatChampion } from '../support/seat.ts'
import { migratedDatabase, temporalAddress } from '../support/servers.ts'
import { openStage, quickPolicy, type PlayedRelease, type Stage } from '../support/stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage({ databaseUrl: await migratedDatabase(), temporalAddress: temporalAddress() })
})
afterAll(async () => {
  await stage?.close()
})

const hour = 3_600_000

/** A release that nothing moves on but people. */
async function inShadow(): Promise<PlayedRelease> {
  const show = await stage.model()
  const first = await show.register()
  await seatChampion(stage.store, show.name, first)
  const shadow = { minMs: hour, minRequests: 20, deadlineMs: 2 * hour, shareBp: 10_000 }
  const watch = { ...quickPolicy.watch, decisionMs: hour }
  const release = await show.start(await show.register(first), { shadow, watch })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await release.reaches('shadow', 0)
  return release
}

const answersTo = async ({ id }: PlayedRelease, command: string) =>
  (await listCommands(stage.store, id)).filter((each) => each.id === `${id}/${command}`)

it('a command that comes again after a run has handed over to the next is not carried out again', async () => {
  const release = await inShadow()
  const { workflowId, firstExecutionRunId } = release.handle
  const handle = stage.client.workflow.getHandle(workflowId)
  expect(await release.say('pause', 'olga', { id: 'the first' })).toMatchObject({ accepted: true })
  expect(await release.say('resume', 'anna')).toMatchObject({ accepted: true })
  // Too many for one run.
  const others = Array.from({ length: 260 }, (_, each) =>
    handle.signal('approve', { by: 'nobody', id: `other ${each}` }),
  )
  await Promise.all(others)
  const runOf = async () => (await handle.describe()).runId
  await expect.poll(runOf).not.toBe(firstExecutionRunId)
  await handle.signal('pause', { by: 'olga', id: 'the first' })
  // Behind it, and with an answer.
  const again = await handle.executeUpdate('resume', { args: [{ by: 'anna', id: 'behind it' }] })
  expect(again).toMatchObject({
    accepted: false,
    message: expect.stringMatching(/nothing is paused/) as string,
  })
  expect(await answersTo(release, 'the first')).toMatchObject([{ accepted: true }])
  const { model } = await release.state()
  const audited = await listAudit(stage.store, { model, limit: 1_000 })
  expect(audited.filter(({ action }) => action === 'release.pause')).toHaveLength(1)
  await handle.signal('abort', { by: 'olga' })
  expect(await handle.result()).toMatchObject({ outcome: 'aborted' })
})

it('commands of nobody knows whom are refused one by one, with the reason, and the release goes on', async () => {
  const release = await inShadow()
  const { signingKey } = stage.config
  const key = await readFile(signingKey)
  await writeFile(signingKey, 'no key at all')
  try {
    // Whose warrant it is cannot be found out without the key, also not at another attempt.
    const said = { by: 'olga', reason: 'r', warrant: 'key.9999999999999.c2lnbmF0dXJl' }
    await release.signal('pause', { ...said, id: 'by signal' })
    const answer = await release.say('pause', 'olga', { ...said, id: 'by update' })
    const refused = { accepted: false, stage: 'shadow', message: expect.stringMatching(/Ed25519/) as string }
    expect(answer).toMatchObject(refused)
    for (const id of ['by signal', 'by update'])
      await expect.poll(() => answersTo(release, id)).toMatchObject([refused])
    const { model, paused } = await release.state()
    expect(paused).toBe(false)
    const audited = await listAudit(stage.store, { model })
    expect(audited.filter(({ action }) => action === 'release.pause')).toHaveLength(2)
  } finally {
    await writeFile(signingKey, key)
  }
  expect(await release.say('abort', 'olga')).toMatchObject({ accepted: true })
  expect(await release.result()).toMatchObject({ outcome: 'aborted' })
})
