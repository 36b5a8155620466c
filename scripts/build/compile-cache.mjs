// @ts-check
// Keeps what V8 has compiled for the next start of a process.
import nodeModule from 'node:module'

/** @typedef {{ enableCompileCache?: (directory: string) => unknown, flushCompileCache?: () => void }} CompileCache */

// Node 20 has neither.
const { enableCompileCache, flushCompileCache } = /** @type {CompileCache} */ (
  /** @type {unknown} */ (nodeModule)
)

/**
 * Node writes at the end of a process, and a process that is killed has no end: so it is written at these times after the start too.
 * @param {string} directory @param {readonly number[]} flushesMs
 */
export function keepCompiled(directory, flushesMs) {
  enableCompileCache?.(directory)
  for (const ms of flushesMs) setTimeout(() => flushCompileCache?.(), ms).unref()
}
