/**
 * Runs releases one after another. In each, the worker dies at a given point and restarts at once. Compares how each release ends with the
 * same release without a crash.
 */
import type { Servers } from '../servers/servers.ts'
import { Client, Connection } from '@temporalio/client'
import { mkdtempSync, rmSync } from 'node:fs'
import sql from 'sql-template-tag'
import { isDeepStrictEqual } from 'node:util'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { type CommandName, type ReleaseStage, releaseIdOf } from '../../../domain/release/state.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { commandUpdates, releaseWorkflowId } from '../../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../../workflows/release.ts'
import { readConfig } from '../../../temporal.config.ts'
import { recorded, orderedStart } from '../commands/signed.ts'
import { insertModel, insertPeople } from './candidates.ts'
import { endingOf, issuesOfInvariants, type Ending } from './ending.ts'
import { startFleet } from '../serving/replica-rows.ts'
import { seatChampion } from '../serving/seed-champion.ts'
import { startInstrumentedWorker, writeBundle, type InstrumentedWorker } from './instrumented-workers.ts'
import type { RecordedRun, KillPoint } from './kill-point.ts'

const step = { minMs: 60, minRequests: 20, deadlineMs: 120_000 }
const watch = { tickMs: 50, everyMs: 30, exposureMs: 1_000, acknowledgeMs: 5_000, decisionMs: 120_000 }
const base = {
  strategy: 'canary' as const,
  approval: { approvers: 1, withinMs: 120_000 },
  watch,
  limits: { ...defaultCanaryPolicy, maxStaleMs: 3_000, promotion: 'off' as const, srm: 'off' as const },
}

export interface CrashScenario {
  policy: ReleasePolicy
  /** The commands of users, and the stages at which they are sent. */
  commands: { stage: ReleaseStage; command: CommandName }[]
}

/** The two releases in which every kill point is tried. */
export const crashScenarios = {
  promotion: {
    policy: {
      ...base,
      shadow: { ...step, shareBp: 10_000 },
      stages: [
        { ...step, shareBp: 1_000 },
        { ...step, shareBp: 5_000 },
      ],
      probation: { ...step, holdbackBp: 1_000 },
    },
    commands: [{ stage: 'awaiting_approval', command: 'approve' }],
  },
  // Rolled back during a long probation, where the candidate is champion and a rollback has the most to undo.
  rollback: {
    policy: {
      ...base,
      stages: [{ ...step, shareBp: 1_000 }],
      probation: { ...step, minMs: 100_000, holdbackBp: 1_000 },
    },
    commands: [
      { stage: 'awaiting_approval', command: 'approve' },
      { stage: 'probation', command: 'rollback' },
    ],
  },
} as const satisfies Record<string, CrashScenario>

export type CrashScenarioName = keyof typeof crashScenarios

export interface Reference {
  ending: Ending
  events: number
  lived: RecordedRun
  /** Duration of the release without a crash, in milliseconds. */
  tookMs: number
}

export interface CrashResult {
  /** Whether the worker died at its kill point. */
  died: boolean
  issues: string[]
  tookMs: number
}

export interface CrashFixture {
  /** Runs the release without a crash. */
  reference(story: CrashScenarioName): Promise<Reference>
  /** Runs the release with a crash. `slot` identifies the worker, which runs one release at a time. */
  attempt(
    slot: number,
    story: CrashScenarioName,
    point: KillPoint,
    reference: Reference,
  ): Promise<CrashResult>
  store: Store
  close(): Promise<void>
}

const timeoutMs = 200_000

export async function openCrashFixture(servers: Servers): Promise<CrashFixture> {
  const stateDir = mkdtempSync(join(tmpdir(), 'tenure-crash-'))
  const store = openStore(servers.databaseUrl, {
    max: 10,
    connectMs: 60_000,
    queryMs: 60_000,
    onError: () => {},
  })
  const fleet = startFleet(store, { replicas: ['r1', 'r2'], tickMs: watch.tickMs, leaseMs: 5_000 })
  const connection = await Connection.connect({ address: servers.temporalAddress, connectTimeout: 200_000 })
  const client = new Client({ connection })
  await insertPeople(store, { anna: 'approver', olga: 'operator' })
  const code = await writeBundle(join(stateDir, 'workflows.js'))
  const workers = new Map<number, InstrumentedWorker>()
  const stamp = Date.now().toString(36)
  const queueOf = (slot: number) => `crash-${stamp}-${slot}`
  let closing = false
  let models = 0

  const environment = {
    DATABASE_URL: servers.databaseUrl,
    TEMPORAL_ADDRESS: servers.temporalAddress,
    TENURE_STATE: stateDir,
    TENURE_BUILD_ID: 'test',
  }
  const signing = { store, config: readConfig(environment) }
  const startWorker = (slot: number) =>
    startInstrumentedWorker(code, { ...environment, TENURE_CONTROL_QUEUE: queueOf(slot) })
  /** Keeps one worker on the queue of a slot, as a supervisor does. */
  const workerOf = async (slot: number): Promise<InstrumentedWorker> => {
    const known = workers.get(slot)
    if (known?.alive()) return known
    const worker = await startWorker(slot)
    workers.set(slot, worker)
    void worker.gone.then(() => (closing ? undefined : workerOf(slot)))
    return worker
  }
  /** Starts recording on a worker that lives. The known worker may be dying at the last kill point of the previous release. */
  const workerThatBegins = async (
    slot: number,
    workflowId: string,
    point?: KillPoint,
  ): Promise<InstrumentedWorker> => {
    const worker = await workerOf(slot)
    const begun = await worker.begin(workflowId, point).then(
      () => true,
      () => false,
    )
    if (begun) return worker
    await worker.gone
    return workerThatBegins(slot, workflowId, point)
  }

  const seat = async (policy: ReleasePolicy) => {
    const model = `crash-${stamp}-${models++}`
    const registry = await insertModel(store, { model, policy, artifactRoot: join(stateDir, 'artifacts') })
    const champion = await registry.register()
    await seatChampion(store, model, champion)
    return { model, version: await registry.register(champion) }
  }

  const play = async (slot: number, name: CrashScenarioName, point?: KillPoint) => {
    const { policy, commands }: CrashScenario = crashScenarios[name]
    const { model, version } = await seat(policy)
    const worker = await workerThatBegins(slot, releaseWorkflowId(model), point)
    const from = performance.now()
    const handle = await client.workflow.start<typeof releaseWorkflow>('release', {
      workflowId: releaseWorkflowId(model),
      taskQueue: queueOf(slot),
      workflowTaskTimeout: '5 s',
      args: [await orderedStart(signing, 'release', { model, version, requestedBy: 'olga' })],
    })
    const id = releaseIdOf(handle.firstExecutionRunId)
    const speak = async () => {
      for (const { stage, command } of commands) {
        // A stage that ends before it is routed leaves no routing, and the endings would differ.
        await until(async () => {
          const state = (await findRelease(store, id))?.state
          return state?.stage === stage && (stage === 'awaiting_approval' || (await isWatched(id, stage)))
        })
        const by = command === 'approve' ? 'anna' : 'olga'
        const message = await recorded(signing, handle, command, { by, reason: 'told', id: command })
        for (;;) {
          const answered = await handle
            .executeUpdate(commandUpdates[command], { args: [message], updateId: command })
            .then(() => true)
            .catch(() => false)
          if (answered || (await findRelease(store, id))?.endedAt !== undefined) break
          await pause(100)
        }
      }
    }
    const [result] = await Promise.all([within(handle.result()), speak()])
    const tookMs = performance.now() - from
    return { model, id, handle, worker, result, tookMs }
  }

  const isWatched = async (id: string, stage: ReleaseStage) =>
    (await store.query(sql`select from stage_clocks where release_id = ${id} and stage = ${stage}`)).length >
    0

  const within = async <T>(work: Promise<T>): Promise<T> => {
    const timer = new AbortController()
    try {
      return await Promise.race([
        work,
        pause(timeoutMs, undefined, { signal: timer.signal }).then(() => {
          throw new Error(`it has not ended within ${timeoutMs} ms`)
        }),
      ])
    } finally {
      timer.abort()
    }
  }
  const until = async (holds: () => Promise<boolean>) => {
    const from = performance.now()
    while (!(await holds())) {
      if (performance.now() - from > timeoutMs) throw new Error(`it stands still for ${timeoutMs} ms`)
      await pause(30)
    }
  }

  return {
    store,
    async reference(name) {
      const { model, id, handle, worker, tookMs } = await play(0, name)
      const ending = await endingOf(store, model, id)
      const issues = await issuesOfInvariants(store, { model, releaseId: id, seated: 1 })
      if (issues.length > 0) throw new Error(`nothing has died, and yet: ${issues.join('; ')}`)
      const { events = [] } = await handle.fetchHistory()
      return { ending, events: events?.length ?? 0, lived: await worker.lived(), tookMs }
    },
    async attempt(slot, name, point, reference) {
      const from = performance.now()
      try {
        const { model, id, worker, result, tookMs } = await play(slot, name, point)
        const ending = await endingOf(store, model, id)
        const issues = await issuesOfInvariants(store, { model, releaseId: id, seated: 1 })
        for (const key of Object.keys(ending) as (keyof Ending)[])
          if (!isDeepStrictEqual(ending[key], reference.ending[key]))
            issues.push(
              `${key}: ${JSON.stringify(ending[key])}, not ${JSON.stringify(reference.ending[key])}`,
            )
        if (result.outcome !== ending.outcome) issues.push(`the workflow says ${result.outcome}`)
        return { died: !worker.alive(), issues, tookMs }
      } catch (error) {
        return { died: true, issues: [(error as Error).message], tookMs: performance.now() - from }
      }
    },
    async close() {
      closing = true
      await Promise.all([...workers.values()].map((worker) => worker.kill()))
      await fleet.stop()
      await connection.close()
      await store.close()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}
