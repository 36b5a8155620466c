/**
 * Runs the models that are not compiled in a worker thread with TensorFlow.js. The thread starts with the first model and ends with the
 * last. When it dies, waiting requests fail, and it restarts with all models but those that have ended it several times.
 */
import { DomainError } from '../../../domain/errors.ts'
import { createBatcher, type BatcherOptions, type Lane } from './batcher.ts'
import type { LayeredModel } from '../network/layer-limits.ts'
import type { RunTicket, Predictor } from '../predictor.ts'
import { startThread, type TensorThread, type ThreadOptions } from './tfjs-thread.ts'

export type Tensors = ReturnType<typeof createTensors>

export interface TensorsOptions {
  onError: (message: string, error?: unknown) => void
  batches?: BatcherOptions
  /** How long loading a model and computing a batch may take before the thread is ended. */
  loadMs?: number
  runMs?: number
}

interface Model {
  key: string
  layered: LayeredModel
  outputs: number
  lane: Lane
  /** Why it is unavailable. */
  trouble: string | undefined
  /** How often the thread has died during its calls. */
  strikes: number
}

const maxStrikes = 3
const firstPauseMs = 100
const maxPauseMs = 5_000

const noOrder: RunTicket = { background: false, cancelled: false, begunMs: 0 }

export function createTensors(options: TensorsOptions) {
  const { onError, loadMs = 30_000, runMs = 10_000 } = options
  const batcher = createBatcher(options.batches)
  const models = new Set<Model>()
  let thread: TensorThread | undefined
  let opened = 0
  let deaths = 0
  let pauseMs = firstPauseMs
  let again: NodeJS.Timeout | undefined
  let stopped = false

  const call: TensorThread['call'] = (...request) =>
    (thread ??= startThread({ onError, onDeath })).call(...request)
  const onDeath: ThreadOptions['onDeath'] = (dead, error, keys, cause) => {
    if (thread !== dead) return
    thread = undefined
    if (stopped || models.size === 0) return
    deaths++
    for (const model of models) {
      model.trouble = error.message
      if (keys.has(model.key)) model.strikes++
    }
    onError('the thread of TensorFlow.js has died and is started again', cause)
    again ??= setTimeout(revive, pauseMs)
    pauseMs = Math.min(pauseMs * 2, maxPauseMs)
  }
  const revive = (): void => {
    again = undefined
    for (const model of models) {
      if (model.strikes >= maxStrikes) {
        model.trouble = `the thread has died ${model.strikes} times with it; release another version`
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
  const load = async ({ key, layered, outputs }: Model): Promise<void> => {
    const { error } = await call({ kind: 'load', key, model: layered, outputs }, loadMs)
    if (error !== undefined)
      throw new DomainError('artifact_invalid', `TensorFlow.js does not load the model: ${error}`)
  }
  const compute = async (key: string, input: Float32Array, rows: number): Promise<Float32Array> => {
    const model = [...models].find((each) => each.key === key)
    if (model?.trouble !== undefined) throw new DomainError('model_unavailable', model.trouble)
    const transfer = [input.buffer as ArrayBuffer]
    const { output, error } = await call({ kind: 'run', key, input, rows }, runMs, transfer)
    if (output === undefined) throw new Error(error)
    if (model !== undefined) model.strikes = 0
    return output
  }
  const drop = (model: Model): void => {
    if (!models.delete(model)) return
    model.lane.close(new DomainError('model_unavailable', `${model.key} is no longer loaded`))
    if (models.size === 0) void end()
    else if (thread !== undefined) call({ kind: 'drop', key: model.key }, runMs).catch(() => {})
  }
  const end = async (): Promise<void> => {
    clearTimeout(again)
    again = undefined
    const ending = thread
    thread = undefined
    await ending?.end()
  }

  return {
    /** Throws `artifact_invalid` when TensorFlow.js does not load the model. */
    async open(name: string, layered: LayeredModel, outputs: number): Promise<Predictor> {
      // The same version may be loaded again while the old one still serves.
      const key = `${name} ${opened++}`
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
    async stop(): Promise<void> {
      stopped = true
      for (const model of models) drop(model)
      await end()
    },
  }
}
