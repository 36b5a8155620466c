// @ts-check
// Finds the compiled code of the present sources. A build lies in a folder that is named by its sources, so stale code never runs, and a
// running process still finds the files that it loads later.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/**
 * The sources of the repository's own packages by name, for a bundle that leaves other packages out.
 * @param {string} root
 */
export function packageSources(root) {
  const names = readdirSync(join(root, 'packages')).filter((name) =>
    existsSync(join(root, 'packages', name, 'package.json')),
  )
  return Object.fromEntries(
    names.flatMap((name) => {
      const folder = join(root, 'packages', name)
      const { exports = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
      return Object.entries(exports)
        .flatMap(([part, file]) => filesOf(folder, part, file))
        .filter(([, file]) => /\.m?[jt]s$/.test(file))
        .map(([part, file]) => [join('@tenure', name, part), join(folder, file)])
    }),
  )
}

/**
 * The files of an export, each with the part of the name that imports it. A pattern such as `./install/*` has several.
 * @param {string} folder @param {string} part @param {string} file @returns {[string, string][]}
 */
function filesOf(folder, part, file) {
  const [start = '', end] = file.split('*')
  if (end === undefined) return [[part, file]]
  return readdirSync(join(folder, start))
    .filter((name) => name.endsWith(end))
    .map((name) => [part.replace('*', name.slice(0, name.length - end.length)), join(start, name)])
}

/** Tests, pages and benches of the repository's own packages, and the lab: no process runs them. @param {string} path */
const isBesideCode = (path) => /^packages\/[^/]+\/(?!src(?:\/|$)|package\.json$)/.test(path)

/** npm writes this file whenever a package changes, as the last step. */
export const recordOfPackages = 'node_modules/.package-lock.json'
export const sources = [
  'activities',
  'api',
  'cli',
  'domain',
  'models/define',
  'models/define.ts',
  'models/index.ts',
  'packages',
  'project.mjs',
  'store',
  'temporal.config.ts',
  'tsconfig.json',
  'workflows',
]

/**
 * Returns a digest of the paths, sizes and times of the files and packages. Reading the files would take longer than the start of a command.
 * @param {string} root @param {readonly string[]} [paths] Files, and folders with all their files.
 */
export function stampOf(root, paths = sources) {
  /** @type {string[]} */
  const lines = []
  /** @param {string} path */
  const add = (path) => {
    if (isBesideCode(path)) return
    const found = statSync(`${root}/${path}`, { throwIfNoEntry: false })
    if (found?.isDirectory()) for (const name of readdirSync(`${root}/${path}`)) add(`${path}/${name}`)
    // Whole milliseconds, as a copy of a checkout keeps them.
    else lines.push(`${path} ${found?.size} ${Math.round(found?.mtimeMs ?? 0)}`)
  }
  for (const path of [recordOfPackages, ...paths]) add(path)
  return createHash('sha256').update(lines.sort().join('\n')).digest('hex').slice(0, 16)
}

/** The build of an installed package, whose sources cannot change. @param {string} root */
export const packedBuild = (root) => join(root, 'dist', 'packed')

/** Returns the folder in which the processes of the present sources are, once they are compiled. @param {string} root */
export const buildOf = (root) =>
  existsSync(packedBuild(root)) ? packedBuild(root) : join(root, 'dist', `build-${stampOf(root)}`)

/** Returns the compiled file of a process. @param {string} build @param {string} entry such as `api/server.ts` */
export const compiledFile = (build, entry) => join(build, `${flatName(entry)}.mjs`)

/** @param {string} entry */
export const flatName = (entry) => entry.replaceAll('/', '-').replace(/\.ts$/, '')
