// @ts-check
// Runs an external command for the set-up. Each command has its own process group, which ends with the set-up. The kernel ends the command
// even if the set-up is killed, by a signal that it cannot defer: `npm ci` goes on after SIGTERM, and would write into the `node_modules` of the
// next set-up.
import { spawn } from 'node:child_process'
import { findOnPath } from './machine.mjs'

/** @typedef {{ cwd?: string, env?: NodeJS.ProcessEnv, onLine?: (line: string) => void }} RunOptions */

const TAIL_LINES = 15

/** @type {Set<number>} */
const groups = new Set()

process.on('exit', () => {
  for (const pid of groups) {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // The command has ended meanwhile.
    }
  }
})

/**
 * Resolves with all output when the command exits with 0. Otherwise rejects with the last lines, in which compilers and package managers
 * report the error.
 * @param {string} command @param {string[]} args @param {RunOptions} [options] @returns {Promise<string>}
 */
export function run(command, args, { cwd, env = process.env, onLine } = {}) {
  return new Promise((resolve, reject) => {
    const tie = findOnPath('setpriv', env)
    const tied = tie === undefined ? [command, ...args] : [tie, '--pdeathsig', 'KILL', '--', command, ...args]
    const child = spawn(tied[0] ?? command, tied.slice(1), {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { pid } = child
    if (pid !== undefined) groups.add(pid)
    let output = ''
    let unfinished = ''
    /** @param {string} chunk */
    const take = (chunk) => {
      output += chunk
      const lines = (unfinished + chunk).split('\n')
      unfinished = lines.pop() ?? ''
      for (const line of lines) onLine?.(line)
    }
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', take)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (pid !== undefined) groups.delete(pid)
      if (code === 0) return resolve(output)
      const tail = output.trimEnd().split('\n').slice(-TAIL_LINES).join('\n    ')
      reject(new Error(`${command} ended with ${signal ?? `exit code ${code}`}\n    ${tail}`))
    })
  })
}
