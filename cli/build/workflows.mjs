// @ts-check
// Compiles the workflows for Temporal's sandbox and caches the result in dist/, because compiling takes seconds of CPU. Uses cached code
// only while no source and no package has changed, because different workflow code breaks running releases.
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { outputOf } from './manifest.mjs'
import { isPackage } from '../../project.mjs'

/** The folders whose files go into the code, apart from packages; test/tidy.test.ts enforces it. */
const sources = ['workflows', 'domain']
/** npm writes this file whenever a package changes. */
const packages = join('node_modules', '.package-lock.json')

/** @typedef {import('@temporalio/worker').Logger} Logger */

/**
 * Returns the cached or newly compiled code of the workflows below `root`. `traced` includes the tracing code; `interceptors` are files to
 * include, for tests.
 * @param {string} root @param {{ logger?: Logger, traced?: boolean, interceptors?: string[] }} [options]
 */
export const workflowCode = (root, { logger, traced = false, interceptors = [] } = {}) =>
  keptCode(
    root,
    async () => {
      const tracing = traced ? [join(root, 'workflows', 'tracing', 'interceptors.ts')] : []
      const { bundleWorkflowCode } = await import('@temporalio/worker')
      const workflowsPath = join(root, 'workflows', 'index.ts')
      const payloadConverterPath = join(root, 'workflows', 'input', 'payload-converter.ts')
      const options = {
        workflowsPath,
        payloadConverterPath,
        failureConverterPath: join(root, 'workflows', 'input', 'failure-converter.ts'),
        workflowInterceptorModules: [...tracing, ...interceptors],
        logger,
      }
      return withoutSources((await bundleWorkflowCode(options)).code)
    },
    interceptors,
    traced ? 'workflows-traced' : undefined,
  )

/** Removes the source texts from the source map, which are half of the code that every worker parses. @param {string} code */
function withoutSources(code) {
  const mark = '//# sourceMappingURL=data:application/json;charset=utf-8;base64,'
  const start = code.lastIndexOf(mark)
  if (start === -1) return code
  const map = JSON.parse(Buffer.from(code.slice(start + mark.length), 'base64').toString())
  delete map.sourcesContent
  return `${code.slice(0, start + mark.length)}${Buffer.from(JSON.stringify(map)).toString('base64')}\n`
}

/**
 * Returns the cached code, or calls `compile` and caches the result.
 * @param {string} root @param {() => Promise<string>} compile @param {string[]} [more] Files that go into it too.
 * @param {string} [kind] Where it is kept.
 */
export async function keptCode(
  root,
  compile,
  more = [],
  kind = more.length > 0 ? 'workflows-tested' : 'workflows',
) {
  const kept = await findCode(root, more, kind)
  if (kept !== undefined) return kept
  const path = await pathOf(root, more, kind)
  const code = await compile()
  // The code may or may not contain a source that changed meanwhile, so it is not cached. A checkout that is not writable compiles each
  // time.
  if (path !== undefined && path === (await pathOf(root, more, kind))) await keep(path, code).catch(() => {})
  return code
}

/** Returns undefined if no code is cached for the current sources. @param {string} root @param {string[]} [more] @param {string} [kind] */
export async function findCode(root, more = [], kind = 'workflows') {
  const path = await pathOf(root, more, kind)
  const kept = path && (await readFile(path, 'utf8').catch(() => undefined))
  return kept || undefined
}

/** Returns undefined if the installed packages are unknown. @param {string} root @param {string[]} more @param {string} kind */
async function pathOf(root, more, kind) {
  if (isPackage && more.length === 0) return join(outputOf(root), `${kind}.js`)
  try {
    // Without Node's version: all versions compile the same code, and the set-up may run on a different version than the processes.
    const hash = createHash('sha256').update(await readFile(join(root, packages)))
    for (const source of sources) await addFiles(hash, root, source)
    for (const path of more) hash.update(`${path}\n`).update(await readFile(path))
    return join(outputOf(root), kind, `${hash.digest('hex')}.js`)
  } catch {
    return undefined
  }
}

/** @param {import('node:crypto').Hash} hash @param {string} root @param {string} directory */
async function addFiles(hash, root, directory) {
  const entries = await readdir(join(root, directory), { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) await addFiles(hash, root, path)
    else hash.update(`${path}\n`).update(await readFile(join(root, path)))
  }
}

/**
 * Writes the file atomically, because other processes may start at the same time, and deletes the code of earlier sources.
 * @param {string} path @param {string} code
 */
async function keep(path, code) {
  const directory = dirname(path)
  await mkdir(directory, { recursive: true })
  const draft = `${path}.${process.pid}`
  await writeFile(draft, code)
  await rename(draft, path)
  for (const name of await readdir(directory)) {
    const other = join(directory, name)
    if (other !== path && name.endsWith('.js')) await rm(other, { force: true })
  }
}
