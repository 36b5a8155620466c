/** Rolls a model back to its last known good version. An open release is told to roll back its candidate instead. */
import { DomainError } from '../../domain/errors.ts'
import { commandRoles } from '../../domain/release/state.ts'
import { getModel } from '../../store/registry/models.ts'
import { signCommand } from '../../store/signing/command-signatures.ts'
import { rollbackWorkflowId, type RollbackOutcome, type RollbackRequest } from '../../workflows/messages.ts'
import { requireModelAccess } from '../auth/authorization.ts'
import { callTimeoutMs, withRequestId } from '../temporal/client.ts'
import type { StartCommand } from './deferred-commands.ts'

/** How long the caller waits for the replicas' acknowledgement. */
const rollbackMs = 40_000

/** Throws `command_refused` and the other codes of a refused rollback. */
export const rollbackModel: StartCommand<
  { model: string; reason: string },
  RollbackOutcome & { version?: string }
> = {
  kind: 'rollback',
  roles: commandRoles.rollback,
  async run({ store, temporal, log, signer, serving }, actor, { reason, ...input }, command) {
    const { name: model } = await getModel(store, input.model)
    requireModelAccess(actor, model)
    const { id, recordedAt } = command
    const order = { id, by: actor.name, reason, model }
    const signed = { keyId: actor.id, nowMs: serving.wall() }
    const signature = signCommand(signer, { ...order, command: 'rollback' }, signed)
    const request: RollbackRequest = { ...order, signature, recordedAt }
    // The delivery does not wait for the replicas: it asks again.
    const withinMs = recordedAt === undefined ? rollbackMs : callTimeoutMs
    const outcome = await temporal.command(withinMs, (client) =>
      client.workflow.execute<(request: RollbackRequest) => Promise<RollbackOutcome>>('rollback', {
        workflowId: rollbackWorkflowId(model),
        taskQueue: temporal.taskQueue,
        args: [request],
        // A second caller gets the outcome of the open rollback.
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        ...withRequestId(id),
      }),
    )
    log.info({ ...outcome, by: actor.name }, 'rollback')
    if (outcome.outcome === 'refused')
      throw new DomainError(outcome.code ?? 'command_refused', outcome.message)
    return { ...outcome, version: outcome.to }
  },
}
