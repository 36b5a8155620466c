/** Starts Postgres, Temporal, a control worker and killable training workers. */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { findBatch, listShards } from '../../../store/serving/batches.ts'
import { checkout, launcher, environmentWith } from '../../../temporal.config.ts'
import { orderedStart } from '../../../test/support/commands/signed.ts'
import { insertPeople } from '../../../test/support/release/candidates.ts'
import { registerFixtureVersion } from '../../../test/support/serving/registration.ts'
import type { ArtifactSpec } from '../../../test/support/serving/artifact.ts'
import { startRealSystem, type RealSystem } from '../../../test/support/servers/system-fixture.ts'
import type { BatchStart } from '../../../domain/starts.ts'
import { batchWorkflowId, type BatchOutcome, type BatchRequest } from '../../../workflows/messages.ts'

export interface BatchStage extends RealSystem {
  model: string
}

export async function openBatchStage(spec: ArtifactSpec): Promise<BatchStage> {
  const system = await startRealSystem({ replicas: 1, leaseMs: 5_000 })
  const { store, config } = system
  const version = await registerFixtureVersion(store, config.artifactRoot, spec)
  await insertPeople(store, { bench: 'operator' })
  await store.query(sql`update versions set known_good_at = clock_timestamp() where version = ${version}`)
  await store.query(sql`insert into champions (model, version) values (${spec.model}, ${version})`)
  return { ...system, model: spec.model }
}

/** Resolves when the worker polls. */
export async function startTrainWorker({ config }: BatchStage): Promise<ChildProcess> {
  const worker = spawn(process.execPath, [launcher, 'activities/worker.ts', 'train'], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environmentWith({
      DATABASE_URL: config.databaseUrl,
      TEMPORAL_ADDRESS: config.temporal.address,
      TENURE_STATE: config.stateDir,
      TENURE_ARTIFACTS: config.artifactRoot,
      TENURE_BATCHES: config.batchDir,
    }),
  })
  await new Promise<void>((resolve, reject) => {
    worker.stdout.on('data', (chunk: Buffer) => chunk.includes('takes tasks') && resolve())
    worker.once('exit', (code) => reject(new Error(`the training worker ended with ${code}`)))
  })
  return worker
}

export async function beginBatch(stage: BatchStage, output: string) {
  const { client, config, model } = stage
  const request: BatchStart & { requestedBy: string } = {
    id: `bat_${randomUUID()}`,
    model,
    requestedBy: 'bench',
    input: { kind: 'file', path: 'flights.parquet' },
    output: { kind: 'file', path: output },
    key: ['id'],
  }
  const handle = await client.workflow.start<(request: BatchRequest) => Promise<BatchOutcome>>(
    'batchPredict',
    {
      workflowId: batchWorkflowId(request.id),
      taskQueue: config.taskQueues.control,
      args: [await orderedStart(stage, 'batchPredict', request)],
    },
  )
  return { id: request.id, ended: handle.result() }
}

/** Number of stored parts of a batch. */
export const partsDone = async ({ store }: BatchStage, id: string): Promise<number> =>
  (await findBatch(store, id)) === undefined ? 0 : (await listShards(store, id)).length
