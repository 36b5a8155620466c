/**
 * Sends one request to another system, with a timeout. Distinguishes a rejected request from an unreachable system, because an
 * unreachable system ends the round.
 */
import { redactedOf } from '../../domain/redact.ts'
import { percentDecoded } from '../../domain/addresses/percent-decoded.ts'
import type { Mirror } from '../../temporal.config.ts'
import { boundedText } from '../../store/bounded-text.ts'
import { outgoingFetch } from '../../store/outgoing-fetch.ts'

/** The system rejected the request. */
export interface Refusal {
  refused: true
  status: number
  /** MLflow's error code. */
  code: string
  message: string
}

const timeoutMs = 10_000
const maxBytes = 4_194_304

/** Returns the parsed response. Throws a `Refusal` for a rejected request, and any other error when the system is unreachable. */
export async function sendRequest<T>(
  { url, token }: Mirror,
  { method, path, body }: { method: 'GET' | 'POST' | 'PATCH' | 'DELETE'; path: string; body?: object },
): Promise<T> {
  const { address, authorization } = addressOf(url, token)
  const answer = await outgoingFetch(`${address}${path}`, {
    method,
    redirect: 'error',
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(authorization === undefined ? {} : { authorization }),
    },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  })
  const text = await boundedText(answer, maxBytes)
  if (answer.ok) return parsed(text) as T
  const { error_code: code, message } = (parsed(text) ?? {}) as { error_code?: unknown; message?: unknown }
  const secrets = [token, authorization?.split(' ')[1], percentDecoded(new URL(url).password)]
  const refusal: Refusal = {
    refused: true,
    status: answer.status,
    code: typeof code === 'string' ? code : '',
    message: `the system responded ${answer.status}: ${redactedOf(String(message ?? text), secrets).slice(0, 300)}`,
  }
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
