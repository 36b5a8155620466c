/** Lists the files that a pattern matches. */
import { readdir } from 'node:fs/promises'
import { matchesGlob, relative, resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { splitPattern } from '../../domain/addresses/source-address.ts'
import { projectFolder } from '../../temporal.config.ts'

export interface MatchingFile {
  path: string
  /** The path relative to the folder in which the pattern begins. */
  place: string
}

/**
 * Returns the files sorted by path, each written as the pattern is: absolute, or relative to the project. Throws `source_unreadable` for
 * more than `maxFiles`, and the error of `readdir` for a missing folder.
 */
export async function listMatching(pattern: string, maxFiles: number): Promise<MatchingFile[]> {
  const { folder, rest } = splitPattern(pattern)
  const root = resolve(projectFolder, folder)
  // Only `**` or a pattern in the place of a folder reaches subfolders.
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
