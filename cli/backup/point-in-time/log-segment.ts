/**
 * Encodes a file of Postgres' write-ahead log as an object: a signature over its name and its bytes, then the bytes, compressed. A segment that
 * was changed, cut off or given another name is refused.
 */
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Signer, Verifier } from '../../../store/signing/signing-key.ts'
import { damaged } from '../read-archive.ts'

const compress = promisify(gzip)
const expand = promisify(gunzip)

const signatureBytes = 64
/** Of a segment, by Postgres' default; a history file is small. */
const maxBytes = 16_777_216

/** Names of the database by its system identifier, which `initdb` gives, and the file by its name. */
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

/** Throws `otherwise` for an object that no key of this installation has signed. `signedMs` is as in `Verifier`. */
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

/** Position in the log, without the timeline: 16 hexadecimal digits that sort. */
export const positionOf = (segment: string): string => segment.slice(8)

/** 256 segments of 16 MB have the same first part. */
export function nextPosition(position: string): string {
  const high = Number.parseInt(position.slice(0, 8), 16)
  const low = Number.parseInt(position.slice(8), 16)
  const [nextHigh, nextLow] = low === 0xff ? [high + 1, 0] : [high, low + 1]
  return [nextHigh, nextLow].map((part) => part.toString(16).toUpperCase().padStart(8, '0')).join('')
}
