/**
 * Archives the signed audit heads after a restore. They name rows that the restore removed on purpose, and every verification would
 * report a cut tail; the archive keeps their content for later inspection.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { absentFile } from '../absent-file.ts'

export interface ArchivedHeads {
  /** The new names of the archived files. */
  files: string[]
  /** The number of archived heads. */
  heads: number
  undo(): Promise<void>
}

/**
 * Truncates each file after the row; a missing file begins with the heads of `seed`. The stamp distinguishes the archives of several
 * restores.
 */
export async function archiveHeads(
  files: readonly string[],
  { lastSeq, seed = '', stamp }: { lastSeq: number; seed?: string; stamp: string },
): Promise<ArchivedHeads> {
  const undone: (() => Promise<void>)[] = []
  const copies: string[] = []
  let heads = 0
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(absentFile)
    const lines = (text ?? seed).split('\n').filter((line) => line.trim() !== '')
    const remaining = lines.filter((line) => (seqOf(line) ?? Infinity) <= lastSeq)
    if (text !== undefined && remaining.length === lines.length) continue
    const copy = `${file}.before-${stamp}`
    if (text !== undefined) {
      await rename(file, copy)
      copies.push(copy)
      heads = Math.max(heads, lines.length - remaining.length)
    }
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, remaining.map((line) => `${line}\n`).join(''))
    undone.push(() => (text === undefined ? rm(file, { force: true }) : rename(copy, file)))
  }
  return {
    files: copies,
    heads,
    async undo() {
      for (const each of undone.reverse()) await each()
    },
  }
}

function seqOf(line: string): number | undefined {
  try {
    const { seq } = JSON.parse(line) as { seq?: unknown }
    return typeof seq === 'number' ? seq : undefined
  } catch {
    return undefined
  }
}
