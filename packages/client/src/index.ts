/**
 * Calls Tenure from programs and browsers: predictions, outcomes, events, retrainings and approvals. Has no runtime imports. Retries errors
 * that the API marks as retryable. A command carries an idempotency key, so that a retry runs it once.
 */
import type {
  CallOptions,
  CommandOptions,
  LoggedPrediction,
  PredictOptions,
  TenureClient,
  TenureCommandResult,
  TenureError,
  TenureOptions,
  WaitOptions,
  WaitState,
} from './types.ts'

export type * from './types.ts'

interface Call extends CallOptions {
  headers?: Record<string, string | undefined>
}

type SendRequest = <T>(method: string, path: string, body?: unknown, call?: Call) => Promise<T>

const firstPauseMs = 100
/** The longest pause. An error with a longer Retry-After is thrown. */
const maxPauseMs = 10_000
/** Predictions take a key of their caller only (`idempotencyKey`). */
const predictionPath = /[/:](predict|explain|infer|invocations)(\?|$)/
const dayMs = 86_400_000
/** The most predictions of one response. */
const maxPage = 1_000

export function createTenure(options: TenureOptions): TenureClient {
  const request = createRequests(options)
  const predict = <T>(
    path: string,
    body: unknown,
    { deadlineMs, idempotencyKey, ...call }: PredictOptions,
  ) => {
    const deadline = deadlineMs === undefined ? undefined : String(deadlineMs)
    const headers = { 'x-deadline-ms': deadline, 'idempotency-key': idempotencyKey }
    return request<T>('POST', path, body, { ...call, headers })
  }
  /** Sends commands with an idempotency key, so that a retry runs them once. */
  const call = <T>(method: string, path: string, body?: unknown, given: CallOptions = {}): Promise<T> => {
    const isCommand = method !== 'GET' && !predictionPath.test(path)
    const headers = isCommand ? { 'idempotency-key': crypto.randomUUID() } : undefined
    return request<T>(method, path, body, { ...given, headers })
  }
  const releaseCommand =
    (name: string) =>
    (release: string, given: CommandOptions = {}) => {
      const { reason, artifactDigest, evaluationDigest, policyDigest, ...callOptions } = given
      const digests = {
        artifact_digest: artifactDigest,
        evaluation_digest: evaluationDigest,
        policy_digest: policyDigest,
      }
      const path = `/v1/releases/${encodeURIComponent(release)}/${name}`
      return call<TenureCommandResult>('POST', path, { reason, ...digests }, callOptions)
    }

  return {
    predict(model, rows, { routingKey, reference, ...call } = {}) {
      const instances = Array.isArray(rows) ? rows : [rows]
      const path = `/v1/models/${encodeURIComponent(model)}/predict`
      return predict(path, { instances, routing_key: routingKey, reference }, call)
    },
    infer(model, inputs, { routingKey, reference, version, id, outputs, ...call } = {}) {
      const pinned = version === undefined ? '' : `/versions/${encodeURIComponent(version)}`
      const texts = { routing_key: routingKey, reference }
      const parameters = (routingKey ?? reference) === undefined ? undefined : texts
      const path = `/v2/models/${encodeURIComponent(model)}${pinned}/infer`
      return predict(path, { id, parameters, inputs, outputs }, call)
    },
    outcomes(outcomes, call) {
      const now = new Date().toISOString()
      const sent = outcomes.map((outcome) => ({ ...outcome, observed_at: outcome.observed_at ?? now }))
      return request('POST', '/v1/outcomes', { outcomes: sent }, call)
    },
    events(events, call) {
      const now = new Date().toISOString()
      const sent = events.map((event) => ({ ...event, occurred_at: event.occurred_at ?? now }))
      return request('POST', '/v1/events', { events: sent }, call)
    },
    async predictions(model, { routingKey, limit = Infinity, signal, requestId, ...filters } = {}) {
      const found: LoggedPrediction[] = []
      let cursor: string | undefined
      do {
        const query = new URLSearchParams({ model, limit: String(Math.min(maxPage, limit - found.length)) })
        for (const [name, value] of Object.entries({ ...filters, routing_key: routingKey, cursor }))
          if (value !== undefined) query.set(name, value)
        const page = await request<{ predictions: LoggedPrediction[]; next_cursor?: string }>(
          'GET',
          `/v1/predictions?${query.toString()}`,
          undefined,
          { signal, requestId },
        )
        found.push(...page.predictions)
        cursor = page.next_cursor
      } while (cursor !== undefined && found.length < limit)
      return found
    },
    retrain(model, { reason, asOf, hyperparameters, ...callOptions } = {}) {
      const path = `/v1/models/${encodeURIComponent(model)}/retrainings`
      return call('POST', path, { reason, as_of: asOf, hyperparameters }, callOptions)
    },
    approve: releaseCommand('approve'),
    reject: releaseCommand('reject'),
    wait: (id, options = {}) => waitForEnd(request, id, options),
    call,
  }
}

/** Returns a function that sends a request, and sends it again after an error that is retryable. */
function createRequests(options: TenureOptions): SendRequest {
  const { maxRetries = 3 } = options
  const attempt = createAttempts(options)
  return async <T>(method: string, path: string, body?: unknown, call: Call = {}): Promise<T> => {
    for (let repeats = 0; ; repeats++) {
      let error: TenureError
      let waitMs = 0
      try {
        const { answer, text } = await attempt(method, path, body, call)
        if (answer.ok) return resultOf(answer, text) as T
        error = problemOf(answer, text)
        waitMs = 1_000 * (Number(answer.headers.get('retry-after')) || 0)
      } catch (thrown) {
        if (!isTenureError(thrown)) throw thrown
        error = thrown
      }
      if (!error.retryable || repeats >= maxRetries || waitMs > maxPauseMs) throw error
      const backoffMs = firstPauseMs * 2 ** repeats * (0.5 + Math.random())
      await pause(Math.min(maxPauseMs, Math.max(waitMs, backoffMs)), call.signal)
    }
  }
}

/** Returns a function that sends a request once and reads its response. */
function createAttempts({ key, url, timeoutMs = 10_000, fetch: send = fetch }: TenureOptions) {
  const base = url.replace(/\/+$/, '')
  return async (method: string, path: string, body: unknown, call: Call) => {
    const timeout = AbortSignal.timeout(timeoutMs)
    try {
      const answer = await send(`${base}${path}`, {
        method,
        headers: headersOf(key, body, call),
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: call.signal === undefined ? timeout : AbortSignal.any([timeout, call.signal]),
      })
      return { answer, text: await answer.text() }
    } catch (error) {
      if (call.signal?.aborted === true) throw error
      throw timeout.aborted
        ? failure('timeout', `${method} ${path} had no complete response within ${timeoutMs} ms`, {
            retryable: true,
          })
        : failure('unreachable', `${base} is not reachable: ${causeOf(error)}`, { retryable: true })
    }
  }
}

function headersOf(key: string | undefined, body: unknown, call: Call): Record<string, string> {
  const headers: Record<string, string> = { accept: 'application/json' }
  if (key !== undefined) headers['authorization'] = `Bearer ${key}`
  if (body !== undefined) headers['content-type'] = 'application/json'
  if (call.requestId !== undefined) headers['x-request-id'] = call.requestId
  for (const [name, value] of Object.entries(call.headers ?? {}))
    if (value !== undefined) headers[name] = value
  return headers
}

/** Asks for the state of a release, retraining or command until it has ended. */
async function waitForEnd(
  request: SendRequest,
  id: string,
  { everyMs = 1_000, timeoutMs = dayMs, until, ...call }: WaitOptions,
): Promise<WaitState> {
  const path = pathOf(id)
  const endMs = Date.now() + timeoutMs
  for (;;) {
    const state = await request<WaitState>('GET', path, undefined, call)
    if (hasEnded(id, state) || until?.(state) === true) return state
    if (Date.now() + everyMs > endMs)
      throw failure('timeout', `${id} has not ended within ${timeoutMs} ms`, { retryable: false })
    await pause(everyMs, call.signal)
  }
}

/** Whether a thrown value is an error of this client. */
export const isTenureError = (thrown: unknown): thrown is TenureError =>
  thrown instanceof Error && thrown.name === 'TenureError'

function pathOf(id: string): string {
  if (id.startsWith('rel_')) return `/v1/releases/${encodeURIComponent(id)}?limit=1`
  if (id.startsWith('retrain/')) return `/v1/retrainings/${encodeURIComponent(id)}`
  if (id.startsWith('cmd_')) return `/v1/commands/${encodeURIComponent(id)}`
  throw failure('usage', `${id} is not a release (rel_…), retraining (retrain/…) or command (cmd_…)`, {
    retryable: false,
  })
}

const hasEnded = (id: string, { outcome, state }: WaitState): boolean =>
  id.startsWith('cmd_') ? state !== 'waiting' : outcome !== undefined

/** Parses a response. A proxy may answer in the place of the API, and not in JSON. */
function resultOf(answer: Response, text: string): unknown {
  try {
    return text === '' ? undefined : (JSON.parse(text) as unknown)
  } catch {
    throw failure('unknown', `status ${answer.status} without JSON`, {
      status: answer.status,
      retryable: false,
    })
  }
}

/** Builds the error of a response, for every protocol of the API. */
function problemOf(answer: Response, text: string): TenureError {
  const sent = parsed(text)
  const status = answer.status
  const detail = sent['detail'] ?? sent['error'] ?? sent['message'] ?? `status ${status}`
  const retryable = sent['retryable'] ?? (status === 429 || status === 503)
  return failure(String(sent['code'] ?? 'unknown'), String(detail), {
    status,
    remedy: sent['remedy'] as string | undefined,
    retryable: retryable === true,
    requestId: answer.headers.get('x-request-id') ?? undefined,
  })
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

function failure(
  code: string,
  detail: string,
  facts: Pick<TenureError, 'retryable'> & Partial<TenureError>,
): TenureError {
  return Object.assign(new Error(`${code}: ${detail}`), { ...facts, code, name: 'TenureError' as const })
}

function causeOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string; code?: string } }
  return cause?.code ?? cause?.message ?? message ?? String(error)
}

const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
  })
