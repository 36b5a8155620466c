/** Starts a batch prediction by the champion of a model. */
import { DomainError } from '../../domain/errors.ts'
import { issueOfForeignPath, issuesOfBatch, type BatchSpec } from '../../domain/model/batch-spec.ts'
import { startRoles } from '../../domain/roles.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { noChampion } from '../../store/release/first-release.ts'
import { getModel } from '../../store/registry/models.ts'
import { batchWorkflowId } from '../../workflows/messages.ts'
import { requireUnscoped } from '../auth/authorization.ts'
import { startWorkflow } from '../temporal/start-workflow.ts'
import { recordStart, type StartCommand } from './start-command.ts'

export const startBatch: StartCommand<BatchSpec, { id: string; model: string }> = {
  kind: 'batchPredict',
  roles: startRoles.batchPredict,
  async run(deps, actor, input, { id: requestId }) {
    const { store, temporal, log } = deps
    const { name: model } = await getModel(store, input.model)
    // A query reads every table, and its result goes to the caller.
    if (input.input.kind === 'sql') {
      if (actor.role !== 'admin')
        throw new DomainError('forbidden', 'only an admin may use a query as the input of a batch')
      requireUnscoped(actor, 'a query as the input of a batch')
    }
    const foreign = actor.models === undefined ? undefined : issueOfForeignPath(model, input)
    if (foreign !== undefined) throw new DomainError('forbidden', foreign)
    const issues = issuesOfBatch(input)
    if (issues.length > 0) throw new DomainError('invalid_request', issues.join('; '), { issues })
    if ((await findChampion(store, model)) === undefined) throw await noChampion(store, model)
    const id = `bat_${requestId.replaceAll('-', '')}`
    const start = { ...input, model, id }
    const order = await recordStart(deps, actor, { kind: 'batchPredict', request: requestId, input: start })
    await startWorkflow(temporal, {
      type: 'batchPredict',
      workflowId: batchWorkflowId(id),
      request: { model, order },
      requestId: order,
      conflict: () => new DomainError('internal', `the batch ${id} was started under another request`),
    })
    log.info({ batch: id, model, by: actor.name }, 'batch started')
    return { id, model }
  },
}
