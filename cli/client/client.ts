/** Calls Tenure's HTTP API. Turns every failure, including network errors, into a problem with code, detail and remedy. */
import { setTimeout as pause } from 'node:timers/promises'
import { isError } from '../../domain/errors.ts'
import { parseJson } from '../../domain/parse-json.ts'
import type { ApiFetch } from '../../store/tls/api-fetch.ts'
import { speaksPlain, isUntrusted } from '../../store/tls/certificate.ts'
import type { CommandProblem } from '../exit-codes.ts'

/** Query parameters; undefined ones are omitted. */
export type QueryParameters = Readonly<Record<string, string | number | boolean | undefined>>

export interface Client {
  get<T>(path: string, query?: QueryParameters): Promise<T>
  post<T>(
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
    limits?: { withinMs: number },
  ): Promise<T>
  /** Sends files and texts. */
  postForm<T>(path: string, form: FormData): Promise<T>
  postBytes<T>(path: string, bytes: Uint8Array): Promise<T>
  put<T>(path: string, body: unknown): Promise<T>
  delete<T>(path: string): Promise<T>
  url: string
}

export interface ClientOptions {
  url: string
  key?: string
  timeoutMs?: number
  /** The fetch function to use, such as one with extra trusted certificates; plain `fetch` by default. */
  call?: ApiFetch
}

/** Creates an error with a problem, which the program prints before it exits. */
export function failure(problem: CommandProblem): Error & { problem: CommandProblem } {
  return Object.assign(new Error(problem.detail), { problem })
}

/** Creates an error about the arguments. Without a remedy, the program points to the help of the command. */
export const usageError = (detail: string, remedy?: string) =>
  failure(remedy === undefined ? { code: 'usage', detail } : { code: 'usage', detail, remedy })

/** The error about a file of the arguments that cannot be read. */
export const unreadable = (name: string, error: Error) =>
  usageError(
    (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? `no such file: ${name}`
      : `${name} is not readable: ${error.message}`,
  )

/** Builds a path with encoded values: path`/v1/models/${name}`. */
export const path = (texts: TemplateStringsArray, ...values: unknown[]): string =>
  String.raw({ raw: texts }, ...values.map((value) => encodeURIComponent(String(value))))

export function commandProblemOf(thrown: unknown): CommandProblem | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('problem' in thrown)) return undefined
  return thrown.problem as CommandProblem
}

/** Longer than the API's timeout for workflows, so that its response can name the unreachable server. */
const defaultTimeoutMs = 45_000
/** The server checks what it gets before it answers. */
export const uploadTimeoutMs = 300_000

/**
 * How often a read is repeated when the API reports a retryable error, so that following a training survives a short outage of Postgres.
 */
const maxRepeats = 3

export function createClient(options: ClientOptions): Client {
  const { url, key, timeoutMs = defaultTimeoutMs, call: send = fetch } = options
  const base = url.replace(/\/+$/, '')
  const call = async <T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    { repeats = 0, withinMs = timeoutMs }: { repeats?: number; withinMs?: number } = {},
  ): Promise<T> => {
    const answer = await send(`${base}${path}`, {
      method,
      signal: AbortSignal.timeout(withinMs),
      headers: {
        accept: 'application/json',
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
        ...(body !== undefined && !(body instanceof FormData) && { 'content-type': 'application/json' }),
        ...headers,
      },
      body:
        body instanceof FormData || body instanceof Uint8Array
          ? (body as Uint8Array<ArrayBuffer>)
          : JSON.stringify(body),
    }).catch((error: unknown) => {
      // A file of the configuration, such as a certificate, cannot be used.
      if (isError(error)) throw error
      throw isTimeout(error) ? unanswered(`${method} ${base}${path}`, withinMs) : unreachable(base, error)
    })
    const text = await answer.text()
    const parsed = parseJson(text)
    if (
      repeats > 0 &&
      answer.status === 503 &&
      (parsed as { retryable?: unknown } | undefined)?.retryable === true
    ) {
      await pause(1_000 * (Number(answer.headers.get('retry-after')) || 1))
      return call(method, path, body, headers, { repeats: repeats - 1, withinMs })
    }
    if (!answer.ok)
      throw failure(readProblem(answer.status, parsed, { base, path, hasKey: key !== undefined }))
    if (parsed === undefined && text !== '')
      throw failure({
        code: 'unreachable',
        detail: `${base}${path} did not return JSON`,
        remedy: 'Check the address: it must be that of a Tenure API.',
      })
    return parsed as T
  }
  return {
    url: base,
    get: (path, query = {}) => {
      const search = new URLSearchParams()
      for (const [name, value] of Object.entries(query))
        if (value !== undefined) search.set(name, String(value))
      const target = search.size === 0 ? path : `${path}?${search}`
      // Asks whether a replica is ready, so "not ready" is the answer and not a reason to retry.
      return call('GET', target, undefined, {}, { repeats: path === '/readyz' ? 0 : maxRepeats })
    },
    post: (path, body = {}, headers, limits) => call('POST', path, body, headers, limits),
    postForm: (path, form) => call('POST', path, form),
    postBytes: (path, bytes) =>
      call(
        'POST',
        path,
        bytes,
        { 'content-type': 'application/octet-stream' },
        { withinMs: uploadTimeoutMs },
      ),
    put: (path, body) => call('PUT', path, body),
    delete: (path) => call('DELETE', path),
  }
}

const isTimeout = (error: unknown): boolean => error instanceof Error && error.name === 'TimeoutError'

const unanswered = (request: string, timeoutMs: number) =>
  failure({
    code: 'unreachable',
    detail: `no response to ${request} within ${timeoutMs / 1_000} s; it may still take effect`,
    remedy:
      'Find the process that does not respond with `tenure doctor`; check with `tenure status` whether the request took effect.',
  })

function unreachable(base: string, error: unknown) {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  const reason =
    cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause)
  if (isUntrusted(reason))
    return failure({
      code: 'unreachable',
      detail: `the certificate of ${base} is not trusted (${reason})`,
      remedy:
        'Set TENURE_TLS_CA to the file of the authority that signed it, and use a name that the certificate holds.',
    })
  if (speaksPlain(reason))
    return failure({
      code: 'unreachable',
      detail: `${base} does not speak HTTPS (${reason})`,
      remedy: 'Write http:// in TENURE_URL, or set TENURE_TLS_CERT and TENURE_TLS_KEY on its machine.',
    })
  return failure({
    code: 'unreachable',
    detail: `Tenure does not respond at ${base} (${reason})`,
    remedy:
      reason === 'UND_ERR_SOCKET' && base.startsWith('http:')
        ? 'Write https:// in TENURE_URL if it has a certificate; else start it with `tenure up`.'
        : 'Start it with `tenure up`, or set TENURE_URL to its address.',
  })
}

function readProblem(
  status: number,
  body: unknown,
  { base, path, hasKey }: { base: string; path: string; hasKey: boolean },
): CommandProblem {
  const fields = (body ?? {}) as Partial<CommandProblem>
  const { code } = fields
  if (typeof code !== 'string')
    return {
      code: 'unreachable',
      detail: `${base}${path} returned ${status} without a problem document`,
      remedy: 'Check the address: it must be that of a Tenure API of this version.',
      status,
    }
  const noKey = code === 'unauthenticated' && !hasKey
  const remedy = noKey
    ? 'Set TENURE_KEY, or run the command in the project where `tenure up` runs.'
    : fields.remedy
  return { code, status, detail: fields.detail ?? `${path} returned ${status}`, remedy }
}
