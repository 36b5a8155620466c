// @ts-check
// A part is one large component in the cache, such as the Temporal server: a directory with a receipt that lists each file with its size,
// time and SHA-256. A part is built in a draft directory and renamed into place, so it is complete or absent. Without the receipt, a
// truncated download would pass for a library and crash much later.
import { createHash } from 'node:crypto'
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { readProperty } from './machine.mjs'

/** @typedef {{ path: string, size: number, mtimeMs: number, sha256: string }} PartFile */

const RECEIPT = 'receipt.json'
const DRAFTS = 'partial'

/**
 * Returns why the part is unusable, or undefined. A file is intact if its size and time match the receipt. Hashes the file again if its
 * time differs (a copied cache) or if `deep` is set.
 * @param {string} directory @param {{ deep?: boolean }} [options] @returns {Promise<string | undefined>}
 */
export async function faultOf(directory, { deep = false } = {}) {
  /** @type {PartFile[] | undefined} */
  const receipt = readProperty(join(directory, RECEIPT), 'files')
  if (receipt === undefined) return 'not there yet'
  let restamp = false
  for (const file of receipt) {
    const found = statSync(join(directory, file.path), { throwIfNoEntry: false })
    if (found === undefined) return `${file.path} is missing`
    if (found.size !== file.size) return `${file.path} has ${found.size} bytes instead of ${file.size}`
    if (!deep && found.mtimeMs === file.mtimeMs) continue
    if ((await sha256Of(join(directory, file.path))) !== file.sha256) return `${file.path} is damaged`
    restamp ||= found.mtimeMs !== file.mtimeMs
    file.mtimeMs = found.mtimeMs
  }
  if (restamp) writeReceipt(directory, receipt)
  return undefined
}

/**
 * Makes a part: `make` fills an empty directory; then its files are hashed and the directory is renamed into place.
 * @param {string} directory @param {(draft: string) => Promise<void>} make
 * @returns {Promise<number>} its size in bytes
 */
export async function makePart(directory, make) {
  const drafts = join(directory, '..', DRAFTS)
  mkdirSync(drafts, { recursive: true })
  const draft = mkdtempSync(join(drafts, `${basename(directory)}-${process.pid}-`))
  try {
    await make(draft)
    const files = []
    for (const path of filesUnder(draft)) {
      const { size, mtimeMs } = statSync(join(draft, path))
      files.push({ path, size, mtimeMs, sha256: await sha256Of(join(draft, path)) })
    }
    writeReceipt(draft, files)
    rmSync(directory, { recursive: true, force: true })
    renameSync(draft, directory)
    return files.reduce((sum, file) => sum + file.size, 0)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/**
 * Removes the drafts of processes that have ended. Tests and benches make parts under other locks, so the draft of a live process stays.
 * @param {string} cache
 */
export function removeAbandonedDrafts(cache) {
  const drafts = join(cache, DRAFTS)
  if (!existsSync(drafts)) return
  for (const name of readdirSync(drafts)) {
    const pid = /-(\d+)-[^-]+$/.exec(name)?.[1]
    if (pid === undefined || !existsSync(`/proc/${pid}`))
      rmSync(join(drafts, name), { recursive: true, force: true })
  }
}

/** @param {string} path */
export async function sha256Of(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex')
}

/**
 * Counts the bytes below a directory that another program is filling. Skips files that vanish meanwhile.
 * @param {string} directory
 */
export function bytesUnder(directory) {
  try {
    return filesUnder(directory).reduce(
      (sum, path) => sum + (statSync(join(directory, path), { throwIfNoEntry: false })?.size ?? 0),
      0,
    )
  } catch {
    return 0
  }
}

/** @param {string} directory */
function filesUnder(directory) {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((path) =>
    statSync(join(directory, path), { throwIfNoEntry: false })?.isFile(),
  )
}

/** @param {string} directory @param {PartFile[]} files */
function writeReceipt(directory, files) {
  const path = join(directory, RECEIPT)
  writeFileSync(`${path}.new`, `${JSON.stringify({ files }, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}
