// @ts-check
// Compiles the workflows for Temporal's sandbox and keeps the result in dist/, because compiling takes seconds of CPU. Uses kept code only
// while no source and no package has changed, because different workflow code breaks running releases.
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { isPackage } from '../../project.mjs'
import { packedBuild, stampOf } from './sources.mjs'

/** @typedef {import('@temporalio/worker').Logger} Logger */

/** @type {Logger} */
const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }

/**
 * Returns the kept or newly compiled code of the workflows below `root`. `traced` includes the tracing code; `interceptors` are files to
 * include, for tests.
 * @param {string} root @param {{ logger?: Logger, traced?: boolean, interceptors?: string[] }} [options]
 */
export function workflowCode(root, { logger = silent, traced = false, interceptors = [] } = {}) {
  const name = traced ? 'workflows-traced' : 'workflows'
  if (isPackage) return readFile(join(packedBuild(root), `${name}.js`), 'utf8')
  const paths = ['workflows', 'domain', 'packages', ...interceptors.map((path) => relative(root, path))]
  return cachedCode(join(root, 'dist'), interceptors.length > 0 ? 'workflows-tested' : name, {
    stamp: () => stampOf(root, paths),
    compile: async () => {
      const { bundleWorkflowCode } = await import('@temporalio/worker')
      const { code } = await bundleWorkflowCode({
        workflowsPath: join(root, 'workflows', 'index.ts'),
        payloadConverterPath: join(root, 'workflows', 'input', 'payload-converter.ts'),
        failureConverterPath: join(root, 'workflows', 'input', 'failure-converter.ts'),
        workflowInterceptorModules: [
          ...(traced ? [join(root, 'workflows', 'tracing', 'interceptors.ts')] : []),
          ...interceptors,
        ],
        logger,
      })
      return withoutSources(code)
    },
  })
}

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
 * Returns the kept code of this stamp; otherwise compiles and keeps it in place of earlier code of this name.
 * @param {string} dist @param {string} name @param {{ stamp: () => string, compile: () => Promise<string> }} source
 */
export async function cachedCode(dist, name, { stamp, compile }) {
  const key = stamp()
  const path = join(dist, `${name}-${key}.js`)
  const kept = await readFile(path, 'utf8').catch(() => '')
  if (kept !== '') return kept
  const code = await compile()
  // The code may or may not contain a source that changed meanwhile.
  if (stamp() !== key) return code
  await mkdir(dist, { recursive: true })
  await writeFile(`${path}.${process.pid}`, code)
  await rename(`${path}.${process.pid}`, path)
  for (const other of await readdir(dist))
    if (new RegExp(`^${name}-[0-9a-f]{16}\\.js$`).test(other) && join(dist, other) !== path)
      await rm(join(dist, other), { force: true })
  return code
}
