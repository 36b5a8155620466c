/**
 * Sends one request to another system, with a timeout. Distinguishes a rejected request from an unreachable system, because an
 * unreachable system ends the round.
 */
import { percentDecoded } from '../../domain/addresses/percent-decoded.ts'
import { boundedText } from '../bounded-text.ts'
import { outgoingFetch } from '../outgoing-fetch.ts'

/** The system rejected the request. Nothing else of its answer is kept: its operator may not be ours. */
export interface Refusal {
  refused: true
  status: number
  code?: (typeof knownCodes)[number]
  message: string
}

/** Error codes of MLflow and error types of Prometheus that an operator can act on. */
const knownCodes = [
  'RESOURCE_ALREADY_EXISTS',
  'RESOURCE_DOES_NOT_EXIST',
  'INVALID_PARAMETER_VALUE',
  'PERMISSION_DENIED',
  'bad_data',
  'execution',
  'timeout',
] as const
const timeoutMs = 10_000
const maxBytes = 4_194_304
/** The most bytes that are read for an error code. */
const maxErrorBytes = 65_536

/** Returns the parsed response. Throws a `Refusal` for a rejected request, and any other error when the system is unreachable. */
export async function sendRequest<T>(
  { url, token }: { url: string; token?: string },
  {
    method,
    path,
    body,
    maxMs = timeoutMs,
  }: { method: 'GET' | 'POST' | 'PATCH' | 'DELETE'; path: string; body?: object; maxMs?: number },
): Promise<T> {
  const { address, authorization } = addressOf(url, token)
  const answer = await outgoingFetch(`${address}${path}`, {
    method,
    // The environment names the mirrors, and the file of metric sources.
    privateHosts: 'all',
    maxBytes,
    maxMs,
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(authorization === undefined ? {} : { authorization }),
    },
    body: body && JSON.stringify(body),
  })
  const { ok, status } = answer
  if (status >= 300 && status < 400) {
    await answer.discard()
    throw new Error(`the system responded ${status} and names another address, which is not followed`)
  }
  if (ok) return parsed((await answer.bytes()).toString('utf8')) as T
  const said = parsed(await boundedText(answer.chunks(), maxErrorBytes))
  const { error_code, errorType } = (said ?? {}) as { error_code?: unknown; errorType?: unknown }
  const code = knownCodes.find((each) => each === error_code || each === errorType)
  const message = `the system responded ${status}${code === undefined ? '' : ` ${code}`}`
  const refusal: Refusal = { refused: true, status, code, message }
  throw Object.assign(new Error(refusal.message), refusal)
}

export const isRequestRefusal = (error: unknown): error is Refusal =>
  (error as { refused?: unknown } | null)?.refused === true

/** Moves user and password from the URL to a header, because fetch rejects them in a URL. */
function addressOf(url: string, token: string | undefined): { address: string; authorization?: string } {
  const parsedUrl = new URL(url)
  const { username, password } = parsedUrl
  parsedUrl.username = parsedUrl.password = ''
  const address = parsedUrl.toString().replace(/\/+$/, '')
  if (token !== undefined) return { address, authorization: `Bearer ${token}` }
  if (username === '') return { address }
  const pair = `${percentDecoded(username)}:${percentDecoded(password)}`
  return { address, authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
