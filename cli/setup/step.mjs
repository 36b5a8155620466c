// @ts-check
// Defines a step of the set-up, and the directories that all steps share.
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * @typedef {object} SetupStep
 * @property {string} name
 * @property {import('./needs.mjs').Need[]} needs what the machine must bring for `make`
 * @property {import('./needs.mjs').Need[]} [wishes] what `make` would rather have, but can do without
 * @property {(options: { deep: boolean }) => Promise<string | undefined>} missing why there is work, or nothing
 * @property {(update: (text: string) => void, options?: { deep?: boolean }) => Promise<string>} make does the work and tells what was done
 */

/** @typedef {{ root: string, cache: string, env: NodeJS.ProcessEnv, arch: string }} Context */

/** @param {NodeJS.ProcessEnv} [env] */
export function cacheOf(env = process.env) {
  return env['TENURE_CACHE'] || join(env['HOME'] || homedir(), '.cache', 'tenure')
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
