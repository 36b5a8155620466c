// @ts-check
// Compiles all processes and the workflows into dist/: `npm run build`. The set-up also does this, and a process with newer sources
// compiles them at its start.
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
