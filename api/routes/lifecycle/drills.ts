/** `/v1/drills`: holds a rehearsed release, and shows what the earlier ones have come to. */
import { z } from 'zod'
import { drillKindNames, drillKinds } from '../../../domain/drill.ts'
import { DomainError } from '../../../domain/errors.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listDrills, type Drill } from '../../../store/release/drills.ts'
import { getModel } from '../../../store/registry/models.ts'
import { findOpenRelease } from '../../../store/release/releases.ts'
import { drillWorkflowId, type DrillRequest } from '../../../workflows/messages.ts'
import { operators, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireModelAccess, modelFilter } from '../../auth/authorization.ts'
import { callTimeoutMs } from '../../temporal/client.ts'
import { limit, modelName, toWire } from '../../http/schemas.ts'
import { isAlreadyStarted } from '../../temporal/errors.ts'

const hold = z.strictObject({
  model: modelName,
  kinds: z.array(z.enum(drillKindNames)).min(1).max(drillKindNames.length).optional(),
  traffic: z.enum(['mirrored', 'live']).optional(),
  harm_budget: z.int().min(0).max(1_000_000).optional(),
  share_bp: z.int().min(1).max(9_000).optional(),
  within_ms: z.int().min(1).max(86_400_000).optional(),
})

export const drillRoutes = ({ store, temporal, log }: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'get',
    path: '/v1/drills',
    allow: viewers,
    summary:
      'Lists drills with what was noticed, how soon, and how many callers were harmed; the newest first.',
    answers: { 200: 'The drills' },
    query: z.strictObject({ model: modelName.optional(), limit }),
    async handle({ actor, query }) {
      const { model } = query
      const found = await listDrills(store, {
        limit: query.limit,
        ...modelFilter(actor),
        ...(model === undefined ? {} : { model }),
      })
      return { json: { drills: found.map(wireOf) } }
    },
  }),
  defineRoute({
    method: 'post',
    path: '/v1/drills',
    allow: operators,
    summary: `Rehearses a release with a candidate that can never be promoted. Kinds: ${drillKindNames.join(', ')}.`,
    answers: { 202: 'The drills have begun' },
    body: hold,
    async handle({ actor, body }) {
      requireModelAccess(actor, body.model)
      const { name: model } = await getModel(store, body.model)
      if ((await findChampion(store, model)) === undefined)
        throw new DomainError('no_champion', `${model} has no champion to make the candidate of a drill from`)
      const open = await findOpenRelease(store, model)
      // One whose end is being written down is waited for by the drill.
      if (open !== undefined && open.state.outcome === undefined)
        throw new DomainError(
          open.state.drill === undefined ? 'release_in_progress' : 'drill_in_progress',
          `release ${open.state.id} of ${model} is open`,
          { release: open.state.id },
        )
      const request: DrillRequest = {
        model,
        requestedBy: actor!.name,
        kinds: body.kinds,
        changes: {
          traffic: body.traffic,
          harmBudget: body.harm_budget,
          shareBp: body.share_bp,
          withinMs: body.within_ms,
        },
      }
      const workflowId = drillWorkflowId(model)
      try {
        await temporal.call(callTimeoutMs, (client) =>
          client.workflow.start('drill', {
            workflowId,
            taskQueue: temporal.taskQueue,
            args: [request],
            workflowIdConflictPolicy: 'FAIL',
            workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          }),
        )
      } catch (error) {
        if (isAlreadyStarted(error))
          throw new DomainError('drill_in_progress', `${model} is being drilled already`)
        throw error
      }
      log.info({ model, kinds: body.kinds, by: request.requestedBy }, 'drill started')
      return { status: 202, json: { model, workflow_id: workflowId, kinds: body.kinds } }
    },
  }),
]

const wireOf = (drill: Drill) => toWire({ ...drill, shows: drillKinds[drill.kind] })
