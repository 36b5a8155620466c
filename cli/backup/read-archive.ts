/** Reads a backup: indexes its entries by their headers and streams their bytes. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { failure, usageError, unreadable } from '../client/client.ts'
import type { LocalBackup } from './backup-place.ts'
import type { ArchiveEntry } from './write-archive.ts'
import {
  createTarIndex,
  createUnpacker,
  isTarHeader,
  tarBlock,
  type TarPlace,
} from '../../store/foreign/foreign-archive.ts'

export interface Archive {
  names(): string[]
  has(name: string): boolean
  /** Streams an entry. Throws `otherwise` if it is missing. */
  read(name: string): AsyncIterable<Buffer>
  bytes(name: string): Promise<Buffer>
  /** Streams an entry that is compressed with gzip. Throws `otherwise` when the entries unpack to more than the file can hold honestly. */
  unpack(name: string): AsyncIterable<Buffer>
  /** Size and hash of the stored bytes. */
  measure(name: string): Promise<ArchiveEntry>
}

/**
 * Indexes a backup. `name` is the name used in messages. Throws `usage` for a file that is not a backup, `otherwise` for a truncated or
 * damaged one.
 */
export async function openArchive({
  path,
  name: shown,
}: Pick<LocalBackup, 'path' | 'name'>): Promise<Archive> {
  const file = await open(path, 'r').catch((error: Error) => {
    throw unreadable(shown, error)
  })
  let index: Awaited<ReturnType<typeof indexOf>>
  let size: number
  try {
    index = await indexOf(file, shown)
    size = (await file.stat()).size
  } finally {
    await file.close()
  }
  const find = (name: string) => {
    const entry = index.get(name)
    if (entry === undefined) throw damaged(shown, `entry ${name} is missing`)
    return entry
  }
  const read = (name: string): AsyncIterable<Buffer> => {
    const { start, bytes } = find(name)
    if (bytes === 0) return nothing()
    return createReadStream(path, { start, end: start + bytes - 1, highWaterMark: 262_144 })
  }
  const unpack = createUnpacker(size, { refuse: (why) => refuse(shown, `it ${why}`) })
  return {
    names: () => [...index.keys()],
    has: (name) => index.has(name),
    read,
    unpack: (name) => unpack(read(name)),
    async bytes(name) {
      const chunks: Buffer[] = []
      for await (const chunk of read(name)) chunks.push(chunk)
      return Buffer.concat(chunks)
    },
    async measure(name) {
      const hash = createHash('sha256')
      for await (const chunk of read(name)) hash.update(chunk)
      return { bytes: find(name).bytes, sha256: hash.digest('hex') }
    },
  }
}

async function* nothing(): AsyncGenerator<Buffer> {}

/** A table of the largest database has one entry; its data directory one for each gigabyte of a table or index. */
const limits = { maxFiles: 2_000_000, maxBytes: Infinity, maxDepth: 8 }

async function indexOf(file: FileHandle, path: string): Promise<ReadonlyMap<string, TarPlace>> {
  const { size } = await file.stat()
  const index = createTarIndex(size, { limits, refuse: (why) => refuse(path, `it ${why}`) })
  for (let at = index.next(); at !== undefined; at = index.next()) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(tarBlock), 0, tarBlock, at)
    if (at === 0 && !isTarHeader(buffer))
      throw usageError(`${path} is not a Tenure backup`, 'Name a file written by `tenure backup`.')
    index.add(buffer.subarray(0, bytesRead))
  }
  return index.entries
}

function refuse(path: string, why: string): never {
  throw damaged(path, why)
}

export const damaged = (path: string, what: string) =>
  failure({
    code: 'otherwise',
    detail: `the backup ${path} is damaged: ${what}`,
    remedy: 'Nothing was changed. Use another backup.',
  })
