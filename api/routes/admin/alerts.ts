/** `/v1/alerts/:id`: acknowledges and resolves an alert. */
import { alertRow } from '../../../store/monitoring/alerts.ts'
import { z } from 'zod'
import { defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { reasonText, toWire } from '../../http/schemas.ts'
import { alertActions, updateAlert, type AlertAction } from '../../services/alerts/update-alert.ts'

const summaries: Readonly<Record<AlertAction, string>> = {
  acknowledge: 'Acknowledge an alert. It is not sent again and does not escalate.',
  resolve: 'Resolve an alert.',
}

export const alertRoutes = (deps: ApiDeps): RouteDefinition[] =>
  alertActions.map((action) =>
    defineRoute('post', `/v1/alerts/:id/${action}`, ['operator', 'approver', 'admin'], {
      summary: summaries[action],
      answers: { 200: 'The alert' },
      answerSchema: alertRow,
      body: z.strictObject({ reason: reasonText.optional() }),
      async handle({ actor, params, body }) {
        return {
          json: toWire(await updateAlert(deps, actor!, { id: params['id']!, action, reason: body.reason })),
        }
      },
    }),
  )
