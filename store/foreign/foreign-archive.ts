/**
 * Reads archives that come from elsewhere: backups, copies of a data directory and bundles. Every name, type and size is checked before
 * a byte is used, and only plain files are taken.
 */
import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { Header } from 'tar/header'
import { createNameCheck, issueOfName, type ForeignLimits } from './foreign-names.ts'

/** Of a header, and the unit of sizes, in bytes. */
export const tarBlock = 512
/** GNU tar fills an archive with empty blocks to a multiple of this, in bytes. */
const tarRecord = 20 * tarBlock

/** Returns the header of a file of these bytes, readable and writable by its owner only. */
export function tarHeader(name: string, bytes: number, at = new Date()): Buffer {
  const header = new Header({
    path: name,
    size: bytes,
    mode: 0o600,
    uid: 0,
    gid: 0,
    mtime: at,
    type: 'File',
  })
  if (header.encode()) throw new Error(`${name} is too long for an archive`)
  return header.block!
}

/** Where the bytes of an entry lie in its archive. */
export interface TarPlace {
  start: number
  bytes: number
}

export interface TarIndex {
  entries: ReadonlyMap<string, TarPlace>
  /** The offset of the next header to hand to `add`; undefined behind the end. */
  next(): number | undefined
  /** Takes the bytes of a header, fewer at the end of the file. */
  add(header: Buffer): void
}

/**
 * Indexes a tar of `size` bytes by the headers that the caller reads. `refuse` gets the reason as the end of a sentence about the archive,
 * and throws.
 */
export function createTarIndex(
  size: number,
  { limits, refuse }: { limits: ForeignLimits; refuse: (why: string) => never },
): TarIndex {
  const entries = new Map<string, TarPlace>()
  const issueOf = createNameCheck(limits)
  let at: number | undefined = 0
  let end: number | undefined
  return {
    entries,
    next: () => at,
    add(bytes) {
      const from = at!
      if (bytes.byteLength < tarBlock) refuse(`is truncated or overwritten at byte ${from}`)
      const isEmpty = bytes.every((byte) => byte === 0)
      if (isEmpty || end !== undefined) {
        // Two empty blocks end an archive, and more of them fill its last record. Other bytes are not covered by its signature.
        end ??= from + 2 * tarBlock
        if (size < end) refuse(`is truncated or overwritten at byte ${size}`)
        if (!isEmpty || size > Math.ceil(end / tarRecord) * tarRecord)
          refuse(`has bytes behind its end at byte ${isEmpty ? end : from}`)
        at = from + tarBlock < size ? from + tarBlock : undefined
        return
      }
      if (!isTarHeader(bytes)) refuse(`is truncated or overwritten at byte ${from}`)
      const header = new Header(bytes)
      const name = header.path ?? ''
      const shown = JSON.stringify(name.slice(0, 200))
      if (!header.cksumValid) refuse(`has a damaged header of ${shown} at byte ${from}`)
      if (header.type !== 'File')
        refuse(`has ${shown}, which is no plain file (${header.type ?? 'of an unknown type'})`)
      const length = header.size ?? -1
      const issue = issueOf(name, length)
      if (issue !== undefined) refuse(issue)
      const start = from + tarBlock
      if (start + length > size) refuse(`is truncated within ${shown}`)
      entries.set(name, { start, bytes: length })
      at = start + Math.ceil(length / tarBlock) * tarBlock
    },
  }
}

/** Whether these bytes begin like a tar. */
export const isTarHeader = (bytes: Buffer): boolean => bytes.toString('latin1', 257, 262) === 'ustar'

/** Unpacked bytes for each packed one, over a whole archive. Tables and pages of databases have 3 to 20. */
const maxRatio = 100
/** Below this, any ratio is taken: a new database is mostly zeros. */
const freeBytes = 134_217_728

/** Returns a function that unpacks the entries of one archive, and calls `refuse` when they together exceed what its size allows. */
export function createUnpacker(
  archiveBytes: number,
  { refuse }: { refuse: (why: string) => never },
): (packed: AsyncIterable<Buffer>) => AsyncGenerator<Buffer> {
  const most = Math.max(freeBytes, archiveBytes * maxRatio)
  let total = 0
  return async function* unpack(packed) {
    const gunzip = createGunzip()
    const source = Readable.from(packed)
    source.once('error', (error) => gunzip.destroy(error))
    for await (const chunk of source.pipe(gunzip)) {
      total += (chunk as Buffer).byteLength
      if (total > most) refuse(`unpacks to more than ${most} bytes`)
      yield chunk as Buffer
    }
  }
}

/**
 * Writes a new file below a folder of this process, readable by its owner only. Throws for a name that leads elsewhere, and for a file that
 * exists.
 */
export async function writeForeignFile(
  folder: string,
  name: string,
  content: AsyncIterable<Buffer>,
): Promise<void> {
  const path = foreignPath(folder, name)
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await pipeline(Readable.from(content), createWriteStream(path, { flags: 'wx', mode: 0o600 }))
}

/** Makes a folder below a folder of this process, with those above it. Throws for a name that leads elsewhere. */
export const makeForeignFolder = async (folder: string, name: string): Promise<void> =>
  void (await mkdir(foreignPath(folder, name), { recursive: true, mode: 0o700 }))

/** The path of a name from elsewhere. Throws when it is not below the folder. */
function foreignPath(folder: string, name: string): string {
  const issue = issueOfName(name, Infinity)
  if (issue !== undefined) throw new Error(`${JSON.stringify(name)} is not used as a name, ${issue}`)
  return join(folder, name)
}
