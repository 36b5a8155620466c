/** `/v1/alerts/groups`, `/v1/alerts/:id`: lists the groups of open alerts, and acknowledges and resolves an alert or its group. */
import { alertGroup, worstGroupsFirst } from '../../../domain/monitoring/alert-groups.ts'
import * as schema from '../../../domain/schema.ts'
import { listAlertGroups } from '../../../store/dashboard/overview.ts'
import { alertRow } from '../../../store/monitoring/alerts.ts'
import { z } from 'zod'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { modelName, reasonText, toWire } from '../../http/schemas.ts'
import {
  alertActions,
  updateAlert,
  updateAlertGroups,
  type AlertAction,
} from '../../services/alerts/update-alert.ts'

const summaries: Readonly<Record<AlertAction, string>> = {
  acknowledge: 'Acknowledge an alert. It is not sent again and does not escalate.',
  resolve: 'Resolve an alert.',
}

export const alertRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/alerts/groups', viewers, {
    summary:
      'List the open alerts by model and kind, the worst first. What releases ask is not among them: see `/v1/releases`.',
    answers: { 200: 'The groups' },
    answerSchema: schema.record({ groups: schema.list(alertGroup) }),
    query: z.strictObject({ model: modelName.optional() }),
    async handle({ query }) {
      const groups = worstGroupsFirst(await listAlertGroups(deps.store, query))
      return { json: { groups: groups.map(toWire) } }
    },
  }),
  ...alertActions.map((action) =>
    defineRoute('post', `/v1/alerts/:id/${action}`, ['operator', 'approver', 'admin'], {
      summary: `${summaries[action]} With \`group\`, the same is done to all open alerts of its model and kind that are not newer.`,
      answers: { 200: 'The alert; with `group`, the newest one' },
      answerSchema: alertRow,
      body: z.strictObject({ reason: reasonText.optional(), group: z.boolean().optional() }),
      async handle({ actor, params, body: { reason, group = false } }) {
        const id = params['id']!
        const alert = group
          ? (await updateAlertGroups(deps, actor!, { ids: [id], action, reason })).at(-1)!
          : await updateAlert(deps, actor!, { id, action, reason })
        return { json: toWire(alert) }
      },
    }),
  ),
]
