/** Starts the retraining of a model. */
import { DomainError } from '../../domain/errors.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { getModel } from '../../store/registry/models.ts'
import { retrainWorkflowId, type RetrainRequest } from '../../workflows/messages.ts'
import { requireModelAccess } from '../auth/authorization.ts'
import { startWorkflow } from '../temporal/start-workflow.ts'
import type { StartCommand } from './deferred-commands.ts'
import { requireSoundPolicy } from './start-release.ts'

export interface StartRetrainingInput {
  model: string
  /** ISO 8601 in UTC. */
  asOf?: string
  reason?: string
  policy?: ReleasePolicy
}

export interface StartedRetraining {
  id: string
  model: string
  workflowId: string
  runId: string
}

/** Throws `retraining_in_progress` while another retraining of the model runs. */
export const startRetraining: StartCommand<StartRetrainingInput, StartedRetraining> = {
  kind: 'retrain',
  roles: ['operator', 'admin'],
  async run({ store, temporal, log }, actor, { asOf, reason, policy, ...input }, { id: requestId }) {
    const { name: model, definition } = await getModel(store, input.model)
    requireModelAccess(actor, model)
    if (policy !== undefined) requireSoundPolicy(policy, definition.release)
    const request: RetrainRequest = {
      model,
      reason: 'manual',
      requestedBy: actor.name,
      asOf,
      evidence: reason === undefined ? undefined : { reason },
      policy,
    }
    const workflowId = retrainWorkflowId(model)
    const conflict = () =>
      new DomainError('retraining_in_progress', `${model} is being retrained already`, {
        workflow_id: workflowId,
      })
    const runId = await startWorkflow(temporal, { type: 'retrain', workflowId, request, requestId, conflict })
    const id = `${workflowId}/${runId}`
    log.info({ retraining: id, by: actor.name }, 'retraining started')
    return { id, model, workflowId, runId }
  },
}
