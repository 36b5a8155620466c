/**
 * Reads folders that another program has filled, such as the result of a training. A link could lead to a secret, a file with two names
 * could change after it was checked, and a pipe could block its reader, so only plain files with one name are taken.
 */
import { constants, type Stats } from 'node:fs'
import { lstat, open, readdir, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { createNameCheck, issueOfName, type ForeignLimits } from './foreign-names.ts'

export interface ForeignFile {
  /** Relative to the folder, with `/`. */
  name: string
  bytes: number
}

/** Gets the reason as the end of a sentence about the folder, and throws. */
type Refuse = (why: string) => never

/** Lists all files below a folder. Calls `refuse` for anything but plain files and folders, and for a missing folder. */
export async function listForeignFolder(
  folder: string,
  { limits, refuse }: { limits: ForeignLimits; refuse: Refuse },
): Promise<ForeignFile[]> {
  const issueOf = createNameCheck(limits)
  const files: ForeignFile[] = []
  let folders = 0
  const visit = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below))) {
      const name = below === '' ? entry : `${below}/${entry}`
      const wrong = issueOfName(name, limits.maxDepth)
      if (wrong !== undefined) refuse(`has the name ${JSON.stringify(name.slice(0, 200))}, ${wrong}`)
      const found = await lstat(join(folder, name)).catch((error: Error) =>
        refuse(`changes: ${error.message}`),
      )
      if (found.isDirectory()) {
        if (++folders > limits.maxFiles) refuse(`has more than ${limits.maxFiles} folders`)
        await visit(name)
        continue
      }
      requirePlain(found, { name, refuse })
      const issue = issueOf(name, found.size)
      if (issue !== undefined) refuse(issue)
      files.push({ name, bytes: found.size })
    }
  }
  const root = await lstat(folder).catch(() => undefined)
  if (root === undefined) return refuse('is gone')
  if (!root.isDirectory()) refuse('is no folder')
  await visit('')
  return files
}

/** Opens a plain file of such a folder for reading. The caller closes it. */
export async function openForeignFile(folder: string, name: string, refuse: Refuse): Promise<FileHandle> {
  // Without O_NONBLOCK, opening a pipe waits for its writer.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(join(folder, name), flags).catch((error: Error) =>
    refuse(`cannot be read: ${error.message}`),
  )
  try {
    requirePlain(await file.stat(), { name, refuse })
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

function requirePlain(found: Stats, { name, refuse }: { name: string; refuse: Refuse }): void {
  const shown = JSON.stringify(name.slice(0, 200))
  if (!found.isFile()) refuse(`has ${shown}, which is no plain file`)
  if (found.nlink !== 1) refuse(`has ${shown}, which also has another name (a hard link)`)
}
