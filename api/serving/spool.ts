/**
 * Blocks of the prediction log that wait on disk for a database that is away. Each record carries its length, its rows and
 * a checksum, so that after a crash every whole record is found again and a torn one is seen to be torn.
 */
import { appendFile, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

export interface SpooledBlock {
  rows: number
  bytes: Buffer
}

export interface Spool {
  /** Whether the block is on disk now; it is not when the spool is full or the disk refuses. One call at a time. */
  append(block: SpooledBlock): Promise<boolean>
  /**
   * Hands the blocks of the oldest segment over one by one and removes it after the last. Answers how many rows of it could
   * not be read any more, as far as they were counted; nothing when nothing is spooled.
   */
  drain(take: (block: SpooledBlock, own: boolean) => Promise<void>): Promise<{ lostRows: number } | undefined>
  bytes(): number
}

interface Segment {
  path: string
  bytes: number
  /** Rows written by this process; 0 in a segment it has taken over. */
  rows: number
  own: boolean
  /** Takes no more blocks: it is being read, or its end may be torn. */
  closed: boolean
  /** How far it has been handed over. */
  done: number
}

const magic = 0x544e5231
const headBytes = 16
const segmentBytes = 16_777_216

/** Opens the directory and takes over what processes left behind that no longer live. */
export async function openSpool(directory: string, mostBytes: number): Promise<Spool> {
  await mkdir(directory, { recursive: true })
  const segments = await adopt(directory)
  let total = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  let count = 0
  let writing: Promise<unknown> = Promise.resolve()

  const openSegment = (): Segment => {
    const last = segments.at(-1)
    if (last !== undefined && last.own && !last.closed && last.bytes < segmentBytes) return last
    const path = join(directory, `${process.pid}-${Date.now()}-${count++}.spool`)
    const fresh: Segment = { path, bytes: 0, rows: 0, own: true, closed: false, done: 0 }
    segments.push(fresh)
    return fresh
  }
  const write = async (segment: Segment, record: Buffer, rows: number): Promise<boolean> => {
    try {
      await appendFile(segment.path, record, { mode: 0o600 })
    } catch {
      // A record written by half would hide those behind it.
      segment.closed = true
      return false
    }
    segment.bytes += record.byteLength
    segment.rows += rows
    total += record.byteLength
    return true
  }
  return {
    bytes: () => total,
    append({ rows, bytes }) {
      if (total + headBytes + bytes.byteLength > mostBytes) return Promise.resolve(false)
      const head = Buffer.alloc(headBytes)
      head.writeUInt32BE(magic, 0)
      head.writeUInt32BE(rows, 4)
      head.writeUInt32BE(bytes.byteLength, 8)
      head.writeUInt32BE(crc32(bytes), 12)
      const written = write(openSegment(), Buffer.concat([head, bytes]), rows)
      writing = written
      return written
    },
    async drain(take) {
      const segment = segments[0]
      if (segment === undefined) return undefined
      segment.closed = true
      await writing
      for (;;) {
        const block = await readBlock(segment.path, segment.done)
        if (block === undefined) break
        await take(block, segment.own)
        segment.done += headBytes + block.bytes.byteLength
        segment.rows -= block.rows
      }
      segments.shift()
      total -= segment.bytes
      await rm(segment.path, { force: true })
      return { lostRows: segment.own ? segment.rows : 0 }
    },
  }
}

async function readBlock(path: string, at: number): Promise<SpooledBlock | undefined> {
  const file = await open(path).catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const head = Buffer.alloc(headBytes)
    if ((await file.read(head, 0, headBytes, at)).bytesRead < headBytes) return undefined
    const length = head.readUInt32BE(8)
    if (head.readUInt32BE(0) !== magic || length > segmentBytes * 2) return undefined
    const bytes = Buffer.alloc(length)
    if ((await file.read(bytes, 0, length, at + headBytes)).bytesRead < length) return undefined
    return crc32(bytes) === head.readUInt32BE(12) ? { rows: head.readUInt32BE(4), bytes } : undefined
  } finally {
    await file.close()
  }
}

/** Segments are named by the process that wrote them; renaming one claims it, and only one process can. */
async function adopt(directory: string): Promise<Segment[]> {
  const adopted: Segment[] = []
  const names = (await readdir(directory)).filter((name) => /^\d+-\d+-\d+\.spool$/.test(name))
  for (const name of names.sort((a, b) => Number(a.split('-')[1]) - Number(b.split('-')[1]))) {
    const [pid, at, number] = name.split(/[-.]/)
    if (isAlive(Number(pid))) continue
    const path = join(directory, `${process.pid}-${at}-${number}.spool`)
    try {
      await rename(join(directory, name), path)
      adopted.push({ path, bytes: (await stat(path)).size, rows: 0, own: false, closed: true, done: 0 })
    } catch {
      // Another process was faster.
    }
  }
  return adopted
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
