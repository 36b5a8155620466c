// @ts-check
// A process that was started by hand on an old Node goes on with the Node that the set-up has brought for this machine.
import { accessSync, constants, fstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'

/** On a machine with an older Node, the set-up brings a newer one. */
const MAJOR_AT_LEAST = 22

/** @param {string} version such as 20.20.2 */
export function isOldNode(version) {
  return Number.parseInt(version, 10) < MAJOR_AT_LEAST
}

/** Where the set-up links the newer Node; npm and npx put this directory first on PATH. @param {string} root */
export function nodeLink(root) {
  return join(root, 'node_modules', '.bin', 'node')
}

/** Whether a terminal may send this process a signal, wherever its input and output go. */
function hasTerminal() {
  try {
    // The numbers behind the name: state, ppid, pgrp, session, tty_nr, which is 0 without one (proc(5)).
    const [, , , , terminal] = readFileSync('/proc/self/stat', 'latin1').split(') ').at(-1)?.split(' ') ?? []
    return terminal !== '0'
  } catch {
    return process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  }
}

/** Over which the parent of some processes speaks with them. */
const PARENT_FD = 3

/** Whether the parent has given this process a pipe beside input, output and errors. What Node itself opens is no pipe there. */
function hasParentPipe() {
  try {
    const found = fstatSync(PARENT_FD)
    return found.isSocket() || found.isFIFO()
  } catch {
    return false
  }
}

/**
 * True if a newer Node runs this same command now: this process then only waits for it and ends as it ends. A process that is
 * controlled over a channel of its parent stays as it is.
 * @param {string} root @param {string} [version] of the Node that runs this process
 */
export async function goOnWithNewerNode(root, version = process.versions.node) {
  if (!isOldNode(version) || !isMainThread || process.channel) return false
  const newer = nodeLink(root)
  try {
    accessSync(newer, constants.X_OK)
  } catch {
    return false
  }
  // Before Node opens more files.
  const pipe = hasParentPipe() ? [PARENT_FD] : []
  const { spawn } = await import('node:child_process')
  // Signals are heard before the child runs: one that came between would end this process and leave the child behind.
  // A terminal sends SIGINT to both processes, and a second one ends the child at once; the others reach only this one.
  process.on('SIGINT', () => {
    if (!hasTerminal()) child.kill('SIGINT')
  })
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP', 'SIGUSR2']))
    process.on(signal, () => child.kill(signal))
  const child = spawn(newer, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: ['inherit', 'inherit', 'inherit', ...pipe],
  })
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (...ending) => resolve(ending))
  })
  if (signal !== null) {
    for (const each of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) process.removeAllListeners(each)
    process.kill(process.pid, signal)
  }
  process.exitCode = code ?? 1
  return true
}
