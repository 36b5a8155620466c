/** Starts control workers in processes of their own, with a kill point, a restart, or other workflow code. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { workflowCode } from '../../../scripts/build/workflows.mjs'
import { checkout, launcher } from '../../../temporal.config.ts'
import { changedCode, type CodeChange } from './histories.ts'
import type { RecordedRun, WorkerOrder, KillPoint, WorkerReply } from './kill-point.ts'

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const interceptors = fileURLToPath(new URL('./instrumented-worker-interceptors.ts', import.meta.url))

/** Writes the compiled workflows, as they are or with a change, to a file, once for all instrumented workers. */
export async function writeBundle(path: string, change?: CodeChange): Promise<string> {
  const code = change
    ? changedCode(change, [interceptors])
    : workflowCode(checkout, { logger: silent, interceptors: [interceptors] })
  writeFileSync(path, await code)
  return path
}

export interface InstrumentedWorker {
  pid: number
  alive(): boolean
  /** Counts from here on, for the release of this workflow; it dies at the point when one is given. */
  begin(workflowId: string, point?: KillPoint): Promise<void>
  /** What it did since. */
  lived(): Promise<RecordedRun>
  signal(signal: NodeJS.Signals): void
  /** Kills it and waits until it has ended. */
  kill(): Promise<void>
  /** Resolves when it has ended. */
  gone: Promise<void>
}

/** Starts one and waits until it takes tasks. `environment` is what `readConfig` reads. */
export async function startInstrumentedWorker(
  codePath: string,
  environment: Record<string, string>,
): Promise<InstrumentedWorker> {
  const child = fork(launcher, ['test/support/release/instrumented-worker.ts', codePath], {
    cwd: checkout,
    execArgv: [],
    env: { PATH: '/usr/bin:/bin', ...environment },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const gone = once(child, 'exit').then(() => {})
  await Promise.race([
    heard(child, 'ready'),
    gone.then(() => {
      throw new Error('a told worker has ended before it was ready')
    }),
  ])
  /** Rejects when it ends before it has responded. */
  const ask = <Kind extends WorkerReply['kind']>(order: WorkerOrder, answer: Kind) =>
    new Promise<Extract<WorkerReply, { kind: Kind }>>((resolve, reject) => {
      void heard(child, answer).then(resolve)
      void gone.then(() => reject(new Error('a told worker has ended before it has answered')))
      child.send(order, (error) => (error === null ? undefined : reject(error)))
    })
  return {
    pid: child.pid ?? 0,
    alive: () => child.exitCode === null && child.signalCode === null,
    async begin(workflowId, point) {
      await ask({ kind: 'begin', workflowId, point }, 'begun')
    },
    lived: async () => (await ask({ kind: 'tell' }, 'lived')).lived,
    signal: (signal) => void child.kill(signal),
    async kill() {
      child.kill('SIGKILL')
      await gone
    },
    gone,
  }
}

function heard<Kind extends WorkerReply['kind']>(
  child: ChildProcess,
  kind: Kind,
): Promise<Extract<WorkerReply, { kind: Kind }>> {
  return new Promise((resolve) => {
    const listen = (saying: WorkerReply) => {
      if (saying.kind !== kind) return
      child.off('message', listen)
      resolve(saying as Extract<WorkerReply, { kind: Kind }>)
    }
    child.on('message', listen)
  })
}
