/**
 * Runs the models of a format outside the event loop, in one thread or process that starts with the first model and ends with the last.
 * When it dies, it restarts, and the rows that it was computing are asked one by one: a row with which it dies again is refused from then on, and
 * the others are answered. Models that have ended it several times otherwise, or by rows alone, return after minutes.
 */
import { createHash } from 'node:crypto'
import { type PredictorError, isPredictorError, predictorError } from '../errors.ts'
import type { ModelFacts, Predictor, RowTexts, RunTicket } from '../predictor.ts'
import type { Hosts } from './hosts.ts'
import {
  createBatcher,
  diedWith,
  type ModelBatch,
  type BatcherOptions,
  type Lane,
  type TextRows,
} from './batcher.ts'
import { isCallTimeout } from './pending-calls.ts'

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
  /** How often the host has died during calls of this model since its last answer; with a row that is refused since then, once. */
  strikes: number
  /** Refused rows that have ended the host since the last answer. */
  found: number
  /** The digest of a row with which alone the host has died once. */
  suspect: string | undefined
  /** Rows with which alone the host has died twice, by their digests, with the time until which they are refused, and how it died. */
  ending: Map<string, { untilMs: number; death: Error }>
}

const maxStrikes = 3
/** After so long a model that was given up, and a row that was refused, are tried again: the machine may have lacked memory. */
const againMs = 300_000
/** Of the refused rows, the oldest is forgotten. */
const maxEnding = 1_000
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
    if (model.trouble !== undefined) await supervisor.revived(model)
    if (model.trouble !== undefined) throw predictorError('model_unavailable', model.trouble)
    const { output, error } = await supervisor.run(model, batch).catch((problem: unknown) => {
      throw isDeath(problem) ? afterDeath(model, batch, problem) : problem
    })
    if (output === undefined) throw new Error(error)
    if (output.length !== batch.rows * (model.outputs ?? 0))
      throw new Error(`the model gives ${output.length} numbers for ${batch.rows} rows`)
    Object.assign(model, { strikes: 0, found: 0, suspect: undefined })
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
      const idle = { lane: undefined, trouble: undefined, strikes: 0, found: 0, suspect: undefined }
      const hosted: HostedModel<Model> = {
        key,
        model,
        outputs: expected,
        isRedacted,
        ending: new Map(),
        ...idle,
      }
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
          const own = texts && textsOf?.(texts, rows)
          if (hosted.ending.size > 0) refuseEnding(hosted, { input, rows, inputs }, own)
          return lane.run(input, rows, output, order, own)
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

/** Whether a host has died, and not of a call that took too long, as it may on a busy machine. */
const isDeath = (problem: unknown): problem is Error =>
  isPredictorError(problem, 'model_unavailable') &&
  problem.cause !== undefined &&
  !isCallTimeout(problem.cause)

/** Returns the error of a batch with which the host has died: of a row alone, when it has done so twice; otherwise its rows are computed one by one. */
function afterDeath<Model>(
  model: HostedModel<Model>,
  { rows, input, texts }: ModelBatch,
  death: Error,
): Error {
  if (rows > 1) return diedWith(death)
  const digest = digestOf(input, texts)
  if (model.suspect !== digest) {
    model.suspect = digest
    return diedWith(death)
  }
  model.suspect = undefined
  model.strikes = ++model.found
  model.ending.set(digest, { untilMs: performance.now() + againMs, death })
  for (const [oldest] of model.ending) if (model.ending.size > maxEnding) model.ending.delete(oldest)
  return endingRow(death)
}

const endingRow = ({ message }: Error): Error =>
  new Error(`${message}; twice by this row alone, which is refused for ${againMs / 60_000} minutes`)

function refuseEnding<Model>(
  { ending }: HostedModel<Model>,
  { input, rows, inputs }: { input: Float64Array; rows: number; inputs: number },
  texts: TextRows | undefined,
): void {
  for (const [digest, { untilMs }] of ending) if (untilMs <= performance.now()) ending.delete(digest)
  for (let row = 0; row < rows; row++) {
    const own = texts?.bytes.subarray(texts.starts[row], texts.starts[row + 1])
    const found = ending.get(digestOf(input.subarray(row * inputs, (row + 1) * inputs), own))
    if (found !== undefined) throw endingRow(found.death)
  }
}

const digestOf = (input: Float64Array, texts: Uint8Array = new Uint8Array()): string =>
  createHash('sha1')
    .update(new Uint8Array(input.buffer, input.byteOffset, input.byteLength))
    .update(texts)
    .digest('base64')

/** Starts the host with its first model, ends it with its last, and starts it again with its models after it has died. */
function superviseHost<Model>(
  { name: library, where, start }: RuntimeKind<Model>,
  models: ReadonlySet<HostedModel<Model>>,
  { onError, loadMs = 30_000, runMs = defaultRunMs }: RuntimeOptions,
) {
  let host: ModelHost<Model> | undefined
  let redaction = { isOn: false }
  let deaths = 0
  /** The models that are to be loaded again, with what waits for that. */
  const waiting = new Map<HostedModel<Model>, (() => void)[]>()
  const settle = (model: HostedModel<Model>): void => {
    const all = waiting.get(model) ?? []
    waiting.delete(model)
    for (const go of all) go()
  }

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
      if (!waiting.has(model)) waiting.set(model, [])
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
  const givenUp = new Set<NodeJS.Timeout>()
  const revival = createBackoff(() => {
    for (const model of models) {
      if (model.strikes < maxStrikes) void reload(model).finally(() => settle(model))
      else {
        model.trouble = `the ${where} has died ${model.strikes} times with it; it is tried again after ${againMs / 60_000} minutes, or release another version`
        onError(`${model.key} is not loaded again: ${model.trouble}`)
        settle(model)
        const timer = setTimeout(() => {
          givenUp.delete(timer)
          if (!models.has(model)) return
          // One more death, and it is given up again.
          model.strikes = maxStrikes - 1
          void reload(model)
        }, againMs).unref()
        givenUp.add(timer)
      }
    }
  })
  const end = async (): Promise<void> => {
    revival.cancel()
    for (const timer of givenUp) clearTimeout(timer)
    givenUp.clear()
    for (const model of waiting.keys()) settle(model)
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
    /** Resolves when the model was loaded again or could not be. */
    revived: (model: HostedModel<Model>): Promise<void> =>
      new Promise((resolve) => {
        const others = waiting.get(model)
        if (others === undefined) resolve()
        else others.push(resolve)
      }),
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
