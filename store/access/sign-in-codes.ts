/**
 * Stores the code with which a signed-in user signs in on another device. A key has one code at a time, which is valid once and for two
 * minutes. The row has its scrypt hash: a plain hash of 40 bits could be searched while the code is valid.
 */
import { randomBytes, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import sql from 'sql-template-tag'
import { appendAudit } from '../audit/audit-log.ts'
import { readServiceState } from '../database/key-value.ts'
import type { Database, Store } from '../postgres.ts'

/** The session that made the code; the new one belongs to the same key and secret, and ends with it at the latest. */
export interface CodeSession {
  key: string
  mark: string
  untilMs: number
}

export interface SignInCode {
  /** Eight characters with a hyphen: `7K3M-9QXZ`. */
  code: string
  /** ISO 8601. */
  expiresAt: string
}

/** Crockford's Base32, which has no I, L, O and U: https://www.crockford.com/base32.html */
const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** Returns the eight characters of a typed code: in capitals, without spaces and hyphens, O as 0, I and L as 1; undefined for another text. */
export function parseCode(typed: string): string | undefined {
  const code = typed.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('O', '0').replaceAll(/[IL]/g, '1')
  return /^[0-9A-HJKMNP-TV-Z]{8}$/.test(code) ? code : undefined
}

/** Makes the same hash on every replica of this installation, so that a row is found by it, and another in any other. */
const hashOf = async (store: Store, code: string): Promise<Buffer> =>
  promisify<string, string, number, Buffer>(scrypt)(code, await saltOf(store), 32)

const saltName = 'sign_in_salt'

/** Makes the salt of the installation when its first code is made. */
async function saltOf(store: Store): Promise<string> {
  const known = await readServiceState<string>(store, saltName)
  if (known !== undefined) return known
  await store.query(sql`
    insert into service_state (name, value) values (${saltName}, ${JSON.stringify(randomBytes(32).toString('base64url'))})
    on conflict do nothing`)
  return (await readServiceState<string>(store, saltName))!
}

/** Replaces the key's code with a new one. Returns undefined when the key is revoked. */
export async function createSignInCode(
  store: Store,
  { key, mark, untilMs }: CodeSession,
): Promise<SignInCode | undefined> {
  const code = Array.from(randomBytes(8), (byte) => digits[byte % 32]).join('')
  const hash = await hashOf(store, code)
  return store.transaction(async (database) => {
    const [row] = await database.query<{ name: string; expiresAt: string }>(sql`
      with old as (delete from sign_in_codes where expires_at < now() and key_id <> ${key}),
      made as (
        insert into sign_in_codes (key_id, hash, mark, expires_at, session_until)
        select id, ${hash}, ${mark}, now() + interval '2 minutes', to_timestamp(${untilMs}::float8 / 1000)
        from api_keys where id = ${key} and revoked_at is null
        on conflict (key_id) do update set hash = excluded.hash, mark = excluded.mark,
          expires_at = excluded.expires_at, session_until = excluded.session_until
        returning key_id, expires_at
      )
      select name, to_json(made.expires_at) #>> '{}' as "expiresAt" from made join api_keys on id = key_id`)
    if (row === undefined) return undefined
    await appendAudit(database, { actor: row.name, action: 'session.code_created', subject: key, detail: {} })
    return { code: `${code.slice(0, 4)}-${code.slice(4)}`, expiresAt: new Date(row.expiresAt).toISOString() }
  })
}

/** Takes a code out; undefined when it is unknown, used or expired, or its key is revoked or expired. */
export async function redeemSignInCode(store: Store, code: string): Promise<CodeSession | undefined> {
  const hash = await hashOf(store, code)
  return store.transaction(async (database) => {
    const [row] = await database.query<CodeSession & { name: string }>(sql`
      delete from sign_in_codes using api_keys
      where sign_in_codes.hash = ${hash} and sign_in_codes.expires_at > now() and session_until > now()
        and id = key_id and revoked_at is null and (api_keys.expires_at is null or api_keys.expires_at > now())
      returning name, key_id as key, mark, (extract(epoch from session_until) * 1000)::float8 as "untilMs"`)
    if (row === undefined) return undefined
    const { name, ...session } = row
    await appendAudit(database, {
      actor: name,
      action: 'session.code_used',
      subject: session.key,
      detail: {},
    })
    return session
  })
}

export const deleteSignInCode = (database: Database, key: string): Promise<unknown> =>
  database.query(sql`delete from sign_in_codes where key_id = ${key}`)
