/** Decompresses bodies up to a limit, because a few kilobytes may expand to gigabytes. */
import { Readable } from 'node:stream'
import { createGunzip, createInflate, gunzipSync, inflateSync } from 'node:zlib'
import { DomainError } from '../../domain/errors.ts'
import { joinInTurns, sliceBytes } from '../../store/objects/slices.ts'
import type { HeldBody } from './body-budget.ts'
import { tooLarge } from './read-body.ts'

interface Decoder {
  decode: typeof gunzipSync
  stream: typeof createGunzip
}

const gzip: Decoder = { decode: gunzipSync, stream: createGunzip }
const decoders = new Map<string, Decoder>([
  ['gzip', gzip],
  ['x-gzip', gzip],
  ['deflate', { decode: inflateSync, stream: createInflate }],
])
/** The encodings that error messages name. */
const encodings = ['gzip', 'deflate', 'identity']

/**
 * Returns the decompressed body. Throws `unsupported_media_type` for an unknown encoding, `body_too_large`, or `invalid_request` for a body
 * that does not decompress. Synchronous, for predictions, which are served one after another: a hundred bodies in the thread pool would all
 * hold half-expanded memory at the same time.
 */
export function decompressed(body: Buffer, encoding: string | undefined, maxBytes: number): Buffer {
  if (isPlain(encoding)) return body
  const { decode } = decoderOf(encoding)
  try {
    return decode(body, { maxOutputLength: maxBytes })
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE')
      throw tooLarge(maxBytes, ' after decompression')
    throw invalid(encoding, error)
  }
}

/** The same for a body of any size: in turns, and counted while it grows. Also throws `overloaded`. */
export async function decompressedInTurns(
  body: Buffer,
  encoding: string | undefined,
  { limit, held }: { limit: number; held: HeldBody },
): Promise<Buffer> {
  if (isPlain(encoding)) return body
  const stream = decoderOf(encoding).stream({ chunkSize: sliceBytes })
  const parts: Buffer[] = []
  let bytes = 0
  stream.on('error', () => {})
  try {
    for await (const part of Readable.from([body]).pipe(stream) as AsyncIterable<Buffer>) {
      bytes += part.byteLength
      if (bytes > limit) throw tooLarge(limit, ' after decompression')
      held.add(part.byteLength)
      parts.push(part)
    }
  } catch (error) {
    throw error instanceof DomainError ? error : invalid(encoding, error)
  }
  return joinInTurns(parts, bytes)
}

function decoderOf(encoding: string): Decoder {
  const decoder = decoders.get(encoding.toLowerCase())
  if (decoder === undefined) throw unknown(encoding, encodings)
  return decoder
}

const invalid = (encoding: string, error: unknown): DomainError =>
  new DomainError('invalid_request', `the body is not valid ${encoding}: ${(error as Error).message}`)

/** Refuses an encoded body, for routes that read a stream. Throws `unsupported_media_type`. */
export function requireUncompressed(encoding: string | undefined): void {
  if (!isPlain(encoding)) throw unknown(encoding, ['identity'])
}

const isPlain = (encoding: string | undefined): encoding is undefined | 'identity' =>
  encoding === undefined || encoding === '' || encoding.toLowerCase() === 'identity'

const unknown = (encoding: string, taken: readonly string[]): DomainError =>
  new DomainError(
    'unsupported_media_type',
    `the body has the content-encoding ${JSON.stringify(encoding.slice(0, 40))}; send ${taken.join(', ')}`,
    { encodings: taken },
  )
