// @ts-check
// Installs the Temporal server. Uses a server of the machine if its version has the known security fixes. Otherwise builds it with Go from
// modules pinned by hash. The vendor's download, whose hash is not pinned, is the last resort.
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPrograms } from './go/build.mjs'
import { findOnPath, isExecutable } from './machine.mjs'
import { faultOf, makePart } from './part.mjs'
import { megabytes } from './progress.mjs'
import { run } from './run.mjs'
import { go, isAtLeast, lacking, remedy } from './tools.mjs'

/** Version of the command line and its server, as pinned in `go/go.mod`. Later command lines replace a module by a local folder. */
const VERSION = '1.5.1'
export const SERVER_VERSION = '1.29.7'
const PROGRAM = 'github.com/temporalio/cli/cmd/temporal'
/** The first server version that fixes CVE-2025-14986 and CVE-2025-14987. */
const SERVER_AT_LEAST = [1, 29, 2]
/** A release of the vendor whose server has those fixes. */
const DOWNLOAD_VERSION = '1.9.1'

/**
 * @param {import('./machine.mjs').Machine & { ready?: Promise<unknown> }} machine `ready` settles when the
 *   npm packages are there
 * @returns {import('./steps.mjs').Step}
 */
export function temporal({ cache, env, arch, ready = Promise.resolve() }) {
  const directory = temporalPart({ cache, arch })
  return {
    name: 'temporal',
    needs: [],
    wishes: [go],
    async missing({ deep }) {
      const named = env['TEMPORAL_CLI']
      if (named && !isExecutable(named))
        throw new Error(`TEMPORAL_CLI names ${named}, which is not a program.`)
      if (named && !isPatched(named, env))
        throw new Error(
          `TEMPORAL_CLI names ${named}, whose server is not ${SERVER_AT_LEAST.join('.')} or newer.`,
        )
      if (named || patchedOnPath(env)) return undefined
      return faultOf(directory, { deep })
    },
    async make(update) {
      let how = `${VERSION} with server ${SERVER_VERSION} built`
      const size = await makePart(directory, async (draft) => {
        const lacks = await lacking([go], env)
        const trouble =
          lacks.length > 0 ? remedy(lacks) : await troubleOf(buildPrograms([PROGRAM], { draft, env, update }))
        if (trouble === undefined) return
        how = `${DOWNLOAD_VERSION} downloaded`
        // The last line of a failed build says why: no network, a full disk.
        const why = lacks[0]?.what ?? trouble.split('\n').at(-1)?.trim()
        update(`cannot be built here (${why}), waiting for the npm packages to download it`)
        await ready
        update(`cannot be built here (${why}), downloading`)
        const second = await troubleOf(download({ draft, env }))
        if (second !== undefined) throw new Error(`${trouble}\n  The vendor's download failed too: ${second}`)
      })
      return `Temporal CLI ${how}, ${megabytes(size)}`
    },
  }
}

/**
 * Returns the path of the program, in the order of preference.
 * @param {import('./machine.mjs').Machine} machine
 */
export function temporalPath({ cache, env, arch }) {
  return env['TEMPORAL_CLI'] || patchedOnPath(env) || join(temporalPart({ cache, arch }), 'temporal')
}

/** @param {NodeJS.ProcessEnv} env */
function patchedOnPath(env) {
  const found = findOnPath('temporal', env)
  return found !== undefined && isPatched(found, env) ? found : undefined
}

/** @param {string} program @param {NodeJS.ProcessEnv} env */
function isPatched(program, env) {
  try {
    const told = execFileSync(program, ['--version'], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return isAtLeast(/Server (\d+)\.(\d+)\.(\d+)/.exec(told)?.slice(1).map(Number), SERVER_AT_LEAST)
  } catch {
    return false
  }
}

/** @param {{ draft: string, env: NodeJS.ProcessEnv }} options */
async function download({ draft, env }) {
  const script = fileURLToPath(new URL('./download-temporal.mjs', import.meta.url))
  const spare = join(draft, 'download')
  mkdirSync(spare)
  await run(process.execPath, [script, spare, `v${DOWNLOAD_VERSION}`], { env })
  const [name] = readdirSync(spare)
  if (name === undefined) throw new Error('it left no file')
  renameSync(join(spare, name), join(draft, 'temporal'))
  chmodSync(join(draft, 'temporal'), 0o755)
  rmSync(spare, { recursive: true })
}

/**
 * Returns the error message of the work; undefined on success.
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

/** @param {Pick<import('./machine.mjs').Machine, 'cache' | 'arch'>} machine */
function temporalPart({ cache, arch }) {
  return join(cache, `temporal-${VERSION}-server-${SERVER_VERSION}-${arch}`)
}
