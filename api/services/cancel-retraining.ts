/** Cancels a running retraining, for the API and the dashboard alike. */
import { DomainError } from '../../domain/errors.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { findRetraining } from '../../store/training/retrainings.ts'
import { retrainWorkflowId } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import { requireModelAccess } from '../auth/authorization.ts'
import type { CommandDeps } from '../deps.ts'
import { callTimeoutMs } from '../temporal/client.ts'
import { isNotFound } from '../temporal/errors.ts'

export interface CancelRetrainingInput {
  id: string
  reason?: string
}

/** The model and the run that an id names; undefined for any other text. */
export function runOfRetraining(id: string): { model: string; runId: string } | undefined {
  const [, model, runId] = /^retrain\/(.+)\/([0-9a-f-]{36})$/.exec(id) ?? []
  return model === undefined || runId === undefined ? undefined : { model, runId }
}

/** The run records its end as `cancelled` when its processes have exited. Throws `command_refused` when it has ended. */
export async function cancelRetraining(
  { store, temporal, log }: Pick<CommandDeps, 'store' | 'temporal' | 'log'>,
  actor: Actor,
  { id, reason }: CancelRetrainingInput,
): Promise<{ id: string; model: string }> {
  const run = runOfRetraining(id)
  if (run === undefined)
    throw new DomainError('not_found', `there is no retraining ${JSON.stringify(id.slice(0, 200))}`)
  const { model, runId } = run
  requireModelAccess(actor, model)
  const ended = (await findRetraining(store, id))?.outcome
  if (ended !== undefined)
    throw new DomainError('command_refused', `the retraining of ${model} has ended as ${ended}`)
  try {
    await temporal.call(callTimeoutMs, (client) =>
      client.workflow.getHandle(retrainWorkflowId(model), runId).cancel(),
    )
  } catch (error) {
    if (isNotFound(error))
      throw new DomainError('command_refused', `the retraining of ${model} is not running`)
    throw error
  }
  await appendAudit(store, {
    actor: actor.name,
    action: 'retraining.cancelled',
    subject: id,
    model,
    detail: { reason: reason ?? null },
  })
  log.info({ retraining: id, by: actor.name }, 'retraining cancelled')
  return { id, model }
}
