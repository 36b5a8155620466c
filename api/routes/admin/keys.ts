/** `/v1/keys`: creates, lists, rotates and revokes API keys. A secret is shown once, in the response that creates it. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { roles } from '../../../domain/roles.ts'
import * as schema from '../../../domain/schema.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { insertKey, listKeys, revokeKey, rotateKey, keyRow } from '../../../store/access/api-keys.ts'
import { admins, defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { boundedList, modelName, zonedTime, toWire } from '../../http/schemas.ts'

/** How long both secrets of a rotated key stay valid, in seconds. */
const defaultOverlapS = 3_600
const maxOverlapS = 30 * 86_400

/** The maximum number of models of one key. */
const maxModels = 1_000

const newKey = (nowMs: () => number) =>
  z.strictObject({
    name: z.string().regex(/^[\w.@-]{1,100}$/, 'is 1 to 100 letters, digits and . _ @ -'),
    role: z.enum(roles),
    models: boundedList(modelName, { min: 1, max: maxModels }).optional(),
    expires_at: zonedTime
      .refine((text) => !(Date.parse(text) <= nowMs()), { error: 'is in the past' })
      .optional(),
    requests_per_second: z.number().int().min(1).max(100_000).optional(),
    burst: z.number().int().min(1).max(1_000_000).optional(),
  })

export const keyRoutes = ({ store, authentication, serving }: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/keys', admins, {
    summary: 'List API keys, without their secrets.',
    answers: { 200: 'The keys' },
    answerSchema: schema.record({ keys: schema.list(keyRow) }),
    async handle() {
      return { json: { keys: (await listKeys(store)).map(toWire) } }
    },
  }),
  defineRoute('post', '/v1/keys', admins, {
    summary: 'Create an API key. Its secret is shown once.',
    answers: { 201: 'The key' },
    answerSchema: schema.extend(keyRow, { key: schema.text }),
    body: newKey(serving.wall),
    secretResponse: true,
    async handle({ body, actor }) {
      const { name, role, models, expires_at: expiresAt, requests_per_second: requestsPerSecond } = body
      if (requestsPerSecond === undefined && body.burst !== undefined)
        throw new DomainError('invalid_request', 'burst: needs requests_per_second')
      const rate =
        requestsPerSecond === undefined
          ? undefined
          : { requestsPerSecond, burst: body.burst ?? requestsPerSecond }
      const made = await store.transaction(async (database) => {
        const inserted = await insertKey(database, { name, role, models, expiresAt, rate })
        await appendAudit(database, {
          actor: actor!.name,
          action: 'key.created',
          subject: inserted.facts.id,
          detail: { name, role, models: models ?? null, expiresAt: expiresAt ?? null, rate: rate ?? null },
        })
        return inserted
      })
      await authentication.refresh()
      return { status: 201, json: { ...toWire(made.facts), key: made.key } }
    },
  }),
  defineRoute('post', '/v1/keys/:id/rotate', admins, {
    summary:
      'Rotate the secret of an API key. The new secret is shown once; the previous one stays valid for `overlap_s` seconds.',
    answers: { 200: 'The key with its new secret' },
    answerSchema: schema.extend(keyRow, { key: schema.text }),
    body: z.strictObject({ overlap_s: z.number().int().min(0).max(maxOverlapS).default(defaultOverlapS) }),
    secretResponse: true,
    async handle({ params, body, actor }) {
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
  defineRoute('delete', '/v1/keys/:id', admins, {
    summary: 'Revoke an API key. Replicas follow within seconds.',
    answers: { 200: 'The revoked key' },
    answerSchema: keyRow,
    async handle({ params, actor }) {
      const facts = await store.transaction(async (database) => {
        const revoked = await revokeKey(database, params['id']!)
        const { id, name, role } = revoked
        await appendAudit(database, {
          actor: actor!.name,
          action: 'key.revoked',
          subject: id,
          detail: { name, role },
        })
        return revoked
      })
      await authentication.refresh()
      return { json: toWire(facts) }
    },
  }),
]
