/**
 * Reads the body of a request up to a limit. Hono's own limiter rebuilds the request when no length was announced, which fails on
 * this server for chunked bodies and for DELETE.
 */
import { DomainError } from '../../domain/errors.ts'
import { decodeUtf8, dropped, isDropped, parseJsonBody, repeatedName } from '../../domain/json-body.ts'
import { joinInTurns } from '../../store/objects/slices.ts'
import { shown } from '../../domain/postgres-text.ts'
import { redacted } from '../../domain/redact.ts'
import { bodyMs, tooSlow, type HeldBody } from './body-budget.ts'
import { commandLimits } from './route.ts'

export interface ReadOptions {
  /** The largest body, in bytes. */
  limit: number
  held: HeldBody
  /** The time limit of the body; or, where `mayPause` is set, of each wait for its next part. */
  withinMs?: number
  mayPause?: boolean
}

/**
 * Reads the body. Throws `body_too_large` as soon as more than `limit` bytes are announced or received, `overloaded` beyond the budget, and
 * `request_timeout`.
 */
export async function readBody(request: Request, { limit, held, ...times }: ReadOptions): Promise<Buffer> {
  const announced = Number(request.headers.get('content-length') ?? 0)
  if (announced > limit) throw tooLarge(limit)
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of partsOf(request, times)) {
    bytes += part.byteLength
    if (bytes > limit) throw tooLarge(limit)
    held.add(part.byteLength)
    parts.push(part)
  }
  return joinInTurns(parts, bytes)
}

/** Yields the parts of a body. Throws `request_timeout` for one that comes too slowly. */
export async function* partsOf(
  { body }: Request,
  { withinMs = bodyMs, mayPause = false }: Pick<ReadOptions, 'withinMs' | 'mayPause'>,
): AsyncGenerator<Uint8Array> {
  if (body === null) return
  const reader = body.getReader()
  const untilMs = performance.now() + withinMs
  try {
    for (;;) {
      const leftMs = mayPause ? withinMs : untilMs - performance.now()
      const { done, value } = await inTime(reader.read(), leftMs)
      if (done) return
      yield value
    }
  } finally {
    // Resolves when the body has ended, which a slow sender may never do.
    reader.cancel().catch(() => {})
  }
}

async function inTime<Result>(work: Promise<Result>, withinMs: number): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(tooSlow()), withinMs)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
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
  bytes.byteLength === 0 ? {} : parseJsonBody(bytes, { maxValues, rewrite: redacted, isExact: true })

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
