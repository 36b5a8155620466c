/** Starts control and training workers for retrainings from request to release. */
import sql from 'sql-template-tag'
import { NativeConnection, type Worker } from '@temporalio/worker'
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createTrainWorker } from '../../../activities/worker/create-worker.ts'
import {
  queueWorkflowId,
  releaseWorkflowId,
  retrainWorkflowId,
  type RetrainRequest,
} from '../../../workflows/messages.ts'
import type { retrain as retrainWorkflow } from '../../../workflows/retrain.ts'
import { openSharedArtifacts } from '../../../store/objects/artifact-copies.ts'
import { insertPeople } from '../release/candidates.ts'
import { startCore, type Core } from '../release/core.ts'
import { exampleModelDirectory } from './example-model.ts'
import { launcher } from '../../../temporal.config.ts'
import { ownServers } from '../servers/servers.ts'
import type { RetrainStart } from '../../../domain/starts.ts'
import { orderedStart } from '../commands/signed.ts'

export interface Pipeline extends Core {
  /** The directory of the model files. */
  models: string
  start(
    /** A retraining of olga, or what an own row of the system asks for. */
    request: (RetrainStart & { requestedBy?: string }) | RetrainRequest,
    workflowId?: string,
  ): Promise<WorkflowHandleWithFirstExecutionRunId<typeof retrainWorkflow>>
  /** Ends the release of a model and its queue, so that the next retraining starts its own. */
  endRelease(model: string): Promise<void>
  close(): Promise<void>
}

export interface PipelineOptions {
  trainer?: false
  environment?: Record<string, string>
  /** The artifact directory of the training machine. Default: the control worker's. */
  trainerRoot?: string
}

export async function openPipeline(options: PipelineOptions = {}): Promise<Pipeline> {
  const servers = await ownServers()
  const core = await startCore(servers, options.environment)
  await insertPeople(core.store, { olga: 'operator' })
  const models = await exampleModelDirectory()
  const native = await NativeConnection.connect({ address: core.config.temporal.address })
  let worker: Worker | undefined
  if (options.trainer !== false)
    worker = await createTrainWorker(trainerDeps(core, options), native, { models })
  const running = worker?.run()
  return {
    ...core,
    models,
    start: async (request, workflowId = retrainWorkflowId(request.model)) =>
      core.client.workflow.start<typeof retrainWorkflow>('retrain', {
        workflowId,
        taskQueue: core.config.taskQueues.control,
        args: [
          'order' in request
            ? request
            : await orderedStart(core, 'retrain', { requestedBy: 'olga', ...(request as RetrainStart) }),
        ],
      }),
    async endRelease(model) {
      for (const id of [queueWorkflowId(model), releaseWorkflowId(model)])
        await core.client.workflow
          .getHandle(id)
          .terminate()
          .catch(() => {})
      await core.store.query(sql`
        update releases set stage = 'ended', outcome = 'aborted', ended_at = now() where model = ${model} and ended_at is null`)
    },
    async close() {
      worker?.shutdown()
      await running
      await native.close()
      await core.stop()
      await rm(models, { recursive: true })
    },
  }
}

function trainerDeps({ deps }: Core, { trainerRoot }: PipelineOptions): Core['deps'] {
  if (trainerRoot === undefined) return deps
  const config = { ...deps.config, artifactRoot: trainerRoot }
  return { ...deps, config, artifacts: openSharedArtifacts(config) }
}

/** Starts a training worker as a child process; resolves when it polls for tasks. */
export async function spawnTrainWorker({ config, models }: Pipeline): Promise<ChildProcess> {
  const worker = spawn(process.execPath, [launcher, 'test/support/training/train-worker.ts', models], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: '/usr/bin:/bin',
      DATABASE_URL: config.databaseUrl,
      TEMPORAL_ADDRESS: config.temporal.address,
      TENURE_TRAIN_QUEUE: config.taskQueues.train,
      TENURE_KEYS: config.signing.keys,
      TENURE_ARTIFACTS: config.artifactRoot,
      TENURE_BATCHES: config.batchDir,
      TENURE_BUILD_ID: 'test',
    },
  })
  await once(worker.stdout, 'data')
  return worker
}
