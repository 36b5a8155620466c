// @ts-check
// Caches the code that V8 compiles, for the next start of a process.
import nodeModule from 'node:module'

/** @typedef {{ enableCompileCache?: (directory: string) => unknown, flushCompileCache?: () => void }} CompileCache */

// Node 20 lacks both functions.
const { enableCompileCache, flushCompileCache } = /** @type {CompileCache} */ (
  /** @type {unknown} */ (nodeModule)
)

/**
 * Enables the cache and flushes it at the given times after the start. Node itself writes it only when a process exits, which a killed
 * process never does.
 * @param {string} directory @param {readonly number[]} flushesMs
 */
export function keepCompiled(directory, flushesMs) {
  enableCompileCache?.(directory)
  for (const ms of flushesMs) setTimeout(() => flushCompileCache?.(), ms).unref()
}
