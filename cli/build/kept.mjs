// @ts-check
// Caches values computed from sources in dist/ until a source changes. Most processes load a model file, and compiling it takes more CPU
// than the rest of their start.
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

/** Enough for two values for each of a thousand model files. */
const maxKept = 2_048
/** The folder is listed once per this many writes: listing it each time would take longer than the writes of a thousand files. */
const writesPerCount = 64
/** The maximum lag of file times behind the clock, in ms. */
const tickMs = 20
let written = 0

/**
 * Returns the cached JSON value of this name if no source has changed, otherwise the value of `make`. `make` returns all files that affect
 * the value. Its errors are thrown and not cached.
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

/**
 * Compares content instead of times, because a digest of code goes into the record of a version.
 * @param {Record<string, string>} digests
 */
function isCurrent(digests) {
  try {
    return Object.entries(digests).every(([path, digest]) => contentOf(path) === digest)
  } catch {
    return false
  }
}

/**
 * Whether the file was last written before a time. The value may or may not reflect a file that was written while it was read.
 * @param {string} path @param {number} atMs
 */
const isOlder = (path, atMs) => (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) < atMs

/**
 * Writes a value. Does nothing if the checkout is not writable.
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
    // Another process may write and delete here too. The value is then computed again.
  }
}

/** @param {string} path */
const contentOf = (path) => digestOf(readFileSync(path))
/** @param {string | Buffer} content */
const digestOf = (content) => createHash('sha256').update(content).digest('hex')
