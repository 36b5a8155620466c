/** Explains why a training has not started, such as packages that are being installed, and how to fix one that has failed. */
import { errorTable, isErrorCode } from '../../../domain/errors.ts'
import type { InstallingBeat } from '../../../domain/training/trainer.ts'
import { hasLiveWorker, listHeartbeats } from '../../../store/maintenance/worker-heartbeats.ts'
import { allBusy, noTrainer, noWorker, pollersOf } from '../../../workflows/client/pollers.ts'
import { decodeJson } from '../../../workflows/client/payload-codec.ts'
import { retrainProgress, retrainWorkflowId, type RetrainProgress } from '../../../workflows/messages.ts'
import type { ApiDeps } from '../../deps.ts'
import { callTimeoutMs, type TemporalClient } from '../../temporal/client.ts'
import { queryWorkflow, type WorkflowRun } from '../../temporal/running-workflow.ts'

/** `PENDING_ACTIVITY_STATE_SCHEDULED` of Temporal's protocol: no worker has taken the task. */
const scheduled = 1

interface Deps {
  store: ApiDeps['store']
  temporal: Pick<TemporalClient, 'call'>
}

/**
 * Reports what is installed for a program, that no worker polls the task queue of this training, or that all are busy. Undefined while one
 * polls, or when Temporal does not respond.
 */
export function waitingFor(
  { store, temporal }: Deps,
  { workflowId, runId }: WorkflowRun,
  model: string,
  { stage, queue }: RetrainProgress,
): Promise<string | undefined> {
  if (!['snapshot', 'train', 'adopt'].includes(stage)) return Promise.resolve(undefined)
  return temporal
    .call(callTimeoutMs, async (client) => {
      const { raw } = await client.workflow.getHandle(workflowId, runId).describe()
      const pending = raw.pendingActivities ?? []
      const { namespace, loadedDataConverter } = client.options
      // A worker that is training may stop polling until it has finished.
      if (!pending.some(({ state }) => Number(state) === scheduled)) {
        const [beat] = pending.flatMap(({ heartbeatDetails }) => heartbeatDetails?.payloads ?? [])
        if (beat === undefined) return undefined
        const said = await decodeJson<InstallingBeat>(beat, loadedDataConverter.payloadCodecs)
        return typeof said?.installing === 'string' ? said.installing : undefined
      }
      if (queue === undefined) return undefined
      const { name, isOwn } = queue
      const count = await pollersOf(client.connection, { namespace, queue: name, kind: 'activities' })
      if (count > 0) return undefined
      if (!isOwn && hasLiveWorker(await listHeartbeats(store), name))
        return `${allBusy(name)}; the training begins when one is free`
      const { found, remedy } = isOwn
        ? noTrainer(name, model)
        : noWorker('train', { queue: name, kind: 'activities' })
      return `${found}. ${remedy}`
    })
    .catch(() => undefined)
}

/** Reports the same for a running retraining; undefined also when its workflow does not respond. */
export async function waitingOfRetraining(
  deps: Deps,
  { model, runId }: { model: string; runId: string },
): Promise<string | undefined> {
  const workflow = { workflowId: retrainWorkflowId(model), runId }
  const progress = await queryWorkflow(deps.temporal, workflow, retrainProgress)
  return progress && waitingFor(deps, workflow, model, progress)
}

export const remedyOfEnd = ({ errorCode }: { errorCode?: string }): { remedy?: string } =>
  isErrorCode(errorCode) ? { remedy: errorTable[errorCode].remedy } : {}
