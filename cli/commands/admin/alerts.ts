/** `tenure alerts`: lists the open alerts, and acknowledges and resolves one. */
import { path } from '../../client/client.ts'
import type { AlertAnswer } from '../../client/responses.ts'
import type { CommandGroup, CommandSpec } from '../../program.ts'
import { orDash, time } from '../format.ts'
import { listCommand } from '../list.ts'
import { severityStyles } from './status.ts'

export const alertsGroup: CommandGroup = {
  name: 'alerts',
  summary: 'List open alerts, acknowledge and resolve them',
  commands: [
    listCommand<AlertAnswer>({
      summary: 'List the open alerts, newest first',
      ofModels: true,
      examples: ['alerts', 'alerts flight-delay', 'alerts list --json'],
      path: '/v1/alerts',
      field: 'alerts',
      query: { open: true },
      pages: 'limit',
      // All that the API answers: a critical alert may be older than a hundred warnings.
      limit: 1_000,
      droppable: ['acknowledged by', 'since (UTC)', 'severity'],
      none: 'No open alerts',
      columns: {
        id: 'id',
        severity: ({ severity }, { paint }) => paint(severityStyles[severity][0], severity),
        model: 'model',
        'since (UTC)': (each) => time(each.raised_at),
        'acknowledged by': (each) => orDash(each.acknowledged_by),
        message: 'message',
      },
    }),
    actionCommand('acknowledge', 'Acknowledge an alert: it is not sent again and does not escalate'),
    actionCommand('resolve', 'Resolve an alert, and record why'),
  ],
}

function actionCommand(action: 'acknowledge' | 'resolve', summary: string): CommandSpec {
  return {
    name: `${action} <id>`,
    summary,
    options: [['--reason <text>', 'Reason, stored in the audit log']],
    examples: [`alerts ${action} 17`, `alerts ${action} 17 --reason "the source is being repaired"`],
    async run({ terminal, api }, { args, options }) {
      const { reason } = options
      const alert = await api().post<AlertAnswer>(path`/v1/alerts/${args[0]}/${action}`, { reason })
      terminal.answer(alert, `Alert ${alert.id} is ${action}d: ${alert.message}`)
    },
  }
}
