/** Writes and reads small tar archives in memory. */
import { DomainError } from '../../domain/errors.ts'
import { block, headerOf, readHeader } from './tar-header.ts'

export type TarEntries = ReadonlyMap<string, Buffer>

export function writeTar(entries: TarEntries): Buffer {
  const parts = [...entries].flatMap(([name, content]) => [
    headerOf(name, content.byteLength),
    content,
    Buffer.alloc((block - (content.byteLength % block)) % block),
  ])
  return Buffer.concat([...parts, Buffer.alloc(2 * block)])
}

/** Reads an archive. Throws `bundle_invalid` with the position for an archive that is truncated, damaged or followed by other bytes. */
export function readTar(bytes: Buffer): TarEntries {
  const entries = new Map<string, Buffer>()
  for (let at = 0; ;) {
    const header = bytes.subarray(at, at + block)
    if (header.byteLength === block && header.every((byte) => byte === 0)) {
      if (bytes.byteLength !== at + 2 * block) throw refuse(`bytes follow its end at byte ${at}`)
      return entries
    }
    const found = header.byteLength === block ? readHeader(header) : undefined
    if (found === undefined)
      throw refuse(at === 0 ? 'it is not a bundle' : `it is truncated or overwritten at byte ${at}`)
    const { name, bytes: size } = found
    if (found.damaged) throw refuse(`the header of ${JSON.stringify(name)} at byte ${at} is damaged`)
    const start = at + block
    if (!Number.isSafeInteger(size) || start + size > bytes.byteLength)
      throw refuse(`it is truncated within ${JSON.stringify(name)}`)
    if (entries.has(name)) throw refuse(`it has ${JSON.stringify(name)} twice`)
    entries.set(name, bytes.subarray(start, start + size))
    at = start + Math.ceil(size / block) * block
  }
}

const refuse = (why: string) => new DomainError('bundle_invalid', `the bundle cannot be used: ${why}`)
