/** Starts and cancels trials: trainings that are evaluated and register no version. */
import { outcomeText } from '../../../domain/evaluation/verdict-words.ts'
import { DomainError, requireFound } from '../../../domain/errors.ts'
import { requireOverrides, type HyperparameterValues } from '../../../domain/training/overrides.ts'
import { findTrial } from '../../../store/training/sweeps.ts'
import { trialWorkflowId } from '../../../workflows/messages.ts'
import type { Actor } from '../../auth/authentication.ts'
import type { CommandDeps } from '../../deps.ts'
import { recordStart } from '../start-command.ts'
import { startWorkflow } from '../../temporal/start-workflow.ts'
import { getTrainable } from '../start-retraining.ts'
import { cancelTraining, type CancelDeps } from './cancel-training.ts'

export interface StartTrialInput {
  model: string
  /** ISO 8601 in UTC. */
  asOf?: string
  /** Hyperparameters that replace those of the model file. */
  overrides?: HyperparameterValues
}

/** Starts a trial. Throws `temporal_unavailable` instead of deferring, because the caller waits for a trial. */
export async function startTrial(
  deps: CommandDeps,
  actor: Actor,
  { asOf, overrides, ...input }: StartTrialInput,
  { id: requestId }: { id: string },
): Promise<{ id: string; model: string; workflowId: string }> {
  const { store, temporal, log } = deps
  const { name: model, definition } = await getTrainable(store, input)
  requireOverrides(definition, overrides)
  const id = `try_${requestId}`
  const start = { id, model, asOf, overrides }
  const order = await recordStart(deps, actor, { kind: 'trial', request: requestId, input: start })
  const workflowId = trialWorkflowId(id)
  await startWorkflow(temporal, {
    type: 'trial',
    workflowId,
    request: { order },
    requestId: order,
    conflict: () => new DomainError('internal', `the trial ${id} was started under another request`),
  })
  log.info({ trial: id, model, by: actor.name }, 'trial started')
  return { id, model, workflowId }
}

/** Cancels a trial. It ends as `cancelled` when its process has exited. Throws `command_refused` when it has ended. */
export async function cancelTrial(
  deps: CancelDeps,
  actor: Actor,
  id: string,
): Promise<{ id: string; model: string }> {
  const { model, outcome } = requireFound(await findTrial(deps.store, id), { what: 'trial', id })
  if (outcome !== undefined)
    throw new DomainError('command_refused', `the trial has ended as ${outcomeText(outcome)}`)
  const workflow = { workflowId: trialWorkflowId(id) }
  await cancelTraining(deps, actor, { kind: 'trial', id, model, workflow, what: `the trial ${id}` })
  return { id, model }
}
