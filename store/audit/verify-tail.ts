/** Verifies the newest audit rows link by link within the time budget of a page. `verifyAudit` follows the complete chain. */
import { hashOf, listAudit, type AuditRow, type KnownHead } from './audit-log.ts'
import type { Database } from '../postgres.ts'

export interface TailReport {
  /** How many rows were followed, from the newest back. */
  rows: number
  newest?: number
  /** The oldest that was followed; 1 when it was all of them. */
  oldest?: number
  /** Signed heads that were met and fit. */
  heads: number
  /** Whether the time ended before the chain did. */
  stopped: boolean
  breach?: string
}

const page = 1_000

/** Follows the chain from the newest row back until it ends, breaks, or `withinMs` have passed. */
export async function verifyTail(
  database: Database,
  { heads, withinMs, now }: { heads: readonly KnownHead[]; withinMs: number; now: () => number },
): Promise<TailReport> {
  const known = new Map(heads.map((head) => [head.seq, head]))
  const furthest = heads.reduce((most, { seq }) => Math.max(most, seq), 0)
  const untilMs = now() + withinMs
  const report: TailReport = { rows: 0, heads: 0, stopped: false }
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
    ? `the head that is kept of row ${row.seq} is not signed by this installation`
    : `row ${row.seq} is not the one whose hash was kept`
}
