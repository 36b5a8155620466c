/** Starts control workers as child processes, with a kill point, a restart, or other workflow code. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { workflowCode } from '../../../cli/build/workflows.mjs'
import { checkout, launcher } from '../../../temporal.config.ts'
import { changedCode, type CodeChange } from './histories.ts'
import type { RecordedRun, WorkerOrder, KillPoint, WorkerReply } from './kill-point.ts'

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const interceptors = fileURLToPath(new URL('./instrumented-worker-interceptors.ts', import.meta.url))

/** Writes the compiled workflows, unchanged or with a change, to a file that all instrumented workers share. */
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
  /** Starts recording the release of this workflow. With `point`, the worker dies there. */
  begin(workflowId: string, point?: KillPoint): Promise<void>
  /** Returns what the worker recorded since `begin`. */
  lived(): Promise<RecordedRun>
  signal(signal: NodeJS.Signals): void
  /** Kills the worker and waits until its process has ended. */
  kill(): Promise<void>
  /** Resolves when the process has ended. */
  gone: Promise<void>
}

/** Starts a worker and waits until it polls for tasks. `environment` holds the variables for `readConfig`. */
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
  /** Rejects when the process ends before it responds. */
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
