/** Reads a backup: indexes its entries by their headers and streams their bytes. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { failure, usageError } from '../client/client.ts'
import type { LocalBackup } from './backup-place.ts'
import type { ArchiveEntry } from './write-archive.ts'
import { block, readHeader } from '../../store/bundles/tar-header.ts'

export interface Archive {
  names(): string[]
  has(name: string): boolean
  /** Streams an entry. Throws `otherwise` if it is missing. */
  read(name: string): AsyncIterable<Buffer>
  bytes(name: string): Promise<Buffer>
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
    throw usageError(`${shown} is not readable: ${error.message}`)
  })
  let index: Awaited<ReturnType<typeof indexOf>>
  try {
    index = await indexOf(file, shown)
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
  return {
    names: () => [...index.keys()],
    has: (name) => index.has(name),
    read,
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

async function indexOf(
  file: FileHandle,
  path: string,
): Promise<Map<string, { start: number; bytes: number }>> {
  const places = new Map<string, { start: number; bytes: number }>()
  const { size } = await file.stat()
  const header = Buffer.alloc(block)
  for (let at = 0; ;) {
    const { bytesRead } = await file.read(header, 0, block, at)
    if (bytesRead === block && header.every((byte) => byte === 0)) {
      // Two empty blocks end a backup. What follows is not covered by its signature.
      if (size !== at + 2 * block)
        throw damaged(path, `its end at byte ${at + 2 * block} is not that of the file`)
      return places
    }
    const found = bytesRead === block ? readHeader(header) : undefined
    if (found === undefined && at === 0)
      throw usageError(`${path} is not a Tenure backup`, 'Name a file written by `tenure backup`.')
    if (found === undefined) throw damaged(path, `truncated or overwritten at byte ${at}`)
    const { name, bytes } = found
    if (found.damaged) throw damaged(path, `the header of ${name} at byte ${at} is damaged`)
    if (at + block + bytes > size) throw damaged(path, `truncated within ${name}`)
    places.set(name, { start: at + block, bytes })
    at += block + Math.ceil(bytes / block) * block
  }
}

export const damaged = (path: string, what: string) =>
  failure({
    code: 'otherwise',
    detail: `the backup ${path} is damaged: ${what}`,
    remedy: 'Nothing was changed. Use another backup.',
  })
