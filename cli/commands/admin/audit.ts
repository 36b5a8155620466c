/** `tenure audit`: lists the changes of production and verifies the hash chain of the audit log. */
import { failure } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { digestPrefix, time } from '../format.ts'

interface AuditAnswer {
  seq: number
  at: string
  actor: string
  action: string
  subject: string
  hash: string
}

export const auditGroup: CommandGroup = {
  name: 'audit',
  summary: 'List and verify the audit log of production changes',
  commands: [
    {
      name: 'list',
      isDefault: true,
      summary: 'List production changes, newest first',
      options: [
        ['--model <model>', 'Only this model'],
        ['--limit <n>', 'Number of rows (default: 20)'],
      ],
      examples: ['audit', 'audit list --model iris --limit 100'],
      async run({ terminal, api }, { options }) {
        const answer = await api().get<{ audit: AuditAnswer[] }>('/v1/audit', {
          model: options['model'],
          limit: options['limit'] ?? 20,
        })
        const rows = answer.audit.map((each) => [
          String(each.seq),
          time(each.at),
          each.actor,
          each.action,
          each.subject,
          digestPrefix(each.hash),
        ])
        terminal.answer(answer, tableOf(['#', 'at (UTC)', 'actor', 'action', 'target', 'hash'], rows))
      },
    },
    {
      name: 'verify',
      summary: 'Verify the hash chain and the signed heads; exit code 6 if broken',
      examples: ['audit verify', 'audit verify --json'],
      async run({ terminal, api }) {
        const answer = await api().get<{
          rows: number
          head?: { seq: number; hash: string }
          signed_head?: { seq: number; at: string }
          breach?: string
        }>('/v1/audit/verify')
        if (answer.breach !== undefined)
          throw failure({
            code: 'otherwise',
            detail: `the audit log is broken after ${answer.rows} entries: ${answer.breach}`,
            remedy: 'Compare the database with a backup. The entries before the breach are intact.',
          })
        const { signed_head: signed } = answer
        const kept =
          signed === undefined
            ? 'no signed head yet, so a truncated tail would go undetected'
            : `signed up to entry ${signed.seq} at ${time(signed.at)} (UTC)`
        terminal.answer(
          answer,
          `✓ Audit log intact: ${answer.rows} entries, head ${answer.head?.seq ?? 0} ${digestPrefix(answer.head?.hash)}; ${kept}`,
        )
      },
    },
  ],
}
