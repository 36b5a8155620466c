/** `POST /v1/models/:name/rollback`: returns a model to its last proven version. */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { commandRoles } from '../../domain/release.ts'
import { getModel } from '../../store/models.ts'
import { makeWarrant } from '../../store/warrants.ts'
import { rollbackWorkflowId, type RollbackOutcome, type RollbackRequest } from '../../workflows/contract.ts'
import { route, type Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { toWire } from '../wire.ts'

/** How long the answer waits for the replicas' acknowledgement. */
const rollbackMs = 40_000

export const rollbackRoutes = ({ store, temporal, log, signer, serving }: ApiDeps): Route[] => [
  route({
    method: 'post',
    path: '/v1/models/:name/rollback',
    allow: commandRoles.rollback,
    summary:
      'Returns a model to its last proven version. An open release is told to take its candidate back instead.',
    answers: { 200: 'Every live replica answers with the earlier version, or the open release was told' },
    body: z.strictObject({ reason: z.string().min(1).max(2_000) }),
    async handle({ actor, params, body }) {
      const { name: model } = await getModel(store, params['name']!)
      const said = { id: randomUUID(), by: actor!.name, reason: body.reason, model }
      const warrant = makeWarrant(
        signer,
        { ...said, command: 'rollback' },
        { keyId: actor!.id, nowMs: serving.wall() },
      )
      const request: RollbackRequest = { ...said, warrant }
      const outcome = await temporal.command(rollbackMs, (client) =>
        client.workflow.execute<(request: RollbackRequest) => Promise<RollbackOutcome>>('rollback', {
          workflowId: rollbackWorkflowId(model),
          taskQueue: temporal.taskQueue,
          args: [request],
          // Whoever orders it while it runs gets the answer of the one that runs.
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        }),
      )
      log.info({ ...outcome, by: request.by }, 'rollback')
      if (outcome.outcome === 'refused')
        throw new DomainError(outcome.code ?? 'command_refused', outcome.message)
      return { json: toWire({ ...outcome, ...(outcome.to === undefined ? {} : { version: outcome.to }) }) }
    },
  }),
]
