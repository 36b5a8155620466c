// @ts-check
// Removes the packages that only compile workflows: 50 MB. The workflows are already compiled, but Temporal's worker imports its compiler.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Temporal's worker imports these at its start, and calls them only to compile. */
const compilers = ['webpack', 'memfs', 'unionfs']
/** webpack finds these by name. */
const loaders = ['@swc/core', 'swc-loader', 'source-map-loader']

/** @typedef {{ link?: boolean, dependencies?: Record<string, string>, optionalDependencies?: Record<string, string> }} Locked */

/** Removes the packages. Returns their folders, relative to the system. @param {string} system @returns {string[]} */
export function removeBundler(system) {
  /** @type {Record<string, Locked>} */
  const locked = JSON.parse(readFileSync(join(system, 'package-lock.json'), 'utf8')).packages
  const removed = new Set([...compilers, ...loaders])
  // The packages of the repository, and the links to them: the image compiles exports of models from their sources.
  const own = Object.keys(locked).filter((path) => !path.startsWith('node_modules/') || locked[path]?.link)
  const reached = new Set(own)
  for (const path of reached) {
    const { dependencies, optionalDependencies } = locked[path] ?? {}
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const found = removed.has(name) ? undefined : resolved(locked, path, name)
      if (found !== undefined) reached.add(found)
    }
  }
  const gone = Object.keys(locked).filter((path) => !reached.has(path) && existsSync(join(system, path)))
  for (const path of gone) rmSync(join(system, path), { recursive: true, force: true })
  for (const name of compilers) {
    mkdirSync(join(system, 'node_modules', name), { recursive: true })
    writeFileSync(join(system, 'node_modules', name, 'index.js'), '// The workflows are compiled.\n')
  }
  return gone
}

/**
 * Returns the folder in which Node finds a package, seen from another package.
 * @param {Record<string, Locked>} locked @param {string} from @param {string} name
 */
function resolved(locked, from, name) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const path = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`
    if (path in locked) return path
    if (folder === '') return undefined
  }
}
