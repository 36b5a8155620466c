// @ts-check
// What was put together from the sources, and whether it is still what the sources say. Code that is no longer the source's
// must never run: whoever mends a file and starts again would look for the fault everywhere else.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @typedef {object} Manifest
 * @property {string} directory Where the bundle lies, beside this file.
 * @property {Record<string, Mark>} inputs Path inside the checkout → mark of the file as it was read.
 */

/** @typedef {[size: number, mtimeMs: number, digest?: string]} Mark */

/** @param {string} root */
export const bundlesOf = (root) => join(root, 'node_modules', '.tenure', 'start')

/** @param {string} root @param {string} entry */
export const manifestOf = (root, entry) =>
  join(bundlesOf(root), `${entry.replaceAll('/', '-').replace(/\.ts$/, '')}.json`)

/** @param {string} directory @param {string} entry */
export const entryIn = (directory, entry) =>
  join(directory, `${entry.slice(entry.lastIndexOf('/') + 1).replace(/\.ts$/, '')}.mjs`)

/**
 * What a file is known by: size and time, and of our own files the content as well. Those of packages are many, large, and
 * written by npm alone.
 * @param {string} root @param {string} path @returns {Mark}
 */
export function markOf(root, path) {
  const { size, mtimeMs } = statSync(join(root, path))
  return path.startsWith('node_modules/') ? [size, mtimeMs] : [size, mtimeMs, digestOf(root, path)]
}

/** @param {string} root @param {string} path */
const digestOf = (root, path) =>
  createHash('sha1')
    .update(readFileSync(join(root, path)))
    .digest('hex')

/**
 * Whether a file is as it was read. The content is looked at only where size and time do not settle it, as in a checkout that
 * was moved: to read all of them takes a replica longer than to load what they were put together to.
 * @param {string} root @param {string} path @param {Mark} mark
 */
function isAsRead(root, path, [size, mtimeMs, digest]) {
  const now = statSync(join(root, path))
  if (now.size !== size) return false
  if (now.mtimeMs === mtimeMs) return true
  return digest !== undefined && digestOf(root, path) === digest
}

/**
 * The file to run; undefined when there is none, or when a file that went into it has changed since.
 * @param {string} root @param {string} entry @returns {string | undefined}
 */
export function findBundle(root, entry) {
  try {
    /** @type {Manifest} */
    const { directory, inputs } = JSON.parse(readFileSync(manifestOf(root, entry), 'utf8'))
    for (const path in inputs) if (!isAsRead(root, path, /** @type {Mark} */ (inputs[path]))) return undefined
    const file = entryIn(join(bundlesOf(root), directory), entry)
    return existsSync(file) ? file : undefined
  } catch {
    return undefined
  }
}
