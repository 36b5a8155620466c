/**
 * Decompresses bodies up to a limit, because a few kilobytes may expand to gigabytes. Synchronous, because a hundred bodies in the thread
 * pool would all hold half-expanded memory at the same time.
 */
import { gunzipSync, inflateSync } from 'node:zlib'
import { DomainError } from '../../domain/errors.ts'
import { tooLarge } from './read-body.ts'

const decoders = new Map([
  ['gzip', gunzipSync],
  ['x-gzip', gunzipSync],
  ['deflate', inflateSync],
])
/** The encodings that error messages name. */
const encodings = ['gzip', 'deflate', 'identity']

/**
 * Returns the decompressed body. Throws `unsupported_media_type` for an unknown encoding, `body_too_large`, or `invalid_request` for a body
 * that does not decompress.
 */
export function decompressed(body: Buffer, encoding: string | undefined, maxBytes: number): Buffer {
  if (isPlain(encoding)) return body
  const decode = decoders.get(encoding.toLowerCase())
  if (decode === undefined) throw unknown(encoding, encodings)
  try {
    return decode(body, { maxOutputLength: maxBytes })
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE')
      throw tooLarge(maxBytes, ' after decompression')
    throw new DomainError('invalid_request', `the body is not valid ${encoding}: ${(error as Error).message}`)
  }
}

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
