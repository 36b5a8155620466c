/** `POST /v1/models/:name/rollback`: returns a model to its last proven version. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { commandRoles } from '../../../domain/release/state.ts'
import { getModel } from '../../../store/registry/models.ts'
import { signCommand } from '../../../store/signing/command-signatures.ts'
import {
  rollbackWorkflowId,
  type RollbackOutcome,
  type RollbackRequest,
} from '../../../workflows/messages.ts'
import { defineRoute, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { isDeferred } from '../../services/deferred-commands.ts'
import { callTimeoutMs, withRequestId } from '../../temporal/client.ts'
import { toWire } from '../../http/schemas.ts'

/** How long the answer waits for the replicas' acknowledgement. */
const rollbackMs = 40_000

export const rollbackRoutes = ({ store, temporal, log, signer, serving }: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'post',
    path: '/v1/models/:name/rollback',
    allow: commandRoles.rollback,
    summary:
      'Returns a model to its last proven version. An open release is told to take its candidate back instead.',
    answers: {
      200: 'Every live replica answers with the earlier version, or the open release was told',
      202: `It ${isDeferred}. A version that becomes champion meanwhile is left there`,
    },
    body: z.strictObject({ reason: z.string().min(1).max(2_000) }),
    startsWorkflow: 'rollback',
    async handle({ actor, params, body, command, recordedAt }) {
      const { name: model } = await getModel(store, params['name']!)
      const said = { id: command, by: actor!.name, reason: body.reason, model }
      const signature = signCommand(
        signer,
        { ...said, command: 'rollback' },
        { keyId: actor!.id, nowMs: serving.wall() },
      )
      const request: RollbackRequest = {
        ...said,
        signature,
        ...(recordedAt === undefined ? {} : { recordedAt }),
      }
      // Nobody waits for what was written down, and it is asked for again.
      const withinMs = recordedAt === undefined ? rollbackMs : callTimeoutMs
      const outcome = await temporal.command(withinMs, (client) =>
        client.workflow.execute<(request: RollbackRequest) => Promise<RollbackOutcome>>('rollback', {
          workflowId: rollbackWorkflowId(model),
          taskQueue: temporal.taskQueue,
          args: [request],
          // Whoever orders it while it runs gets the answer of the one that runs.
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          ...withRequestId(command),
        }),
      )
      log.info({ ...outcome, by: request.by }, 'rollback')
      if (outcome.outcome === 'refused')
        throw new DomainError(outcome.code ?? 'command_refused', outcome.message)
      return { json: toWire({ ...outcome, ...(outcome.to === undefined ? {} : { version: outcome.to }) }) }
    },
  }),
]
