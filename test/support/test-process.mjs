// @ts-check
// Imported first by each test process, and by its threads: they load packages as V8 has compiled them for an earlier one.
import nodeModule from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { keepThreads } from './kept-threads.mjs'

/** When the cache is written: after the imports of the first file and of most files. Vitest ends the process by a signal. */
const flushesMs = [5_000, 60_000]

/** @type {{ enableCompileCache?: (directory: string) => unknown, flushCompileCache?: () => void }} */
const { enableCompileCache, flushCompileCache } = /** @type {any} */ (nodeModule)
enableCompileCache?.(join(fileURLToPath(new URL('../..', import.meta.url)), 'dist', 'compile-cache'))
for (const ms of flushesMs) setTimeout(() => flushCompileCache?.(), ms).unref()
if (isMainThread) keepThreads()
// Child processes of a test would inherit the variable.
const at = process.execArgv.indexOf('--import')
if (at !== -1) process.execArgv.splice(at, 2)
