/** Fills the audit log with an intact chain of rows. */
import sql from 'sql-template-tag'
import { hashOf, type AuditHead, type AuditRow } from '../../../store/audit/audit-log.ts'
import type { Store } from '../../../store/postgres.ts'

type Written = Omit<AuditRow, 'seq' | 'at' | 'previousHash' | 'hash'>

/** Appends `count` rows to the chain that ends with `head`, a second apart, and returns its new head. */
export async function fillAudit(
  store: Store,
  { head, count, rowOf }: { head: AuditHead; count: number; rowOf: (seq: number) => Written },
): Promise<AuditHead> {
  const end = head.seq + count
  while (head.seq < end) {
    const batch = Array.from({ length: Math.min(10_000, end - head.seq) }, () => {
      const seq = head.seq + 1
      const at = new Date(1_767_225_600_000 + seq * 1_000).toISOString()
      const row = { seq, at, ...rowOf(seq), previousHash: head.hash }
      head = { seq, hash: hashOf(row) }
      return { ...row, hash: head.hash }
    })
    await store.query(sql`
      insert into audit (seq, at, actor, action, subject, model, detail, previous_hash, hash)
      select seq, at, actor, action, subject, model, detail, decode("previousHash", 'hex'), decode(hash, 'hex')
      from jsonb_to_recordset(${JSON.stringify(batch)}::jsonb) as row(seq bigint, at timestamptz, actor text, action text,
        subject text, model text, detail jsonb, "previousHash" text, hash text)`)
  }
  return head
}
