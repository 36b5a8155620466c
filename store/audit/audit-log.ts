/**
 * Appends and verifies the audit log, which is chained by hash: an edited, removed, inserted or moved row no longer fits its neighbours.
 * A cut tail or another chain shows against the heads of signed-heads.ts. The trigger `audit_is_append_only` refuses every change.
 */
import { hash as digest } from 'node:crypto'
import { setImmediate as breathe } from 'node:timers/promises'
import sql, { join, type Sql } from 'sql-template-tag'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { redacted } from '../../domain/redact.ts'
import type { ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface AuditEntry {
  /** Who: the name of a key, or of the part of the system that acted by itself. */
  actor: string
  /** What, e.g. `champion.promoted`. */
  action: string
  /** What it was done to: a release, a version, a key. */
  subject: string
  model?: string
  detail: Record<string, unknown>
}

export interface AuditRow extends AuditEntry {
  seq: number
  /** ISO 8601, to the millisecond. */
  at: string
  previousHash: string
  hash: string
}

/** The last row of a chain; kept outside of the table, it also gives away a cut tail. */
export type AuditHead = Pick<AuditRow, 'seq' | 'hash'>

const genesis = '0'.repeat(64)

/** Appends a row. Call it in the transaction of the change itself, so that there is never one without the other. */
export async function appendAudit(database: Database, entry: AuditEntry): Promise<AuditRow> {
  // One writer at a time: two that read the same last row would fork the chain.
  await database.query(sql`select pg_advisory_xact_lock(hashtext('tenure.audit'))`)
  const [last] = await database.query<{ seq: number; hash: string; at: Date }>(sql`
    select last.seq, last.hash, clock_timestamp() as at
    from (select 1) as one
    left join lateral (select seq, encode(hash, 'hex') as hash from audit order by seq desc limit 1) as last on true`)
  const row = {
    // As Postgres gives it back: what JSON cannot hold, and what is not kept of it, must not enter the hash.
    ...(JSON.parse(redacted(JSON.stringify(entry))) as AuditEntry),
    seq: (last?.seq ?? 0) + 1,
    at: (last?.at ?? new Date(0)).toISOString(),
    previousHash: last?.hash ?? genesis,
  }
  const hash = hashOf(row)
  await database.query(sql`
    with written as (
      insert into audit (seq, at, actor, action, subject, model, detail, previous_hash, hash)
      values (${row.seq}, ${row.at}, ${row.actor}, ${row.action}, ${row.subject}, ${row.model ?? null},
        ${JSON.stringify(row.detail)}, decode(${row.previousHash}, 'hex'), decode(${hash}, 'hex'))
      returning seq
    )
    select pg_notify(${auditChannel}, ${noticeOf({ seq: row.seq, hash, previousHash: row.previousHash })}) from written`)
  return { ...row, hash }
}

/** The channel that reports each committed row, so that its hash can be stored outside the database at once. */
export const auditChannel = 'tenure_audit'

type Link = Pick<AuditRow, 'seq' | 'hash' | 'previousHash'>
const noticeOf = ({ seq, hash, previousHash }: Link): string => `${seq} ${hash} ${previousHash}`

export function readNotice(payload: string | undefined): Link | undefined {
  const found = /^(\d+) ([0-9a-f]{64}) ([0-9a-f]{64})$/.exec(payload ?? '')
  if (found === null) return undefined
  const [, seq, hash = '', previousHash = ''] = found
  return { seq: Number(seq), hash, previousHash }
}

/** The newest row, and the hash of an earlier one; absent when the log has no such row. */
export async function findLinks(
  database: Database,
  seq: number,
): Promise<{ newest?: AuditHead; earlier?: string }> {
  const rows = await database.query<AuditHead>(sql`
    (select seq, encode(hash, 'hex') as hash from audit order by seq desc limit 1)
    union (select seq, encode(hash, 'hex') as hash from audit where seq = ${seq})`)
  const newest = rows.toSorted((one, other) => other.seq - one.seq)[0]
  const earlier = rows.find((each) => each.seq === seq)?.hash
  return { newest, earlier }
}

export function hashOf(row: Omit<AuditRow, 'hash'>): string {
  const { previousHash, seq, at, actor, action, subject, model, detail } = row
  // The canonical JSON of the row, its fields in their order.
  const content =
    `{"action":${JSON.stringify(action)},"actor":${JSON.stringify(actor)},"at":${JSON.stringify(at)},` +
    `"detail":${canonicalJson(detail)},"model":${JSON.stringify(model ?? null)},"seq":${seq},` +
    `"subject":${JSON.stringify(subject)}}`
  return digest('sha256', `${previousHash}\n${content}`, 'hex')
}

export interface AuditFilter extends ModelFilter {
  actor?: string
  /** The whole action, or how it begins when it ends in a dot: `release.`. */
  action?: string
  subject?: string
  /** Only rows before this one, for the next page. */
  before?: number
  limit?: number
}

/** The newest rows first. Each condition is left out of the statement when it is absent, so that an index serves the others. */
export function listAudit(database: Database, filter: AuditFilter = {}): Promise<AuditRow[]> {
  const { models, model, actor, action, subject, before, limit = 100 } = filter
  const filters: Sql[] = [sql`true`]
  if (models !== undefined) filters.push(sql`model = any(${models}::text[])`)
  if (model !== undefined) filters.push(sql`model = ${model}`)
  if (actor !== undefined) filters.push(sql`actor = ${actor}`)
  if (action !== undefined)
    filters.push(action.endsWith('.') ? sql`starts_with(action, ${action})` : sql`action = ${action}`)
  if (subject !== undefined) filters.push(sql`subject = ${subject}`)
  if (before !== undefined) filters.push(sql`seq < ${before}`)
  return rowsFrom(database).list<AuditRow>(sql`
    select seq, at, actor, action, subject, model, detail,
      encode(previous_hash, 'hex') as previous_hash, encode(hash, 'hex') as hash
    from audit where ${join(filters, ' and ')} order by seq desc limit ${limit}`)
}

export interface AuditReport {
  rows: number
  /** The last row that fits; absent for an empty chain. */
  head?: AuditHead
  /** The first breach, in words; absent when the chain is whole. */
  breach?: string
}

/** A head that was kept elsewhere. */
export interface KnownHead extends AuditHead {
  /** Whether this installation has signed it; looked at only when it does not fit. */
  isGenuine?: () => boolean
}

export interface Verification {
  heads?: readonly KnownHead[]
  /** Rows fetched at once; other work of the process goes on between two pages. */
  page?: number
}

/** Follows the whole chain, and compares it with the heads that were kept elsewhere. */
export async function verifyAudit(
  database: Database,
  { heads = [], page = 2_000 }: Verification = {},
): Promise<AuditReport> {
  const known = new Map<number, KnownHead[]>()
  for (const each of heads) known.set(each.seq, [...(known.get(each.seq) ?? []), each])
  let head: AuditHead | undefined
  let rows = 0
  const broken = (breach: string): AuditReport => ({ rows, ...(head ? { head } : {}), breach })
  const fetch = (after: number) =>
    database.query<AuditRow>(sql`
      select seq, to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, actor, action, subject, model,
        detail, encode(previous_hash, 'hex') as "previousHash", encode(hash, 'hex') as hash
      from audit where seq > ${after} order by seq limit ${page}`)
  let next = fetch(0)
  for (;;) {
    const found = await next
    // The database reads on while this process computes.
    if (found.length === page) next = fetch(found.at(-1)!.seq)
    next.catch(() => {})
    for (const row of found) {
      const expected = (head?.seq ?? 0) + 1
      if (row.seq !== expected) return broken(`row ${expected} is missing, row ${row.seq} follows`)
      if (row.previousHash !== (head?.hash ?? genesis))
        return broken(`row ${row.seq} does not follow from the row before it`)
      if (row.hash !== hashOf(row)) return broken(`row ${row.seq} has been changed`)
      const other = known.get(row.seq)?.find(({ hash }) => hash !== row.hash)
      if (other) return broken(unmatchedHead(other, `row ${row.seq} is not the one whose hash was kept`))
      head = { seq: row.seq, hash: row.hash }
      rows++
    }
    if (found.length < page) break
    await breathe()
  }
  const last = heads.reduce<KnownHead | undefined>(
    (latest, each) => (latest === undefined || each.seq > latest.seq ? each : latest),
    undefined,
  )
  if (last && last.seq > (head?.seq ?? 0))
    return broken(unmatchedHead(last, `the rows after ${head?.seq ?? 0} are missing, there were ${last.seq}`))
  // Rows that a walk by number never meets.
  const [odd] = await database.query<{ count: number }>(
    sql`select count(*)::int as count from audit where seq < 1`,
  )
  if (odd && odd.count > 0) return broken(`${odd.count} row(s) stand before the first`)
  return { rows, ...(head ? { head } : {}) }
}

/** A head that does not fit tells of the rows when this installation has signed it, and of itself when not. */
const unmatchedHead = ({ seq, isGenuine }: KnownHead, breach: string): string =>
  isGenuine?.() === false ? `the head that is kept of row ${seq} is not signed by this installation` : breach
