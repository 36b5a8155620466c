/**
 * Checks the names of files that come from elsewhere, before one of them becomes a path. A name that leads out of its folder, or that is
 * another name on a file system that ignores case, would overwrite a file that nobody meant.
 */

/** Limits of one archive or folder. */
export interface ForeignLimits {
  maxFiles: number
  /** The bytes of all files, unpacked. */
  maxBytes: number
  /** The folders in a name, with the file itself. */
  maxDepth: number
}

/** The limit of file systems for one part of a path, in bytes. */
const maxPartBytes = 255

/** Returns a function that checks one more file: undefined, or why it is refused, as the end of a sentence about the archive or folder. */
export function createNameCheck(limits: ForeignLimits): (name: string, bytes: number) => string | undefined {
  /** Each path and the folders above it, as a file system that ignores case sees them. */
  const files = new Map<string, string>()
  const folders = new Set<string>()
  let total = 0
  return (name, bytes) => {
    const shown = JSON.stringify(name.slice(0, 200))
    const issue = issueOfName(name, limits.maxDepth)
    if (issue !== undefined) return `has the name ${shown}, ${issue}`
    if (!Number.isSafeInteger(bytes) || bytes < 0) return `has no size of ${shown}`
    total += bytes
    if (files.size >= limits.maxFiles) return `has more than ${limits.maxFiles} files`
    if (total > limits.maxBytes) return `has more than ${limits.maxBytes} bytes`
    const folded = foldedName(name)
    const other = files.get(folded)
    if (other === name) return `has ${shown} twice`
    if (other !== undefined) return `has ${shown} beside ${JSON.stringify(other)}, which differ only in case`
    const above = parentsOf(folded)
    if (folders.has(folded) || above.some((each) => files.has(each)))
      return `has ${shown} as a file and as a folder`
    files.set(folded, name)
    for (const each of above) folders.add(each)
    return undefined
  }
}

/** Returns why a relative name with `/` cannot be used; undefined if it can. */
export function issueOfName(name: string, maxDepth: number): string | undefined {
  const parts = name.split('/')
  if (parts.includes('') || parts.includes('.') || parts.includes('..'))
    return 'which does not lead to a file in its folder'
  // Also the mark of bytes that are not UTF-8, and what turns the direction of a text.
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\uFFFD\\]/u.test(name)) return 'which has characters that no name needs'
  if (parts.length > maxDepth) return `which is deeper than ${maxDepth} folders`
  if (parts.some((part) => Buffer.byteLength(part) > maxPartBytes))
    return `whose parts are longer than ${maxPartBytes} bytes`
  return undefined
}

/** One name for all that some file system takes for the same. */
const foldedName = (name: string): string => name.normalize('NFKC').toUpperCase().toLowerCase()

const parentsOf = (name: string): string[] =>
  [...name.matchAll(/\//g)].map(({ index }) => name.slice(0, index))
