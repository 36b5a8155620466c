// @ts-check
// Makes the missing parts of a set-up: checks all steps, asks once for the tools that they need, and lets one process at a time fill the cache.
import { accessSync, constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { takeLock } from './lock.mjs'
import { removeAbandonedDrafts } from './part.mjs'
import { lacking, remedy } from './tools.mjs'

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {import('./tools.mjs').Tool[]} needs what the machine must bring for `make`
 * @property {import('./tools.mjs').Tool[]} [wishes] what `make` would rather have, but can do without
 * @property {(options: { deep: boolean }) => Promise<string | undefined>} missing why there is work, or nothing; `deep` hashes every file
 * @property {(update: (text: string) => void, options?: { deep?: boolean }) => Promise<string>} make does the work and tells what was done
 */

/**
 * @typedef {object} Options
 * @property {string} cache
 * @property {NodeJS.ProcessEnv} env
 * @property {import('./progress.mjs').Progress} progress
 * @property {boolean} [deep]
 * @property {{ path: string, what: string }} [lock] another lock to take before the one of the cache
 * @property {(make: (step: Step) => Promise<void>) => Promise<unknown>} [order] makes the steps; all at once by default
 */

/**
 * Makes what is missing. Checks again under the locks, because another process may have made it meanwhile.
 * @param {readonly Step[]} steps @param {Options} options
 */
export async function makeMissing(
  steps,
  { cache, env, progress, deep = false, lock, order = (make) => Promise.all(steps.map(make)) },
) {
  if ((await dueOf(steps, deep)).length === 0) return
  progress.say(`set-up: the heavy parts are kept in ${cache}`)
  openCache(cache)
  const releases = []
  for (const { path, what } of [...(lock ? [lock] : []), { path: join(cache, 'lock'), what: 'cache' }])
    releases.unshift(
      await takeLock(path, (holder) =>
        progress.say(`  waiting for another set-up of this ${what} (${holder})`),
      ),
    )
  try {
    removeAbandonedDrafts(cache)
    await demand(await dueOf(steps, deep), env)
    await order(async (step) => {
      const reason = await step.missing({ deep })
      if (reason === undefined) return
      const telling = progress.begin(step.name, reason)
      try {
        telling.done(await step.make(telling.update, { deep }))
      } catch (error) {
        telling.fail()
        throw error
      }
    })
  } finally {
    for (const release of releases) release()
  }
}

/** @param {readonly Step[]} steps @param {boolean} deep */
async function dueOf(steps, deep) {
  const reasons = await Promise.all(steps.map((step) => step.missing({ deep })))
  return steps.filter((_, index) => reasons[index] !== undefined)
}

/**
 * Reports everything that the machine lacks before the first download.
 * @param {readonly Step[]} due @param {NodeJS.ProcessEnv} env
 */
async function demand(due, env) {
  const hard = due.flatMap(({ needs }) => needs)
  if ((await lacking(hard, env)).length === 0) return
  const soft = due.flatMap(({ wishes = [] }) => wishes)
  throw new Error(remedy(await lacking([...hard, ...soft], env)))
}

/** @param {string} cache */
function openCache(cache) {
  try {
    mkdirSync(cache, { recursive: true })
    accessSync(cache, constants.W_OK)
  } catch (error) {
    throw new Error(
      `The cache ${cache} cannot be written (${/** @type {NodeJS.ErrnoException} */ (error).code}); ` +
        'set TENURE_CACHE to a writable directory with 3 GB free.',
    )
  }
}
