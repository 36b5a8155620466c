/** Starts and cancels sweeps: searches over hyperparameters whose winner is retrained. */
import { outcomeText } from '../../../domain/evaluation/verdict-words.ts'
import { DomainError, requireFound } from '../../../domain/errors.ts'
import { requireValidation } from '../../../domain/training/require-validation.ts'
import { candidatesOf, issuesOfSweep, type SweepSpace } from '../../../domain/training/sweep-plan.ts'
import { findSweep, listSweeps } from '../../../store/training/sweeps.ts'
import { sweepWorkflowId } from '../../../workflows/messages.ts'
import type { Actor } from '../../auth/authentication.ts'
import type { CommandDeps } from '../../deps.ts'
import { recordStart } from '../start-command.ts'
import { startWorkflow } from '../../temporal/start-workflow.ts'
import { getTrainable } from '../start-retraining.ts'
import { cancelTraining, type CancelDeps } from './cancel-training.ts'

export interface StartSweepInput {
  model: string
  /** ISO 8601 in UTC. */
  asOf?: string
  space: SweepSpace
  /** The number of random draws. Absent: every combination. */
  random?: number
  /** The number of trials that run at the same time. */
  parallel: number
}

export interface StartedSweep {
  id: string
  model: string
  workflowId: string
  /** The total number of trials. */
  trials: number
}

/** Starts a sweep. Throws `command_refused` while another sweep of the model runs. */
export async function startSweep(
  deps: CommandDeps,
  actor: Actor,
  { asOf, space, random, parallel, ...input }: StartSweepInput,
  { id: requestId }: { id: string },
): Promise<StartedSweep> {
  const { store, temporal, log } = deps
  const { name: model, definition } = await getTrainable(store, input)
  requireValidation(definition)
  const issues = issuesOfSweep(definition, space, random)
  if (issues.length > 0) throw new DomainError('invalid_request', issues.join('; '), { issues })
  const candidates = candidatesOf(definition, space, { random, seed: definition.seed })
  const id = `swp_${requestId}`
  const start = { id, model, candidates, parallel, asOf }
  const order = await recordStart(deps, actor, { kind: 'sweep', request: requestId, input: start })
  const workflowId = sweepWorkflowId(model)
  await startWorkflow(temporal, {
    type: 'sweep',
    workflowId,
    request: { order },
    requestId: order,
    conflict: () => new DomainError('command_refused', `a sweep of ${model} is running already`),
  })
  log.info({ sweep: id, model, trials: candidates.length, by: actor.name }, 'sweep started')
  return { id, model, workflowId, trials: candidates.length }
}

/** Cancels a sweep. It ends as `cancelled` with its trials. Throws `command_refused` when it has ended. */
export async function cancelSweep(
  deps: CancelDeps,
  actor: Actor,
  id: string,
): Promise<{ id: string; model: string }> {
  const { model, outcome } = requireFound(await findSweep(deps.store, id), { what: 'sweep', id })
  if (outcome !== undefined)
    throw new DomainError('command_refused', `the sweep has ended as ${outcomeText(outcome)}`)
  // The workflow id belongs to the model. After the workflow was ended from outside, the id may belong to another sweep.
  const [latest] = await listSweeps(deps.store, { model, limit: 1 })
  if (latest?.id !== id)
    throw new DomainError('command_refused', `the sweep ${id} is not running: ${latest?.id} came after it`)
  const workflow = { workflowId: sweepWorkflowId(model) }
  await cancelTraining(deps, actor, { kind: 'sweep', id, model, workflow, what: `the sweep ${id}` })
  return { id, model }
}
