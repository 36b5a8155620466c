/** Starts the ingestion of a feature view. */
import { materialiseWorkflowId, type MaterialiseRequest } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'
import { recordStart } from './deferred-commands.ts'
import { startUnlessOpen } from '../temporal/start-workflow.ts'

/** Starts an ingestion. `begun` is false when one is already running. */
export async function startIngestion(
  deps: Pick<CommandDeps, 'store' | 'temporal' | 'log'>,
  actor: Actor,
  order: MaterialiseRequest,
  { id: requestId }: { id: string },
): Promise<{ view: string; workflowId: string; begun: boolean }> {
  const { temporal, log } = deps
  const { view } = order
  const request = await recordStart(deps, actor, { kind: 'materialise', request: requestId, input: order })
  const workflowId = materialiseWorkflowId(view)
  const runId = await startUnlessOpen(temporal, { type: 'materialise', workflowId, request })
  const begun = runId !== undefined
  log.info({ view, by: actor.name, begun }, 'ingestion of a feature view requested')
  return { view, workflowId, begun }
}
