// @ts-check
// What the set-up knows of this machine: its environment, its programs, and the cache that all projects of a user share.
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** @typedef {{ cache: string, env: NodeJS.ProcessEnv, arch: string }} Machine `cache` is a folder; `arch` is named as by Node, such as x64. */

/** @param {NodeJS.ProcessEnv} [env] @returns {Machine} */
export const thisMachine = (env = process.env) => ({
  cache: cacheOf(env),
  // Go's instructions install to this directory, which a login shell does not search.
  env: { ...env, PATH: `${env['PATH'] ?? ''}:/usr/local/go/bin` },
  arch: process.arch,
})

/** Returns the folder of the cache: TENURE_CACHE, or `~/.cache/tenure`. @param {NodeJS.ProcessEnv} [env] */
export const cacheOf = (env = process.env) =>
  env['TENURE_CACHE']?.trim() || join(env['HOME'] || homedir(), '.cache', 'tenure')

/** Returns the environment of a process that needs no setting and gets no secret. @param {NodeJS.ProcessEnv} [env] */
export function bareEnvironment(env = process.env) {
  const { PATH, HOME, TMPDIR, TZ, LANG, LC_ALL, LD_LIBRARY_PATH } = env
  return { PATH, HOME, TMPDIR, TZ, LANG, LC_ALL, LD_LIBRARY_PATH }
}

/**
 * Returns the full path of a command; undefined if no directory on PATH has it.
 * @param {string} command @param {NodeJS.ProcessEnv} env
 */
export function findOnPath(command, env) {
  return (env['PATH'] ?? '')
    .split(delimiter)
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, command))
    .find(isExecutable)
}

/** @param {string} path */
export function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** Reads a file; undefined if it is unreadable. @param {string} path */
export function textOf(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** Reads a property of a JSON file; undefined if the file is unreadable or truncated. @param {string} path @param {string} name */
export function readProperty(path, name) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))[name]
  } catch {
    return undefined
  }
}

/**
 * Returns the start time of a process, in ticks since boot; undefined for a zombie or a missing process. With the pid, it distinguishes the
 * process from a later one with the same pid.
 * @param {number | undefined} pid
 */
export function birthOf(pid) {
  const stat = textOf(`/proc/${pid}/stat`) ?? ''
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' ? undefined : fields[19]
}
