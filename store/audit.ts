/**
 * The audit: one row for each change of production, chained by hash. A row that is edited, removed, inserted or moved
 * later no longer fits its neighbours; a plain log table would show nothing.
 */
import { createHash } from 'node:crypto'
import sql from 'sql-template-tag'
import { canonicalJson } from '../domain/canonical.ts'
import type { Database } from './postgres.ts'

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
    ...entry,
    // As Postgres gives it back: what JSON cannot hold must not enter the hash.
    detail: JSON.parse(JSON.stringify(entry.detail)) as Record<string, unknown>,
    seq: (last?.seq ?? 0) + 1,
    at: (last?.at ?? new Date(0)).toISOString(),
    previousHash: last?.hash ?? genesis,
  }
  const hash = hashOf(row)
  await database.query(sql`
    insert into audit (seq, at, actor, action, subject, model, detail, previous_hash, hash)
    values (${row.seq}, ${row.at}, ${row.actor}, ${row.action}, ${row.subject}, ${row.model ?? null},
      ${JSON.stringify(row.detail)}, decode(${row.previousHash}, 'hex'), decode(${hash}, 'hex'))`)
  return { ...row, hash }
}

export function hashOf(row: Omit<AuditRow, 'hash'>): string {
  const { previousHash, seq, at, actor, action, subject, model, detail } = row
  const content = canonicalJson({ seq, at, actor, action, subject, model: model ?? null, detail })
  return createHash('sha256').update(previousHash).update('\n').update(content).digest('hex')
}

export interface AuditFilter {
  model?: string
  /** Only rows before this one, for the next page. */
  before?: number
  limit?: number
}

/** The newest rows first. */
export async function listAudit(database: Database, filter: AuditFilter = {}): Promise<AuditRow[]> {
  const rows = await database.query<RawRow>(sql`
    select seq, at, actor, action, subject, model, detail,
      encode(previous_hash, 'hex') as previous_hash, encode(hash, 'hex') as hash
    from audit
    where (${filter.model ?? null}::text is null or model = ${filter.model ?? null})
      and (${filter.before ?? null}::bigint is null or seq < ${filter.before ?? null})
    order by seq desc limit ${filter.limit ?? 100}`)
  return rows.map(toRow)
}

export interface AuditReport {
  rows: number
  /** The last row that fits; absent for an empty chain. */
  head?: AuditHead
  /** The first breach, in words; absent when the chain is whole. */
  breach?: string
}

/** Follows the whole chain, and compares it with a head kept elsewhere when one is given. */
export async function verifyAudit(database: Database, known?: AuditHead, page = 5_000): Promise<AuditReport> {
  let head: AuditHead | undefined
  let rows = 0
  const broken = (breach: string): AuditReport => ({ rows, ...(head ? { head } : {}), breach })
  for (;;) {
    const found = await database.query<RawRow>(sql`
      select seq, at, actor, action, subject, model, detail,
        encode(previous_hash, 'hex') as previous_hash, encode(hash, 'hex') as hash
      from audit where seq > ${head?.seq ?? 0} order by seq limit ${page}`)
    for (const raw of found) {
      const row = toRow(raw)
      const expected = (head?.seq ?? 0) + 1
      if (row.seq !== expected) return broken(`row ${expected} is missing, row ${row.seq} follows`)
      if (row.previousHash !== (head?.hash ?? genesis))
        return broken(`row ${row.seq} does not follow from the row before it`)
      if (row.hash !== hashOf(row)) return broken(`row ${row.seq} has been changed`)
      if (known?.seq === row.seq && known.hash !== row.hash)
        return broken(`row ${row.seq} is not the one whose hash was kept`)
      head = { seq: row.seq, hash: row.hash }
      rows++
    }
    if (found.length < page) break
  }
  if (known && (head === undefined || head.seq < known.seq))
    return broken(`the rows after ${head?.seq ?? 0} are missing, there were ${known.seq}`)
  // Rows that a walk by number never meets.
  const [odd] = await database.query<{ count: number }>(
    sql`select count(*)::int as count from audit where seq < 1`,
  )
  if (odd && odd.count > 0) return broken(`${odd.count} row(s) stand before the first`)
  return { rows, ...(head ? { head } : {}) }
}

interface RawRow {
  seq: number
  at: Date
  actor: string
  action: string
  subject: string
  model: string | null
  detail: Record<string, unknown>
  previous_hash: string
  hash: string
}

function toRow(raw: RawRow): AuditRow {
  return {
    seq: raw.seq,
    at: raw.at.toISOString(),
    actor: raw.actor,
    action: raw.action,
    subject: raw.subject,
    ...(raw.model === null ? {} : { model: raw.model }),
    detail: raw.detail,
    previousHash: raw.previous_hash,
    hash: raw.hash,
  }
}
