/** Cancels the workflow of a retraining, a trial or a sweep, and records in the audit log which user did. */
import { appendAudit } from '../../../store/audit/audit-log.ts'
import type { Actor } from '../../auth/authentication.ts'
import type { CommandDeps } from '../../deps.ts'
import { cancelWorkflow, type WorkflowRun } from '../../temporal/running-workflow.ts'

export type CancelDeps = Pick<CommandDeps, 'store' | 'temporal' | 'log'>

export interface Cancellation {
  kind: 'retraining' | 'trial' | 'sweep'
  id: string
  model: string
  workflow: WorkflowRun
  /** Names it in a refusal. */
  what: string
  reason?: string
}

/** Throws `command_refused` when the workflow is not running. */
export async function cancelTraining(
  { store, temporal, log }: CancelDeps,
  { name: actor }: Actor,
  { kind, id: subject, model, workflow, what, reason }: Cancellation,
): Promise<void> {
  await cancelWorkflow(temporal, workflow, what)
  const detail = { reason: reason ?? null }
  await store.transaction((database) =>
    appendAudit(database, { actor, action: `${kind}.cancelled`, subject, model, detail }),
  )
  log.info({ [kind]: subject, by: actor }, `${kind} cancelled`)
}
