/** Recomputes the hash chain of the audit. */
import { hashOf, type AuditRow } from '../../../store/audit/audit-log.ts'
import type { Memory, Row } from '@tenure/simulator'

/** Returns the rows whose hash does not follow from the previous row. */
export function auditIssues(memory: Memory): string[] {
  const last = memory.row('audit', 'last')
  const rows = memory
    .rows('audit')
    .filter((row) => row !== last || memory.row('audit', String(row['seq'])) === row)
  const unique = [...new Map(rows.map((row) => [row['seq'], row])).values()].sort(
    (a, b) => (a['seq'] as number) - (b['seq'] as number),
  )
  let previous = '0'.repeat(64)
  return unique.flatMap((row, index) => {
    const {
      seq,
      at,
      actor,
      action,
      subject,
      model: of,
      detail,
      previous_hash,
      hash,
    } = row as unknown as AuditRow & { previous_hash: string }
    const again = hashOf({
      seq,
      at,
      actor,
      action,
      subject,
      model: of ?? undefined,
      detail,
      previousHash: previous_hash,
    })
    const follows = seq === index + 1 && previous_hash === previous && hash === again
    previous = hash
    return follows ? [] : [`row ${seq} does not follow`]
  })
}

/** Returns the key that only one row may have; undefined for an action that may be repeated. */
export function auditKeyOf(row: Row): string | undefined {
  const { action, subject, detail } = row as { action: string; subject: string; detail: Row }
  return action === 'release.opened' || action === 'release.ended'
    ? `${action} ${subject}`
    : action === 'champion.promoted' || (action === 'champion.rolled_back' && detail['release'] !== undefined)
      ? `${action} ${detail['release'] as string}`
      : action === 'routing.changed'
        ? `${action} ${subject} ${detail['generation'] as number}`
        : action.startsWith('release.') && detail['id'] !== undefined
          ? `${action} ${detail['id'] as string}`
          : undefined
}
