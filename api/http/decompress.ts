/**
 * Bodies that were packed for their way, as clients of the Open Inference Protocol can be told to. Whatever is unpacked is bounded
 * like a body that was not packed: a few kilobytes may stand for gigabytes. It is done at once and not by the thread pool, where
 * a hundred of them would be held half unpacked side by side.
 */
import { gunzipSync, inflateSync } from 'node:zlib'
import { DomainError } from '../../domain/errors.ts'

const ways = new Map([
  ['gzip', gunzipSync],
  ['x-gzip', gunzipSync],
  ['deflate', inflateSync],
])
/** What callers are told that they may send. */
const encodings = ['gzip', 'deflate', 'identity']

/** The body as it was before it was packed. Throws `unsupported_media_type`, `body_too_large`, or `invalid_request` for what was not packed so. */
export function decompressed(body: Buffer, encoding: string | undefined, mostBytes: number): Buffer {
  if (isPlain(encoding)) return body
  const unpack = ways.get(encoding.toLowerCase())
  if (unpack === undefined) throw unknown(encoding, encodings)
  try {
    return unpack(body, { maxOutputLength: mostBytes })
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE')
      throw new DomainError(
        'body_too_large',
        `the body has more than ${mostBytes} bytes once it is unpacked`,
        {
          limit: mostBytes,
        },
      )
    throw new DomainError(
      'invalid_request',
      `the body is not packed by ${encoding}: ${(error as Error).message}`,
    )
  }
}

/** For what is read while it comes. Throws `unsupported_media_type`. */
export function requireUncompressed(encoding: string | undefined): void {
  if (!isPlain(encoding)) throw unknown(encoding, ['identity'])
}

const isPlain = (encoding: string | undefined): encoding is undefined | 'identity' =>
  encoding === undefined || encoding === '' || encoding.toLowerCase() === 'identity'

const unknown = (encoding: string, taken: readonly string[]): DomainError =>
  new DomainError(
    'unsupported_media_type',
    `the body has the content-encoding ${JSON.stringify(encoding.slice(0, 40))}; this takes ${taken.join(', ')}`,
    { encodings: taken },
  )
