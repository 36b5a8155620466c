// @ts-check
// Compiles all processes and the workflows into dist/: `npm run build`. The set-up does the same, and a process that finds its
// sources newer compiles them when it starts.
import { fileURLToPath } from 'node:url'
import { buildAll, findStale } from './build/build-all.mjs'

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')
const stale = await findStale(root)
try {
  await buildAll(root)
  process.stdout.write(stale.length === 0 ? 'build: up to date\n' : `build: ${stale.join(', ')}\n`)
} catch (error) {
  process.stderr.write(`${/** @type {Error} */ (error).message}\n`)
  process.exit(1)
}
