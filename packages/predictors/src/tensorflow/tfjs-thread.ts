/** Runs the worker thread of TensorFlow.js, and sends calls to it. */
import type { Worker } from 'node:worker_threads'
import type { LayeredModel } from '../network/layer-limits.ts'
import { createCalls } from '../runtime/pending-calls.ts'
import type { HostOptions, ModelHost } from '../runtime/runtime.ts'
import type { TensorCall, TensorCommand, TensorReply } from './tfjs-worker.ts'

/** A checked network and the outputs that it must have. */
export interface TensorModel {
  layered: LayeredModel
  outputs: number
}

/** The heap limit in megabytes. Tensors are outside the heap; the checks of the layers limit them. */
export const heapMb = 256

export function startThread(
  { onError, onDeath }: HostOptions<TensorModel>,
  worker: Worker,
): ModelHost<TensorModel> {
  let cause = new Error('it has ended')
  const calls = createCalls<TensorReply>('thread', {
    onError,
    end(why) {
      cause = why
      void worker.terminate()
    },
  })
  const call = (message: TensorCall, limitMs: number, transfer: ArrayBuffer[] = []): Promise<TensorReply> =>
    calls.call(message.key, limitMs, (id) =>
      worker.postMessage({ id, ...message } satisfies TensorCommand, transfer),
    )
  const thread: ModelHost<TensorModel> = {
    load: (key, { layered, outputs }, limitMs) =>
      call({ kind: 'load', key, model: layered, outputs }, limitMs),
    run(key, { input, rows }, limitMs) {
      const singles = Float32Array.from(input)
      return call({ kind: 'run', key, input: singles, rows }, limitMs, [singles.buffer])
    },
    drop: (key, limitMs) => call({ kind: 'drop', key }, limitMs),
    async end() {
      await worker.terminate()
    },
  }
  worker.on('error', (error) => (cause = error as Error))
  worker.on('message', (reply: TensorReply) => calls.settle(reply.id, reply))
  worker.on('exit', () => calls.fail(cause, (error, keys) => onDeath(thread, error, keys, cause)))
  // A replica exits when its sockets are closed, even during a computation.
  worker.unref()
  return thread
}
