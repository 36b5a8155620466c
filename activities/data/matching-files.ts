/** Lists the files that a pattern matches. */
import { readdir } from 'node:fs/promises'
import { matchesGlob, relative, resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { splitPattern } from '../../domain/validation/source-address.ts'
import { projectFolder } from '../../temporal.config.ts'

export interface MatchingFile {
  path: string
  /** Below the folder in which the pattern begins. */
  place: string
}

/**
 * Sorted by path, each as the pattern is written: absolute, or relative to the project. Throws `source_unreadable` for more than `maxFiles`, and
 * what `readdir` throws when the folder is away.
 */
export async function listMatching(pattern: string, maxFiles: number): Promise<MatchingFile[]> {
  const { folder, rest } = splitPattern(pattern)
  const root = resolve(projectFolder, folder)
  // Only `**` or a pattern in a folder's place leads below.
  const entries = await readdir(root, { recursive: rest.includes('/'), withFileTypes: true })
  const places = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(root, resolve(entry.parentPath, entry.name)))
    .filter((place) => matchesGlob(place, rest))
    .sort()
  if (places.length > maxFiles) throw tooManyFiles(pattern, places.length, maxFiles)
  return places.map((place) => ({ path: folder === '' ? place : `${folder}/${place}`, place }))
}

export const tooManyFiles = (pattern: string, found: number, most: number): DomainError =>
  new DomainError(
    'source_unreadable',
    `${found} files match ${pattern}, limit ${most}: remove those that are done, or narrow the pattern`,
  )
