/** `tenure audit`: who changed what in production, and whether the record of it is whole. */
import { failure } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { short, time } from '../format.ts'

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
  summary: 'the audit of production changes: list, verify',
  commands: [
    {
      name: 'list',
      isDefault: true,
      summary: 'lists changes of production, the newest first',
      options: [
        ['--model <model>', 'of this model only'],
        ['--limit <n>', 'how many (default: 20)'],
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
          short(each.hash),
        ])
        terminal.answer(answer, tableOf(['#', 'at (UTC)', 'who', 'what', 'subject', 'hash'], rows))
      },
    },
    {
      name: 'verify',
      summary: 'follows the whole hash chain to its signed heads; exit code 6 when it is broken',
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
            detail: `the audit is broken after ${answer.rows} row(s): ${answer.breach}`,
            remedy: 'Compare the database with a backup; the rows before the breach still hold.',
          })
        const { signed_head: signed } = answer
        const kept =
          signed === undefined
            ? 'no signed head is kept here yet: a cut tail would not show'
            : `signed up to row ${signed.seq} at ${time(signed.at)} (UTC)`
        terminal.answer(
          answer,
          `${answer.rows} row(s), unbroken; head ${answer.head?.seq ?? 0} ${short(answer.head?.hash)}; ${kept}`,
        )
      },
    },
  ],
}
