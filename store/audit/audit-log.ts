/**
 * Appends to and verifies the audit log, a hash chain: an edited, removed, inserted or moved row no longer matches its neighbours. The
 * signed heads of signed-heads.ts reveal a truncated or replaced chain. The trigger `audit_is_append_only` rejects every change.
 */
import { hash as digest } from 'node:crypto'
import { setImmediate as breathe } from 'node:timers/promises'
import sql, { join, type Sql } from 'sql-template-tag'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { counted } from '../../domain/figures.ts'
import { redacted } from '../../domain/redact.ts'
import * as schema from '../../domain/schema.ts'
import type { ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { IsSigned } from './row-signatures.ts'

export const auditRow = schema.record(
  {
    seq: schema.count,
    at: schema.time,
    /** The actor: the name of a key, or of the part of the system that acted by itself. */
    actor: schema.text,
    /** The action, for example `champion.promoted`. */
    action: schema.text,
    /** The target of the action: a release, a version, a key. */
    subject: schema.text,
    detail: schema.data,
    previousHash: schema.text,
    hash: schema.text,
  },
  {
    model: schema.text,
    /** The signature of the writing process, hexadecimal. */
    signature: schema.text,
  },
)
/** `at` is precise to the millisecond. */
export type AuditRow = schema.TypeOf<typeof auditRow>
export type AuditEntry = Pick<AuditRow, 'actor' | 'action' | 'subject' | 'model' | 'detail'>

/** The last row of a chain. Stored outside the table, it reveals a truncated chain. */
export type AuditHead = Pick<AuditRow, 'seq' | 'hash'>

const genesis = '0'.repeat(64)

/** No store: outside a transaction the lock of the chain would end before the row is written. */
export type Transaction = Database & { transaction?: never }

/** Appends a row. Call it in the transaction of the change, so that neither is stored without the other. */
export async function appendAudit(database: Transaction, entry: AuditEntry): Promise<AuditRow> {
  // One writer at a time: two that read the same last row would fork the chain.
  await database.query(sql`select pg_advisory_xact_lock(hashtext('tenure.audit'))`)
  const [last] = await database.query<{ seq: number; hash: string; at: Date }>(sql`
    select last.seq, last.hash, clock_timestamp() as at
    from (select 1) as one
    left join lateral (select seq, encode(hash, 'hex') as hash from last_audit_link()) as last on true`)
  const row = {
    // The row as Postgres returns it: values that JSON cannot hold and redacted values must not enter the hash.
    ...(JSON.parse(redacted(JSON.stringify(entry))) as AuditEntry),
    seq: (last?.seq ?? 0) + 1,
    at: (last?.at ?? new Date(0)).toISOString(),
    previousHash: last?.hash ?? genesis,
  }
  const hash = hashOf(row)
  const signature = database.signAudit?.(hash)
  await database.query(sql`
    with written as (
      insert into audit (seq, at, actor, action, subject, model, detail, previous_hash, hash, signature)
      values (${row.seq}, ${row.at}, ${row.actor}, ${row.action}, ${row.subject}, ${row.model ?? null},
        ${JSON.stringify(row.detail)}, decode(${row.previousHash}, 'hex'), decode(${hash}, 'hex'),
        ${signature ?? null})
      returning seq
    )
    select pg_notify(${auditChannel}, '') from written`)
  return { ...row, hash, signature: signature && Buffer.from(signature).toString('hex') }
}

/**
 * The channel that notifies readers after each committed row. Notifications carry no data, because any role with CONNECT can send one.
 */
export const auditChannel = 'tenure_audit'

type Link = Pick<AuditRow, 'seq' | 'hash' | 'signature'>

/** The newest row and an earlier one; absent when the log lacks that row. */
export async function findLinks(
  database: Database,
  seq: number,
): Promise<{ newest?: AuditHead; earlier?: Link }> {
  const links = await rowsFrom(database).list<Link>(sql`
    (select seq, encode(hash, 'hex') as hash, encode(signature, 'hex') as signature from audit order by seq desc limit 1)
    union (select seq, encode(hash, 'hex') as hash, encode(signature, 'hex') as signature from audit where seq = ${seq})`)
  const last = links.toSorted((one, other) => other.seq - one.seq)[0]
  return {
    newest: last && { seq: last.seq, hash: last.hash },
    earlier: links.find((each) => each.seq === seq),
  }
}

export function hashOf(row: Omit<AuditRow, 'hash'>): string {
  const { previousHash, seq, at, actor, action, subject, model, detail } = row
  // The canonical JSON of the row, with its fields in order.
  const content =
    `{"action":${JSON.stringify(action)},"actor":${JSON.stringify(actor)},"at":${JSON.stringify(at)},` +
    `"detail":${canonicalJson(detail)},"model":${JSON.stringify(model ?? null)},"seq":${seq},` +
    `"subject":${JSON.stringify(subject)}}`
  return digest('sha256', `${previousHash}\n${content}`, 'hex')
}

export interface AuditFilter extends ModelFilter {
  actor?: string
  /** A whole action, or a prefix that ends in a dot: `release.`. */
  action?: string
  subject?: string
  /** Only rows before this one, for the next page. */
  before?: number
  limit?: number
}

/** The newest rows first. An absent condition is left out of the statement, so that the other conditions can use an index. */
export function listAudit(database: Database, filter: AuditFilter = {}): Promise<AuditRow[]> {
  const { model, actor, action, subject, before, limit = 100 } = filter
  const filters: Sql[] = [sql`true`]
  if (model !== undefined) filters.push(sql`model = ${model}`)
  if (actor !== undefined) filters.push(sql`actor = ${actor}`)
  if (action !== undefined)
    filters.push(action.endsWith('.') ? sql`starts_with(action, ${action})` : sql`action = ${action}`)
  if (subject !== undefined) filters.push(sql`subject = ${subject}`)
  if (before !== undefined) filters.push(sql`seq < ${before}`)
  return rowsFrom(database).list<AuditRow>(sql`
    select seq, at, actor, action, subject, model, detail,
      encode(previous_hash, 'hex') as previous_hash, encode(hash, 'hex') as hash, encode(signature, 'hex') as signature
    from audit where ${join(filters, ' and ')} order by seq desc limit ${limit}`)
}

export const auditReport = schema.record(
  { rows: schema.count },
  {
    /** The last valid row; absent for an empty chain. */
    head: schema.record({ seq: schema.count, hash: schema.text }),
    /** The first breach, as text; absent for an intact chain. */
    breach: schema.text,
  },
)
export type AuditReport = schema.TypeOf<typeof auditReport>

/** A head that was stored elsewhere. */
export interface KnownHead extends AuditHead {
  /** Whether this installation signed the head. Only called when the head does not match. */
  isGenuine?: () => boolean
}

export interface Verification {
  heads?: readonly KnownHead[]
  /** Requires that every row from the first signed one on is signed. */
  isSigned?: IsSigned
  /** Rows per query; other work of the process runs between two queries. */
  page?: number
}

/** The rows after this one, in order. */
export const readRows = (database: Database, after: number, limit: number) =>
  rowsFrom(database).list<AuditRow>(sql`
    select seq, to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, actor, action, subject, model,
      detail, encode(previous_hash, 'hex') as previous_hash, encode(hash, 'hex') as hash, encode(signature, 'hex') as signature
    from audit where seq > ${after} order by seq limit ${limit}`)

/** The state of a walk along the chain. */
export interface ChainWalk {
  head?: AuditHead
  /** Whether a signed row was seen; all later rows must then be signed. */
  isSigned: boolean
}

/** Why the next row is invalid; otherwise advances the walk to it. */
export function followRow(
  walk: ChainWalk,
  row: AuditRow,
  isSigned: IsSigned | undefined,
): string | undefined {
  const { seq, hash, previousHash } = row
  const expected = (walk.head?.seq ?? 0) + 1
  if (seq !== expected) return `row ${expected} is missing, row ${seq} follows`
  if (previousHash !== (walk.head?.hash ?? genesis))
    return `row ${seq} does not follow from the row before it`
  if (hash !== hashOf(row)) return `row ${seq} has been changed`
  if (isSigned !== undefined && (walk.isSigned || row.signature !== undefined) && !isSigned(row))
    return unsignedRow(seq)
  walk.head = { seq, hash }
  walk.isSigned ||= row.signature !== undefined
  return undefined
}

const unsignedRow = (seq: number): string =>
  `row ${seq} is not signed by a process of this installation: it was added with the password of the database, or by a process with another signing key`

/**
 * The row with which this installation took over a database signed by another one. Rows up to it need no signature of this installation.
 * 0 without such a row.
 */
export async function findTakeover(database: Database, isSigned: IsSigned): Promise<number> {
  const row = await rowsFrom(database).find<Pick<AuditRow, 'seq' | 'at' | 'hash' | 'signature'>>(sql`
    select seq, at, encode(hash, 'hex') as hash, encode(signature, 'hex') as signature from audit
    where action = 'database.restored' and detail ->> 'reSigned' = 'true' order by seq desc limit 1`)
  return row !== undefined && isSigned(row) ? row.seq : 0
}

/** Verifies the whole chain, and compares it with the heads stored elsewhere. */
export async function verifyAudit(
  database: Database,
  { heads = [], isSigned, page = 2_000 }: Verification = {},
): Promise<AuditReport> {
  const known = new Map<number, KnownHead[]>()
  for (const each of heads) known.set(each.seq, [...(known.get(each.seq) ?? []), each])
  const takeover = isSigned === undefined ? 0 : await findTakeover(database, isSigned)
  const walk: ChainWalk = { isSigned: false }
  let rows = 0
  const broken = (breach: string): AuditReport => ({ rows, head: walk.head, breach })
  let next = readRows(database, 0, page)
  for (;;) {
    const found = await next
    // The database reads ahead while this process computes.
    if (found.length === page) next = readRows(database, found.at(-1)!.seq, page)
    next.catch(() => {})
    for (const row of found) {
      const issue = followRow(walk, row, row.seq < takeover ? undefined : isSigned)
      if (issue !== undefined) return broken(issue)
      const other = known.get(row.seq)?.find(({ hash }) => hash !== row.hash)
      if (other)
        return broken(unmatchedHead(other, `row ${row.seq} differs from the row whose hash was signed`))
      rows++
    }
    if (found.length < page) break
    await breathe()
  }
  const { head } = walk
  const last = heads.reduce<KnownHead | undefined>(
    (latest, each) => (latest === undefined || each.seq > latest.seq ? each : latest),
    undefined,
  )
  if (last && last.seq > (head?.seq ?? 0))
    return broken(unmatchedHead(last, `the rows after ${head?.seq ?? 0} are missing, there were ${last.seq}`))
  // Rows that a walk by sequence number cannot find.
  const [odd] = await database.query<{ count: number }>(
    sql`select count(*)::int as count from audit where seq < 1`,
  )
  if (odd && odd.count > 0) return broken(`${counted(odd.count, 'row')} before the first`)
  return { rows, head }
}

/**
 * A head that does not match proves a change of the rows when this installation signed the head; otherwise the head itself is invalid.
 */
const unmatchedHead = ({ seq, isGenuine }: KnownHead, breach: string): string =>
  isGenuine?.() === false ? `the stored head of row ${seq} is not signed by this installation` : breach

// Verifies the newest audit rows link by link within the time budget of a page. `verifyAudit` verifies the complete chain.

export interface TailReport {
  /** The number of rows verified, from the newest backwards. */
  rows: number
  newest?: number
  /** The oldest verified row; 1 when all rows were verified. */
  oldest?: number
  /** The number of signed heads that match. */
  heads: number
  /** Whether the time budget ended before the chain did. */
  stopped: boolean
  breach?: string
}

interface TailOptions {
  heads: readonly KnownHead[]
  /** Requires signatures as `verifyAudit` does. */
  isSigned?: IsSigned
  withinMs: number
  now: () => number
}

const page = 1_000

/** Follows the chain from the newest row backwards until it ends, breaks, or `withinMs` have passed. */
export async function verifyTail(
  database: Database,
  { heads, isSigned, withinMs, now }: TailOptions,
): Promise<TailReport> {
  const known = new Map(heads.map((head) => [head.seq, head]))
  const furthest = heads.reduce((most, { seq }) => Math.max(most, seq), 0)
  const untilMs = now() + withinMs
  const report: TailReport = { rows: 0, heads: 0, stopped: false }
  const takeover = isSigned === undefined ? 0 : await findTakeover(database, isSigned)
  /** The oldest unsigned row so far: a breach when a signed row precedes it. */
  let unsigned: number | undefined
  let later: AuditRow | undefined
  for (;;) {
    const rows: AuditRow[] = await listAudit(database, {
      limit: page,
      before: later === undefined ? undefined : later.seq,
    })
    if (later === undefined) {
      const newest = rows[0]?.seq ?? 0
      if (rows[0] !== undefined) report.newest = newest
      if (furthest > newest)
        return { ...report, breach: `the rows after ${newest} are missing, there were ${furthest}` }
    }
    for (const row of rows) {
      const breach = breachOf(row, later, known.get(row.seq))
      if (breach !== undefined) return { ...report, breach }
      if (isSigned !== undefined && row.seq >= takeover) {
        if (row.signature === undefined) unsigned = row.seq
        else if (unsigned !== undefined) return { ...report, breach: unsignedRow(unsigned) }
        else if (!isSigned(row)) return { ...report, breach: unsignedRow(row.seq) }
      }
      if (known.has(row.seq)) report.heads++
      report.rows++
      report.oldest = row.seq
      later = row
    }
    if (rows.length < page) {
      if (later !== undefined && later.seq !== 1)
        return { ...report, breach: `row ${later.seq - 1} is missing, row ${later.seq} follows` }
      return report
    }
    if (now() >= untilMs) return { ...report, stopped: later?.seq !== 1 }
  }
}

function breachOf(
  row: AuditRow,
  later: AuditRow | undefined,
  head: KnownHead | undefined,
): string | undefined {
  if (later !== undefined && later.seq !== row.seq + 1)
    return `row ${later.seq - 1} is missing, row ${later.seq} follows`
  if (later !== undefined && later.previousHash !== row.hash)
    return `row ${later.seq} does not follow from the row before it`
  if (row.hash !== hashOf(row)) return `row ${row.seq} has been changed`
  if (head === undefined || head.hash === row.hash) return undefined
  return head.isGenuine?.() === false
    ? `the stored head of row ${row.seq} is not signed by this installation`
    : `row ${row.seq} differs from the row whose hash was signed`
}
