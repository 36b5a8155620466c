// @ts-check
// Installs everything that `npm start` and `npm test` need: the npm packages, TensorFlow's library with its Node addon, the
// Temporal server, the Postgres binaries, a newer Node and the compiled processes. Needs only Node. If nothing is missing, it takes
// less than a second and no network.
// - Large parts are kept in a cache outside the checkout (TENURE_CACHE, default ~/.cache/tenure) and checked by their hashes.
// - `--verify` hashes every cached file again; `--without=temporal,postgres` skips servers that run elsewhere.
// - `--report` changes nothing and prints as JSON which parts are present.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { thisMachine } from '../packages/embedded/src/install/machine.mjs'
import { postgres } from '../packages/embedded/src/install/postgres.mjs'
import { since, startProgress } from '../packages/embedded/src/install/progress.mjs'
import { makeMissing } from '../packages/embedded/src/install/steps.mjs'
import { temporal } from '../packages/embedded/src/install/temporal.mjs'
import { lacking, remedy } from '../packages/embedded/src/install/tools.mjs'
import { lackOfNode } from './setup/needs.mjs'
import { newerNode } from './setup/newer-node.mjs'
import { packages } from './setup/packages.mjs'
import { processes } from './setup/processes.mjs'
import { addon, tensorflow } from './setup/tensorflow.mjs'

const startedMs = Date.now()
const context = { root: fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, ''), ...thisMachine() }
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
  const wanted = steps.filter(({ name }) => !without.has(name))
  const lock = { path: join(context.root, '.tenure', 'setup.lock'), what: 'checkout' }
  await makeMissing(wanted, { ...context, progress, deep, lock, order: packagesFirst })
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

/**
 * The other parts need the npm packages; Temporal is built meanwhile.
 * @param {(step: import('./setup/packages.mjs').Step) => Promise<void>} make
 */
async function packagesFirst(make) {
  const makeWanted = async (/** @type {import('./setup/packages.mjs').Step} */ step) => {
    if (!without.has(step.name)) await make(step)
  }
  const ready = makeWanted(packages(context))
  await Promise.all([
    ready.then(async () => {
      for (const step of [newerNode, tensorflow, addon, postgres, processes]) await makeWanted(step(context))
    }),
    makeWanted(temporal({ ...context, ready })),
  ])
}
