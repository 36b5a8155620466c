/**
 * Reads the body of a request up to a limit. Hono's own limiter rebuilds the request when no length was announced, which fails on
 * this server for chunked bodies and for DELETE.
 */
import { DomainError } from '../../domain/errors.ts'
import { decodeUtf8, dropped, isDropped, parseJsonBody, repeatedName } from '../../domain/json-body.ts'
import { joinInTurns } from '../../store/objects/slices.ts'
import { shown } from '../../domain/postgres-text.ts'
import { redacted } from '../../domain/redact.ts'
import { commandLimits } from './route.ts'

/** Reads the body. Throws `body_too_large` as soon as more than `limit` bytes are announced or received. */
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
  return joinInTurns(parts, bytes)
}

/** Yields the chunks of a body. Throws `body_too_large` as soon as more than `limit` bytes are received. */
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

/**
 * Parses the body of a command; an empty body has no fields. Redacts secrets, because users paste keys into reasons, and workflow histories
 * and the audit log keep a reason forever. Throws like `parseJsonBody`.
 */
export const parseCommandBody = (bytes: Uint8Array, maxValues = commandLimits.values): unknown =>
  bytes.byteLength === 0 ? {} : parseJsonBody(bytes, { maxValues, rewrite: redacted })

/**
 * Parses the fields of a form. Redacts each value separately, because in the whole body the token of the form would look like a secret.
 * Throws like `requireUtf8Escapes`, and like `parseJsonBody` for a field that is repeated or would be dropped.
 */
export function parseForm(bytes: Uint8Array): Record<string, string> {
  const text = decodeUtf8(bytes, 'the form')
  requireUtf8Escapes(text, 'the form')
  const fields: Record<string, string> = {}
  for (const [name, value] of new URLSearchParams(text)) {
    if (isDropped(name)) throw dropped('the form', name)
    if (Object.hasOwn(fields, name)) throw repeatedName('the form', name)
    fields[name] = redacted(value)
  }
  return fields
}

/** Throws `invalid_request` for percent-encoded bytes that are not UTF-8, which a parser would replace silently. */
export function requireUtf8Escapes(text: string, what: string): void {
  for (const [run] of text.matchAll(/(?:%[0-9a-f]{2})+/gi))
    if (!isDecodable(run))
      throw new DomainError('invalid_request', `${what} has ${shown(run)}, which is not UTF-8`)
}

function isDecodable(run: string): boolean {
  try {
    return decodeURIComponent(run) !== ''
  } catch {
    return false
  }
}

/** Returns the error for a body over the limit. `when` is appended to the number of bytes. */
export const tooLarge = (limit: number, when = '', what = 'the body'): DomainError =>
  new DomainError('body_too_large', `${what} has more than ${limit} bytes${when}`, { limit })
