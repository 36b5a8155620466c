/** `/v1/keys`: who may do what. A key is shown once, in the answer that makes it. */
import { z } from 'zod'
import { roles } from '../../domain/roles.ts'
import { appendAudit } from '../../store/audit.ts'
import { insertKey, listKeys, revokeKey } from '../../store/keys.ts'
import { admins, route, type Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { modelName, moment, toWire } from '../wire.ts'

const newKey = z.strictObject({
  name: z.string().regex(/^[\w.@-]{1,100}$/, 'is 1 to 100 letters, digits and . _ @ -'),
  role: z.enum(roles),
  models: z.array(modelName).min(1).optional(),
  expires_at: moment
    .refine((text) => !(Date.parse(text) <= Date.now()), { error: 'is past already' })
    .optional(),
})

export const keyRoutes = ({ store, authentication }: ApiDeps): Route[] => [
  route({
    method: 'get',
    path: '/v1/keys',
    allow: admins,
    summary: 'Lists the keys, without their secrets.',
    answers: { 200: 'The keys' },
    handle: async () => ({ json: { keys: (await listKeys(store)).map(toWire) } }),
  }),
  route({
    method: 'post',
    path: '/v1/keys',
    allow: admins,
    summary: 'Makes a key and shows it, once.',
    answers: { 201: 'The key' },
    body: newKey,
    async handle({ body, actor }) {
      const { name, role, models, expires_at: expiresAt } = body
      const made = await store.transaction(async (database) => {
        const inserted = await insertKey(database, {
          name,
          role,
          ...(models === undefined ? {} : { models }),
          ...(expiresAt === undefined ? {} : { expiresAt }),
        })
        const detail = { name, role, models: models ?? null }
        await appendAudit(database, {
          actor: actor!.name,
          action: 'key.created',
          subject: inserted.facts.id,
          detail,
        })
        return inserted
      })
      await authentication.refresh()
      return { status: 201, json: { ...toWire(made.facts), key: made.key } }
    },
  }),
  route({
    method: 'delete',
    path: '/v1/keys/:id',
    allow: admins,
    summary: 'Revokes a key. Replicas learn of it at once, or within seconds at the worst.',
    answers: { 200: 'The revoked key' },
    async handle({ params, actor }) {
      const facts = await store.transaction(async (database) => {
        const revoked = await revokeKey(database, params['id']!)
        const detail = { name: revoked.name, role: revoked.role }
        await appendAudit(database, {
          actor: actor!.name,
          action: 'key.revoked',
          subject: revoked.id,
          detail,
        })
        return revoked
      })
      await authentication.refresh()
      return { json: toWire(facts) }
    },
  }),
]
