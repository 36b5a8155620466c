/**
 * Writes a backup as a plain tar, readable by any tool. Entries are streamed and their headers filled in afterwards, because
 * the size of a compressed table is unknown before its end.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { link, open, rename, rm } from 'node:fs/promises'
import { createGzip } from 'node:zlib'
import { usageError } from '../client/client.ts'
import { tarBlock, tarHeader } from '../../store/foreign/foreign-archive.ts'

export interface ArchiveEntry {
  bytes: number
  /** Hash of the stored bytes, hexadecimal. */
  sha256: string
  /** For a table: its number of rows. */
  rows?: number
}

export interface Sink {
  write(chunk: Buffer): Promise<void>
  end(rows?: number): Promise<void>
}

export interface ArchiveWriter {
  /** Starts an entry. Only one entry can be open at a time. */
  begin(name: string, options?: { gzip: boolean }): Sink
  /** Writes a complete entry. */
  add(name: string, content: Buffer | AsyncIterable<Buffer>): Promise<void>
  /** Entry name → size and hash of each complete entry. */
  entries: Record<string, ArchiveEntry>
  /** Flushes the file and moves it to its final name. Throws if a file of that name was created meanwhile. */
  finish(): Promise<number>
  discard(): Promise<void>
}

/** Throws `usage` if the file exists: a backup never overwrites another. */
export async function createArchive(path: string): Promise<ArchiveWriter> {
  const partial = `${path}.${process.pid}.partial`
  if (existsSync(path)) throw exists(path)
  const file = await open(partial, 'wx', 0o600).catch((error: Error) => {
    throw usageError(
      `${path} is not writable: ${error.message}`,
      'Name a file in an existing, writable directory.',
    )
  })
  const entries: ArchiveWriter['entries'] = {}
  let at = 0
  const put = async (bytes: Buffer): Promise<void> => {
    await file.write(bytes, 0, bytes.byteLength, at)
    at += bytes.byteLength
  }
  const begin = (name: string, { gzip } = { gzip: false }): Sink => {
    const headerAt = at
    at += tarBlock
    const hash = createHash('sha256')
    let size = 0
    const store = async (bytes: Buffer): Promise<void> => {
      hash.update(bytes)
      size += bytes.byteLength
      await put(bytes)
    }
    const close = async (rows?: number): Promise<void> => {
      await put(Buffer.alloc((tarBlock - (size % tarBlock)) % tarBlock))
      await file.write(tarHeader(name, size), 0, tarBlock, headerAt)
      entries[name] = { bytes: size, sha256: hash.digest('hex'), rows }
    }
    if (!gzip) return { write: store, end: close }
    const packer = createGzip({ level: 3 })
    const packed = (async () => {
      for await (const piece of packer) await store(piece as Buffer)
    })()
    packed.catch(() => {})
    return {
      async write(chunk) {
        // Also waits for `packed`, so that a full disk rejects instead of blocking the drain forever.
        if (!packer.write(chunk)) await Promise.race([once(packer, 'drain'), packed])
      },
      async end(rows) {
        packer.end()
        await packed
        await close(rows)
      },
    }
  }
  return {
    begin,
    async add(name, content) {
      const sink = begin(name)
      if (Buffer.isBuffer(content)) await sink.write(content)
      else for await (const chunk of content) await sink.write(chunk)
      await sink.end()
    },
    entries,
    async finish() {
      await put(Buffer.alloc(2 * tarBlock))
      await file.sync()
      await file.close()
      await moveIntoPlace(partial, path)
      return at
    },
    async discard() {
      await file.close().catch(() => {})
      await rm(partial, { force: true })
    },
  }
}

/** Moves the finished file to its name without overwriting another one. */
async function moveIntoPlace(partial: string, path: string): Promise<void> {
  try {
    await link(partial, path)
    await rm(partial)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw exists(path)
    // A file system without hard links: reserve the name, then rename over it.
    const taken = await open(path, 'wx').catch(() => undefined)
    if (taken === undefined) throw exists(path)
    await taken.close()
    await rename(partial, path)
  }
}

const exists = (path: string) =>
  usageError(`${path} already exists`, 'Name another file, or delete this one.')
