/**
 * Runs the models of a format outside the event loop, in one thread or process that starts with the first model and ends with the last.
 * When it dies, waiting requests fail. It restarts with all models except those that have ended it several times.
 */
import { type PredictorError, isPredictorError, predictorError } from '../errors.ts'
import type { ModelFacts, Predictor, RowTexts, RunTicket } from '../predictor.ts'
import type { Hosts } from './hosts.ts'
import { createBatcher, type ModelBatch, type BatcherOptions, type Lane, type TextRows } from './batcher.ts'

/** A thread or process in which models are computed. Calls reject with `model_unavailable` when it dies in the meantime. */
export interface ModelHost<Model> {
  /** Loads a model. A second call with the same key replaces it. */
  load(key: string, model: Model, limitMs: number): Promise<LoadReply>
  run(key: string, batch: ModelBatch, limitMs: number): Promise<RunReply>
  drop(key: string, limitMs: number): Promise<unknown>
  /** Absent for a host whose models tell nothing of themselves. */
  facts?(key: string, limitMs: number): Promise<LoadReply>
  end(): Promise<void>
}

export interface LoadReply {
  /** Why the model is not loaded. */
  error?: string
  /** Why its answers are refused, after it was loaded. */
  refusal?: string
  /** The number of outputs of a row. */
  outputs?: number
  cost?: RunCost
  facts?: ModelFacts
}

/** Times in milliseconds that a host has measured when it loaded a model. */
export interface RunCost {
  loadMs: number
  /** The time of a call with one row, of each further row, and of each byte of the texts of a row. */
  callMs: number
  rowMs: number
  byteMs: number
}

export interface HostedPredictor extends Predictor {
  /** Present if the host measures it. */
  cost?: RunCost
}

export interface RunReply {
  output?: Float32Array
  error?: string
}

export interface HostedShape {
  inputs: number
  /** Extracts the texts that the model needs. */
  textsOf?: TextsOf
  /** Whether the values of its rows may stand in no log. */
  isRedacted?: boolean
}

export interface HostOptions<Model> {
  onError: (message: string) => void
  /** Whether it has got rows whose values may stand in no log: what it says of its end may quote one. */
  isRedacted: () => boolean
  /** Called with the models of the open calls, before the calls reject. */
  onDeath: (host: ModelHost<Model>, error: PredictorError, keys: ReadonlySet<string>, cause: Error) => void
}

export interface RuntimeOptions {
  onError: (message: string, error?: unknown) => void
  batches?: BatcherOptions
  /** How the thread or process is started. Default: from the files of this package. */
  hosts?: Hosts
  /** Time limits in milliseconds for loading a model and for computing a batch. Beyond them, the thread or process is ended. */
  loadMs?: number
  runMs?: number
}

/** The kind of a runtime. `name`: the library. `where`: the kind of its host, thread or process. */
export interface RuntimeKind<Model> {
  name: string
  where: 'thread' | 'process'
  start: (options: HostOptions<Model>) => ModelHost<Model>
}

export type Runtime<Model> = ReturnType<typeof createRuntime<Model>>

interface HostedModel<Model> {
  key: string
  model: Model
  lane: Lane | undefined
  outputs: number | undefined
  isRedacted: boolean
  /** Why the model is unavailable. */
  trouble: string | undefined
  /** How often the host has died during calls of this model. */
  strikes: number
}

const maxStrikes = 3
const firstPauseMs = 100
const maxPauseMs = 5_000
const defaultRunMs = 10_000

const noOrder: RunTicket = { background: false, cancelled: false, begunMs: 0 }

export function createRuntime<Model>(kind: RuntimeKind<Model>, options: RuntimeOptions) {
  const batcher = createBatcher(options.batches)
  const models = new Set<HostedModel<Model>>()
  const supervisor = superviseHost(kind, models, options)
  let opened = 0

  const compute = async (model: HostedModel<Model>, batch: ModelBatch): Promise<Float32Array> => {
    if (!models.has(model)) throw unloaded(model)
    if (model.trouble !== undefined) throw predictorError('model_unavailable', model.trouble)
    const { output, error } = await supervisor.run(model, batch)
    if (output === undefined) throw new Error(error)
    if (output.length !== batch.rows * (model.outputs ?? 0))
      throw new Error(`the model gives ${output.length} numbers for ${batch.rows} rows`)
    model.strikes = 0
    return output
  }
  const drop = (model: HostedModel<Model>): void => {
    if (!models.delete(model)) return
    model.lane?.close(unloaded(model))
    supervisor.drop(model)
  }

  return {
    /**
     * Opens a model. The host reports the number of outputs unless it is given. Throws `artifact_invalid` when the library does not load
     * the model.
     */
    async open(
      name: string,
      model: Model,
      { inputs, outputs: expected, textsOf, isRedacted = false }: HostedShape & { outputs?: number },
    ): Promise<HostedPredictor> {
      // The same version may be loaded again while the old one still serves.
      const key = `${name} ${opened++}`
      const idle = { lane: undefined, trouble: undefined, strikes: 0 }
      const hosted: HostedModel<Model> = { key, model, outputs: expected, isRedacted, ...idle }
      models.add(hosted)
      let cost: RunCost | undefined
      try {
        const loaded = await supervisor.load(hosted)
        hosted.outputs = loaded.outputs
        cost = loaded.cost
      } catch (error) {
        drop(hosted)
        throw error
      }
      const outputs = hosted.outputs
      const lane = batcher.lane({ inputs, outputs }, (batch) => compute(hosted, batch))
      hosted.lane = lane
      return {
        inputs,
        outputs,
        cost,
        run(input, rows, output, order = { ...noOrder }, texts) {
          if (hosted.trouble !== undefined) throw predictorError('model_unavailable', hosted.trouble)
          return lane.run(input, rows, output, order, texts && textsOf?.(texts, rows))
        },
        trouble: () => hosted.trouble,
        facts: () => supervisor.facts(hosted),
        close: () => drop(hosted),
      }
    },
    counts: () => ({ ...batcher.counts(), models: models.size, deaths: supervisor.deaths() }),
    async stop(): Promise<void> {
      for (const model of models) drop(model)
      await supervisor.end()
    },
  }
}

/** Starts the host with its first model, ends it with its last, and starts it again with its models after it has died. */
function superviseHost<Model>(
  { name: library, where, start }: RuntimeKind<Model>,
  models: ReadonlySet<HostedModel<Model>>,
  { onError, loadMs = 30_000, runMs = defaultRunMs }: RuntimeOptions,
) {
  let host: ModelHost<Model> | undefined
  let redaction = { isOn: false }
  let deaths = 0

  const running = (): ModelHost<Model> => {
    if (host === undefined) {
      const own = (redaction = { isOn: false })
      host = start({ onError, onDeath, isRedacted: () => own.isOn })
    }
    return host
  }
  const onDeath: HostOptions<Model>['onDeath'] = (dead, error, keys, cause) => {
    if (host !== dead) return
    host = undefined
    if (models.size === 0) return
    deaths++
    for (const model of models) {
      model.trouble = error.message
      if (keys.has(model.key)) model.strikes++
    }
    onError(`the ${where} of ${library} has died and is started again`, cause)
    revival.schedule()
  }
  /** Loads a model and returns the number of outputs of a row and its times. */
  const load = async ({
    key,
    model,
    outputs: expected = 0,
  }: HostedModel<Model>): Promise<{ outputs: number; cost?: RunCost }> => {
    const { error, refusal, outputs = expected, cost } = await running().load(key, model, loadMs)
    if (error !== undefined)
      throw predictorError('artifact_invalid', `${library} does not load the model: ${error}`)
    if (refusal !== undefined)
      throw predictorError('artifact_invalid', `${library} loads the model, but ${refusal}`)
    return { outputs, cost }
  }
  const reload = async (model: HostedModel<Model>): Promise<void> => {
    try {
      await load(model)
      model.trouble = undefined
      revival.reset()
    } catch (error) {
      onError(`${model.key} could not be loaded again`, error)
      // It was not even started.
      if (isPredictorError(error, 'overloaded') && models.size > 0) revival.schedule()
    }
  }
  const revival = createBackoff(() => {
    for (const model of models) {
      if (model.strikes < maxStrikes) void reload(model)
      else {
        model.trouble = `the ${where} has died ${model.strikes} times with it; release another version`
        onError(`${model.key} is not loaded again: ${model.trouble}`)
      }
    }
  })
  const end = async (): Promise<void> => {
    revival.cancel()
    const ending = host
    host = undefined
    await ending?.end()
  }

  return {
    run(model: HostedModel<Model>, batch: ModelBatch): Promise<RunReply> {
      const asked = running()
      redaction.isOn ||= model.isRedacted
      return asked.run(model.key, batch, runMs)
    },
    load,
    async facts({ key }: HostedModel<Model>): Promise<ModelFacts> {
      return (await running().facts?.(key, runMs))?.facts ?? {}
    },
    drop({ key }: HostedModel<Model>): void {
      if (models.size === 0) void end()
      else host?.drop(key, runMs).catch(() => {})
    },
    deaths: () => deaths,
    end,
  }
}

/** Runs work after a pause that doubles each time until it is reset. */
function createBackoff(work: () => void) {
  let pauseMs = firstPauseMs
  let timer: NodeJS.Timeout | undefined
  return {
    schedule(): void {
      if (timer !== undefined) return
      timer = setTimeout(() => {
        timer = undefined
        work()
      }, pauseMs)
      pauseMs = Math.min(pauseMs * 2, maxPauseMs)
    },
    reset: (): void => void (pauseMs = firstPauseMs),
    cancel(): void {
      clearTimeout(timer)
      timer = undefined
    },
  }
}

const unloaded = ({ key }: { key: string }) =>
  predictorError('model_unavailable', `${key} is no longer loaded`)

/** Extracts from the texts of rows those that a model needs. */
export type TextsOf = (texts: RowTexts, rows: number) => TextRows
