/**
 * Reads the body of a request up to a limit. Hono's own limiter rebuilds the request when no length was announced, which fails on
 * this server for chunked bodies and for DELETE.
 */
import { DomainError } from '../../domain/errors.ts'

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

/** `when` follows the number of bytes. */
export const tooLarge = (limit: number, when = ''): DomainError =>
  new DomainError('body_too_large', `the body has more than ${limit} bytes${when}`, { limit })
