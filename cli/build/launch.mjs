// @ts-check
// Runs a process from its compiled code, and compiles the code first if a source has changed.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import nodeModule from 'node:module'
import { dirname, isAbsolute, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { goOnWithNewerNode } from './old-node.mjs'
import { showSources } from './source-maps.mjs'
import { buildOf, compiledFile, recordOfPackages } from './sources.mjs'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
/** A worker serves by this time. */
const flushMs = 3_000

/**
 * Runs a process. `source` is its file, relative to the checkout; the process sees it as the script that Node was started with. A file that
 * is not part of the build, such as a process of a test, runs from its source.
 * @param {string} source @param {readonly string[]} args
 */
export async function launch(source, args) {
  if (await goOnWithNewerNode(root)) return
  const entry = isAbsolute(source) ? relative(root, source) : source
  process.argv.splice(1, Infinity, join(root, entry), ...args)
  const current = buildOf(root)
  const build = existsSync(current) ? current : await compile()
  keepCompiled(join(build, 'compile-cache'))
  const compiled = compiledFile(build, entry)
  showSources(pathToFileURL(`${build}/`).href)
  // Only the command line writes files for other users. A thread has the umask of its process.
  if (entry !== 'cli/tenure.ts' && isMainThread) process.umask(0o077)
  takeSecrets()
  await import(pathToFileURL(existsSync(compiled) ? compiled : join(root, entry)).href)
}

/** Takes the variables that the supervisor has written: they are in the memory of this process, and in no file of /proc. */
function takeSecrets() {
  const fd = process.env['TENURE_SECRETS_FD']
  if (fd === undefined) return
  delete process.env['TENURE_SECRETS_FD']
  Object.assign(process.env, /** @type {unknown} */ (JSON.parse(readFileSync(Number(fd), 'utf8'))))
}

async function compile() {
  try {
    // Without this record, npm is still installing: part of the packages would compile, and fail later.
    if (!existsSync(join(root, recordOfPackages))) throw new Error('no packages')
    const { build } = await import('./build.mjs')
    return await build(root)
  } catch (error) {
    const lack = lackOfPackages()
    process.stderr.write(
      lack === undefined
        ? `${/** @type {Error} */ (error).message}\n`
        : `The set-up has not finished: npm packages: ${lack}.\nRun \`npm run setup\` in ${root}; it waits for one that is running. Then try again.\n`,
    )
    process.exit(1)
  }
}

/** Returns what the set-up reports of the npm packages; undefined when they are as locked. */
function lackOfPackages() {
  const { stdout } = spawnSync(process.execPath, [join(root, 'cli/setup.mjs'), '--report'], {
    encoding: 'utf8',
  })
  /** @type {{ name: string, fault?: string }[]} */
  const parts = JSON.parse(stdout)
  return parts.find(({ name }) => name === 'packages')?.fault
}

/**
 * Keeps the code that V8 compiles for the next start of a process. Node itself writes it only when a process exits, which a killed process
 * never does. Node 20 lacks both functions.
 * @param {string} directory
 */
function keepCompiled(directory) {
  const { enableCompileCache, flushCompileCache } =
    /** @type {{ enableCompileCache?: (directory: string) => unknown, flushCompileCache?: () => void }} */ (
      /** @type {unknown} */ (nodeModule)
    )
  enableCompileCache?.(directory)
  setTimeout(() => flushCompileCache?.(), flushMs).unref()
  // A thread, such as Temporal's workflow threads, reads the directory only from this variable.
  process.env['NODE_COMPILE_CACHE'] ??= directory
}
