/**
 * The file of a backup: a plain tar, so that anybody can look into it in ten years with any tool. Entries are written as they
 * come, and their headers when their length is known; nothing is collected in memory or beside the file.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { link, open, rename, rm } from 'node:fs/promises'
import { createGzip } from 'node:zlib'
import { failure } from '../client/client.ts'
import { block, headerOf } from './tar-header.ts'

export interface ArchiveEntry {
  name: string
  bytes: number
  /** Of the bytes as they stand in the file, in hexadecimal. */
  sha256: string
}

export interface Sink {
  write(chunk: Buffer): Promise<void>
  end(): Promise<ArchiveEntry>
}

export interface ArchiveWriter {
  /** One entry at a time. */
  begin(name: string, options?: { gzip: boolean }): Sink
  /** A whole entry. */
  add(name: string, content: Buffer | AsyncIterable<Buffer>): Promise<ArchiveEntry>
  /** Makes it durable and gives it its name. Throws when something of that name has come meanwhile. */
  finish(): Promise<number>
  /** Leaves nothing behind. */
  discard(): Promise<void>
}

/** Throws `usage` when there is such a file already: a backup that overwrites another one is none. */
export async function createArchive(path: string): Promise<ArchiveWriter> {
  const partial = `${path}.${process.pid}.partial`
  const taken = await open(path, 'r').catch(() => undefined)
  if (taken !== undefined) {
    await taken.close()
    throw exists(path)
  }
  const file = await open(partial, 'wx', 0o600).catch((error: Error) => {
    throw failure({
      code: 'usage',
      detail: `${path} cannot be written: ${error.message}`,
      remedy: 'Name a file in a directory that exists and that you may write to.',
    })
  })
  let at = 0
  const put = async (bytes: Buffer): Promise<void> => {
    await file.write(bytes, 0, bytes.byteLength, at)
    at += bytes.byteLength
  }
  const begin = (name: string, { gzip } = { gzip: false }): Sink => {
    const headerAt = at
    at += block
    const hash = createHash('sha256')
    let size = 0
    const store = async (bytes: Buffer): Promise<void> => {
      hash.update(bytes)
      size += bytes.byteLength
      await put(bytes)
    }
    const close = async (): Promise<ArchiveEntry> => {
      await put(Buffer.alloc((block - (size % block)) % block))
      await file.write(headerOf(name, size), 0, block, headerAt)
      return { name, bytes: size, sha256: hash.digest('hex') }
    }
    if (!gzip) return { write: store, end: close }
    const packer = createGzip({ level: 3 })
    const packed = (async () => {
      for await (const piece of packer) await store(piece as Buffer)
    })()
    packed.catch(() => {})
    return {
      async write(chunk) {
        // What fails behind the packer, a full disk, would otherwise leave this one waiting for ever.
        if (!packer.write(chunk)) await Promise.race([once(packer, 'drain'), packed])
      },
      async end() {
        packer.end()
        await packed
        return close()
      },
    }
  }
  return {
    begin,
    async add(name, content) {
      const sink = begin(name)
      if (Buffer.isBuffer(content)) await sink.write(content)
      else for await (const chunk of content) await sink.write(chunk)
      return sink.end()
    },
    async finish() {
      await put(Buffer.alloc(2 * block))
      await file.sync()
      await file.close()
      await settle(partial, path)
      return at
    },
    async discard() {
      await file.close().catch(() => {})
      await rm(partial, { force: true })
    },
  }
}

/** Gives the finished file its name, unless something has it. */
async function settle(partial: string, path: string): Promise<void> {
  try {
    await link(partial, path)
    await rm(partial)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw exists(path)
    // A file system without links: the name is taken first, and given to the file then.
    const taken = await open(path, 'wx').catch(() => undefined)
    if (taken === undefined) throw exists(path)
    await taken.close()
    await rename(partial, path)
  }
}

const exists = (path: string) =>
  failure({
    code: 'usage',
    detail: `${path} exists already and is not overwritten`,
    remedy: 'Name another file, or remove it first.',
  })
