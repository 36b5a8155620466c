/**
 * Stores blocks of the prediction log on disk while Postgres is unavailable. Each record has its length, its number of rows and a
 * checksum, so that after a crash every complete record is found and a torn one is detected.
 */
import { appendFile, mkdir, open, readFile, rm, stat, truncate, type FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { absentFile } from '../../../store/absent-file.ts'
import { adoptAccounts, openAccount, removeUnclaimedCounts, type LeftAccount } from './served-counter.ts'

export interface SpooledBlock {
  rows: number
  bytes: Buffer
  /** The account of the process that served the rows. */
  account: string
}

export interface Spool {
  /** The account of this process. */
  account: string
  /** Stores how many rows this process has served. Returns false when the write fails. */
  count(served: number): boolean
  /** Resolves with whether the block is on disk; false when the spool is full or the write fails. */
  append(block: Pick<SpooledBlock, 'rows' | 'bytes'>): Promise<boolean>
  /**
   * Passes the blocks of the oldest segment to `take` and removes the segment after the last block. Resolves with the number of this
   * process's rows that could not be read; undefined for an empty spool.
   */
  drain(take: (block: SpooledBlock) => Promise<void>): Promise<{ lostRows: number } | undefined>
  bytes(): number
  /** Returns accounts of dead processes without rows in the spool, which must be settled. */
  left(): LeftAccount[]
  forget(left: LeftAccount): Promise<void>
  /** Ends the account of this process, unless it has rows in the spool. */
  close(): Promise<void>
}

interface Segment {
  path: string
  bytes: number
  /** Rows written by this process; 0 in an adopted segment. */
  rows: number
  account: string
  /** The segment gets no more blocks: it is being read, or its end is torn. */
  closed: boolean
  /** The number of bytes already passed on. */
  done: number
}

const magic = 0x544e5231
const headBytes = 16
const segmentBytes = 16_777_216

/** Opens the directory and adopts the spools of dead processes. */
export async function openSpool(directory: string, maxBytes: number): Promise<Spool> {
  await mkdir(directory, { recursive: true })
  const left = await adoptAccounts(directory)
  await removeUnclaimedCounts()
  const account = openAccount(directory)
  const segments: Segment[] = []
  for (const { name, paths } of left)
    for (const path of paths) {
      const { size: bytes } = await stat(path)
      // A full disk took the name of the file alone.
      if (bytes === 0) await rm(path, { force: true })
      else segments.push({ path, bytes, rows: 0, account: name, closed: true, done: 0 })
    }
  let total = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  let count = 0
  let writing: Promise<boolean> = Promise.resolve(true)

  const openSegment = (): Segment => {
    const last = segments.at(-1)
    if (last !== undefined && !last.closed && last.bytes < segmentBytes) return last
    const path = account.pathOf(`${String(count++).padStart(6, '0')}.spool`)
    const fresh: Segment = { path, bytes: 0, rows: 0, account: account.name, closed: false, done: 0 }
    segments.push(fresh)
    return fresh
  }
  const write = async (segment: Segment, record: Buffer, rows: number): Promise<boolean> => {
    try {
      await appendFile(segment.path, record, { mode: 0o600 })
    } catch {
      // Cuts a torn record off. Where that fails too, the segment gets no more records.
      await truncate(segment.path, segment.bytes)
        .catch(absentFile)
        .catch(() => (segment.closed = true))
      return false
    }
    segment.bytes += record.byteLength
    segment.rows += rows
    total += record.byteLength
    return true
  }
  return {
    account: account.name,
    count: account.count,
    bytes: () => total,
    append({ rows, bytes }) {
      const head = Buffer.alloc(headBytes)
      head.writeUInt32BE(magic, 0)
      head.writeUInt32BE(rows, 4)
      head.writeUInt32BE(bytes.byteLength, 8)
      head.writeUInt32BE(crc32(bytes), 12)
      writing = writing.then(() => {
        if (total + headBytes + bytes.byteLength > maxBytes) return false
        return write(openSegment(), Buffer.concat([head, bytes]), rows)
      })
      return writing
    },
    async drain(take) {
      const segment = segments[0]
      if (segment === undefined) return undefined
      segment.closed = true
      await writing
      const file = await open(segment.path).catch(() => undefined)
      try {
        for (;;) {
          const found = file && (await readBlock(file, segment))
          if (found === undefined) break
          await take({ ...found.block, account: segment.account })
          segment.done = found.end
          segment.rows -= found.block.rows
        }
      } finally {
        await file?.close()
      }
      segments.shift()
      total -= segment.bytes
      await rm(segment.path, { force: true })
      return { lostRows: segment.account === account.name ? segment.rows : 0 }
    },
    left: () => left.filter(({ name }) => !segments.some((segment) => segment.account === name)),
    async forget(settled) {
      await settled.forget()
      left.splice(left.indexOf(settled), 1)
    },
    async close() {
      if (!segments.some((segment) => segment.account === account.name)) await account.forget()
    },
  }
}

interface FoundBlock {
  block: Pick<SpooledBlock, 'rows' | 'bytes'>
  /** The position of the next record. */
  end: number
}

/** Reads the next complete record. After a broken record, searches the file byte by byte. */
async function readBlock(file: FileHandle, { path, done }: Segment): Promise<FoundBlock | undefined> {
  const head = Buffer.alloc(headBytes)
  if ((await file.read(head, 0, headBytes, done)).bytesRead < headBytes) return undefined
  const length = head.readUInt32BE(8)
  if (head.readUInt32BE(0) === magic && length <= segmentBytes * 2) {
    const bytes = Buffer.alloc(length)
    const { bytesRead } = await file.read(bytes, 0, length, done + headBytes)
    if (bytesRead === length && crc32(bytes) === head.readUInt32BE(12))
      return { block: { rows: head.readUInt32BE(4), bytes }, end: done + headBytes + length }
  }
  return searchBlock(await readFile(path), done + 1)
}

function searchBlock(file: Buffer, from: number): FoundBlock | undefined {
  const mark = Buffer.alloc(4)
  mark.writeUInt32BE(magic)
  for (let at = file.indexOf(mark, from); at >= 0; at = file.indexOf(mark, at + 1)) {
    if (at + headBytes > file.byteLength) return undefined
    const end = at + headBytes + file.readUInt32BE(at + 8)
    if (end > file.byteLength) continue
    const bytes = file.subarray(at + headBytes, end)
    if (crc32(bytes) === file.readUInt32BE(at + 12))
      return { block: { rows: file.readUInt32BE(at + 4), bytes: Buffer.from(bytes) }, end }
  }
  return undefined
}
