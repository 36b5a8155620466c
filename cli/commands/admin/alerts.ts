/** `tenure alerts`: lists the groups of open alerts, and acknowledges and resolves groups or single alerts. */
import { groupName, groupSentence, type AlertGroup } from '../../../domain/monitoring/alert-groups.ts'
import { counted } from '../../../domain/figures.ts'
import { failure, path, type Client } from '../../client/client.ts'
import type { AlertAnswer } from '../../client/responses.ts'
import type { CommandGroup, CommandSpec } from '../../program.ts'
import type { ColumnOrder, Columns } from '../../terminal.ts'
import { orDash } from '../format.ts'
import { listCommand } from '../list.ts'
import { doEach, printRefused } from '../several.ts'

/** As the API sends it. */
export type GroupAnswer = Pick<
  AlertGroup,
  'id' | 'kind' | 'severity' | 'count' | 'acknowledged' | 'message'
> & {
  model?: string | null
  version?: string | null
  since: string
  acknowledged_by?: string | null
}

const keyOf = ({ model, kind }: Pick<GroupAnswer, 'model' | 'kind'>) => ({
  kind,
  ...(model != null && { model }),
})

const severityStyles = { critical: 'red', warning: 'yellow', info: 'dim' } as const

export const groupColumns: Columns<GroupAnswer> = {
  group: (each) => groupName(keyOf(each)),
  severity: ({ severity }, { paint }) => paint(severityStyles[severity], severity),
  alerts: 'count',
  since: 'since',
  'acknowledged by': ({ count, acknowledged, acknowledged_by: by }) =>
    acknowledged > 0 && acknowledged < count ? `${by}, ${acknowledged} of ${count}` : orDash(by),
  message: 'message',
}
export const groupOrder: ColumnOrder = {
  keeps: ['severity', 'alerts'],
  droppable: ['acknowledged by', 'since'],
  ownLine: 'message',
}

export const alertsGroup: CommandGroup = {
  name: 'alerts',
  summary: 'List open alerts, acknowledge and resolve them',
  commands: [
    listCommand<GroupAnswer>({
      summary: 'List the open alerts by model and kind, the worst first',
      ofModels: true,
      examples: ['alerts', 'alerts flight-delay', 'alerts list --json'],
      path: '/v1/alerts/groups',
      field: 'groups',
      pages: 'all',
      limit: 1_000,
      ...groupOrder,
      none: 'No open alerts',
      columns: groupColumns,
      below: (_, { groups }) => {
        const found = groups as GroupAnswer[]
        const alerts = found.reduce((sum, { count }) => sum + count, 0)
        return found.length === 0 ? '' : `${counted(alerts, 'alert')} in ${counted(found.length, 'group')}`
      },
    }),
    actionCommand('acknowledge', 'Acknowledge alerts: they are not sent again and do not escalate'),
    actionCommand('resolve', 'Resolve alerts, and record why'),
  ],
}

function actionCommand(action: 'acknowledge' | 'resolve', summary: string): CommandSpec {
  return {
    name: `${action} <groups-or-ids...>`,
    summary,
    options: [['--reason <text>', 'Reason, stored in the audit log']],
    examples: [
      `alerts ${action} flight-delay/release_rolled_back`,
      `alerts ${action} 17 iris/drift_warn --reason "the source is being repaired"`,
    ],
    async run({ terminal, api }, { args, options }) {
      const { reason } = options
      // Looks before it changes anything.
      const found = await findTargets(api(), args)
      const { done, refused } = await doEach(found, {
        nameOf: ({ id, group }) => (group === undefined ? String(id) : groupName(keyOf(group))),
        async act({ id, group }) {
          const body = group === undefined ? { reason } : { reason, group: true }
          const alert = await api().post<AlertAnswer>(path`/v1/alerts/${id}/${action}`, body)
          const text =
            group === undefined
              ? `Alert ${alert.id} is ${action}d: ${alert.message}`
              : `${groupSentence({ ...keyOf(group), count: group.count })}: ${action}d`
          return { alert, text }
        },
      })
      terminal.answer(
        { alerts: done.map(({ alert }) => alert), ...(refused.length > 0 && { refused }) },
        done.map(({ text }) => text).join('\n'),
      )
      return printRefused(terminal, refused)
    },
  }
}

/** Finds the newest alert of each named group. Throws `not_found` for a group without open alerts. */
async function findTargets(
  client: Client,
  named: readonly string[],
): Promise<{ id: number | string; group?: GroupAnswer }[]> {
  if (named.every((each) => /^\d+$/.test(each))) return named.map((id) => ({ id }))
  const { groups } = await client.get<{ groups: GroupAnswer[] }>('/v1/alerts/groups')
  return named.map((each) => {
    if (/^\d+$/.test(each)) return { id: each }
    const group = groups.find((one) => groupName(keyOf(one)) === each)
    if (group !== undefined) return { id: group.id, group }
    throw failure({
      code: 'not_found',
      detail: `No open alerts of the group ${each}`,
      remedy: 'List the groups: `tenure alerts`.',
    })
  })
}
