// @ts-check
// The Temporal server. One that is already on the machine is used as it is; otherwise it is built from source by Go,
// because the module proxy is reachable from more places than the vendor's download server, which is the last resort.
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { lacking, remedy } from './needs.mjs'
import { faultOf, makePart } from './part.mjs'
import { megabytes } from './progress.mjs'
import { findOnPath, isExecutable, run } from './run.mjs'

/** The newest release that `go install` can build: later ones replace a module by a local folder. */
const VERSION = '1.5.1'
const MODULE = `github.com/temporalio/cli/cmd/temporal@v${VERSION}`
/** How many Go packages one full build compiles; only for the progress line. */
const PACKAGES_TO_COMPILE = 1_310

/**
 * @param {import('./step.mjs').Context & { ready?: Promise<unknown>, module?: string }} context `ready` settles when the
 *   npm packages are there; `module` stands in for the real one in tests
 * @returns {import('./step.mjs').SetupStep}
 */
export function temporal({ root, cache, env, arch, ready = Promise.resolve(), module = MODULE }) {
  const directory = temporalPart({ cache, arch })
  return {
    name: 'temporal',
    needs: [],
    wishes: ['go'],
    async missing({ deep }) {
      const named = env['TEMPORAL_CLI']
      if (named && !isExecutable(named))
        throw new Error(`TEMPORAL_CLI names ${named}, which is not a program.`)
      if (named || findOnPath('temporal', env)) return undefined
      return faultOf(directory, { deep })
    },
    async make(update) {
      let how = 'built'
      const size = await makePart(directory, async (draft) => {
        const lacks = await lacking(['go'], env)
        const trouble =
          lacks.length > 0 ? remedy(lacks) : await troubleOf(build({ module, draft, env, update }))
        if (trouble === undefined) return
        how = 'downloaded'
        update('cannot be built here, waiting for the npm packages to download it')
        await ready
        update('cannot be built here, downloading')
        const second = await troubleOf(download({ root, draft, env }))
        if (second !== undefined) throw new Error(`${trouble}\n  The vendor's download failed too: ${second}`)
      })
      return `Temporal CLI ${VERSION} ${how}, ${megabytes(size)}`
    },
  }
}

/**
 * Where the program is, in the order of preference.
 * @param {import('./step.mjs').Context} context
 */
export function temporalPath({ cache, env, arch }) {
  return env['TEMPORAL_CLI'] || findOnPath('temporal', env) || join(temporalPart({ cache, arch }), 'temporal')
}

/**
 * Go keeps its own two caches of about 3 GB. They live beside the draft until the build is through, so that an
 * interrupted build goes on where it stopped, and are removed then: nothing else in the house needs them.
 * @param {{ module: string, draft: string, env: NodeJS.ProcessEnv, update: (text: string) => void }} options
 */
async function build({ module, draft, env, update }) {
  const own = join(draft, '..', '..', 'go')
  const caches = { GOCACHE: join(own, 'build'), GOMODCACHE: join(own, 'modules'), GOTMPDIR: join(own, 'tmp') }
  mkdirSync(caches.GOTMPDIR, { recursive: true })
  let fetched = 0
  let compiled = 0
  await run('go', ['install', '-v', '-trimpath', '-ldflags=-s -w', module], {
    cwd: draft,
    env: {
      GOTOOLCHAIN: 'auto',
      ...env,
      ...caches,
      CGO_ENABLED: '0',
      GOBIN: draft,
      GOFLAGS: `${env['GOFLAGS'] ?? ''} -modcacherw`.trim(),
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

/** @param {{ root: string, draft: string, env: NodeJS.ProcessEnv }} options */
async function download({ root, draft, env }) {
  const script = fileURLToPath(new URL('./download-temporal.mjs', import.meta.url))
  const spare = join(draft, 'download')
  mkdirSync(spare)
  await run(process.execPath, [script, spare, `v${VERSION}`], { cwd: root, env })
  const [name] = readdirSync(spare)
  if (name === undefined) throw new Error('it left no file')
  renameSync(join(spare, name), join(draft, 'temporal'))
  chmodSync(join(draft, 'temporal'), 0o755)
  rmSync(spare, { recursive: true })
}

/**
 * What went wrong, or nothing.
 * @param {Promise<unknown>} work @returns {Promise<string | undefined>}
 */
async function troubleOf(work) {
  try {
    await work
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** @param {{ cache: string, arch: string }} places */
function temporalPart({ cache, arch }) {
  return join(cache, `temporal-${VERSION}-${arch}`)
}
