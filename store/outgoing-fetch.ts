/**
 * The one client for HTTP servers of others. It follows no redirect, connects to no private address that is not allowed, and limits the
 * size and the time of every answer, because a server that an address names may be hostile.
 *
 * It uses undici, not the `fetch` of Node 20 to 24, which ends the process when a server closes a connection whose body is read slowly
 * (nodejs/undici issue 5360): no caller can catch that.
 */
import { DomainError, isError } from '../domain/errors.ts'
import { createGuard, type PrivateHosts } from './outgoing-address.ts'
import type * as Undici from './undici.ts'

export interface OutgoingRequest {
  method?: string
  headers?: Record<string, string> | [string, string][]
  body?: string | Uint8Array
  privateHosts: PrivateHosts
  /** The one authority of its certificate, as PEM. Default: those of this process. */
  ca?: string
  /** The most bytes of the body, after decompression. */
  maxBytes: number
  /** The time for the whole exchange. */
  maxMs: number
  /** The time without a byte. Default: `maxMs`. */
  maxSilentMs?: number
}

export interface OutgoingAnswer {
  status: number
  /** Whether the status is from 200 to 299. A redirect is not. */
  ok: boolean
  headers: Headers
  /** Throws `answer_too_large`. Reading ends the exchange, as does leaving the loop. */
  chunks(): AsyncGenerator<Uint8Array>
  /** The whole body. Throws `answer_too_large`. */
  bytes(): Promise<Buffer>
  /** Ends the exchange without reading the body. */
  discard(): Promise<void>
}

let loaded: Promise<typeof Undici> | undefined
/** Loads undici where it is needed. Each `import()` is resolved anew, for which a call in the path of a prediction would wait. */
const undici = () => (loaded ??= import('./undici.ts'))

/** By their list of private hosts, their protocol and their authority. Separate from the global dispatcher, which belongs to Node's fetch once that was used. */
const agents = new Map<string, Promise<Undici.Agent>>()

/**
 * Throws for an address that no request may have. Without its text: it may hold a password, or be secret as a whole, and the library would
 * repeat it.
 */
function requireAddress(address: string): void {
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new DomainError('address_not_allowed', 'the address is not an http:// or https:// address')
  if (`${url.username}${url.password}` !== '')
    throw new DomainError('address_not_allowed', 'the address holds a user or a password, which is not sent')
}

/** Throws `address_not_allowed` for a private address, and the error of the connection when the server does not answer in time. */
export async function outgoingFetch(
  address: string,
  { privateHosts, ca, maxBytes, maxMs, maxSilentMs = maxMs, ...request }: OutgoingRequest,
): Promise<OutgoingAnswer> {
  requireAddress(address)
  const { undiciFetch } = await undici()
  const dispatcher = await agentFor(privateHosts, { ca })
  const stop = new AbortController()
  const whole = setTimeout(() => stop.abort(new Error(`not complete within ${maxMs} ms`)), maxMs)
  const silent = setTimeout(() => stop.abort(new Error(`no byte for ${maxSilentMs} ms`)), maxSilentMs)
  const end = (): void => {
    clearTimeout(whole)
    clearTimeout(silent)
  }
  try {
    const { status, ok, headers, body } = await undiciFetch(address, {
      ...request,
      dispatcher,
      redirect: 'manual',
      signal: stop.signal,
    })
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      let bytes = 0
      try {
        for await (const chunk of body ?? []) {
          silent.refresh()
          bytes += (chunk as Uint8Array).length
          // Written this way round, so that a limit that is not a number admits nothing.
          if (!(bytes <= maxBytes))
            throw new DomainError(
              'answer_too_large',
              `${new URL(address).host} sends more than ${maxBytes} bytes`,
            )
          yield chunk as Uint8Array
        }
      } finally {
        end()
      }
    }
    return {
      status,
      ok,
      headers: headers as unknown as Headers,
      chunks,
      bytes: async () => {
        const parts: Uint8Array[] = []
        for await (const chunk of chunks()) parts.push(chunk)
        return Buffer.concat(parts)
      },
      discard: async () => {
        end()
        await body?.cancel()
      },
    }
  } catch (error) {
    end()
    // fetch wraps the errors of connections.
    const { cause } = error as { cause?: unknown }
    throw isError(cause) ? cause : error
  }
}

/**
 * Posts a small body under the same rules, for calls in the path of a prediction: the streams of fetch take four times as long. Returns no
 * body with a status that is not from 200 to 299, unless it `readsErrors`. Throws for a compressed body, whose length says nothing. A request that meets the end of a
 * connection that has answered before is sent once more on a new one, so the body must be one that may be sent twice. `http2`: the server
 * speaks HTTP/2 alone, without TLS too.
 */
export async function outgoingPost(
  address: string,
  {
    headers,
    body,
    http2 = false,
    readsErrors = false,
    privateHosts,
    maxBytes,
    maxMs,
  }: Required<Pick<OutgoingRequest, 'privateHosts' | 'maxBytes' | 'maxMs'>> & {
    headers: Record<string, string>
    body: string | Uint8Array
    http2?: boolean
    readsErrors?: boolean
  },
): Promise<{ status: number; body: Buffer; headers: Record<string, unknown> }> {
  requireAddress(address)
  const { undiciRequest } = await undici()
  const dispatcher = await agentFor(privateHosts, { http2 })
  const stop = new AbortController()
  const whole = setTimeout(() => stop.abort(new Error(`not complete within ${maxMs} ms`)), maxMs)
  const post = (by: Undici.Agent) =>
    undiciRequest(address, { method: 'POST', headers, body, dispatcher: by, signal: stop.signal })
  let fresh: Undici.Agent | undefined
  try {
    const answer = await post(dispatcher).catch(async (error: unknown) => {
      if (!metItsEnd(error)) throw error
      fresh = await createAgent(privateHosts, { http2 })
      return post(fresh)
    })
    const { statusCode: status } = answer
    const refuse = (why?: string): Buffer => {
      answer.body.on('error', () => {}).destroy()
      if (why !== undefined) throw new DomainError('answer_too_large', `${new URL(address).host} ${why}`)
      return Buffer.alloc(0)
    }
    if (!readsErrors && (status < 200 || status >= 300))
      return { status, body: refuse(), headers: answer.headers }
    const coding = answer.headers['content-encoding']
    if (coding !== undefined && String(coding).toLowerCase() !== 'identity')
      refuse('sends a compressed answer, which is not read')
    const parts: Uint8Array[] = []
    let bytes = 0
    for await (const part of answer.body) {
      bytes += (part as Uint8Array).length
      if (!(bytes <= maxBytes)) refuse(`sends more than ${maxBytes} bytes`)
      parts.push(part as Uint8Array)
    }
    return { status, body: Buffer.concat(parts), headers: { ...answer.headers, ...answer.trailers } }
  } finally {
    clearTimeout(whole)
    void fresh?.destroy()
  }
}

/** Whether a server has closed a connection of earlier answers before the head of the next one. */
function metItsEnd(error: unknown): boolean {
  const { code, socket } = error as { code?: string; socket?: { bytesRead?: number } }
  return ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'].includes(code ?? '') && (socket?.bytesRead ?? 0) > 0
}

interface AgentOptions {
  http2?: boolean
  ca?: string
}

function agentFor(privateHosts: PrivateHosts, options: AgentOptions): Promise<Undici.Agent> {
  // A host may be named `all`.
  const name = JSON.stringify([options, privateHosts])
  const agent = agents.get(name) ?? createAgent(privateHosts, options)
  agents.set(name, agent)
  return agent
}

/** The most requests on one connection of HTTP/2 at a time. */
const streams = 256

async function createAgent(privateHosts: PrivateHosts, { http2, ca }: AgentOptions): Promise<Undici.Agent> {
  const { Agent, buildConnector } = await undici()
  const guard = privateHosts === 'all' ? undefined : createGuard(privateHosts)
  // The types of undici lack what it takes for HTTP/2.
  const protocol: object = http2 ? { useH2c: true, preferH2: true } : {}
  // A request over HTTP/1.1 that takes too long closes its connection, so that no later one is sent into a connection that hangs.
  const authority: object = ca === undefined ? {} : { ca, allowH2: false }
  const connect = buildConnector({ lookup: guard?.lookup, ...authority, ...protocol })
  return new Agent({
    ...(http2 ? { pipelining: streams } : {}),
    connect(options, callback) {
      try {
        // A host that is an address is not looked up.
        guard?.requireHost(options.hostname)
      } catch (error) {
        return callback(error as Error, null)
      }
      connect(options, (...connected) => {
        const [, socket] = connected
        // undici passes errors of the system on as they are, without what the connection has read.
        socket?.on('error', (error) => Object.assign(error, { socket: { bytesRead: socket.bytesRead } }))
        callback(...connected)
      })
    },
  })
}
