/**
 * The file of a backup: a plain tar, so that anybody can look into it in ten years with any tool. Entries are written as they
 * come, and their headers when their length is known; nothing is collected in memory or beside the file.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { link, open, rename, rm, type FileHandle } from 'node:fs/promises'
import { createGzip } from 'node:zlib'
import { failure } from '../client.ts'

export interface Entry {
  name: string
  bytes: number
  /** Of the bytes as they stand in the file, in hexadecimal. */
  sha256: string
}

export interface Sink {
  write(chunk: Buffer): Promise<void>
  end(): Promise<Entry>
}

export interface ArchiveWriter {
  /** One entry at a time. */
  begin(name: string, options?: { gzip: boolean }): Sink
  /** A whole entry. */
  add(name: string, content: Buffer | AsyncIterable<Buffer>): Promise<Entry>
  /** Makes it durable and gives it its name. Throws when something of that name has come meanwhile. */
  finish(): Promise<number>
  /** Leaves nothing behind. */
  discard(): Promise<void>
}

const block = 512
/** Above it a size does not fit the digits of the header, and is written as a number of its own. */
const mostOctal = 8 ** 11 - 1

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
    const close = async (): Promise<Entry> => {
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

/** POSIX ustar; a size beyond its digits as GNU tar writes it. */
function headerOf(name: string, size: number): Buffer {
  const header = Buffer.alloc(block)
  header.write(name, 0, 100)
  header.write('0000600\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  if (size <= mostOctal) header.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  else {
    header[124] = 0x80
    header.writeBigUInt64BE(BigInt(size), 128)
  }
  header.write(
    `${Math.floor(Date.now() / 1_000)
      .toString(8)
      .padStart(11, '0')}\0`,
    136,
  )
  header.write('0', 156)
  header.write('ustar\0', 257, 'latin1')
  header.write('00', 263)
  header.write(`${sumOf(header).toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

/** With its own field taken for blanks. */
function sumOf(header: Buffer): number {
  let sum = 0
  for (let i = 0; i < block; i++) sum += i >= 148 && i < 156 ? 0x20 : header[i]!
  return sum
}

export interface Archive {
  names(): string[]
  has(name: string): boolean
  /** Its bytes. Throws `otherwise` when there is no such entry. */
  read(name: string): AsyncIterable<Buffer>
  /** Of its bytes as they are now. */
  measure(name: string): Promise<Omit<Entry, 'name'>>
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
    const isHeader = bytesRead === block && header.toString('latin1', 257, 262) === 'ustar'
    if (!isHeader && at === 0)
      throw failure({
        code: 'usage',
        detail: `${path} is no backup of Tenure`,
        remedy: 'Name a file that `tenure backup` has written.',
      })
    if (!isHeader) throw damaged(path, `it is cut or overwritten at byte ${at}`)
    const name = header.toString('utf8', 0, 100).replace(/\0.*$/s, '')
    if (Number.parseInt(header.toString('latin1', 148, 154), 8) !== sumOf(header))
      throw damaged(path, `the header of ${name} at byte ${at} is damaged`)
    const bytes =
      header[124] === 0x80
        ? Number(header.readBigUInt64BE(128))
        : Number.parseInt(header.toString('latin1', 124, 135), 8)
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
