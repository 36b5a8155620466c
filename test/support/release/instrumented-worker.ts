/**
 * Runs a control worker in a child process that kills itself at a requested point of a release. A kill from outside would hit a random
 * statement; this kill hits between two given statements.
 */
import { Context } from '@temporalio/activity'
import { NativeConnection, type InjectedSinks, type WorkerInterceptors } from '@temporalio/worker'
import { AsyncLocalStorage } from 'node:async_hooks'
import { createControlWorker } from '../../../activities/worker/create-worker.ts'
import { openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { readConfig } from '../../../temporal.config.ts'
import { quietRuntime } from '../servers/silence-temporal.ts'
import type { InstrumentedSinks } from './instrumented-worker-interceptors.ts'
import type { RecordedStep, RecordedRun, WorkerOrder, KillPoint, WorkerReply } from './kill-point.ts'

const [codePath = ''] = process.argv.slice(2)
const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const here = new AsyncLocalStorage<RecordedStep>()
let point: KillPoint | undefined
let workflowId = ''
let lived: RecordedRun = { tasks: 0, deeds: [] }

quietRuntime()
const config = readConfig()
const connection = await NativeConnection.connect({ address: config.temporal.address })
const store = openStore(config.databaseUrl, { max: 5, connectMs: 60_000, queryMs: 60_000, onError: () => {} })
const say = (saying: WorkerReply) => process.send?.(saying)
const die = () => process.kill(process.pid, 'SIGKILL')

const interceptors: WorkerInterceptors = {
  activity: [
    () => ({
      inbound: {
        async execute(input, next) {
          const name = Context.current().info.activityType
          const run = lived.deeds.filter(({ activity }) => activity === name).length + 1
          const deed: RecordedStep = { activity: name, run, writes: [] }
          lived.deeds.push(deed)
          if (isHere('before', deed)) die()
          const result = await here.run(deed, () => next(input))
          if (isHere('after', deed)) die()
          return result
        },
      },
    }),
  ],
}
const sinks: InjectedSinks<InstrumentedSinks> = {
  observer: {
    worked: {
      fn(info) {
        if (info.workflowId !== workflowId) return
        lived.tasks++
        if (point?.at === 'task' && point.task === lived.tasks) die()
      },
      callDuringReplay: false,
    },
  },
}
const deps = {
  store: watched(store),
  artifacts: watchedFiles(openArtifacts(config.artifactRoot)),
  config,
  log: silent,
}
const worker = await createControlWorker(deps, connection, { codePath }, { interceptors, sinks })
process.on('message', (order: WorkerOrder) => {
  if (order.kind === 'tell') return void say({ kind: 'lived', lived })
  ;({ point, workflowId } = { point: undefined, ...order })
  lived = { tasks: 0, deeds: [] }
  if (point?.at === 'event') void dieAtEvent(order.workflowId, point.event)
  say({ kind: 'begun' })
})
process.on('disconnect', die)
const running = worker.run()
say({ kind: 'ready' })
await running

function isHere(at: 'before' | 'after', { activity, run }: RecordedStep): boolean {
  return point?.at === at && point.activity === activity && point.run === run
}

function write(transaction: boolean): (at: 'uncommitted' | 'committed') => void {
  const deed = here.getStore()
  if (deed === undefined) return () => {}
  const number = deed.writes.push(transaction)
  return (at) => {
    if (point?.at !== at || !('write' in point)) return
    if (point.activity === deed.activity && point.run === deed.run && point.write === number) die()
  }
}

/** Wraps the artifact store; removing a file counts as a write. */
function watchedFiles(real: Artifacts): Artifacts {
  return {
    ...real,
    async removeListed(area, file) {
      const reached = write(true)
      reached('uncommitted')
      const removed = await real.removeListed(area, file)
      reached('committed')
      return removed
    },
  }
}

/** Wraps the store. Counts writes, and kills this process at a requested write. */
function watched(real: Store): Store {
  return {
    ...real,
    async transaction(work) {
      const reached = write(true)
      const result = await real.transaction(async (database) => {
        const done = await work(database)
        reached('uncommitted')
        return done
      })
      reached('committed')
      return result
    },
    async query(statement) {
      if (!/^\s*(insert|update|delete|with)\b/.test(statement.sql)) return real.query(statement)
      const reached = write(false)
      reached('uncommitted')
      const rows = await real.query<never>(statement)
      reached('committed')
      return rows
    },
  }
}

/** Follows the history as it grows. */
async function dieAtEvent(id: string, event: number): Promise<void> {
  let nextPageToken: Uint8Array = new Uint8Array()
  for (;;) {
    const page = await connection.workflowService
      .getWorkflowExecutionHistory({
        namespace: config.temporal.namespace,
        execution: { workflowId: id },
        waitNewEvent: true,
        nextPageToken,
      })
      .catch(() => undefined)
    if (page === undefined) {
      // The workflow has not started yet.
      await new Promise((resolve) => setTimeout(resolve, 5))
      continue
    }
    if ((page.history?.events ?? []).some(({ eventId }) => Number(eventId) >= event)) return void die()
    nextPageToken = page.nextPageToken
    if (nextPageToken.length === 0) return
  }
}
