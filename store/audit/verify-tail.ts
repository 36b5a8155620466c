/** Verifies the newest audit rows link by link within the time budget of a page. `verifyAudit` verifies the complete chain. */
import { findTakeover, hashOf, listAudit, unsignedRow, type AuditRow, type KnownHead } from './audit-log.ts'
import type { Database } from '../postgres.ts'
import type { IsSigned } from './row-signatures.ts'

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
