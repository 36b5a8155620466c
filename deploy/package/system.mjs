// @ts-check
// Assembles the folder that runs without the repository: sources, compiled processes, and a lock file without development dependencies. The
// npm package and the container image contain this folder.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build } from '../../cli/build/build.mjs'
import { packedBuild } from '../../cli/build/sources.mjs'
import { workflowCode } from '../../cli/build/workflows.mjs'

/** Files and folders of the repository that run. Of `models/`, only the vocabulary and the examples: it may hold a user's own models. */
export const shipped = [
  'activities',
  'api',
  'cli',
  'docs/runbooks',
  'domain',
  'migrations',
  'models/data/iris.csv',
  'models/define',
  'models/define.ts',
  'models/index.ts',
  'models/iris.ts',
  'packages/embedded/package.json',
  'packages/embedded/src',
  'packages/http-front/package.json',
  'packages/http-front/src',
  'packages/predictors/package.json',
  'packages/predictors/src',
  'packages/python/README.md',
  'packages/python/pyproject.toml',
  'packages/python/src',
  'packages/sequential/package.json',
  'packages/sequential/src',
  'project.mjs',
  'store',
  'temporal.config.ts',
  'tsconfig.json',
  'workflows',
]

/** @param {string} path @returns {any} */
export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))
/** @param {string} path @param {unknown} value */
export function writeJson(path, value) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)
}

/**
 * @typedef {object} SystemOptions
 * @property {(system: string) => Promise<ReadonlySet<string>>} [packagesOf] The dependencies that it needs; all by default.
 */

/**
 * Writes the folder without packages, which `npm ci` installs from its lock file. Returns its package.json.
 * @param {string} root @param {string} system @param {SystemOptions} [options]
 */
export async function assembleSystem(root, system, { packagesOf } = {}) {
  const compiled = await build(root)
  for (const path of shippedFiles(root)) cpSync(join(root, path), join(system, path), { recursive: true })
  const packed = packedBuild(system)
  cpSync(compiled, packed, { recursive: true, filter: (path) => path !== join(compiled, 'compile-cache') })
  writeFileSync(join(packed, 'workflows.js'), await workflowCode(root))
  writeFileSync(join(packed, 'workflows-traced.js'), await workflowCode(root, { traced: true }))
  const { name, version, license, engines, workspaces, allowScripts, overrides, ...rest } = readJson(
    join(root, 'package.json'),
  )
  const about = { name, version, license, type: 'module', engines }
  const needed = await packagesOf?.(system)
  const kept = Object.entries(rest.dependencies).filter(([each]) => needed?.has(each) ?? true)
  const dependencies = Object.fromEntries(kept)
  writeJson(join(system, 'package.json'), {
    private: true,
    ...about,
    workspaces,
    dependencies,
    allowScripts,
    overrides,
  })
  withoutDevelopment(join(system, 'packages'))
  pruneLock(root, system)
  return { ...about, description: /** @type {string} */ (rest.description) }
}

/**
 * Lists only files tracked by git, because a folder may hold files of a user. A container's build context has no repository; .dockerignore
 * excludes files there.
 * @param {string} root
 */
function shippedFiles(root) {
  if (existsSync(join(root, '.git'))) {
    const listed = execFileSync('git', ['ls-files', '-z', '--', ...shipped], { cwd: root, encoding: 'utf8' })
    return listed.split('\0').filter((path) => path !== '' && existsSync(join(root, path)))
  }
  return shipped
}

/** Removes from each package what only its own tests and bench need: npm would miss it. @param {string} packages */
export function withoutDevelopment(packages) {
  for (const name of readdirSync(packages)) {
    const path = join(packages, name, 'package.json')
    if (existsSync(path)) removeFields(path, ['devDependencies'])
  }
}

/** Removes everything that npm would install for a package. @param {string} path Of its package.json. */
export const withoutDependencies = (path) =>
  removeFields(path, ['dependencies', 'optionalDependencies', 'peerDependencies', 'peerDependenciesMeta'])

/** @param {string} path @param {readonly string[]} fields */
function removeFields(path, fields) {
  const own = readJson(path)
  for (const field of fields) delete own[field]
  writeJson(path, own)
}

/** Removes development dependencies by running npm, and checks that no version changes. @param {string} root @param {string} system */
function pruneLock(root, system) {
  const from = join(root, 'package-lock.json')
  const to = join(system, 'package-lock.json')
  cpSync(from, to)
  const flags = ['--package-lock-only', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  execFileSync('npm', ['install', ...flags, '--loglevel=error'], { cwd: system, stdio: 'ignore' })
  const { packages: known } = readJson(from)
  for (const [path, { version, integrity }] of Object.entries(readJson(to).packages))
    if (path !== '' && (known[path]?.version !== version || known[path]?.integrity !== integrity))
      throw new Error(`npm would install another ${path} than package-lock.json names: ${version}`)
}
