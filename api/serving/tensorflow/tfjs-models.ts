/**
 * Runs the models that are not compiled in a worker thread with TensorFlow.js. The thread starts with the first model and ends with the
 * last. When it dies, waiting requests fail, and it restarts with all models but those that have ended it several times.
 */
import { Worker } from 'node:worker_threads'
import { DomainError } from '../../../domain/errors.ts'
import { launcher } from '../../../temporal.config.ts'
import { createBatcher, type BatchCounts, type BatcherOptions, type Lane } from './batcher.ts'
import type { LayeredModel } from '../network/layer-limits.ts'
import type { RunTicket, Predictor } from '../network/scalar-predictor.ts'
import type { TensorReply, TensorCommand } from './tfjs-worker.ts'

export interface Tensors {
  /** Throws `artifact_invalid` when TensorFlow.js does not take the model. */
  open(key: string, model: LayeredModel, outputs: number): Promise<Predictor>
  counts(): BatchCounts & { models: number; deaths: number }
  stop(): Promise<void>
}

export interface TensorsOptions {
  onError: (message: string, error?: unknown) => void
  batches?: BatcherOptions
  /** How long a model may take to be built, and a batch to be computed; the thread is ended then. */
  loadMs?: number
  runMs?: number
}

interface Model {
  key: string
  layered: LayeredModel
  outputs: number
  lane: Lane
  /** Why it cannot answer now. */
  trouble: string | undefined
  /** How often the thread has died with it. */
  strikes: number
}

interface Thread {
  worker: Worker
  calls: Map<number, Call>
}

interface Call {
  key: string
  resolve: (said: TensorReply) => void
  reject: (error: Error) => void
  timer: NodeJS.Timeout
}

/** In megabytes; what tensors hold lies outside of it, and is bounded by the checks on the layers. */
const heapMb = 256
const maxStrikes = 3
const firstPauseMs = 100
const longestPauseMs = 5_000

const noOrder: RunTicket = { background: false, cancelled: false, begunMs: 0 }

export function createTensors(options: TensorsOptions): Tensors {
  const { onError, loadMs = 30_000, runMs = 10_000 } = options
  const batcher = createBatcher(options.batches)
  const models = new Set<Model>()
  let thread: Thread | undefined
  let calls = 0
  let deaths = 0
  let pauseMs = firstPauseMs
  let again: NodeJS.Timeout | undefined
  let stopped = false

  const start = (): Thread => {
    const worker = new Worker(launcher, {
      argv: ['api/serving/tensorflow/tfjs-worker.ts'],
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    })
    const started: Thread = { worker, calls: new Map() }
    let why = new Error('it has ended')
    worker.on('error', (error) => (why = error as Error))
    worker.on('message', (said: TensorReply) => {
      const call = started.calls.get(said.id)
      if (call === undefined) return
      started.calls.delete(said.id)
      clearTimeout(call.timer)
      call.resolve(said)
    })
    worker.on('exit', () => died(started, why))
    // A replica ends when its sockets are closed, whatever is being computed.
    worker.unref()
    return started
  }
  const died = (dead: Thread, why: Error): void => {
    for (const { timer } of dead.calls.values()) clearTimeout(timer)
    const waiting = [...dead.calls.values()]
    dead.calls.clear()
    const error = new DomainError('model_unavailable', `the thread that computes it has died: ${why.message}`)
    if (thread === dead) {
      thread = undefined
      if (!stopped && models.size > 0) {
        deaths++
        const blamed = new Set(waiting.map(({ key }) => key))
        for (const model of models) {
          model.trouble = error.message
          if (blamed.has(model.key)) model.strikes++
        }
        onError(`the thread of TensorFlow.js has died and is started again`, why)
        again ??= setTimeout(revive, pauseMs)
        pauseMs = Math.min(pauseMs * 2, longestPauseMs)
      }
    }
    for (const { reject } of waiting) reject(error)
  }
  const revive = (): void => {
    again = undefined
    for (const model of models) {
      if (model.strikes >= maxStrikes) {
        model.trouble = `the thread has died ${model.strikes} times with it; another version must be released`
        onError(`${model.key} is not loaded again: ${model.trouble}`)
        continue
      }
      load(model).then(
        () => {
          model.trouble = undefined
          pauseMs = firstPauseMs
        },
        (error: unknown) => onError(`${model.key} could not be loaded again`, error),
      )
    }
  }
  /** Asks the thread; after the time it is ended, because nothing else stops what it does. */
  const call = (
    key: string,
    told: (id: number) => TensorCommand,
    limitMs: number,
    transfer: ArrayBuffer[] = [],
  ): Promise<TensorReply> =>
    new Promise((resolve, reject) => {
      const asked = (thread ??= start())
      const id = calls++
      const timer = setTimeout(() => {
        onError(`${key} has taken more than ${limitMs} ms: its thread is ended`)
        void asked.worker.terminate()
      }, limitMs)
      asked.calls.set(id, { key, resolve, reject, timer })
      asked.worker.postMessage(told(id), transfer)
    })
  const load = async ({ key, layered, outputs }: Model): Promise<void> => {
    const { error } = await call(key, (id) => ({ id, kind: 'load', key, model: layered, outputs }), loadMs)
    if (error !== undefined)
      throw new DomainError('artifact_invalid', `TensorFlow.js does not take the model: ${error}`)
  }
  const compute = async (key: string, input: Float32Array, rows: number): Promise<Float32Array> => {
    const model = [...models].find((each) => each.key === key)
    if (model?.trouble !== undefined) throw new DomainError('model_unavailable', model.trouble)
    const { output, error } = await call(key, (id) => ({ id, kind: 'run', key, input, rows }), runMs, [
      input.buffer as ArrayBuffer,
    ])
    if (output === undefined) throw new Error(error)
    if (model !== undefined) model.strikes = 0
    return output
  }
  const drop = (model: Model): void => {
    if (!models.delete(model)) return
    model.lane.close(new DomainError('model_unavailable', `${model.key} is no longer held here`))
    if (models.size === 0) void end()
    else if (thread !== undefined)
      call(model.key, (id) => ({ id, kind: 'drop', key: model.key }), runMs).catch(() => {})
  }
  const end = async (): Promise<void> => {
    clearTimeout(again)
    again = undefined
    const ending = thread
    thread = undefined
    await ending?.worker.terminate()
  }

  return {
    async open(name, layered, outputs) {
      // The same version may be loaded anew while the old one still answers.
      const key = `${name} ${calls++}`
      const lane = batcher.lane({ inputs: layered.inputs, outputs }, (input, rows) =>
        compute(key, input, rows),
      )
      const model: Model = { key, layered, outputs, lane, trouble: undefined, strikes: 0 }
      models.add(model)
      try {
        await load(model)
      } catch (error) {
        drop(model)
        throw error
      }
      return {
        inputs: layered.inputs,
        outputs,
        run(input, rows, output, order = { ...noOrder }) {
          if (model.trouble !== undefined) throw new DomainError('model_unavailable', model.trouble)
          return lane.run(input, rows, output, order)
        },
        trouble: () => model.trouble,
        close: () => drop(model),
      }
    },
    counts: () => ({ ...batcher.counts(), models: models.size, deaths }),
    async stop() {
      stopped = true
      for (const model of models) drop(model)
      await end()
    },
  }
}
