/** Tests the verification of the newest rows of the audit log. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { appendAudit, hashOf, listAudit, verifyTail } from '../../../store/audit/audit-log.ts'
import { compareWithHeads } from '../../../store/audit/signed-heads.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { migratedDatabase } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openStore(await migratedDatabase(), { name: 'test', connectMs: 60_000, queryMs: 60_000 })
  for (const subject of ['one', 'two'])
    await store.transaction((database) =>
      appendAudit(database, { actor: 'anna', action: 'test.happened', subject, detail: {} }),
    )
})
afterAll(() => store.close())

it('stops at its time limit', async () => {
  let now = 0
  const report = await verifyTail(store, { heads: [], withinMs: -1, now: () => now++ })
  expect(report.breach).toBeUndefined()
  expect(report).toMatchObject({ oldest: 1, stopped: false })
})

it('finds missing newest rows, and a signed head that does not match', async () => {
  const [newest] = await listAudit(store, { limit: 1 })
  const tail = (seq: number, hash: string, isGenuine = () => true) =>
    verifyTail(store, { heads: [{ seq, hash, isGenuine }], withinMs: 60_000, now: () => 0 })
  expect((await tail(newest!.seq + 5, 'x')).breach).toMatch(/are missing, there were/)
  expect((await tail(newest!.seq, 'x')).breach).toMatch(/differs from the row whose hash was signed/)
  expect((await tail(newest!.seq, 'x', () => false)).breach).toMatch(/is not signed by this installation/)
  expect(await tail(newest!.seq, hashOf(newest!))).toMatchObject({ heads: 1, stopped: false })
})

it('finds no breach where a restore replaces rows and heads between the two reads, and keeps one that stays', async () => {
  const [newest] = await listAudit(store, { limit: 1 })
  const lost = [{ seq: newest!.seq + 5, hash: 'x' }]
  const verified = (...reads: (typeof lost)[]) =>
    compareWithHeads({ read: async () => ({ heads: reads.shift()!, issues: [] }) }, (heads) =>
      verifyTail(store, { heads, withinMs: 60_000, now: () => 0 }),
    )
  expect((await verified(lost, [])).breach).toBeUndefined()
  expect((await verified(lost, lost)).breach).toMatch(/are missing, there were/)
})
