/** Defines the types of the client: its parameters and the API's responses. */

export interface TenureOptions {
  /** Address of the API, such as `http://127.0.0.1:7400`. */
  url: string
  /** API key; predictions may be open without one. */
  key?: string
  /** Timeout of one attempt, in ms. Default: 10,000. */
  timeoutMs?: number
  /** Maximum retries after a retryable failure. Default: 3. */
  maxRetries?: number
  fetch?: typeof fetch
}

export type TenureRow = Readonly<Record<string, number | string | null>>

export interface CallOptions {
  signal?: AbortSignal
  /** Sent as `x-request-id`, and returned in the response and in errors. */
  requestId?: string
}

export interface PredictOptions extends CallOptions {
  /** The same key gets the same arm during a release. */
  routingKey?: string
  /** Your name of what the request is about, such as an order number. Its outcome may name it. */
  reference?: string
  /** Deadline in ms. The server does not compute a request that cannot be answered in time. */
  deadlineMs?: number
  /** A UUID. With a durable prediction log, a retry returns the first response. */
  idempotencyKey?: string
}

export interface TenurePrediction {
  /** Send this id with the outcome. */
  id: string
  probability?: number
  label?: string | boolean
  positive?: string
  probabilities?: Record<string, number>
  value?: number
  quantiles?: Record<string, number>
  values?: Record<string, number>
  /** True if the prediction lies in the band for human review. */
  review?: true
}

export interface TenurePredictions {
  model: string
  version: string
  arm: string
  generation: number
  predictions: TenurePrediction[]
  fallback?: boolean
  stale?: boolean
  unknown_categories?: Record<string, string[]>
  defaulted?: { instance: number; feature: string; why: string }[]
}

export interface TenureTensor {
  name: string
  datatype: string
  shape: number[]
  data: unknown[]
}

export interface InferOptions extends PredictOptions {
  /** The only version allowed to serve the request. */
  version?: string
  id?: string
  outputs?: { name: string }[]
}

export interface Inference {
  model_name: string
  model_version: string
  id?: string
  parameters: { arm: string; generation: number; prediction_id: string }
  outputs: TenureTensor[]
}

/** Names its prediction by the id, or by the model and the reference of its request. */
export interface TenureOutcome {
  prediction_id?: string
  model?: string
  reference?: string
  /** The index of the row, where a request with the reference has several. */
  instance?: number
  /** For a label of several numbers: an object with each number by its name. */
  value: number | string | boolean | Record<string, number>
  /** ISO 8601 with a time zone. Default: now. */
  observed_at?: string
}

export interface OutcomeCounts {
  received: number
  accepted: number
  stored: number
  unknown: number
}

/** An action of a user after a prediction, identified by the prediction's id or by the routing key of the user's requests. */
export interface TenureEvent {
  /** Events with the same id are stored once. Without an id, events with the same fields are stored once. */
  id?: string
  prediction_id?: string
  routing_key?: string
  /** Counts an event with a routing key for this model only. */
  model?: string
  name: string
  /** Default: 1. */
  value?: number
  /** ISO 8601 with a time zone. Default: now. Set this or an id if the event may be sent again. */
  occurred_at?: string
}

export interface EventCounts extends OutcomeCounts {
  refused: number
  /** The first refused events, each with its index. */
  issues: string[]
}

/** A command that started something, or that waits for Temporal (`state` is then `waiting`). */
export interface Started {
  id: string
  model?: string
  workflow_id?: string
  command?: string
  state?: string
  message?: string
}

export interface PredictionSearch extends CallOptions {
  version?: string
  arm?: string
  routingKey?: string
  /** Your name of the request. Searches the whole log, as `subject` does. */
  reference?: string
  /** The key of a person, as an erasure names it. */
  subject?: string
  /** ISO 8601 with a time zone, or a day. */
  since?: string
  until?: string
  limit?: number
}

export interface LoggedPrediction {
  id: string
  at: string
  model: string
  version: string
  arm: string
  generation: number
  /** The index of the prediction in its request, and the number of predictions of that. */
  instance: number
  instances: number
  latency_us: number
  outputs: number[]
  release?: string
  routing_key?: string
  reference?: string
  key_id?: string
  inputs?: Record<string, number | string | null>
  answer?: Omit<TenurePrediction, 'id'>
  outcome?: { value: TenureOutcome['value']; observed_at: string; arrived_at: string }
  review?: { value: TenureOutcome['value']; reviewed_at: string }
}

export interface RetrainOptions extends CallOptions {
  reason?: string
  /** Trains on the data known at this time (ISO 8601). */
  asOf?: string
  hyperparameters?: Record<string, number | string | boolean>
}

/** The digests bind an approval to what was reviewed. */
export interface CommandOptions extends CallOptions {
  reason?: string
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
}

export interface TenureCommandResult {
  message: string
  release?: string
  accepted?: boolean
  stage?: string
  /** The id of a command that waits for Temporal. */
  id?: string
  state?: string
}

export interface WaitOptions extends CallOptions {
  /** Polling interval in ms. Default: 1,000. */
  everyMs?: number
  /** Timeout of the wait in ms. Default: 24 hours. */
  timeoutMs?: number
  /** Ends the wait early when true, for example at a stage. */
  until?: (state: WaitState) => boolean
}

/** The state of a release, a retraining or a recorded command. */
export interface WaitState {
  id: string
  model: string
  stage?: string
  outcome?: string
  reason?: string
  message?: string
  state?: unknown
  version?: string
  ended_at?: string
  [field: string]: unknown
}

export interface TenureError extends Error {
  name: 'TenureError'
  /** An error code of docs/reference/errors.md; `unreachable` or `timeout` without a response. */
  code: string
  status?: number
  remedy?: string
  retryable: boolean
  requestId?: string
}

export interface TenureClient {
  predict(
    model: string,
    rows: TenureRow | readonly TenureRow[],
    options?: PredictOptions,
  ): Promise<TenurePredictions>
  /** Predicts from tensors of the Open Inference Protocol. */
  infer(model: string, inputs: readonly TenureTensor[], options?: InferOptions): Promise<Inference>
  outcomes(outcomes: readonly TenureOutcome[], options?: CallOptions): Promise<OutcomeCounts>
  /** Stores valid events and reports refused ones. */
  events(events: readonly TenureEvent[], options?: CallOptions): Promise<EventCounts>
  /** The predictions of the log, the newest first: at most `limit`, by default all of the last 24 hours. */
  predictions(model: string, search?: PredictionSearch): Promise<LoggedPrediction[]>
  retrain(model: string, options?: RetrainOptions): Promise<Started>
  approve(release: string, options?: CommandOptions): Promise<TenureCommandResult>
  reject(release: string, options?: CommandOptions): Promise<TenureCommandResult>
  /** Resolves when a release (`rel_…`), retraining (`retrain/…`) or recorded command (`cmd_…`) has ended. */
  wait(id: string, options?: WaitOptions): Promise<WaitState>
  /** Calls any other route of the API. */
  call<T>(method: string, path: string, body?: unknown, options?: CallOptions): Promise<T>
}
