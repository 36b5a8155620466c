// @ts-check
// One set-up at a time. Two of them running `npm ci` in one checkout, or filling one cache, would delete each other's
// half-finished files. The lock is a file that names its holder; a holder that died is noticed and its lock is taken
// over, so a set-up killed with -9 never blocks the next one.
import { linkSync, mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { textOf } from './step.mjs'

const POLL_MS = 200
const HEARTBEAT_MS = 2_000
/** A holder on another host, or in another container, is judged by its heartbeat because its pid means nothing here. */
const FOREIGN_STALE_MS = 30_000

/**
 * Waits for the lock and returns the function that releases it.
 * @param {string} path
 * @param {(holder: string) => void} onWait called once, if another process holds it
 * @returns {Promise<() => void>}
 */
export async function takeLock(path, onWait) {
  mkdirSync(dirname(path), { recursive: true })
  const mine = JSON.stringify({ pid: process.pid, started: startOf(process.pid), host: hostname() })
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, mine)
  let told = false
  while (!linked(draft, path)) {
    const holder = textOf(path)
    if (holder !== undefined && isStale(path, holder)) {
      takeOver(path, holder)
      continue
    }
    if (!told && holder !== undefined) onWait(describe(holder))
    told = true
    await sleep(POLL_MS)
  }
  rmSync(draft, { force: true })
  const heartbeat = setInterval(() => utimesSync(path, new Date(), new Date()), HEARTBEAT_MS)
  heartbeat.unref()
  const release = () => {
    clearInterval(heartbeat)
    if (textOf(path) === mine) rmSync(path, { force: true })
  }
  process.once('exit', release)
  return () => {
    process.off('exit', release)
    release()
  }
}

/**
 * A link either appears whole, with its content, or not at all; that makes it the atomic step.
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
 * Two waiters may judge the same lock stale; the rename lets only one of them have it. Should a new holder have slipped
 * in between, its lock is put back.
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

/** @param {string} path @param {string} holder */
function isStale(path, holder) {
  const { pid, started, host } = JSON.parse(holder)
  if (host === hostname()) return startOf(pid) !== started
  const { mtimeMs = Infinity } = statSync(path, { throwIfNoEntry: false }) ?? {}
  return Date.now() - mtimeMs > FOREIGN_STALE_MS
}

/**
 * When the process started, in ticks since boot: with the pid it names one process and no later one that got its pid.
 * @param {number} pid
 */
function startOf(pid) {
  const stat = textOf(`/proc/${pid}/stat`)
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}

/** @param {string} holder */
function describe(holder) {
  const { pid, host } = JSON.parse(holder)
  return `process ${pid} on ${host}`
}
