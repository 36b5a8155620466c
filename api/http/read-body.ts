/**
 * Reads the body of a request up to a limit. Hono's own limiter rebuilds the request when no length was announced, which fails on
 * this server for chunked bodies and for DELETE.
 */
import { DomainError } from '../../domain/errors.ts'
import { redacted, withoutExcerpt } from '../../domain/redact.ts'

/** Throws `body_too_large` as soon as more than `limit` bytes are announced or received. */
export async function readBody(request: Request, limit: number): Promise<Buffer> {
  const announced = Number(request.headers.get('content-length') ?? 0)
  if (announced > limit) throw tooLarge(limit)
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.byteLength
    if (bytes > limit) throw tooLarge(limit)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** The pieces of a body. Throws `body_too_large` as soon as more than `limit` bytes are received. */
export async function* limited(
  body: AsyncIterable<Uint8Array>,
  limit: number,
  what = 'the body',
): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const piece of body) {
    bytes += piece.byteLength
    if (bytes > limit) throw tooLarge(limit, '', what)
    yield piece
  }
}

/** Throws `body_not_json`. Secrets are redacted, because users paste keys into reasons, which histories and the audit log keep forever. */
export function parseBody(text: string): unknown {
  try {
    return JSON.parse(redacted(text))
  } catch (error) {
    const why = withoutExcerpt((error as Error).message)
    throw new DomainError('body_not_json', `the body is not valid JSON: ${why}`)
  }
}

/** `when` follows the number of bytes. */
export const tooLarge = (limit: number, when = '', what = 'the body'): DomainError =>
  new DomainError('body_too_large', `${what} has more than ${limit} bytes${when}`, { limit })
