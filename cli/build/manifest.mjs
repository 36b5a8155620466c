// @ts-check
// Finds the compiled file of a process and checks that no source has changed since. Stale code must never run: an operator who fixes a file
// and restarts would see no effect.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isPackage } from '../../project.mjs'

/**
 * @typedef {object} Manifest
 * @property {string} file The compiled file, relative to the output folder.
 * @property {Record<string, Mark>} inputs Path inside the checkout → mark of the file that was compiled.
 */

/** @typedef {[size: number, mtimeMs: number, digest: string]} Mark */

/** @param {string} root */
export const outputOf = (root) => join(root, 'dist')

/** @param {string} entry */
export const flatName = (entry) => entry.replaceAll('/', '-').replace(/\.ts$/, '')

/** @param {string} root @param {string} entry */
export const manifestOf = (root, entry) => join(outputOf(root), `${flatName(entry)}.json`)

/** @param {string} root @param {string} path @returns {Mark} */
export function markOf(root, path) {
  const { size, mtimeMs } = statSync(join(root, path))
  return [size, mtimeMs, digestOf(root, path)]
}

/** @param {string} root @param {string} path */
const digestOf = (root, path) =>
  createHash('sha1')
    .update(readFileSync(join(root, path)))
    .digest('hex')

/**
 * Whether a file is unchanged. Reads the content only if the size is equal and the time differs, as in a copied checkout, because reading
 * every file takes longer than starting a process.
 * @param {string} root @param {string} path @param {Mark} mark
 */
function isUnchanged(root, path, [size, mtimeMs, digest]) {
  const now = statSync(join(root, path))
  if (now.size !== size) return false
  return now.mtimeMs === mtimeMs || digestOf(root, path) === digest
}

/**
 * Returns the compiled file of an entry; undefined if it is missing or stale. A package has only compiled files, which are never stale.
 * @param {string} root @param {string} entry @returns {string | undefined}
 */
export function findCompiled(root, entry) {
  try {
    if (isPackage) return packedFile(root, entry)
    /** @type {Manifest} */
    const { file, inputs } = JSON.parse(readFileSync(manifestOf(root, entry), 'utf8'))
    for (const path in inputs)
      if (!isUnchanged(root, path, /** @type {Mark} */ (inputs[path]))) return undefined
    const compiled = join(outputOf(root), file)
    return existsSync(compiled) ? compiled : undefined
  } catch {
    return undefined
  }
}

/**
 * @typedef {object} Packed
 * @property {Record<string, string>} entries Entry → compiled file, relative to the output folder.
 */

/** @param {string} root @param {string} entry */
function packedFile(root, entry) {
  /** @type {Packed} */
  const { entries } = JSON.parse(readFileSync(join(outputOf(root), 'packed.json'), 'utf8'))
  const file = entries[entry]
  return file === undefined ? undefined : join(outputOf(root), file)
}
