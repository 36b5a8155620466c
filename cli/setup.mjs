// @ts-check
// Installs everything that `npm start` and `npm test` need: the npm packages, TensorFlow's library with its Node addon, the
// Temporal server, the Postgres binaries, a newer Node and the compiled processes. Needs only Node. If nothing is missing, it takes
// less than a second and no network.
// - Large parts are kept in a cache outside the checkout (TENURE_CACHE, default ~/.cache/tenure) and checked by their hashes.
// - `--verify` hashes every cached file again; `--without=temporal,postgres` skips servers that run elsewhere.
// - `--report` changes nothing and prints as JSON which parts are present.
import { accessSync, constants, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { takeLock } from '../store/lock.mjs'
import { lacking, lackOfNode, remedy } from './setup/needs.mjs'
import { newerNode } from './setup/newer-node.mjs'
import { packages } from './setup/packages.mjs'
import { removeAbandonedDrafts } from './setup/part.mjs'
import { postgres, postgresHome } from './setup/postgres.mjs'
import { processes } from './setup/processes.mjs'
import { since, startProgress } from './setup/progress.mjs'
import { cacheOf, textOf } from './setup/step.mjs'
import { addon, tensorflow } from './setup/tensorflow.mjs'
import { temporal, temporalPath } from './setup/temporal.mjs'

/** @typedef {import('./setup/step.mjs').SetupStep} SetupStep */

const startedMs = Date.now()
const context = {
  root: fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, ''),
  cache: cacheOf(process.env),
  // Go's instructions install to this directory, which a login shell does not search.
  env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/local/go/bin` },
  arch: process.arch,
}
const deep = process.argv.includes('--verify')
const without = new Set(process.argv.flatMap((each) => /^--without=(.*)$/.exec(each)?.[1]?.split(',') ?? []))
const progress = startProgress(process.stdout)
const steps = [packages, newerNode, tensorflow, addon, temporal, postgres, processes].map((step) =>
  step(context),
)

if (process.argv.includes('--report')) {
  process.stdout.write(`${JSON.stringify(await report())}\n`)
  process.exit(0)
}

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => {
    progress.say(`Set-up was interrupted (${signal}); what is finished is kept, start again to go on.`)
    process.exit(130)
  })
}

try {
  if (process.platform !== 'linux')
    throw new Error(`The set-up knows Linux only, this is ${process.platform}.`)
  const lack = lackOfNode(process.versions.node)
  if (lack !== undefined) throw new Error(remedy([lack]))
  if ((await work()).length > 0) await setUp()
  writeDirectory()
  progress.say(`set-up: all parts are in place (${since(startedMs)})`)
  progress.stop()
} catch (error) {
  progress.stop()
  process.stderr.write(`\nset-up failed: ${error instanceof Error ? error.message : error}\n`)
  process.exit(1)
}

/** Reports of each step whether its part is present, and what the machine lacks to make it. */
async function report() {
  return Promise.all(
    steps.map(async ({ name, needs, wishes = [], missing }) => {
      const fault = await missing({ deep }).catch((error) => String(error.message))
      const lacks = await lacking([...needs, ...wishes], context.env)
      return {
        name,
        ...(fault === undefined ? {} : { fault }),
        ...(lacks.length === 0 ? {} : { lacks: lacks.map(({ what }) => what), remedy: remedy(lacks) }),
      }
    }),
  )
}

/** Performs the missing steps under the locks. Checks again, because another set-up may have performed them meanwhile. */
async function setUp() {
  progress.say(`set-up: the heavy parts are kept in ${context.cache}`)
  /** @param {string} what */
  const waiting = (what) => (/** @type {string} */ holder) =>
    progress.say(`  waiting for another set-up of this ${what} (${holder})`)
  makeCache()
  const releaseCheckout = await takeLock(join(context.root, '.tenure', 'setup.lock'), waiting('checkout'))
  const releaseCache = await takeLock(join(context.cache, 'lock'), waiting('cache'))
  try {
    removeAbandonedDrafts(context.cache)
    const due = await work()
    await demand(due)
    const installed = due.some((step) => step.name === 'packages')
      ? perform(packages(context))
      : Promise.resolve()
    await Promise.all([
      installed.then(async () => {
        for (const make of [newerNode, tensorflow, addon, postgres, processes])
          await performIfMissing(make(context))
      }),
      performIfMissing(temporal({ ...context, ready: installed })),
    ])
  } finally {
    releaseCache()
    releaseCheckout()
  }
}

function makeCache() {
  try {
    mkdirSync(context.cache, { recursive: true })
    accessSync(context.cache, constants.W_OK)
  } catch (error) {
    throw new Error(
      `The cache ${context.cache} cannot be written (${/** @type {NodeJS.ErrnoException} */ (error).code}); ` +
        'set TENURE_CACHE to a writable directory with 3 GB free.',
    )
  }
}

/** Returns the steps with work to do. */
async function work() {
  const wanted = steps.filter(({ name }) => !without.has(name))
  const reasons = await Promise.all(wanted.map((step) => step.missing({ deep })))
  return wanted.filter((_, index) => reasons[index] !== undefined)
}

/**
 * Reports everything that the machine lacks before the first download.
 * @param {SetupStep[]} due
 */
async function demand(due) {
  const hard = due.flatMap(({ needs }) => needs)
  if ((await lacking(hard, context.env)).length === 0) return
  const soft = due.flatMap(({ wishes = [] }) => wishes)
  throw new Error(remedy(await lacking([...hard, ...soft], context.env)))
}

/** @param {SetupStep} step */
async function performIfMissing(step) {
  if (!without.has(step.name) && (await step.missing({ deep })) !== undefined) await perform(step)
}

/** @param {SetupStep} step */
async function perform(step) {
  const telling = progress.begin(step.name, (await step.missing({ deep: false })) ?? 'damaged')
  try {
    telling.done(await step.make(telling.update, { deep }))
  } catch (error) {
    telling.fail()
    throw error
  }
}

/** Writes the file in which the system looks up the paths of its binaries, if it would change. */
function writeDirectory() {
  const path = join(context.root, 'node_modules', '.tenure', 'parts.json')
  const parts = { temporal: temporalPath(context), postgres: join(postgresHome(context), 'native') }
  const text = `${JSON.stringify(parts, null, 2)}\n`
  if (textOf(path) === text) return
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(`${path}.${process.pid}`, text)
  renameSync(`${path}.${process.pid}`, path)
}
