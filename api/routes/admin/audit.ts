/** `/v1/audit`, `/v1/alerts`: lists audit rows and alerts, and verifies the audit log. */
import { z } from 'zod'
import * as schema from '../../../domain/schema.ts'
import { alertRow, listAlerts } from '../../../store/monitoring/alerts.ts'
import { auditRow, listAudit } from '../../../store/audit/audit-log.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireUnscoped } from '../../auth/authorization.ts'
import { auditVerification, createAuditVerification } from '../../services/verify-audit.ts'
import { booleanFlag, limit, modelName, toWire } from '../../http/schemas.ts'

export function auditRoutes({ store, heads, isSigned }: ApiDeps): RouteDefinition[] {
  const verify = createAuditVerification({ store, heads, isSigned })
  return [
    defineRoute('get', '/v1/audit', viewers, {
      summary: 'List the audit log, newest first.',
      answers: { 200: 'The rows of the audit log' },
      answerSchema: schema.record({ audit: schema.list(auditRow) }),
      query: z.strictObject({
        model: modelName.optional(),
        before: z.coerce.number().int().min(1).optional(),
        limit,
      }),
      async handle({ query }) {
        const rows = await listAudit(store, query)
        return { json: { audit: rows.map(toWire) } }
      },
    }),
    defineRoute('get', '/v1/audit/verify', viewers, {
      summary:
        'Verify the hash chain of the audit log against the signed heads stored outside the database. A key without the role admin may get a report that is up to a minute old.',
      answers: { 200: 'The number of valid rows, the first breach, and the changes that no row explains' },
      answerSchema: auditVerification,
      async handle({ actor }) {
        requireUnscoped(actor, 'the audit of all models')
        return { json: toWire(await verify(actor)) }
      },
    }),
    defineRoute('get', '/v1/alerts', viewers, {
      summary: 'List alerts, newest first.',
      answers: { 200: 'The alerts' },
      answerSchema: schema.record({ alerts: schema.list(alertRow) }),
      query: z.strictObject({ model: modelName.optional(), open: booleanFlag.optional(), limit }),
      async handle({ query }) {
        const alerts = await listAlerts(store, query)
        return { json: { alerts: alerts.map(toWire) } }
      },
    }),
  ]
}
