/** `/v1/models/:name/retrainings`, `/v1/retrainings`: starts, lists and shows retrainings. */
import { z } from 'zod'
import { findRefitText } from '../../../store/registry/versions.ts'
import { DomainError, requireFound } from '../../../domain/errors.ts'
import * as schema from '../../../domain/schema.ts'
import { findRetraining, listRetrainings, retrainingRow } from '../../../store/training/retrainings.ts'
import { findTraining } from '../../../store/training/trainings.ts'
import { retrainProgress, retrainWorkflowId } from '../../../workflows/messages.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { runOfRetraining } from '../../../domain/training/runs.ts'
import { compressionMethods, timesLimits } from '../../../domain/model/compression.ts'
import { compressedArtifact } from '../../../activities/retrain/compressed-artifact.ts'
import { cancelRetraining, startRetraining } from '../../services/start-retraining.ts'
import {
  findShownValidation,
  trainingProgress,
  validationOfRetraining,
} from '../../services/training/shown-validation.ts'
import { remedyOfEnd, waitingFor } from '../../services/training/waiting-training.ts'
import { queryWorkflow } from '../../temporal/running-workflow.ts'
import {
  limit,
  modelName,
  overridesBody,
  pastTimeInUtc,
  policyBody,
  reasonText,
  toWire,
} from '../../http/schemas.ts'
import { requireModelAccess } from '../../auth/authorization.ts'
import { retrainingStarted, whenDeferred, respondToStart } from '../command-response.ts'

/** Makes a version of another one, instead of training. */
const compressionBody = z
  .strictObject({
    version: z.string().min(1).max(200),
    to: z.enum(compressionMethods),
    trees: z.int().min(1).optional(),
    epsilon: z.number().gt(0).lt(1).optional(),
    times: z.number().gt(timesLimits.min).max(timesLimits.max).optional(),
  })
  .refine(({ to, trees }) => trees === undefined || to === 'fewer-trees', {
    error: 'has trees, which only fewer-trees takes',
  })

export const retrainingRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/models/:name/retrainings', startRetraining.roles, {
    summary:
      'Start a retraining on the data known at `as_of`, or make a smaller version of a version (`compress`), which is judged beside it. A model has at most one running retraining.',
    answers: { 202: `The retraining has started, or ${whenDeferred}` },
    body: z.strictObject({
      as_of: pastTimeInUtc(deps.serving.wall).optional(),
      reason: reasonText.optional(),
      policy: policyBody.optional(),
      hyperparameters: overridesBody.optional(),
      compress: compressionBody.optional(),
    }),
    async handle(request) {
      const { as_of: asOf, hyperparameters: overrides, compress, ...body } = request.body
      const model = request.params['name']!
      if (compress !== undefined && overrides !== undefined)
        throw new DomainError(
          'invalid_request',
          '"hyperparameters" and "compress" exclude each other: a compression takes none',
        )
      const artifact = compress && (await compressedArtifact(deps.store, model, compress))
      return respondToStart(deps, startRetraining, request, { model, asOf, overrides, artifact, ...body })
    },
    answerSchema: retrainingStarted,
  }),
  defineRoute('get', '/v1/retrainings', viewers, {
    summary: 'List retrainings, newest first.',
    answers: { 200: 'The retrainings' },
    answerSchema: schema.record({ retrainings: schema.list(retrainingRow) }),
    query: z.strictObject({ model: modelName.optional(), limit }),
    async handle({ query }) {
      const found = await listRetrainings(deps.store, query)
      return { json: { retrainings: found.map(toWire) } }
    },
  }),
  defineRoute('get', '/v1/retrainings/:id', viewers, {
    summary: 'Show a retraining and its progress. Encode slashes of the id as %2F.',
    answers: { 200: 'The retraining' },
    answerSchema: schema.record(
      { id: schema.text, model: schema.text },
      { ...retrainingRow.properties, ...trainingProgress, refit: schema.text },
    ),
    async handle({ actor, params }) {
      const id = params['id']!
      const run = requireFound(runOfRetraining(id), { what: 'retraining', id })
      // Its progress comes from Temporal.
      requireModelAccess(actor, run.model)
      const found = await findRetraining(deps.store, id)
      const shown = await findShownValidation(deps.store, validationOfRetraining(run))
      const validation = shown && toWire(shown)
      if (found?.outcome !== undefined) {
        const refit = await findRefitText(deps.store, found.version)
        return { json: { ...toWire(found), ...remedyOfEnd(found), refit, validation } }
      }
      const progress = await progressOf(deps, id, run)
      return { json: { id, model: run.model, ...(found && toWire(found)), ...progress, validation } }
    },
  }),
  defineRoute('post', '/v1/retrainings/:id/cancel', startRetraining.roles, {
    summary:
      'Cancel a running retraining. It ends as `cancelled` when its process has exited. Encode slashes of the id as %2F.',
    answers: { 202: 'The retraining is being cancelled' },
    answerSchema: schema.record({ id: schema.text, model: schema.text }),
    body: z.strictObject({ reason: reasonText.optional() }),
    async handle({ actor, params, body }) {
      return { status: 202, json: await cancelRetraining(deps, actor!, { id: params['id']!, ...body }) }
    },
  }),
]

/** Returns the progress that the workflow and the training report; empty when the workflow does not respond. */
async function progressOf({ store, temporal }: ApiDeps, id: string, run: { model: string; runId: string }) {
  const workflow = { workflowId: retrainWorkflowId(run.model), runId: run.runId }
  const progress = await queryWorkflow(temporal, workflow, retrainProgress)
  if (progress === undefined) return {}
  const { retrainingId: _id, queue: _queue, ...rest } = progress
  const training =
    progress.trainingId === undefined ? undefined : await findTraining(store, progress.trainingId)
  const last = training?.curve.at(-1)
  const waiting =
    last === undefined ? await waitingFor({ store, temporal }, workflow, run.model, progress) : undefined
  return {
    ...toWire(rest),
    ...(training === undefined ? {} : { epoch: training.epoch, epochs: training.hyperparameters['epochs'] }),
    ...(last === undefined ? {} : { loss: last['loss'] }),
    ...(waiting === undefined ? {} : { waiting }),
    id,
  }
}
