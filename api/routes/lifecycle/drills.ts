/** `/v1/drills`: starts and lists drills. */
import { z } from 'zod'
import { drillKindNames, drillKinds } from '../../../domain/drill.ts'
import * as schema from '../../../domain/schema.ts'
import { drillRow, listDrills, type Drill } from '../../../store/release/drills.ts'
import { operators, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { boundedList, limit, modelName, toWire } from '../../http/schemas.ts'
import { startDrill } from '../../services/start-drill.ts'

const hold = z.strictObject({
  model: modelName,
  kinds: boundedList(z.enum(drillKindNames), { min: 1, max: drillKindNames.length }).optional(),
  traffic: z.enum(['mirrored', 'live']).optional(),
  harm_budget: z.int().min(0).max(1_000_000).optional(),
  share_bp: z.int().min(1).max(9_000).optional(),
  within_ms: z.int().min(1).max(86_400_000).optional(),
})

export const drillRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/drills', viewers, {
    summary: 'List drills with detection time, recovery time and failed requests, newest first.',
    answers: { 200: 'The drills' },
    answerSchema: schema.record({
      drills: schema.list(schema.extend(drillRow, { shows: schema.text })),
    }),
    query: z.strictObject({ model: modelName.optional(), limit }),
    async handle({ query }) {
      const found = await listDrills(deps.store, query)
      return { json: { drills: found.map(wireOf) } }
    },
  }),
  defineRoute('post', '/v1/drills', operators, {
    summary: `Start a drill: a release with a faulty candidate that is never promoted. Kinds: ${drillKindNames.join(', ')}.`,
    answers: { 202: 'The drill has started' },
    answerSchema: schema.record(
      { model: schema.text, workflowId: schema.text },
      { kinds: schema.list(schema.text) },
    ),
    body: hold,
    async handle({ actor, body, commandId: id }) {
      const { model, kinds, traffic, harm_budget: harmBudget, share_bp: shareBp, within_ms: withinMs } = body
      const changes = { traffic, harmBudget, shareBp, withinMs }
      const drill = { model, kinds, changes }
      return { status: 202, json: toWire(await startDrill(deps, actor!, drill, { id })) }
    },
  }),
]

const wireOf = (drill: Drill) => toWire({ ...drill, shows: drillKinds[drill.kind] })
