// @ts-check
// A lock among processes: one set-up at a time, one change of a list of keys at a time. Two set-ups that run `npm ci` in one checkout, or
// fill one cache, would delete each other's unfinished files. The lock is a file that names its holder. The lock of a dead holder is taken
// over, so a set-up killed with -9 never blocks the next one.
import { randomUUID } from 'node:crypto'
import { linkSync, mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { birthOf, textOf } from './machine.mjs'

const POLL_MS = 50
const HEARTBEAT_MS = 2_000
/** A holder on another host or in another container is judged by its heartbeat, because its pid has no meaning here. */
const FOREIGN_STALE_MS = 30_000

/** Functions that release the locks of this process when it exits. @type {Set<() => void>} */
const held = new Set()
process.on('exit', () => {
  for (const release of held) release()
})

/**
 * Waits for the lock and returns the function that releases it.
 * @param {string} path
 * @param {(holder: string) => void} [onWait] called once, if another process holds it
 * @returns {Promise<() => void>}
 */
export async function takeLock(path, onWait = () => {}) {
  mkdirSync(dirname(path), { recursive: true })
  const id = randomUUID()
  const mine = JSON.stringify({ pid: process.pid, started: birthOf(process.pid), host: hostname(), id })
  const draft = `${path}.${id}`
  writeFileSync(draft, mine)
  let isReported = false
  while (!linked(draft, path)) {
    const holder = textOf(path)
    if (holder !== undefined && isStale(path, holder)) {
      takeOver(path, holder)
      continue
    }
    if (!isReported && holder !== undefined) onWait(describe(holder))
    isReported = true
    await sleep(POLL_MS)
  }
  rmSync(draft, { force: true })
  const heartbeat = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date())
    } catch {
      // This process was suspended, and another process has taken over its lock.
    }
  }, HEARTBEAT_MS)
  heartbeat.unref()
  const release = () => {
    clearInterval(heartbeat)
    if (textOf(path) === mine) rmSync(path, { force: true })
  }
  held.add(release)
  return () => {
    held.delete(release)
    release()
  }
}

/**
 * Creates the lock atomically: a link appears with its complete content or not at all. Returns false if it exists.
 * @param {string} draft @param {string} path
 */
function linked(draft, path) {
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') return false
    throw error
  }
}

/**
 * Moves a stale lock aside. Two waiters may judge the same lock stale, but only one rename succeeds. Restores the lock if a new holder has
 * taken it in between.
 * @param {string} path @param {string} judged
 */
function takeOver(path, judged) {
  const aside = `${path}.${process.pid}.stale`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  if (textOf(aside) !== judged) linked(aside, path)
  rmSync(aside, { force: true })
}

/**
 * Parses the holder; empty for a file without one, which is then judged by its age.
 * @param {string} holder @returns {{ pid?: number, started?: string, host?: string }}
 */
function parsed(holder) {
  try {
    return JSON.parse(holder)
  } catch {
    return {}
  }
}

/** @param {string} path @param {string} holder */
function isStale(path, holder) {
  const { pid, started, host } = parsed(holder)
  if (host === hostname()) return birthOf(pid) !== started
  const { mtimeMs = Infinity } = statSync(path, { throwIfNoEntry: false }) ?? {}
  return Date.now() - mtimeMs > FOREIGN_STALE_MS
}

/** @param {string} holder */
function describe(holder) {
  const { pid, host } = parsed(holder)
  return `process ${pid} on ${host}`
}
