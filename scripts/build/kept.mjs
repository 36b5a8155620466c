// @ts-check
// Keeps what was computed from sources in dist/ until one of them changes. Most processes load a model file, and the compiler takes
// more CPU for it than the process for all the rest of its start.
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { outputOf } from './manifest.mjs'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/**
 * @typedef {object} Kept
 * @property {string} name
 * @property {Record<string, string>} digests Path of a source → digest of its content.
 * @property {unknown} value
 */

/** Two values for each of a thousand model files. */
const maxKept = 2_048
/** Listing the folder at each write would take longer than the writes of a thousand files. */
const writesPerCount = 64
/** How far file times lag behind the clock at most. */
const tickMs = 20
let written = 0

/**
 * The value of that name from an earlier process if no source has changed since, else that of `make`. It is JSON. `make` returns the
 * paths of all files that determine the value, and throws what it throws: an error is not kept.
 * @template T
 * @param {string} name
 * @param {() => Promise<{ value: T, sources: readonly string[] }>} make
 * @returns {Promise<T>}
 */
export async function keep(name, make) {
  const folder = join(outputOf(root), 'kept')
  const path = join(folder, `${digestOf(name).slice(0, 32)}.json`)
  const kept = readKept(path)
  if (kept?.name === name && isCurrent(kept.digests)) return /** @type {T} */ (kept.value)
  const beganMs = Date.now()
  const { value, sources } = await make()
  if (sources.every((source) => isOlder(source, beganMs - tickMs)))
    write(folder, path, {
      name,
      digests: Object.fromEntries(sources.map((each) => [each, contentOf(each)])),
      value,
    })
  return value
}

/** @param {string} path @returns {Kept | undefined} */
function readKept(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

/** By content and not by time: a digest of code goes into the record of a version. @param {Record<string, string>} digests */
function isCurrent(digests) {
  try {
    return Object.entries(digests).every(([path, digest]) => contentOf(path) === digest)
  } catch {
    return false
  }
}

/** A file that was written while it was read may be in the value or not. @param {string} path @param {number} atMs */
const isOlder = (path, atMs) => (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) < atMs

/**
 * Does nothing where the checkout cannot be written.
 * @param {string} folder @param {string} path @param {Kept} kept
 */
function write(folder, path, kept) {
  try {
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${path}.${process.pid}`, JSON.stringify(kept))
    renameSync(`${path}.${process.pid}`, path)
    if (written++ % writesPerCount !== 0) return
    const all = readdirSync(folder).map((name) => join(folder, name))
    if (all.length <= maxKept) return
    const byAge = all.map((each) => ({ each, atMs: statSync(each).mtimeMs })).sort((a, b) => b.atMs - a.atMs)
    for (const { each } of byAge.slice(maxKept / 2)) rmSync(each, { force: true })
  } catch {
    // Another process may write and delete here too; the value is computed again then.
  }
}

/** @param {string} path */
const contentOf = (path) => digestOf(readFileSync(path))
/** @param {string | Buffer} content */
const digestOf = (content) => createHash('sha256').update(content).digest('hex')
