// @ts-check
// Builds programs with Go from modules that a go.sum pins by hash: the modules of Temporal in this folder, or others.
import { mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../run.mjs'

const MODULES = fileURLToPath(new URL('.', import.meta.url))
/** The number of Go packages in a full build of Temporal, for the progress line only. */
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
 * Builds the programs. Go's two caches, about 3 GB, are kept beside the draft until the build ends, so that an interrupted build continues
 * where it stopped. Then they are removed, because nothing else needs them.
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
  update('removing what the build no longer needs')
  // Takes minutes on a busy disk. The lock of this set-up must be kept alive meanwhile.
  await rm(own, { recursive: true, force: true })
}
