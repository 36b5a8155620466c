/** `tenure audit`: lists the changes to production and verifies the hash chain of the audit log. */
import { failure } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { digestPrefix, orDash } from '../format.ts'
import { listCommand } from '../list.ts'

interface AuditAnswer {
  seq: number
  at: string
  actor: string
  action: string
  subject: string
  hash: string
  detail: Readonly<Record<string, unknown>>
}

/** Marks a command that was refused: it is recorded under the same action as one that was accepted. */
export const auditedAction = ({ action, detail }: Pick<AuditAnswer, 'action' | 'detail'>): string =>
  detail['accepted'] === false ? `${action} (refused)` : action

/** The reason that a user or the system gave, cut to the width of a table; of a changed model its first changed field. */
export function reasonOfRow({ detail }: Pick<AuditAnswer, 'detail'>): string {
  const { reason, fields } = detail
  const [first, ...others] = Array.isArray(fields) ? (fields as unknown[]) : []
  const changed = others.length === 0 ? first : `${String(first)}, and ${others.length} more`
  const text = [reason, changed].find((each) => typeof each === 'string' && each !== '') as string | undefined
  return orDash(text === undefined || text.length <= maxReason ? text : `${text.slice(0, maxReason - 1)}…`)
}

const maxReason = 100

export const auditGroup: CommandGroup = {
  name: 'audit',
  summary: 'List and verify the audit log of production changes',
  commands: [
    listCommand<AuditAnswer>({
      summary: 'List production changes, newest first',
      ofModels: true,
      pages: 'limit',
      limit: 20,
      options: [['--before <#>', 'Only entries before this number, to continue a list']],
      keeps: ['action', 'target'],
      droppable: ['hash', 'actor'],
      examples: ['audit', 'audit iris --limit 100', 'audit list --limit 1000 --before 41200 --json'],
      path: '/v1/audit',
      field: 'audit',
      none: 'No entries',
      columns: {
        '#': 'seq',
        at: 'at',
        actor: 'actor',
        action: auditedAction,
        target: 'subject',
        reason: (each, { paint }) => paint('dim', reasonOfRow(each)),
        hash: (each) => digestPrefix(each.hash),
      },
    }),
    {
      name: 'verify',
      summary:
        'Verify the audit log, and that champions, commands, releases and keys have their rows in it; exit code 6 if not',
      examples: ['audit verify', 'audit verify --json'],
      async run({ terminal, api }) {
        const answer = await api().get<{
          rows: number
          head?: { seq: number; hash: string }
          signed_head?: { seq: number; at: string }
          breach?: string
          unaudited: string[]
        }>('/v1/audit/verify')
        if (answer.breach !== undefined)
          throw failure({
            code: 'otherwise',
            detail: `the audit log is broken after ${answer.rows} entries: ${answer.breach}`,
            remedy: 'Compare the database with a backup. The entries before the breach are intact.',
          })
        const { signed_head: signed, unaudited } = answer
        if (unaudited.length > 0)
          throw failure({
            code: 'otherwise',
            detail: `changes without an audit row: ${unaudited.join('; ')}`,
            remedy: 'Change the password of the database, and compare these rows with a backup.',
          })
        const kept =
          signed === undefined
            ? 'no signed head yet, so a truncated tail would go undetected'
            : `signed up to entry ${signed.seq} at ${signed.at}`
        terminal.answer(
          answer,
          `✓ Audit log intact: ${answer.rows} entries, head ${answer.head?.seq ?? 0} ${digestPrefix(answer.head?.hash)}; ${kept}`,
        )
      },
    },
  ],
}
