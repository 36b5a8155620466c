/** `/v1/models/:name/retrainings`, `/v1/retrainings`: asks for a challenger and says how far it is. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { getModel } from '../../../store/registry/models.ts'
import { findRetraining, listRetrainings } from '../../../store/training/retrainings.ts'
import { findTraining } from '../../../store/training/trainings.ts'
import {
  retrainProgress,
  retrainWorkflowId,
  type RetrainProgress,
  type RetrainRequest,
} from '../../../workflows/messages.ts'
import { operators, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { isDeferred } from '../../services/deferred-commands.ts'
import { requireModelAccess, modelFilter } from '../../auth/authorization.ts'
import { callTimeoutMs, withRequestId } from '../../temporal/client.ts'
import { limit, modelName, pastMoment, toWire } from '../../http/schemas.ts'
import { isAlreadyStarted } from '../../temporal/errors.ts'
import { expectSound, policyBody } from './releases.ts'

export const retrainingRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'post',
    path: '/v1/models/:name/retrainings',
    allow: operators,
    summary: 'Starts a retraining on what was known at a moment. One runs at a time for a model.',
    answers: { 202: `It has begun, or ${isDeferred}` },
    body: z.strictObject({
      as_of: pastMoment(deps.serving.wall).optional(),
      reason: z.string().max(2_000).optional(),
      policy: policyBody.optional(),
    }),
    startsWorkflow: 'retrain',
    async handle({ actor, params, body, command }) {
      const { name: model, definition } = await getModel(deps.store, params['name']!)
      if (body.policy !== undefined) expectSound(body.policy, definition.release)
      const request: RetrainRequest = {
        model,
        reason: 'manual',
        requestedBy: actor!.name,
        asOf: body.as_of === undefined ? undefined : new Date(body.as_of).toISOString(),
        evidence: body.reason === undefined ? undefined : { reason: body.reason },
        policy: body.policy,
      }
      return start(deps, request, command)
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/retrainings',
    allow: viewers,
    summary: 'Lists retrainings, the newest first.',
    answers: { 200: 'The retrainings' },
    query: z.strictObject({ model: modelName.optional(), limit }),
    async handle({ actor, query }) {
      const found = await listRetrainings(deps.store, {
        ...modelFilter(actor),
        limit: query.limit,
        ...(query.model === undefined ? {} : { model: query.model }),
      })
      return { json: { retrainings: found.map(toWire) } }
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/retrainings/:id',
    allow: viewers,
    summary: 'Shows a retraining, and while it runs how far it is. Slashes in the id are sent as %2F.',
    answers: { 200: 'The retraining' },
    async handle({ actor, params }) {
      const id = params['id']!
      const found = await findRetraining(deps.store, id)
      if (found !== undefined) requireModelAccess(actor, found.model)
      const run = runOf(id)
      if (run === undefined)
        throw new DomainError('not_found', `there is no retraining ${JSON.stringify(id.slice(0, 200))}`)
      requireModelAccess(actor, run.model)
      if (found?.outcome !== undefined) return { json: toWire(found) }
      return {
        json: { id, model: run.model, ...(found && toWire(found)), ...(await progressOf(deps, id, run)) },
      }
    },
  }),
]

/** The name of a run: what the retraining's row will be called. */
const idOf = (workflowId: string, runId: string): string => `${workflowId}/${runId}`

function runOf(id: string): { model: string; runId: string } | undefined {
  const [, model, runId] = /^retrain\/(.+)\/([0-9a-f-]{36})$/.exec(id) ?? []
  return model === undefined || runId === undefined ? undefined : { model, runId }
}

async function start({ temporal, log }: ApiDeps, request: RetrainRequest, command: string) {
  const { model } = request
  const workflowId = retrainWorkflowId(model)
  try {
    const handle = await temporal.call(callTimeoutMs, (client) =>
      client.workflow.start('retrain', {
        workflowId,
        taskQueue: temporal.taskQueue,
        args: [request],
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        ...withRequestId(command),
      }),
    )
    const runId = handle.firstExecutionRunId
    const id = idOf(workflowId, runId)
    log.info({ retraining: id, by: request.requestedBy }, 'retraining started')
    return { status: 202, json: { id, model, workflow_id: workflowId, run_id: runId } }
  } catch (error) {
    if (!isAlreadyStarted(error)) throw error
    throw new DomainError('retraining_in_progress', `${model} is being retrained already`, {
      workflow_id: workflowId,
    })
  }
}

/** What the workflow and the training say of themselves; nothing of it is worth an error when they are silent. */
async function progressOf({ store, temporal }: ApiDeps, id: string, run: { model: string; runId: string }) {
  const progress = await temporal
    .call<RetrainProgress>(callTimeoutMs, (client) =>
      client.workflow.getHandle(retrainWorkflowId(run.model), run.runId).query(retrainProgress),
    )
    .catch(() => undefined)
  if (progress === undefined) return {}
  const { retrainingId: _id, ...rest } = progress
  const training =
    progress.trainingId === undefined ? undefined : await findTraining(store, progress.trainingId)
  const last = training?.curve.at(-1)
  return {
    ...toWire(rest),
    ...(training === undefined ? {} : { epoch: training.epoch, epochs: training.hyperparameters['epochs'] }),
    ...(last === undefined ? {} : { loss: last['loss'] }),
    id,
  }
}
