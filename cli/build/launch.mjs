// @ts-check
// Runs a process from its compiled code, and compiles missing or stale code first.
import { dirname, isAbsolute, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { keepCompiled } from './compile-cache.mjs'
import { findCompiled, outputOf } from './manifest.mjs'
import { goOnWithNewerNode } from './old-node.mjs'
import { showSources } from './source-maps.mjs'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
/** A worker serves by this time. */
const FLUSH_MS = 3_000

/**
 * Runs a process. `source` is its file, relative to the checkout; the process sees it as the script that Node was started with.
 * @param {string} source @param {readonly string[]} args
 */
export async function launch(source, args) {
  if (await goOnWithNewerNode(root)) return
  const entry = isAbsolute(source) ? relative(root, source) : source
  process.argv.splice(1, Infinity, join(root, entry), ...args)
  if (!entry.endsWith('.ts')) return import(pathToFileURL(join(root, entry)).href)
  const cache = join(outputOf(root), 'compile-cache')
  keepCompiled(cache, [FLUSH_MS])
  // A thread, such as Temporal's workflow threads, reads the directory only from this variable.
  process.env['NODE_COMPILE_CACHE'] ??= cache
  const compiled = findCompiled(root, entry) ?? (await compile(entry))
  if (compiled === undefined) {
    process.setSourceMapsEnabled(true)
    const { register } = await import('tsx/esm/api')
    register()
  } else showSources(new URL('.', pathToFileURL(compiled)).href)
  // Only the command line writes files for other users. A thread has the umask of its process.
  if (entry !== 'cli/tenure.ts' && isMainThread) process.umask(0o077)
  await import(pathToFileURL(compiled ?? join(root, entry)).href)
}

/**
 * Compiles an entry. Returns undefined if the checkout is not writable: the process then runs from its sources, which takes a second
 * longer. Exits if a source has an error.
 * @param {string} entry
 */
async function compile(entry) {
  const { compileEntry, explain } = await import('./compile.mjs')
  try {
    return await compileEntry(root, entry)
  } catch (error) {
    const explained = await explain(error)
    if (explained !== undefined) {
      process.stderr.write(explained)
      process.exit(1)
    }
    const msg = `dist/ cannot be written, so ${entry} starts from its sources: ${error}`
    process.stderr.write(`${JSON.stringify({ level: 40, name: 'build', msg })}\n`)
    return undefined
  }
}
