/**
 * Decrypts payloads for Temporal's web UI and command line, by the protocol of Temporal codec servers. A caller presents the token as a
 * bearer token or as the first part of the path, because the web UI cannot send a custom header.
 */
import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { parseJson } from '../../domain/parse-json.ts'
import type { createPayloadCodec } from '../../workflows/client/payload-codec.ts'

type PayloadCodec = ReturnType<typeof createPayloadCodec>

export interface CodecServerOptions {
  codec: PayloadCodec
  token: string
  /** The origin of the web UI, such as `http://127.0.0.1:8233`. */
  origin: string
}

/** A payload as JSON: bytes are base64. */
interface JsonPayload {
  metadata?: Record<string, string>
  data?: string
}

/** Temporal's size limit of one history event, with room for base64. */
const maxBodyBytes = 8_388_608

export function createCodecServer({ codec, token, origin }: CodecServerOptions): Server {
  return createServer((request, response) => {
    const cors = {
      'access-control-allow-origin': origin,
      'access-control-allow-methods': 'POST',
      'access-control-allow-headers': 'content-type,x-namespace,authorization',
      vary: 'origin',
    }
    const answer = (status: number, body?: object): void => {
      response.writeHead(status, {
        ...(request.headers.origin === origin && cors),
        'content-type': 'application/json',
        'x-content-type-options': 'nosniff',
      })
      response.end(body === undefined ? undefined : JSON.stringify(body))
    }
    const { verb, given } = targetOf(request)
    if (request.method === 'OPTIONS') return answer(204)
    if (!isSame(given, token)) return answer(401, { message: 'the token is missing or wrong' })
    if (request.method !== 'POST' || (verb !== 'decode' && verb !== 'encode'))
      return answer(404, { message: 'only POST /decode and POST /encode exist' })
    void readPayloads(request).then(async (payloads) => {
      if (payloads === undefined)
        return answer(400, { message: 'the body must be {"payloads": […]}, of at most 8 MiB' })
      const changed = await codec[verb](payloads.map(fromJson))
      answer(200, { payloads: changed.map(toJson) })
    })
  })
}

/** Splits `/decode` with a bearer token, or `/<token>/decode`, into verb and token. */
function targetOf({ url = '', headers }: IncomingMessage): { verb: string; given: string } {
  const [first = '', second] = url.split('?')[0]!.split('/').slice(1)
  const bearer = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1] ?? ''
  return second === undefined ? { verb: first, given: bearer } : { verb: second, given: first }
}

function isSame(given: string, token: string): boolean {
  const [left, right] = [Buffer.from(given), Buffer.from(token)]
  return left.byteLength === right.byteLength && timingSafeEqual(left, right)
}

async function readPayloads(request: IncomingMessage): Promise<JsonPayload[] | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength
      if (bytes <= maxBodyBytes) chunks.push(chunk)
    }
  } catch {
    return undefined
  }
  const { payloads } = parseJson<{ payloads?: unknown }>(Buffer.concat(chunks).toString()) ?? {}
  return bytes <= maxBodyBytes && Array.isArray(payloads) && payloads.every(isPayload) ? payloads : undefined
}

const isPayload = (value: unknown): value is JsonPayload => {
  const { metadata = {}, data = '' } = (value ?? {}) as { metadata?: unknown; data?: unknown }
  const texts = typeof metadata === 'object' && metadata !== null ? Object.values(metadata) : [0]
  return typeof data === 'string' && texts.every((text) => typeof text === 'string')
}

const fromJson = ({ metadata = {}, data = '' }: JsonPayload) => ({
  metadata: Object.fromEntries(
    Object.entries(metadata).map(([name, text]) => [name, Buffer.from(text, 'base64')]),
  ),
  data: Buffer.from(data, 'base64'),
})

const toJson = ({ metadata, data }: Awaited<ReturnType<PayloadCodec['decode']>>[number]): JsonPayload => ({
  metadata: Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
  ),
  data: Buffer.from(data ?? []).toString('base64'),
})
