/**
 * The digest of a piece of code: of a file and of every project file it imports, however deep. A version names the code
 * that made it; the revision of the checkout would not do, for it changes with every README and misses what is not
 * committed.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const imports = /\b(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g

/** `sha256:…` over the paths and contents of the files and all that they import from the project. */
export async function codeDigest(...entries: string[]): Promise<string> {
  const contents = new Map<string, string>()
  const visit = async (path: string): Promise<void> => {
    if (contents.has(path)) return
    contents.set(path, '')
    const text = await readFile(path, 'utf8')
    contents.set(path, createHash('sha256').update(text).digest('hex'))
    for (const [, specifier = ''] of text.matchAll(imports)) await visit(resolve(dirname(path), specifier))
  }
  for (const entry of entries) await visit(resolve(entry))
  const lines = [...contents].map(([path, digest]) => `${digest}  ${relative(root, path)}\n`).sort()
  return `sha256:${createHash('sha256').update(lines.join('')).digest('hex')}`
}
