/**
 * Encodes a file of the Postgres write-ahead log as an object: a signature over its name and bytes, then the compressed bytes. Decoding
 * refuses a segment that was changed, truncated or renamed.
 */
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Signer, Verifier } from '../../../store/signing/signing-key.ts'
import { damaged } from '../read-archive.ts'
import type { BaseName } from './places.ts'

const compress = promisify(gzip)
const expand = promisify(gunzip)

const signatureBytes = 64
/** Size of a segment by default in Postgres, in bytes; a history file is smaller. */
const maxBytes = 16_777_216

/** Identifies the database by the system identifier that `initdb` generates, and the file by its name. */
export interface LogFile {
  systemId: string
  name: string
}

const signedBytes = ({ systemId, name }: LogFile, packed: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`tenure-log@1 ${systemId} ${name}\n`), packed])

export async function encodeLogFile(file: LogFile, bytes: Uint8Array, signer: Signer): Promise<Buffer> {
  const packed = await compress(bytes, { level: 3 })
  return Buffer.concat([signer.sign(signedBytes(file, packed)), packed])
}

/** Throws `otherwise` for an object without a valid signature of this installation. `signedMs` is as in `Verifier`. */
export async function decodeLogFile(
  file: LogFile,
  object: Buffer,
  { verifier, signedMs, address }: { verifier: Verifier; signedMs?: number; address: string },
): Promise<Buffer> {
  const signature = object.subarray(0, signatureBytes)
  const packed = object.subarray(signatureBytes)
  if (!verifier.verify(signedBytes(file, packed), signature, signedMs))
    throw damaged(address, `the signature of ${file.name} is invalid`)
  return expand(packed, { maxOutputLength: maxBytes })
}

const segmentPattern = /^[0-9A-F]{24}$/
const historyPattern = /^[0-9A-F]{8}\.history$/

export const isSegment = (name: string): boolean => segmentPattern.test(name)
export const isLogFile = (name: string): boolean => isSegment(name) || historyPattern.test(name)

/** Returns the position in the log without the timeline: 16 hexadecimal digits that sort. */
export const positionOf = (segment: string): string => segment.slice(8)

/** Returns the next position. The low part counts from 00 to FF: 256 segments of 16 MB share the high part. */
export function nextPosition(position: string): string {
  const high = Number.parseInt(position.slice(0, 8), 16)
  const low = Number.parseInt(position.slice(8), 16)
  const [nextHigh, nextLow] = low === 0xff ? [high + 1, 0] : [high, low + 1]
  return [nextHigh, nextLow].map((part) => part.toString(16).toUpperCase().padStart(8, '0')).join('')
}

/** Returns the first missing position between the start of the base and the newest log file; undefined without a gap. */
export function gapIn(
  segments: readonly string[],
  base: Pick<BaseName, 'startSegment' | 'stopSegment'>,
): string | undefined {
  const there = new Set(segments.map(positionOf))
  const last = [...there, positionOf(base.stopSegment)].toSorted().at(-1)!
  for (let position = positionOf(base.startSegment); position <= last; position = nextPosition(position))
    if (!there.has(position)) return position
  return undefined
}

/**
 * Whether every moment after the base can be restored by these segments. The last one of the base may still be on its way.
 */
export const isRestorable = (
  segments: readonly string[],
  base: Pick<BaseName, 'startSegment' | 'stopSegment'>,
): boolean => {
  const own = segments.filter((name) => positionOf(name) >= positionOf(base.startSegment))
  const newest = own.map(positionOf).toSorted().at(-1) ?? ''
  return newest < positionOf(base.stopSegment) || gapIn(own, base) === undefined
}
