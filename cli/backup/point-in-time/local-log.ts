/**
 * Finds the log files that Postgres has archived on this machine and that are not copied yet, because the place did not answer or the
 * process that copies them was killed.
 */
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { absentFile } from '../../../store/absent-file.ts'
import { isSegment } from './log-segment.ts'

export interface LocalLogFile {
  name: string
  writtenMs: number
  read(): Promise<Buffer>
}

/** `spool`: the directory to which Postgres archives. It may also hold files of another database. */
export async function listLocalLog(spool: string, systemId: string): Promise<LocalLogFile[]> {
  const names = ((await readdir(spool).catch(absentFile)) ?? []).filter(isSegment)
  const files: LocalLogFile[] = []
  for (const name of names) {
    const path = join(spool, name)
    if ((await systemOf(path)) !== systemId) continue
    files.push({ name, writtenMs: (await stat(path)).mtimeMs, read: () => readFile(path) })
  }
  return files
}

/** The offset of the system identifier in the header of a segment's first page. */
const systemOffset = 24

async function systemOf(path: string): Promise<string | undefined> {
  const file = await open(path)
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(8), 0, 8, systemOffset)
    return bytesRead === 8 ? buffer.readBigUInt64LE().toString() : undefined
  } finally {
    await file.close()
  }
}
