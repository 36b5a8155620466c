/**
 * Verifies the audit log for requests. One verification runs at a time, however many keys request it, because it reads and hashes every
 * row. Only an admin gets a fresh report immediately.
 */
import * as schema from '../../domain/schema.ts'
import { auditReport, verifyAudit } from '../../store/audit/audit-log.ts'
import type { IsSigned } from '../../store/audit/row-signatures.ts'
import { compareWithHeads, type HeadReader } from '../../store/audit/signed-heads.ts'
import { findUnaudited } from '../../store/audit/unaudited.ts'
import type { Database } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'

export const auditVerification = schema.extend(
  auditReport,
  {
    verifiedAt: schema.time,
    /** Champions, commands and releases that no row of the log explains, one sentence each. */
    unaudited: schema.list(schema.text),
  },
  {
    /** The last signed head that is stored outside the database. */
    signedHead: schema.record({ seq: schema.count, hash: schema.text, at: schema.time }),
  },
)
export type AuditVerification = schema.TypeOf<typeof auditVerification>

/** How long the report of one request also answers other requests, in milliseconds. */
const reportMs = 60_000

export function createAuditVerification({
  store,
  heads,
  isSigned,
}: {
  store: Database
  heads: HeadReader
  isSigned: IsSigned
}): (actor: Actor | undefined) => Promise<AuditVerification> {
  let running: Promise<AuditVerification> | undefined
  let last: { report: AuditVerification; atMs: number } | undefined
  const verify = async (): Promise<AuditVerification> => {
    const report = await compareWithHeads(heads, (known) => verifyAudit(store, { heads: known, isSigned }))
    const unaudited = await findUnaudited(store)
    const head = await heads.last()
    const signedHead = head && { seq: head.seq, hash: head.hash, at: head.at }
    const verifiedAt = new Date().toISOString()
    const verification = { ...report, signedHead, verifiedAt, unaudited }
    last = { report: verification, atMs: performance.now() }
    return verification
  }
  return async (actor) => {
    if (actor?.role !== 'admin' && last !== undefined && performance.now() - last.atMs < reportMs)
      return last.report
    running ??= verify().finally(() => (running = undefined))
    return running
  }
}
