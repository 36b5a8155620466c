// @ts-check
// Builds programs of Temporal from source by Go, from the modules that go.sum pins by hash.
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../run.mjs'

const MODULES = fileURLToPath(new URL('.', import.meta.url))
/** How many Go packages one full build compiles; only for the progress line. */
const PACKAGES_TO_COMPILE = 1_310

/**
 * Go keeps its own two caches of about 3 GB. They live beside the draft until the build is through, so that an
 * interrupted build goes on where it stopped, and are removed then: nothing else in the house needs them.
 * @param {string[]} programs @param {{ draft: string, env: NodeJS.ProcessEnv, update: (text: string) => void }} options
 */
export async function buildPrograms(programs, { draft, env, update }) {
  const own = join(draft, '..', '..', 'go')
  const caches = { GOCACHE: join(own, 'build'), GOMODCACHE: join(own, 'modules'), GOTMPDIR: join(own, 'tmp') }
  mkdirSync(caches.GOTMPDIR, { recursive: true })
  let fetched = 0
  let compiled = 0
  await run('go', ['install', '-v', '-trimpath', '-ldflags=-s -w', ...programs], {
    cwd: MODULES,
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
        compiled < 5
          ? `${fetched} modules fetched`
          : `${compiled} of about ${PACKAGES_TO_COMPILE} packages compiled`,
      )
    },
  })
  rmSync(own, { recursive: true, force: true })
}
