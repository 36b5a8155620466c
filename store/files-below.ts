/** Lists files of a directory and of all directories below it. `opendir` of Node 20 with `recursive` loses entries of deeper directories. */
import { opendir } from 'node:fs/promises'
import { join } from 'node:path'
import { absentFile } from './absent-file.ts'

/** The paths of all files; none for a missing directory. */
export async function* walkFiles(directory: string): AsyncGenerator<string> {
  const entries = await opendir(directory).catch(absentFile)
  for await (const entry of entries ?? []) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) yield* walkFiles(path)
    else if (entry.isFile()) yield path
  }
}
