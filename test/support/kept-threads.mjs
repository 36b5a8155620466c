// @ts-check
// Keeps the thread in which Temporal's SDK runs workflows for the next worker of the same test process. The thread loads Temporal's
// packages and compiles the workflows, which takes as long as a short test. The SDK itself prepares it for each worker: it makes a new context for
// the workflows, and evaluates all of their code in it.
import { createRequire } from 'node:module'

/** Workers per thread. Ending the thread frees what workers leave behind. */
const maxWorkers = 10
const script = 'workflow-worker-thread.js'
const events = ['message', 'error', 'exit']

/** @typedef {import('node:worker_threads').Worker} Thread */

/** Applies to all workers that this process creates from now on. */
export function keepThreads() {
  /** @type {{ Worker: typeof import('node:worker_threads').Worker }} */
  const threads = createRequire(import.meta.url)('node:worker_threads')
  const { Worker } = threads
  /** @type {Thread[]} */
  const idle = []
  /** @type {WeakMap<Thread, number>} */
  const served = new WeakMap()
  /** @param {ConstructorParameters<typeof Worker>} given */
  const start = (...given) => {
    const thread = new Worker(...given)
    const end = thread.terminate.bind(thread)
    // The SDK sends this after the thread has dropped its workflows. A thread that exits by itself does not send it.
    thread.terminate = () => {
      for (const event of events) thread.removeAllListeners(event)
      if ((served.get(thread) ?? 0) >= maxWorkers) return end()
      // The thread may still exit or fail because of something a workflow left behind; it is then not reused.
      thread.once('error', () => {})
      thread.once('exit', () => idle.splice(0, idle.length, ...idle.filter((each) => each !== thread)))
      thread.unref()
      idle.push(thread)
      // The SDK expects this exit code from a terminated thread.
      return Promise.resolve(1)
    }
    return thread
  }
  /** @param {ConstructorParameters<typeof Worker>} given @returns {Thread} */
  const take = (...given) => {
    if (!String(given[0]).endsWith(script)) return new Worker(...given)
    const kept = idle.pop()
    for (const event of events) kept?.removeAllListeners(event)
    kept?.ref()
    const thread = kept ?? start(...given)
    served.set(thread, (served.get(thread) ?? 0) + 1)
    return thread
  }
  // A function instead of an arrow function, because the SDK calls it with `new`.
  threads.Worker = new Proxy(Worker, { construct: (_, given) => take(.../** @type {[string]} */ (given)) })
}
