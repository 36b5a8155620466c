/** Checks the number of files per folder, and that sibling folders do not depend on each other in a cycle. */
import { dirname } from 'node:path'
import type { Source } from './source.ts'

export const maxFiles = 16

/** Folders that may hold more files: pictures, generated pages, pages named after alerts, and migrations. */
export const largeFolders: Readonly<Record<string, string>> = {
  '.': 'tools and readers look for these files at the top',
  'docs/images': 'screenshots, made by npm run docs:images',
  'docs/runbooks': 'one page for each kind of alert, named after it',
  migrations: 'a released migration is never edited, so each change adds a file',
}

/** Returns folders with more than `maxFiles` files and no exception, and exceptions that are no longer needed. */
export function issuesOfFolders(
  paths: readonly string[],
  allowed: Readonly<Record<string, string>>,
): string[] {
  const counts = new Map<string, number>()
  for (const path of paths) counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1)
  const crowded = [...counts].filter(([, count]) => count > maxFiles)
  return [
    ...crowded
      .filter(([folder]) => allowed[folder] === undefined)
      .map(([folder, count]) => `${folder} holds ${count} files, more than ${maxFiles}`),
    ...Object.keys(allowed)
      .filter((folder) => !crowded.some(([each]) => each === folder))
      .map((folder) => `${folder} needs no exception from the ${maxFiles} files any more`),
  ]
}

/**
 * Returns cycles of sibling folders. An import counts for the first folders in which the two paths differ. Files next to the folders are
 * entry points and shared types; they are ignored.
 */
export function issuesOfFolderCycles(sources: readonly Source[]): string[] {
  const edges = new Map<string, Set<string>>()
  for (const { path, imports } of sources)
    for (const { to, inside } of imports) {
      const [from, target] = inside ? firstDifference(dirname(path), dirname(to)) : []
      // The import table covers imports between layers.
      if (from === undefined || target === undefined || !from.includes('/')) continue
      edges.set(from, (edges.get(from) ?? new Set()).add(target))
    }
  const issues: string[] = []
  const done = new Set<string>()
  const visit = (folder: string, trail: readonly string[]): void => {
    const at = trail.indexOf(folder)
    if (at >= 0) issues.push(`a cycle of folders: ${[...trail.slice(at), folder].join(' → ')}`)
    if (at >= 0 || done.has(folder)) return
    for (const next of edges.get(folder) ?? []) visit(next, [...trail, folder])
    done.add(folder)
  }
  for (const folder of edges.keys()) visit(folder, [])
  return issues
}

/** Returns the two sibling folders above two paths; empty when one contains the other. */
function firstDifference(a: string, b: string): [string, string] | [] {
  const [from, to] = [a.split('/'), b.split('/')]
  const at = from.findIndex((part, i) => part !== to[i])
  if (at < 0 || to[at] === undefined) return []
  return [from.slice(0, at + 1).join('/'), to.slice(0, at + 1).join('/')]
}
