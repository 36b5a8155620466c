// @ts-check
// The shape of one step of the set-up, and the places all steps share.
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * @typedef {object} SetupStep
 * @property {string} name
 * @property {import('./needs.mjs').Need[]} needs what the machine must bring for `make`
 * @property {import('./needs.mjs').Need[]} [wishes] what `make` would rather have, but can do without
 * @property {(options: { deep: boolean }) => Promise<string | undefined>} missing why there is work, or nothing
 * @property {(update: (text: string) => void) => Promise<string>} make does the work and tells what was done
 */

/** @typedef {{ root: string, cache: string, env: NodeJS.ProcessEnv, arch: string }} Context */

/**
 * @param {NodeJS.ProcessEnv} env
 */
export function cacheOf(env) {
  return env['TENURE_CACHE'] || join(env['HOME'] || homedir(), '.cache', 'tenure')
}
