/** `/v1/models/:name/sweeps`, `/v1/sweeps`: starts and shows hyperparameter searches. */
import { requireFound } from '../../../domain/errors.ts'
import { z } from 'zod'
import { startRoles } from '../../../domain/roles.ts'
import { maxSweepParallel, maxSweepTrials } from '../../../domain/training/sweep-plan.ts'
import * as schema from '../../../domain/schema.ts'
import { findSweep, listSweeps, listTrialsOf, sweepRow, trialRow } from '../../../store/training/sweeps.ts'
import { sweepProgress, sweepWorkflowId } from '../../../workflows/messages.ts'
import type { ApiDeps } from '../../deps.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import { hyperparameterValue, limit, modelName, pastTimeInUtc, toWire } from '../../http/schemas.ts'
import { cancelSweep, startSweep } from '../../services/training/start-sweep.ts'
import { queryWorkflow } from '../../temporal/running-workflow.ts'

const dimension = z.union([
  z.array(hyperparameterValue).min(1).max(maxSweepTrials),
  z.strictObject({ low: z.number(), high: z.number() }),
])

export const sweepRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/models/:name/sweeps', startRoles.sweep, {
    summary:
      'Start a sweep: train with many hyperparameters, choose by the validation rows and retrain with the best. `hyperparameters`: a list of values, or with `random` also a range {low, high}. At most 200 trials, 16 at once.',
    answers: { 202: 'The sweep has started' },
    answerSchema: schema.record({
      id: schema.text,
      model: schema.text,
      workflowId: schema.text,
      trials: schema.count,
    }),
    body: z.strictObject({
      as_of: pastTimeInUtc(deps.serving.wall).optional(),
      hyperparameters: z.record(z.string().min(1).max(100), dimension),
      random: z.number().int().min(1).max(maxSweepTrials).optional(),
      parallel: z.number().int().min(1).max(maxSweepParallel).default(1),
    }),
    async handle({ actor, params, body, commandId }) {
      const { as_of: asOf, hyperparameters: space, random, parallel } = body
      const input = { model: params['name']!, asOf, space, random, parallel }
      return { status: 202, json: toWire(await startSweep(deps, actor!, input, { id: commandId })) }
    },
  }),
  defineRoute('get', '/v1/sweeps', viewers, {
    summary: 'List sweeps, newest first.',
    answers: { 200: 'The sweeps' },
    answerSchema: schema.record({ sweeps: schema.list(sweepRow) }),
    query: z.strictObject({ model: modelName.optional(), limit }),
    async handle({ query }) {
      const found = await listSweeps(deps.store, query)
      return { json: { sweeps: found.map(toWire) } }
    },
  }),
  defineRoute('get', '/v1/sweeps/:id', viewers, {
    summary: 'Show a sweep with its trials and their scores on the validation rows.',
    answers: { 200: 'The sweep' },
    answerSchema: schema.extend(
      sweepRow,
      { trials: schema.list(trialRow) },
      { stage: schema.text, retrainingId: schema.text },
    ),
    async handle({ params }) {
      const id = params['id']!
      const found = requireFound(await findSweep(deps.store, id), { what: 'sweep', id })
      const trials = (await listTrialsOf(deps.store, id)).map(toWire)
      const progress =
        found.outcome === undefined
          ? await queryWorkflow(deps.temporal, { workflowId: sweepWorkflowId(found.model) }, sweepProgress)
          : undefined
      return {
        json: { ...toWire(found), trials, stage: progress?.stage, retraining_id: progress?.retrainingId },
      }
    },
  }),
  defineRoute('post', '/v1/sweeps/:id/cancel', startRoles.sweep, {
    summary: 'Cancel a running sweep with its trials.',
    answers: { 202: 'The sweep is being cancelled' },
    answerSchema: schema.record({ id: schema.text, model: schema.text }),
    async handle({ actor, params }) {
      return { status: 202, json: await cancelSweep(deps, actor!, params['id']!) }
    },
  }),
]
