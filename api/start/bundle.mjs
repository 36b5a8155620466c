// @ts-check
// What was put together from the sources, and whether it is still what the sources say. Code that is no longer the source's
// must never run: whoever mends a file and starts again would look for the fault everywhere else.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @typedef {object} Manifest
 * @property {string} directory Where the bundle lies, beside this file.
 * @property {Record<string, string>} inputs Path inside the checkout → mark of the file as it was read.
 */

/** @param {string} root */
export const bundlesOf = (root) => join(root, 'node_modules', '.tenure', 'start')

/** @param {string} root @param {string} entry */
export const manifestOf = (root, entry) =>
  join(bundlesOf(root), `${entry.replaceAll('/', '-').replace(/\.ts$/, '')}.json`)

/** @param {string} directory @param {string} entry */
export const entryIn = (directory, entry) =>
  join(directory, `${entry.slice(entry.lastIndexOf('/') + 1).replace(/\.ts$/, '')}.mjs`)

/**
 * Our own files are compared by their content, those of packages by size and time: they are many, large, and written by
 * npm alone.
 * @param {string} root @param {string} path
 */
export function markOf(root, path) {
  const file = join(root, path)
  if (!path.startsWith('node_modules/')) return createHash('sha1').update(readFileSync(file)).digest('hex')
  const { size, mtimeMs } = statSync(file)
  return `${size} ${mtimeMs}`
}

/**
 * The file to run; undefined when there is none, or when a file that went into it has changed since.
 * @param {string} root @param {string} entry @returns {string | undefined}
 */
export function findBundle(root, entry) {
  try {
    /** @type {Manifest} */
    const { directory, inputs } = JSON.parse(readFileSync(manifestOf(root, entry), 'utf8'))
    for (const [path, mark] of Object.entries(inputs)) if (markOf(root, path) !== mark) return undefined
    const file = entryIn(join(bundlesOf(root), directory), entry)
    return existsSync(file) ? file : undefined
  } catch {
    return undefined
  }
}
