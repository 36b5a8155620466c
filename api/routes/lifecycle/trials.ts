/** `/v1/models/:name/trials`, `/v1/trials`: starts and shows trials: trainings that are evaluated and register no version. */
import { requireFound } from '../../../domain/errors.ts'
import { z } from 'zod'
import { startRoles } from '../../../domain/roles.ts'
import * as schema from '../../../domain/schema.ts'
import { findTraining } from '../../../store/training/trainings.ts'
import { findTrial, listTrials, trialRow, type Trial } from '../../../store/training/sweeps.ts'
import { retrainProgress, trialWorkflowId } from '../../../workflows/messages.ts'
import type { ApiDeps } from '../../deps.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import { limit, modelName, overridesBody, pastTimeInUtc, toWire } from '../../http/schemas.ts'
import { cancelTrial, startTrial } from '../../services/training/start-trial.ts'
import {
  findShownValidation,
  trainingProgress,
  validationOfTrial,
} from '../../services/training/shown-validation.ts'
import { remedyOfEnd, waitingFor } from '../../services/training/waiting-training.ts'
import { queryWorkflow } from '../../temporal/running-workflow.ts'

export const trialRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/models/:name/trials', startRoles.trial, {
    summary:
      'Start a trial: train with the given hyperparameters, evaluate against the champion, register nothing. Trials may run beside a retraining.',
    answers: { 202: 'The trial has started' },
    answerSchema: schema.record({ id: schema.text, model: schema.text, workflowId: schema.text }),
    body: z.strictObject({
      as_of: pastTimeInUtc(deps.serving.wall).optional(),
      hyperparameters: overridesBody.optional(),
    }),
    async handle({ actor, params, body, commandId }) {
      const { as_of: asOf, hyperparameters: overrides } = body
      const input = { model: params['name']!, asOf, overrides }
      return { status: 202, json: toWire(await startTrial(deps, actor!, input, { id: commandId })) }
    },
  }),
  defineRoute('get', '/v1/trials', viewers, {
    summary: 'List trials, newest first.',
    answers: { 200: 'The trials' },
    answerSchema: schema.record({ trials: schema.list(trialRow) }),
    query: z.strictObject({ model: modelName.optional(), limit }),
    async handle({ query }) {
      const found = await listTrials(deps.store, query)
      return { json: { trials: found.map(toWire) } }
    },
  }),
  defineRoute('get', '/v1/trials/:id', viewers, {
    summary: 'Show a trial and its progress. Its gates are those of `GET /v1/evaluations/{evaluation_id}`.',
    answers: { 200: 'The trial' },
    answerSchema: schema.extend(trialRow, {}, trainingProgress),
    async handle({ params }) {
      const id = params['id']!
      const found = requireFound(await findTrial(deps.store, id), { what: 'trial', id })
      const shown = await findShownValidation(deps.store, validationOfTrial(found))
      const more = found.outcome === undefined ? await progressOf(deps, found) : remedyOfEnd(found)
      return { json: { ...toWire(found), ...more, validation: shown && toWire(shown) } }
    },
  }),
  defineRoute('post', '/v1/trials/:id/cancel', startRoles.trial, {
    summary: 'Cancel a running trial. It ends as `cancelled` when its process has exited.',
    answers: { 202: 'The trial is being cancelled' },
    answerSchema: schema.record({ id: schema.text, model: schema.text }),
    async handle({ actor, params }) {
      return { status: 202, json: await cancelTrial(deps, actor!, params['id']!) }
    },
  }),
]

/** Returns the stage that the workflow reports and the progress of the training; empty when the workflow does not respond. */
async function progressOf({ store, temporal }: ApiDeps, { id, model, trainingId }: Trial) {
  const workflow = { workflowId: trialWorkflowId(id) }
  const progress = await queryWorkflow(temporal, workflow, retrainProgress)
  const training = await findTraining(store, trainingId)
  const waiting =
    progress === undefined || training?.epoch
      ? undefined
      : await waitingFor({ store, temporal }, workflow, model, progress)
  if (training === undefined) return { stage: progress?.stage, waiting }
  const { epoch, curve, hyperparameters } = training
  return {
    stage: progress?.stage,
    epoch,
    epochs: hyperparameters['epochs'],
    loss: curve.at(-1)?.loss,
    waiting,
  }
}
