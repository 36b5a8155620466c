/** `POST /v1/alerts/:id/acknowledge`: somebody looks after it, so nobody else is called. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { acknowledgeAlert, findAlert } from '../../../store/monitoring/alerts.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireModelAccess, requireUnscoped } from '../../auth/authorization.ts'
import { toWire } from '../../http/schemas.ts'

export const alertRoutes = ({ store, log }: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'post',
    path: '/v1/alerts/:id/acknowledge',
    allow: ['operator', 'approver', 'admin'],
    summary:
      'Says that somebody looks after an alert: it is not told again, and those next in line are not called.',
    answers: { 200: 'The alert' },
    body: z.strictObject({ reason: z.string().max(2_000).optional() }),
    async handle({ actor, params, body }) {
      const id = /^\d{1,15}$/.test(params['id'] ?? '') ? Number(params['id']) : 0
      const found = await findAlert(store, id)
      if (found === undefined) throw new DomainError('not_found', `there is no alert ${params['id']}`)
      if (found.model === undefined) requireUnscoped(actor, 'an alert of no model')
      else requireModelAccess(actor, found.model)
      const alert = await store.transaction(async (database) => {
        const done = await acknowledgeAlert(database, { id, by: actor!.name })
        if (done === undefined) return (await findAlert(database, id)) ?? found
        await appendAudit(database, {
          actor: actor!.name,
          action: 'alert.acknowledged',
          subject: `alert/${id}`,
          model: done.model,
          detail: { kind: done.kind, reason: body.reason ?? null },
        })
        return done
      })
      log.info({ alert: id, by: actor!.name }, 'an alert is looked after')
      return { json: toWire(alert) }
    },
  }),
]
