/** Starts Postgres, Temporal, a control worker and killable training workers, and samples the memory of a process tree. */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import sql from 'sql-template-tag'
import { findBatch, listShards } from '../../store/serving/batches.ts'
import { checkout, launcher, environmentWith } from '../../temporal.config.ts'
import { registerFixtureVersion } from '../../test/support/serving/registration.ts'
import type { ArtifactSpec } from '../../test/support/serving/artifact.ts'
import { startRealSystem, type RealSystem } from '../../test/support/servers/system-fixture.ts'
import { batchWorkflowId, type BatchOutcome, type BatchRequest } from '../../workflows/messages.ts'

export interface BatchStage extends RealSystem {
  model: string
}

export async function openBatchStage(spec: ArtifactSpec): Promise<BatchStage> {
  const system = await startRealSystem({ replicas: 1, leaseMs: 5_000 })
  const { store, config } = system
  const version = await registerFixtureVersion(store, config.artifactRoot, spec)
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

export interface Begun {
  id: string
  ended: Promise<BatchOutcome>
}

export async function beginBatch({ client, config, model }: BatchStage, output: string): Promise<Begun> {
  const request: BatchRequest = {
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
      args: [request],
    },
  )
  return { id: request.id, ended: handle.result() }
}

/** Number of stored parts of a batch. */
export const partsDone = async ({ store }: BatchStage, id: string): Promise<number> =>
  (await findBatch(store, id)) === undefined ? 0 : (await listShards(store, id)).length

/** The most that a process and those below it have held at once, in megabytes, looked at all the time until `stop`. */
export function sampleMemory(pid: number): { stop(): number } {
  let most = 0
  const look = (): void => void (most = Math.max(most, residentMb(pid)))
  const timer = setInterval(look, 50)
  return {
    stop() {
      look()
      clearInterval(timer)
      return most
    },
  }
}

function residentMb(root: number): number {
  const parents = new Map<number, number>()
  const resident = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const status = readFileSync(`/proc/${name}/status`, 'utf8')
      parents.set(Number(name), Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]))
      resident.set(Number(name), Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0))
    } catch {
      // The process has ended meanwhile.
    }
  }
  const isBelow = (pid: number | undefined): boolean =>
    pid !== undefined && (pid === root || isBelow(parents.get(pid)))
  let sum = 0
  for (const [pid, kilobytes] of resident) if (isBelow(pid)) sum += kilobytes
  return sum / 1_024
}
