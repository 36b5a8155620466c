// @ts-check
// Builds programs from source by Go, from the modules that a go.sum pins by hash: those of Temporal in this folder, or others.
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../run.mjs'

const MODULES = fileURLToPath(new URL('.', import.meta.url))
/** How many Go packages one full build of Temporal compiles; only for the progress line. */
const PACKAGES_TO_COMPILE = 1_310

/**
 * @typedef {object} Build
 * @property {string} draft the folder that gets the programs
 * @property {NodeJS.ProcessEnv} env
 * @property {(text: string) => void} update
 * @property {string} [modules] the folder with go.mod and go.sum
 * @property {string} [linked] further flags of the linker
 * @property {number} [packages] how many there are
 */

/**
 * Go keeps its own two caches of about 3 GB. They live beside the draft until the build is through, so that an
 * interrupted build goes on where it stopped, and are removed then: nothing else in the house needs them.
 * @param {string[]} programs @param {Build} build
 */
export async function buildPrograms(
  programs,
  { draft, env, update, modules = MODULES, linked = '', packages = PACKAGES_TO_COMPILE },
) {
  const own = join(draft, '..', '..', 'go')
  const caches = { GOCACHE: join(own, 'build'), GOMODCACHE: join(own, 'modules'), GOTMPDIR: join(own, 'tmp') }
  mkdirSync(caches.GOTMPDIR, { recursive: true })
  let fetched = 0
  let compiled = 0
  await run('go', ['install', '-v', '-trimpath', `-ldflags=-s -w ${linked}`.trim(), ...programs], {
    cwd: modules,
    env: {
      GOTOOLCHAIN: 'auto',
      ...env,
      ...caches,
      CGO_ENABLED: '0',
      GOBIN: draft,
      GOFLAGS: `${env['GOFLAGS'] ?? ''} -mod=readonly -modcacherw`.trim(),
    },
    onLine(line) {
      if (line.startsWith('go: downloading')) fetched += 1
      else compiled += 1
      update(
        compiled < 5 ? `${fetched} modules fetched` : `${compiled} of about ${packages} packages compiled`,
      )
    },
  })
  rmSync(own, { recursive: true, force: true })
}
