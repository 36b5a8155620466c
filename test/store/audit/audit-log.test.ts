/** Tests that the application cannot change the audit log, and that a change from outside the application is detected. */
import { createPrivateKey, sign } from 'node:crypto'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { raw, type Sql } from 'sql-template-tag'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { headFiles, keepHeads, openHeads } from '../../../store/audit/signed-heads.ts'
import {
  appendAudit,
  hashOf,
  listAudit,
  verifyAudit,
  type AuditHead,
  verifyTail,
} from '../../../store/audit/audit-log.ts'
import { openRowVerifier, rowSigner, rowVerifier } from '../../../store/audit/row-signatures.ts'
import type { Store } from '../../../store/postgres.ts'
import { privateFile } from '../../../store/signing/key-files.ts'
import { rotateSigningKey } from '../../../store/signing/rotate-signing-key.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import {
  applicationUrl,
  migratedDatabase,
  openPatientStore,
  uniqueName,
} from '../../support/servers/servers.ts'

const stores: Store[] = []
let store: Store
let head: AuditHead
let url: string
beforeEach(async () => {
  url = await migratedDatabase()
  store = openPatientStore(url, { max: 6 })
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
const breach = async (...heads: AuditHead[]) => (await verifyAudit(store, { heads, page: 2 })).breach
/** Acts as the owner of the database, after removing the guard. */
const tamper = (...statements: Sql[]) =>
  store.transaction(async (database) => {
    await database.query(sql`alter table audit disable trigger audit_is_append_only`)
    for (const statement of statements) await database.query(statement)
    await database.query(sql`alter table audit enable always trigger audit_is_append_only`)
  })
const append = (actor: string, detail: Record<string, unknown> = {}) =>
  store.transaction((database) => appendAudit(database, { actor, action: 'a', subject: 's', detail }))

it('verifies an unchanged chain, in pages of any size', async () => {
  for (const page of [1, 2, 5, 100])
    expect(await verifyAudit(store, { heads: [head], page })).toEqual({
      rows: 5,
      head: { seq: 5, hash: head.hash },
    })
  const [newest] = await listAudit(store, { limit: 1 })
  expect(newest).toMatchObject({ seq: 5, actor: 'actor 5', hash: head.hash })
  expect(await listAudit(store, { model: 'm' })).toHaveLength(2)
  expect((await listAudit(store, { before: 3 })).map(({ seq }) => seq)).toEqual([2, 1])
})

it('an empty chain is intact, unless it had rows before', async () => {
  await tamper(sql`delete from audit`)
  expect(await verifyAudit(store)).toEqual({ rows: 0 })
  expect(await breach(head)).toBe('the rows after 0 are missing, there were 5')
})

describe('the verification detects', () => {
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
      '1 row before the first',
    ],
    [
      'rows moved to the end',
      sql`update audit set seq = case seq when 2 then 103 when 3 then 102 end where seq in (2, 3)`,
      'row 2 is missing, row 4 follows',
    ],
  ])('%s', async (_name, statement, found) => {
    await tamper(statement)
    expect(await breach()).toBe(found)
  })

  it('an inserted row with a hash of its own', async () => {
    const rows = (await listAudit(store)).reverse()
    const third = rows[2]!
    const forged = { ...third, actor: 'mallory' }
    await tamper(sql`
      update audit set actor = 'mallory', hash = decode(${hashOf(forged)}, 'hex') where seq = 3`)
    expect(await breach()).toBe('row 4 does not follow from the row before it')
  })

  it('a truncated tail, by the external head', async () => {
    await tamper(sql`delete from audit where seq > 3`)
    expect(await breach()).toBeUndefined()
    expect(await breach(head)).toBe('the rows after 3 are missing, there were 5')
  })

  it('a rewritten chain, by the external head', async () => {
    await tamper(sql`delete from audit`)
    for (let i = 0; i < 6; i++) await append('forger')
    expect(await breach()).toBeUndefined()
    expect(await breach(head)).toBe('row 5 differs from the row whose hash was signed')
  })
})

it('concurrent writers make one chain', async () => {
  await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      store.transaction((database) =>
        appendAudit(database, { actor: `w${i}`, action: 'a', subject: 's', detail: { i } }),
      ),
    ),
  )
  expect(await verifyAudit(store)).toMatchObject({ rows: 65, head: { seq: 65 } })
})

it('an audit row exists exactly when its change is committed', async () => {
  await expect(
    store.transaction(async (database) => {
      await appendAudit(database, { actor: 'a', action: 'a', subject: 's', detail: {} })
      throw new Error('the change failed')
    }),
  ).rejects.toThrow('the change failed')
  expect(await verifyAudit(store)).toMatchObject({ rows: 5 })
})

describe('Postgres itself refuses', () => {
  it.each([
    ['an update', 'update audit set actor = actor'],
    ['a removal', 'delete from audit where seq = 5'],
    ['a removal of nothing', 'delete from audit where false'],
    ['an emptying', 'truncate audit'],
  ])('%s by the owner, as long as the guard is there', async (_name, statement) => {
    await expect(store.query(sql`${raw(statement)}`)).rejects.toThrow(/the audit log is append-only/)
    const asReplica = store.transaction(async (database) => {
      await database.query(sql`set local session_replication_role = replica`)
      await database.query(sql`${raw(statement)}`)
    })
    await expect(asReplica).rejects.toThrow(/the audit log is append-only/)
  })

  it.each([
    ['an update', 'update audit set actor = actor'],
    ['a removal', 'delete from audit where seq = 5'],
    ['an emptying', 'truncate audit'],
    ['another table in its place', 'alter table audit rename to old_audit'],
    ['a guard that is taken away', 'alter table audit disable trigger audit_is_append_only'],
    ['a guard that does nothing', 'drop trigger audit_is_append_only on audit'],
    [
      'a guard that lets all through',
      'create or replace function forbid_update() returns trigger language plpgsql as $$ begin return null; end $$',
    ],
    ['a role that is more', 'set role tenure'],
    ['the end of the table', 'drop table audit'],
  ])('the role of the application %s', async (_name, statement) => {
    const application = openPatientStore(applicationUrl(url), { max: 1 })
    stores.push(application)
    await expect(application.query(sql`${raw(statement)}`)).rejects.toThrow(
      /permission denied|must be owner|must be member/,
    )
    expect(await breach(head)).toBeUndefined()
  })

  it('nothing else: the application appends and reads, and uses every other table', async () => {
    const application = openPatientStore(applicationUrl(url), { max: 1 })
    stores.push(application)
    await application.transaction((database) =>
      appendAudit(database, { actor: 'app', action: 'a', subject: 's', detail: {} }),
    )
    expect(await verifyAudit(application)).toMatchObject({ rows: 6 })
    const tables = await application.query<{ name: string; may: boolean }>(sql`
      select relname as name, has_table_privilege(oid, 'select, insert, update, delete') and
        has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert')
        and has_table_privilege(oid, 'update') and has_table_privilege(oid, 'delete') as may
      from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by relname`)
    expect(tables.filter(({ may }) => !may).map(({ name }) => name)).toEqual(['audit', 'migrations'])
    // Partitions are created and dropped while the system runs.
    await application.query(sql`
      create table predictions_2001 partition of predictions for values from ('2001-01-01') to ('2002-01-01')`)
    await application.query(sql`drop table predictions_2001`)
  })
})

describe('the external heads', () => {
  const places: string[] = []
  afterAll(() => {
    for (const each of places) rmSync(each, { recursive: true, force: true })
  })
  const keep = async (options: { catchUp?: boolean } = {}) => {
    const place = mkdtempSync(join(tmpdir(), 'tenure-heads-'))
    places.push(place)
    const files = headFiles({ stateDir: join(place, 'state'), artifactRoot: join(place, 'artifacts') })
    const signer = await openSigner({ keys: place, trust: place }, 'heads')
    const isSigned = rowVerifier(signer)
    const heads = openHeads(files, signer)
    const troubles: string[] = []
    const keeper = keepHeads({
      store,
      heads,
      isSigned,
      onError: (what, error) => troubles.push(`${what} ${String(error ?? '')}`),
    })
    if (options.catchUp !== false) await keeper.catchUp()
    const verify = async () => {
      const { heads: known, issues } = await heads.read()
      return issues[0] ?? (await verifyAudit(store, { heads: known, isSigned })).breach
    }
    const reaches = (seq: number) => expect.poll(async () => (await heads.last())?.seq).toBe(seq)
    const signed = openPatientStore(url, { max: 2, signAudit: rowSigner(signer) })
    stores.push(signed)
    return { files, heads, keeper, troubles, verify, reaches, isSigned, signed, signer, place }
  }

  it('follow every commit, in both places, and nothing that was rolled back', async () => {
    const { files, keeper, verify, reaches, troubles } = await keep()
    for (let i = 0; i < 5; i++) await append('anna', { i })
    await reaches(10)
    await expect(
      store.transaction(async (database) => {
        await appendAudit(database, { actor: 'a', action: 'a', subject: 's', detail: {} })
        throw new Error('the change failed')
      }),
    ).rejects.toThrow()
    await append('ben')
    await reaches(11)
    const lastIn = (file: string) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .slice(0, -1)
        .map((line) => (JSON.parse(line) as AuditHead).seq)
        .at(-1)
    // The heads are written one after the other.
    for (const file of files) await expect.poll(() => lastIn(file)).toBe(11)
    expect(await verify()).toBeUndefined()
    expect(troubles).toEqual([])
    await keeper.stop()
  })

  it('detect a truncated tail, also when other rows have been added since', async () => {
    const { keeper, verify, reaches } = await keep()
    await append('anna')
    await reaches(6)
    await tamper(sql`delete from audit where seq > 4`)
    expect(await verify()).toBe('the rows after 4 are missing, there were 6')
    await append('forger')
    await append('forger')
    expect(await verify()).toBe('row 5 differs from the row whose hash was signed')
    await keeper.stop()
  })

  it('detect a replaced table; the process reports it and signs no further heads', async () => {
    const { heads, keeper, verify, troubles } = await keep()
    await store.transaction(async (database) => {
      await database.query(sql`alter table audit rename to old_audit`)
      await database.query(sql`create table audit (like old_audit including all)`)
      // Inserts more rows at once than were removed: while the log is shorter, the keeper reports missing rows.
      for (let i = 0; i < 8; i++)
        await appendAudit(database, { actor: 'forger', action: 'a', subject: 's', detail: {} })
    })
    await expect.poll(() => troubles.join()).toMatch(/row 5 differs from the row whose hash was signed/)
    expect((await heads.last())?.seq).toBe(5)
    expect(await verify()).toBe('row 5 differs from the row whose hash was signed')
    await expect
      .poll(() => listAlerts(store, {}))
      .toMatchObject([{ kind: 'audit_broken', severity: 'critical' }])
    await keeper.stop()
  })

  it('are refused if forged, and a truncated list is restored from the other', async () => {
    const { files, keeper, verify, reaches } = await keep()
    await append('anna')
    await reaches(6)
    await keeper.stop()
    const [first, second] = files as [string, string]
    const text = readFileSync(first, 'utf8')
    truncateSync(first, 0)
    expect(await verify()).toBeUndefined()
    await tamper(sql`delete from audit where seq = 6`)
    expect(await verify()).toBe('the rows after 5 are missing, there were 6')
    // A line for the shorter chain does not help, and a forged line is distinguished from a true one.
    writeFileSync(second, text.split('\n').slice(0, 1).join('\n') + '\n')
    expect(await verify()).toBeUndefined()
    appendFileSync(
      first,
      `${JSON.stringify({ seq: 5, hash: 'f'.repeat(64), at: '2026-01-01T00:00:00Z', signature: 'x' })}\n`,
    )
    expect(await verify()).toMatch(/not signed/)
    writeFileSync(first, 'nonsense\n')
    expect(await verify()).toBe(`line 1 of ${first} is not a head`)
    writeFileSync(first, text + '{"seq":99')
    writeFileSync(second, text)
    expect(await verify()).toBe('the rows after 5 are missing, there were 6')
  })

  it('continue on a line of their own after one that a full disk has cut', async () => {
    const { files, keeper, verify, reaches } = await keep()
    await append('anna')
    await reaches(6)
    const [first] = files as [string]
    const text = readFileSync(first, 'utf8')
    truncateSync(first, text.length - 30)
    await append('berta')
    await reaches(7)
    await keeper.stop()
    expect(await verify()).toBeUndefined()
    const lines = readFileSync(first, 'utf8').split('\n')
    expect(JSON.parse(lines.at(-2)!)).toMatchObject({ seq: 7 })
    await tamper(sql`delete from audit where seq = 7`)
    expect(await verify()).toBe('the rows after 6 are missing, there were 7')
  })

  it('are completed at the next start when no process received the notification of a row', async () => {
    const { keeper, reaches, heads, isSigned } = await keep()
    await keeper.stop()
    await append('anna')
    expect((await heads.last())?.seq).toBe(5)
    const later = keepHeads({ store, heads, isSigned, onError: () => {} })
    await reaches(6)
    await later.stop()
  })

  it('are not signed from a notice, which every role with CONNECT can send', async () => {
    const { heads, keeper, verify, reaches, troubles } = await keep()
    const role = `connects_${uniqueName('').slice(1)}`
    await store.query(sql`${raw(`create role ${role} login`)}`)
    const address = new URL(url)
    address.username = role
    address.password = ''
    const stranger = openPatientStore(address.toString(), { max: 1 })
    await expect(stranger.query(sql`select from audit`)).rejects.toThrow('permission denied')
    for (const notice of [`6 ${'ab'.repeat(32)} ${head.hash}`, '6'])
      await stranger.query(sql`${raw(`notify tenure_audit, '${notice}'`)}`)
    await stranger.close()
    await store.query(sql`${raw(`drop role ${role}`)}`)
    const row = await append('anna')
    await reaches(6)
    expect((await heads.last())?.hash).toBe(row.hash)
    expect(await verify()).toBeUndefined()
    expect(troubles).toEqual([])
    await keeper.stop()
  })

  it.each([
    ['no signature', undefined],
    ['a signature of another key', () => Buffer.alloc(64)],
  ])(
    'are not signed over a row with %s, added with the password of the database',
    async (_name, signAudit) => {
      const { heads, keeper, verify, reaches, troubles, signed, isSigned } = await keep()
      const entry = { action: 'champion.promoted', subject: 's', detail: {} }
      await signed.transaction((database) => appendAudit(database, { ...entry, actor: 'anna' }))
      await reaches(6)
      expect(await verify()).toBeUndefined()
      const thief = openPatientStore(applicationUrl(url), { max: 1, signAudit })
      stores.push(thief)
      await thief.transaction((database) => appendAudit(database, { ...entry, actor: 'ben' }))
      await signed.transaction((database) => appendAudit(database, { ...entry, actor: 'anna' }))
      await expect
        .poll(() => troubles.join())
        .toMatch(/row 7 is not signed by a process of this installation/)
      expect((await heads.last())?.seq).toBe(6)
      expect(await verify()).toMatch(/^row 7 is not signed by a process of this installation: it was added/)
      const tail = await verifyTail(store, { heads: [], isSigned, withinMs: 60_000, now: () => 0 })
      expect(tail.breach).toMatch(/^row 7 is not signed/)
      expect(await listAlerts(store, {})).toMatchObject([{ kind: 'audit_broken', severity: 'critical' }])
      await keeper.stop()
    },
  )

  it('continue after the rotation of their key, and a retired key signs no later head', async () => {
    const { place, files, keeper, reaches, verify, signed, signer, troubles } = await keep()
    const places = { keys: place, trust: place }
    const write = () =>
      signed.transaction((database) =>
        appendAudit(database, { actor: 'anna', action: 'a', subject: 's', detail: {} }),
      )
    await write()
    await reaches(6)
    const retired = createPrivateKey(readFileSync(privateFile(places, 'heads')))
    const former = signer.publicPem
    const { formerUntil } = await rotateSigningKey(places, 'heads', { overlapMs: 0 })
    await expect.poll(() => signer.publicPem).not.toBe(former)
    await write()
    await reaches(7)
    expect(await verify()).toBeUndefined()
    expect(troubles).toEqual([])
    await keeper.stop()
    const { hash } = await append('anna')
    const forge = (at: string) => {
      const signature = sign(null, Buffer.from(`tenure-audit-head@1\n8\n${hash}\n${at}`), retired)
      appendFileSync(
        files[0]!,
        `${JSON.stringify({ seq: 8, hash, at, signature: signature.toString('base64url') })}\n`,
      )
    }
    forge(new Date(Date.parse(formerUntil) + 1).toISOString())
    expect(await verify()).toBe('the head of row 8 is not signed with this key')
  })

  it('count rows that a retired key signed in its time, and none later', async () => {
    const place = mkdtempSync(join(tmpdir(), 'tenure-rows-'))
    places.push(place)
    const keys = { keys: place, trust: place }
    const signer = await openSigner(keys, 'replicas')
    const [signRow, former] = [rowSigner(signer), signer.publicPem]
    const row = { hash: 'a'.repeat(64), signature: Buffer.from(signRow('a'.repeat(64))).toString('hex') }
    const { formerUntil } = await rotateSigningKey(keys, 'replicas', { overlapMs: 0 })
    const isSigned = openRowVerifier(keys)
    const at = (afterMs: number) => new Date(Date.parse(formerUntil) + afterMs).toISOString()
    expect(isSigned({ ...row, at: at(-86_400_000) })).toBe(true)
    expect(isSigned({ ...row, at: at(120_000) })).toBe(false)
    await expect.poll(() => signer.publicPem).not.toBe(former)
    const fresh = Buffer.from(signRow(row.hash)).toString('hex')
    expect(isSigned({ ...row, signature: fresh, at: at(120_000) })).toBe(true)
  })

  it('of an installation that has taken over the database of another one', async () => {
    const former = await keep()
    await former.keeper.stop()
    await former.signed.transaction((database) =>
      appendAudit(database, { actor: 'anna', action: 'a', subject: 's', detail: {} }),
    )
    const { keeper, reaches, signed, verify } = await keep({ catchUp: false })
    expect(await verify()).toMatch(/^row 6 is not signed/)
    await signed.transaction((database) =>
      appendAudit(database, {
        actor: 'ben',
        action: 'database.restored',
        subject: 'database',
        detail: { reSigned: true },
      }),
    )
    await keeper.catchUp()
    await reaches(7)
    expect(await verify()).toBeUndefined()
    await keeper.stop()
  })
})

it('the audit log stores no secret, and its hashes cover the stored content', async () => {
  const secret = '0123456789abcdef'.repeat(3)
  const detail = {
    reason: `with tnr_0123456789ab_${secret} at postgres://u:${secret}@h/`,
    list: [`Bearer ${secret}`],
  }
  await append(`tnr_0123456789ab_${secret}`, detail)
  const [row] = (await store.query<{ text: string }>(sql`
    select row_to_json(audit)::text as text from audit order by seq desc limit 1`)) as [{ text: string }]
  expect(row.text).not.toContain(secret)
  expect(row.text).toContain('with tnr_0123456789ab_[redacted] at postgres://u:[redacted]@h/')
  expect(await breach()).toBeUndefined()
  // Like every other stored text.
  const [kept] = await store.query<{ text: string; list: string[] }>(
    sql`select ${`tnr_0123456789ab_${secret}`}::text as text, ${[`tnr_0123456789ab_${secret}`, 'plain']}::text[] as list`,
  )
  expect(kept).toEqual({
    text: 'tnr_0123456789ab_[redacted]',
    list: ['tnr_0123456789ab_[redacted]', 'plain'],
  })
})
