// @ts-check
// Restarts a process that was started by hand on an old Node with the newer Node that the set-up installed.
import { accessSync, constants, fstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'

/** The minimum major version. On a machine with an older Node, the set-up installs a newer one. */
const MAJOR_AT_LEAST = 24

/** @param {string} version such as 20.20.2 */
export function isOldNode(version) {
  return Number.parseInt(version, 10) < MAJOR_AT_LEAST
}

/** Returns the path where the set-up links the newer Node. npm and npx put its directory first on PATH. @param {string} root */
export function nodeLink(root) {
  return join(root, 'node_modules', '.bin', 'node')
}

/** Whether the process has a controlling terminal, even if its input and output are redirected. */
function hasTerminal() {
  try {
    // The numbers after the name: state, ppid, pgrp, session, and tty_nr, which is 0 without a terminal (proc(5)).
    const [, , , , terminal] = readFileSync('/proc/self/stat', 'latin1').split(') ').at(-1)?.split(' ') ?? []
    return terminal !== '0'
  } catch {
    return process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  }
}

/** The file descriptor over which some processes talk to their parent. */
const PARENT_FD = 3

/** Whether the parent passed a pipe besides input, output and errors. Files that Node opens itself are not pipes. */
function hasParentPipe() {
  try {
    const found = fstatSync(PARENT_FD)
    return found.isSocket() || found.isFIFO()
  } catch {
    return false
  }
}

/**
 * Runs the same command on a newer Node, waits for it and exits as it exits. Returns false if this process continues, as one does that its
 * parent controls over a channel.
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
  // Checked before Node opens more files.
  const pipe = hasParentPipe() ? [PARENT_FD] : []
  const { spawn } = await import('node:child_process')
  // The handlers are installed before the child starts: a signal in between would end this process and leave the child running. A terminal
  // sends SIGINT to both processes, and a second one ends the child at once; other signals reach only this process.
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
