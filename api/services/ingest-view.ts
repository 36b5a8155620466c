/** Starts the ingestion of a feature view. */
import type { MaterialiseStart } from '../../domain/starts.ts'
import { materialiseWorkflowId } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'
import { recordStart } from './start-command.ts'
import { startUnlessOpen } from '../temporal/start-workflow.ts'

/** Starts an ingestion. `begun` is false when one is already running. */
export async function startIngestion(
  deps: Pick<CommandDeps, 'store' | 'temporal' | 'log'>,
  actor: Actor,
  input: MaterialiseStart,
  { id: requestId }: { id: string },
): Promise<{ view: string; workflowId: string; begun: boolean }> {
  const { temporal, log } = deps
  const { view } = input
  const order = await recordStart(deps, actor, { kind: 'materialise', request: requestId, input })
  const request = { view, order }
  const workflowId = materialiseWorkflowId(view)
  const runId = await startUnlessOpen(temporal, { type: 'materialise', workflowId, request })
  const begun = runId !== undefined
  log.info({ view, by: actor.name, begun }, 'ingestion of a feature view requested')
  return { view, workflowId, begun }
}
