// @ts-check
// Compiles the workflows for Temporal's sandbox, which takes seconds of a core, and keeps the result in dist/. Kept code is used
// only while no source and no package has changed, because other workflow code breaks the releases that are running.
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { outputOf } from './manifest.mjs'
import { isPackage } from './project.mjs'

/** All that goes into the code, apart from packages; test/tidy.test.ts holds the workflows to it. */
const sources = ['workflows', 'domain']
/** npm writes it whenever a package changes. */
const packages = join('node_modules', '.package-lock.json')

/** @typedef {import('@temporalio/worker').Logger} Logger */

/**
 * The code of the workflows below `root`, kept or compiled now. `traced` compiles in what follows a trace; `interceptors` are files
 * that are compiled in, for tests.
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

/** Removes the text of the sources from the source map, half of the code, which every worker parses. @param {string} code */
function withoutSources(code) {
  const mark = '//# sourceMappingURL=data:application/json;charset=utf-8;base64,'
  const start = code.lastIndexOf(mark)
  if (start === -1) return code
  const map = JSON.parse(Buffer.from(code.slice(start + mark.length), 'base64').toString())
  delete map.sourcesContent
  return `${code.slice(0, start + mark.length)}${Buffer.from(JSON.stringify(map)).toString('base64')}\n`
}

/**
 * The kept code, or that of `compile`, which is kept from then on.
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
  // A source that changed meanwhile may be in it or not. A checkout that cannot be written compiles each time.
  if (path !== undefined && path === (await pathOf(root, more, kind))) await keep(path, code).catch(() => {})
  return code
}

/** Undefined if missing for the current sources. @param {string} root @param {string[]} [more] @param {string} [kind] */
export async function findCode(root, more = [], kind = 'workflows') {
  const path = await pathOf(root, more, kind)
  const kept = path && (await readFile(path, 'utf8').catch(() => undefined))
  return kept || undefined
}

/** Undefined where the packages are unknown. @param {string} root @param {string[]} more @param {string} kind */
async function pathOf(root, more, kind) {
  if (isPackage && more.length === 0) return join(outputOf(root), `${kind}.js`)
  try {
    // Not of Node's version: all versions compile the same code, and the set-up may run on another than the processes.
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

/** Writes in one step, because other processes may start at the same time, and deletes the code of earlier sources. @param {string} path @param {string} code */
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
