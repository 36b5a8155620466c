/** The types of the client: what it takes and what the API answers. */

export interface TenureOptions {
  /** Address of the API, such as `http://127.0.0.1:7400`. */
  url: string
  /** API key; predictions may be open without one. */
  key?: string
  /** Limit of one attempt, in milliseconds; 10,000 by default. */
  timeoutMs?: number
  /** Repetitions after a retryable failure; 3 by default. */
  maxRetries?: number
  fetch?: typeof fetch
}

export type TenureRow = Readonly<Record<string, number | string | null>>

export interface CallOptions {
  signal?: AbortSignal
  /** Sent as `x-request-id` and repeated in the response and in errors. */
  requestId?: string
}

export interface PredictOptions extends CallOptions {
  /** The same key gets the same arm during a release. */
  routingKey?: string
  /** A request that cannot be answered within this time is not computed. */
  deadlineMs?: number
  /** A UUID; with a durable prediction log a repetition gets the first response again. */
  idempotencyKey?: string
}

export interface TenurePrediction {
  /** Send the outcome with it. */
  id: string
  probability?: number
  label?: string | boolean
  positive?: string
  probabilities?: Record<string, number>
  value?: number
  quantiles?: Record<string, number>
  values?: Record<string, number>
  /** Lies in the band that a person decides. */
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
  /** The only version that may serve it. */
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

export interface TenureOutcome {
  prediction_id: string
  /** Of several numbers an object with each of them by its name. */
  value: number | string | boolean | Record<string, number>
  /** ISO 8601 with a zone; now by default. */
  observed_at?: string
}

export interface OutcomeCounts {
  received: number
  accepted: number
  stored: number
  unknown: number
}

/** What a user did after a prediction, by its id or by the routing key of the user's requests. */
export interface TenureEvent {
  /** An event is stored once by its id; by all its fields when absent. */
  id?: string
  prediction_id?: string
  routing_key?: string
  /** Counts an event of a routing key for this model only. */
  model?: string
  name: string
  /** 1 by default. */
  value?: number
  /** ISO 8601 with a zone; now by default. Give it, or an id, where an event may be sent again. */
  occurred_at?: string
}

export interface EventCounts extends OutcomeCounts {
  refused: number
  /** The first refused events, each with its place. */
  issues: string[]
}

/** A command that has started something, or waits for Temporal (`state` is then `waiting`). */
export interface Started {
  id: string
  model?: string
  workflow_id?: string
  command?: string
  state?: string
  message?: string
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
  /** Of a command that waits for Temporal. */
  id?: string
  state?: string
}

export interface WaitOptions extends CallOptions {
  /** Between two reads; 1,000 ms by default. */
  everyMs?: number
  /** 24 hours by default. */
  timeoutMs?: number
  /** Ends the wait earlier, for example at a stage. */
  until?: (state: WaitState) => boolean
}

/** A release, a retraining or a recorded command. */
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
  /** A code of docs/reference/errors.md; `unreachable` or `timeout` without a response. */
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
  /** Refused events are reported; the others are stored. */
  events(events: readonly TenureEvent[], options?: CallOptions): Promise<EventCounts>
  retrain(model: string, options?: RetrainOptions): Promise<Started>
  approve(release: string, options?: CommandOptions): Promise<TenureCommandResult>
  reject(release: string, options?: CommandOptions): Promise<TenureCommandResult>
  /** Resolves with a release (`rel_…`), retraining (`retrain/…`) or recorded command (`cmd_…`) when it has ended. */
  wait(id: string, options?: WaitOptions): Promise<WaitState>
  /** Calls any other route. */
  call<T>(method: string, path: string, body?: unknown, options?: CallOptions): Promise<T>
}
