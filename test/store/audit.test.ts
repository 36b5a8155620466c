/** The audit chain: every way of tampering with it is found. */
import sql from 'sql-template-tag'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { appendAudit, hashOf, listAudit, verifyAudit, type AuditHead } from '../../store/audit.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { migratedDatabase } from '../support/servers.ts'

const stores: Store[] = []
let store: Store
let head: AuditHead
beforeEach(async () => {
  store = openStore(await migratedDatabase(), { max: 6 })
  stores.push(store)
  for (let i = 1; i <= 5; i++)
    head = await store.transaction((database) =>
      appendAudit(database, {
        actor: `actor ${i}`,
        action: 'test.happened',
        subject: `subject ${i}`,
        ...(i % 2 === 0 ? { model: 'm' } : {}),
        detail: { i, text: 'Größe "x"', nested: { b: 1, a: [0.1, -0, 1e21], gone: undefined }, none: null },
      }),
    )
})
afterAll(async () => {
  for (const each of stores) await each.close()
})
const breach = async (known?: AuditHead) => (await verifyAudit(store, known, 2)).breach

it('a chain that nobody touched is whole, in pages of any size', async () => {
  for (const page of [1, 2, 5, 100])
    expect(await verifyAudit(store, head, page)).toEqual({ rows: 5, head: { seq: 5, hash: head.hash } })
  const [newest] = await listAudit(store, { limit: 1 })
  expect(newest).toMatchObject({ seq: 5, actor: 'actor 5', hash: head.hash })
  expect(await listAudit(store, { model: 'm' })).toHaveLength(2)
  expect((await listAudit(store, { before: 3 })).map(({ seq }) => seq)).toEqual([2, 1])
})

it('an empty chain is whole, unless there was one', async () => {
  await store.query(sql`delete from audit`)
  expect(await verifyAudit(store)).toEqual({ rows: 0 })
  expect(await breach(head)).toBe('the rows after 0 are missing, there were 5')
})

describe('tampering is found and named:', () => {
  it.each([
    ['an edited actor', sql`update audit set actor = 'another' where seq = 3`, 'row 3 has been changed'],
    [
      'an edited detail',
      sql`update audit set detail = detail || '{"i": 9}' where seq = 3`,
      'row 3 has been changed',
    ],
    [
      'an edited time',
      sql`update audit set at = at + interval '1 ms' where seq = 3`,
      'row 3 has been changed',
    ],
    ['an edited model', sql`update audit set model = 'm' where seq = 3`, 'row 3 has been changed'],
    [
      'an edited hash',
      sql`update audit set hash = decode('00', 'hex') where seq = 3`,
      'row 3 has been changed',
    ],
    ['a removed row', sql`delete from audit where seq = 3`, 'row 3 is missing, row 4 follows'],
    ['a removed first row', sql`delete from audit where seq = 1`, 'row 1 is missing, row 2 follows'],
    [
      'a row before the first',
      sql`insert into audit select 0, at, actor, action, subject, model, detail, previous_hash, hash from audit where seq = 1`,
      '1 row(s) stand before the first',
    ],
    [
      'rows moved to the end',
      sql`update audit set seq = case seq when 2 then 103 when 3 then 102 end where seq in (2, 3)`,
      'row 2 is missing, row 4 follows',
    ],
  ])('%s', async (_name, statement, found) => {
    await store.query(statement)
    expect(await breach()).toBe(found)
  })

  it('a row put in between, with a hash of its own', async () => {
    const rows = (await listAudit(store)).reverse()
    const third = rows[2]!
    const forged = { ...third, actor: 'nobody' }
    await store.query(sql`
      update audit set actor = 'nobody', hash = decode(${hashOf(forged)}, 'hex') where seq = 3`)
    expect(await breach()).toBe('row 4 does not follow from the row before it')
  })

  it('a cut tail, by the head that is kept elsewhere', async () => {
    await store.query(sql`delete from audit where seq > 3`)
    expect(await breach()).toBeUndefined()
    expect(await breach(head)).toBe('the rows after 3 are missing, there were 5')
  })

  it('a whole chain written anew, by the head that is kept elsewhere', async () => {
    await store.query(sql`delete from audit`)
    for (let i = 0; i < 6; i++)
      await store.transaction((database) =>
        appendAudit(database, { actor: 'forger', action: 'a', subject: 's', detail: {} }),
      )
    expect(await breach()).toBeUndefined()
    expect(await breach(head)).toBe('row 5 is not the one whose hash was kept')
  })
})

it('writers at once make one chain', async () => {
  await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      store.transaction((database) =>
        appendAudit(database, { actor: `w${i}`, action: 'a', subject: 's', detail: { i } }),
      ),
    ),
  )
  expect(await verifyAudit(store)).toMatchObject({ rows: 65, head: { seq: 65 } })
})

it('a row is there exactly when its change is', async () => {
  await expect(
    store.transaction(async (database) => {
      await appendAudit(database, { actor: 'a', action: 'a', subject: 's', detail: {} })
      throw new Error('the change failed')
    }),
  ).rejects.toThrow('the change failed')
  expect(await verifyAudit(store)).toMatchObject({ rows: 5 })
})
