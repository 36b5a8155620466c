/** Works on large contents in slices and lets other events run between them, because each step takes tens of milliseconds at 64 MiB. */
import { createHash, type Hash } from 'node:crypto'
import { setImmediate as otherEvents } from 'node:timers/promises'

/** Hashing and searching this takes about a millisecond. */
export const sliceBytes = 1_048_576

/** Hashes as `hash.update(bytes)` does. */
export async function updateInTurns(hash: Hash, bytes: Uint8Array): Promise<void> {
  for (let from = 0; from < bytes.byteLength; from += sliceBytes) {
    if (from > 0) await otherEvents()
    hash.update(bytes.subarray(from, from + sliceBytes))
  }
}

/** Joins parts as `Buffer.concat` does. */
export async function joinInTurns(parts: readonly Uint8Array[], bytes: number): Promise<Buffer> {
  if (bytes <= sliceBytes) return Buffer.concat(parts)
  const joined = Buffer.allocUnsafe(bytes)
  let at = 0
  let nextTurnAt = sliceBytes
  for (const part of parts) {
    joined.set(part, at)
    at += part.byteLength
    if (at < nextTurnAt) continue
    nextTurnAt = at + sliceBytes
    await otherEvents()
  }
  return joined
}

/** Returns the digest of a content that arrives in chunks. */
export async function digestOfChunks(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of chunks) hash.update(chunk)
  return `sha256:${hash.digest('hex')}`
}
