/** `/v1/keys`: who may do what. A secret is shown once, in the answer that makes it. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { roles } from '../../../domain/roles.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { insertKey, listKeys, revokeKey, rotateKey } from '../../../store/access/api-keys.ts'
import { admins, defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireUnscoped } from '../../auth/authorization.ts'
import { modelName, zonedTime, toWire } from '../../http/schemas.ts'

/** How long both secrets of a renewed key open, unless told otherwise, and at most. */
const overlapS = { usual: 3_600, most: 30 * 86_400 }

const newKey = (nowMs: () => number) =>
  z.strictObject({
    name: z.string().regex(/^[\w.@-]{1,100}$/, 'is 1 to 100 letters, digits and . _ @ -'),
    role: z.enum(roles),
    models: z.array(modelName).min(1).optional(),
    expires_at: zonedTime
      .refine((text) => !(Date.parse(text) <= nowMs()), { error: 'is past already' })
      .optional(),
    requests_per_second: z.number().int().min(1).max(100_000).optional(),
    burst: z.number().int().min(1).max(1_000_000).optional(),
  })

const whatKeysAre = 'who may do what'

export const keyRoutes = ({ store, authentication, serving }: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'get',
    path: '/v1/keys',
    allow: admins,
    summary: 'Lists the keys, without their secrets.',
    answers: { 200: 'The keys' },
    async handle({ actor }) {
      requireUnscoped(actor, whatKeysAre)
      return { json: { keys: (await listKeys(store)).map(toWire) } }
    },
  }),
  defineRoute({
    method: 'post',
    path: '/v1/keys',
    allow: admins,
    summary: 'Makes a key and shows it, once.',
    answers: { 201: 'The key' },
    body: newKey(serving.wall),
    secretResponse: true,
    async handle({ body, actor }) {
      requireUnscoped(actor, whatKeysAre)
      const { name, role, models, expires_at: expiresAt, requests_per_second: requestsPerSecond } = body
      if (requestsPerSecond === undefined && body.burst !== undefined)
        throw new DomainError('invalid_request', 'burst: belongs to requests_per_second')
      const rate =
        requestsPerSecond === undefined
          ? undefined
          : { requestsPerSecond, burst: body.burst ?? requestsPerSecond }
      const made = await store.transaction(async (database) => {
        const inserted = await insertKey(database, {
          name,
          role,
          models,
          expiresAt,
          rate,
        })
        const detail = {
          name,
          role,
          models: models ?? null,
          expiresAt: expiresAt ?? null,
          rate: rate ?? null,
        }
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
  defineRoute({
    method: 'post',
    path: '/v1/keys/:id/rotate',
    allow: admins,
    summary:
      'Gives a key a new secret and shows it, once. The one before opens for `overlap_s` seconds more.',
    answers: { 200: 'The key with its new secret' },
    body: z.strictObject({ overlap_s: z.number().int().min(0).max(overlapS.most).default(overlapS.usual) }),
    secretResponse: true,
    async handle({ params, body, actor }) {
      requireUnscoped(actor, whatKeysAre)
      const made = await store.transaction(async (database) => {
        const rotated = await rotateKey(database, { id: params['id']!, overlapMs: body.overlap_s * 1_000 })
        const { id, name, role, previousUntil } = rotated.facts
        await appendAudit(database, {
          actor: actor!.name,
          action: 'key.rotated',
          subject: id,
          detail: { name, role, previousUntil: previousUntil ?? null },
        })
        return rotated
      })
      await authentication.refresh()
      return { json: { ...toWire(made.facts), key: made.key } }
    },
  }),
  defineRoute({
    method: 'delete',
    path: '/v1/keys/:id',
    allow: admins,
    summary: 'Revokes a key. Replicas learn of it at once, or within seconds at the worst.',
    answers: { 200: 'The revoked key' },
    async handle({ params, actor }) {
      requireUnscoped(actor, whatKeysAre)
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
