/** Reads a backup: finds its entries by their headers, and hands their bytes over without taking them into memory. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { failure } from '../client/client.ts'
import type { ArchiveEntry } from './write-archive.ts'
import { block, readHeader } from './tar-header.ts'

export interface Archive {
  names(): string[]
  has(name: string): boolean
  /** Its bytes. Throws `otherwise` when there is no such entry. */
  read(name: string): AsyncIterable<Buffer>
  /** The same in one piece, for small ones. */
  bytes(name: string): Promise<Buffer>
  /** Of its bytes as they are now. */
  measure(name: string): Promise<Omit<ArchiveEntry, 'name'>>
}

/** Finds the entries of a backup. Throws `usage` for what is no such file, `otherwise` for one that is cut or damaged. */
export async function openArchive(path: string): Promise<Archive> {
  const file = await open(path, 'r').catch((error: Error) => {
    throw failure({ code: 'usage', detail: `${path} cannot be read: ${error.message}` })
  })
  let places: Awaited<ReturnType<typeof placesIn>>
  try {
    places = await placesIn(file, path)
  } finally {
    await file.close()
  }
  const find = (name: string) => {
    const place = places.get(name)
    if (place === undefined) throw damaged(path, `it has no ${name}`)
    return place
  }
  const read = (name: string): AsyncIterable<Buffer> => {
    const { start, bytes } = find(name)
    if (bytes === 0) return nothing()
    return createReadStream(path, { start, end: start + bytes - 1, highWaterMark: 262_144 })
  }
  return {
    names: () => [...places.keys()],
    has: (name) => places.has(name),
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

async function placesIn(
  file: FileHandle,
  path: string,
): Promise<Map<string, { start: number; bytes: number }>> {
  const places = new Map<string, { start: number; bytes: number }>()
  const { size } = await file.stat()
  const header = Buffer.alloc(block)
  for (let at = 0; ;) {
    const { bytesRead } = await file.read(header, 0, block, at)
    if (bytesRead === block && header.every((byte) => byte === 0)) return places
    const found = bytesRead === block ? readHeader(header) : undefined
    if (found === undefined && at === 0)
      throw failure({
        code: 'usage',
        detail: `${path} is no backup of Tenure`,
        remedy: 'Name a file that `tenure backup` has written.',
      })
    if (found === undefined) throw damaged(path, `it is cut or overwritten at byte ${at}`)
    const { name, bytes } = found
    if (found.damaged) throw damaged(path, `the header of ${name} at byte ${at} is damaged`)
    if (at + block + bytes > size) throw damaged(path, `it ends within ${name}`)
    places.set(name, { start: at + block, bytes })
    at += block + Math.ceil(bytes / block) * block
  }
}

export const damaged = (path: string, what: string) =>
  failure({
    code: 'otherwise',
    detail: `the backup ${path} cannot be used: ${what}`,
    remedy: 'Nothing was changed. Use another backup.',
  })
