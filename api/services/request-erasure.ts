/** Requests the erasure of a data subject. Only the hash of the subject's key is stored. */
import { randomUUID } from 'node:crypto'
import { DomainError } from '../../domain/errors.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { insertErasure } from '../../store/privacy/erasures.ts'
import { findSubjectHash } from '../../store/privacy/hashed-subject.ts'
import { getModel } from '../../store/registry/models.ts'
import { eraseWorkflowId, type EraseRequest } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'
import { startWorkflow } from '../temporal/start-workflow.ts'

export interface RequestErasureInput {
  model: string
  /** The key of the data subject. */
  subject: string
  predictionIds: string[]
}

/** Requests an erasure. Returns the open erasure of the same subject, if there is one. */
export async function requestErasure(
  { store, subjects, temporal, log }: CommandDeps,
  actor: Actor,
  { subject, predictionIds, ...input }: RequestErasureInput,
): Promise<{ id: string; model: string; isNew: boolean }> {
  const { name: model } = await getModel(store, input.model)
  const { id, isNew } = await store.transaction(async (database) => {
    const hashes = await findSubjectHash(database, subjects, { model, subject })
    const erasure = await insertErasure(database, {
      id: `era_${randomUUID()}`,
      model,
      ...hashes,
      keyDigest: subjects.digest,
      predictionIds,
      requestedBy: actor.name,
    })
    await appendAudit(database, {
      actor: actor.name,
      action: 'erasure.requested',
      subject: erasure.id,
      model,
      detail: { subjectHash: hashes.subjectHash, predictions: predictionIds.length },
    })
    return erasure
  })
  const request: EraseRequest = { id }
  await startWorkflow(temporal, {
    type: 'erase',
    workflowId: eraseWorkflowId(id),
    request,
    // Also starts the workflow of an open erasure when it is missing because Temporal was unreachable.
    joinsOpenRun: true,
    conflict: () => new DomainError('internal', `the erasure ${id} is running already`),
  })
  log.info({ erasure: id, model, by: actor.name }, 'erasure requested')
  return { id, model, isNew }
}
