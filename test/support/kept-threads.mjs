// @ts-check
// Keeps the thread in which Temporal's SDK runs workflows for the next worker of the same test process. The thread loads Temporal's
// packages and compiles the workflows, which takes as long as a short test. The SDK itself prepares it for each worker: it makes a new context for
// the workflows, and evaluates all of their code in it.
import { createRequire } from 'node:module'

/** Whatever a worker leaves behind in its thread is gone after so many. */
const maxWorkers = 10
const script = 'workflow-worker-thread.js'
const events = ['message', 'error', 'exit']

/** @typedef {import('node:worker_threads').Worker} Thread */

/** For all workers that this process makes from now on. */
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
    // The SDK calls it when the thread has dropped its workflows, and not at all when it has ended by itself.
    thread.terminate = () => {
      for (const event of events) thread.removeAllListeners(event)
      if ((served.get(thread) ?? 0) >= maxWorkers) return end()
      // It may still end, or fail, over what a workflow has left behind: then it is not taken again.
      thread.once('error', () => {})
      thread.once('exit', () => idle.splice(0, idle.length, ...idle.filter((each) => each !== thread)))
      thread.unref()
      idle.push(thread)
      // As the SDK expects it of a thread that was ended.
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
  // The SDK calls it with `new`.
  threads.Worker = new Proxy(Worker, { construct: (_, given) => take(.../** @type {[string]} */ (given)) })
}
