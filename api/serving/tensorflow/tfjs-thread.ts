/** Runs the worker thread of TensorFlow.js and the calls to it. A call that exceeds its time ends the thread, because nothing else stops it. */
import { Worker } from 'node:worker_threads'
import { DomainError } from '../../../domain/errors.ts'
import { launcher } from '../../../temporal.config.ts'
import type { TensorCall, TensorCommand, TensorReply } from './tfjs-worker.ts'

export interface TensorThread {
  /** Throws `model_unavailable` when the thread dies meanwhile. */
  call(call: TensorCall, limitMs: number, transfer?: ArrayBuffer[]): Promise<TensorReply>
  end(): Promise<void>
}

export interface ThreadOptions {
  onError: (message: string) => void
  /** Called before the calls under way reject, with their models. */
  onDeath: (thread: TensorThread, error: DomainError, keys: ReadonlySet<string>, cause: Error) => void
}

interface PendingCall {
  key: string
  resolve: (reply: TensorReply) => void
  reject: (error: Error) => void
  timer: NodeJS.Timeout
}

/** In megabytes; tensors lie outside of it and are bounded by the checks of the layers. */
const heapMb = 256

export function startThread({ onError, onDeath }: ThreadOptions): TensorThread {
  const worker = new Worker(launcher, {
    argv: ['api/serving/tensorflow/tfjs-worker.ts'],
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: heapMb },
  })
  const calls = new Map<number, PendingCall>()
  let nextId = 0
  let cause = new Error('it has ended')
  const thread: TensorThread = {
    call: (call, limitMs, transfer = []) =>
      new Promise((resolve, reject) => {
        const id = nextId++
        const timer = setTimeout(() => {
          onError(`${call.key} has taken more than ${limitMs} ms: its thread is ended`)
          void worker.terminate()
        }, limitMs)
        calls.set(id, { key: call.key, resolve, reject, timer })
        worker.postMessage({ id, ...call } satisfies TensorCommand, transfer)
      }),
    async end() {
      await worker.terminate()
    },
  }
  worker.on('error', (error) => (cause = error as Error))
  worker.on('message', (reply: TensorReply) => {
    const call = calls.get(reply.id)
    if (call === undefined) return
    calls.delete(reply.id)
    clearTimeout(call.timer)
    call.resolve(reply)
  })
  worker.on('exit', () => {
    const pending = [...calls.values()]
    calls.clear()
    for (const { timer } of pending) clearTimeout(timer)
    const error = new DomainError(
      'model_unavailable',
      `the thread that computes the model has died: ${cause.message}`,
    )
    onDeath(thread, error, new Set(pending.map(({ key }) => key)), cause)
    for (const { reject } of pending) reject(error)
  })
  // A replica ends when its sockets are closed, also during a computation.
  worker.unref()
  return thread
}
