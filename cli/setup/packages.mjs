// @ts-check
// Installs the npm packages, exactly as locked. npm writes its record of the installed packages as the last step, so a record that agrees
// with the lock file proves a complete install. `npm ci` on each start would cost a minute. The cache holds the installed packages as one
// archive for the next checkout with this lock file: unpacking takes 2 s of CPU, `npm ci` 33 s. The cached files are not linked into
// checkouts, because an edit in one checkout would reach all others.
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findOnPath, readProperty, textOf } from '../../packages/embedded/src/install/machine.mjs'
import { faultOf, makePart } from '../../packages/embedded/src/install/part.mjs'
import { run } from '../../packages/embedded/src/install/run.mjs'

/** @typedef {{ version?: string, integrity?: string, optional?: boolean, link?: boolean }} Locked */
/** @typedef {import('../../packages/embedded/src/install/machine.mjs').Machine & { root: string }} Context `root` is the folder of the checkout. */
/** @typedef {import('../../packages/embedded/src/install/steps.mjs').Step} Step */

const ARCHIVE = 'packages.tar'
const RECORD = '.package-lock.json'
/** The number of archives of other lock files to keep. Each takes half a gigabyte or more. */
const KEPT = 1

/** @param {Context} context @returns {Step} */
export function packages({ root, cache, env, arch }) {
  const home = join(root, 'node_modules')
  const part = () => join(cache, `packages-${digestOf(root)}-${arch}`)
  return {
    name: 'packages',
    needs: [],
    async missing({ deep }) {
      if (deep && existsSync(part())) {
        const fault = await faultOf(part(), { deep })
        if (fault !== undefined) return fault
      }
      const installed = lockedIn(join(root, 'node_modules', '.package-lock.json'))
      if (installed === undefined) return 'not installed yet'
      for (const [path, wanted] of Object.entries(lockedIn(join(root, 'package-lock.json')) ?? {})) {
        if (path === '' || wanted.optional === true) continue
        const isHere = existsSync(join(root, path))
        // A package of this repository is its sources and a link to them: a new one needs no other installation.
        if (isHere && (wanted.link === true || /^packages\/[^/]+$/.test(path))) continue
        const found = installed[path]
        if (found === undefined || !isHere) return `${path} is not installed`
        if (found.version !== wanted.version || found.integrity !== wanted.integrity)
          return `${path} is not as locked`
      }
      return undefined
    },
    async make(update, { deep = false } = {}) {
      const count = () => Object.keys(lockedIn(join(home, RECORD)) ?? {}).length
      if ((await faultOf(part(), { deep })) === undefined) {
        update('unpacking them from the cache')
        const isUnpacked = await unpack({ part: part(), home, env }).then(
          () => true,
          () => false,
        )
        if (isUnpacked) return `${count()} npm packages, from the cache`
      }
      const { command, args } = npm(env)
      const flags = ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
      update('npm installs what is locked')
      await run(command, [...args, ...flags], { cwd: root, env })
      removeForeignBinaries(home, arch)
      if (findOnPath('tar', env) !== undefined && existsSync(join(home, RECORD))) {
        update('keeping them in the cache')
        await pack({ part: part(), home, env })
        removeOthers(cache, part())
      }
      return `${count()} npm packages`
    },
  }
}

/**
 * Returns the npm that runs this script, if one does: it may differ from the npm on PATH.
 * @param {NodeJS.ProcessEnv} env
 */
export function npm(env) {
  const script = env['npm_execpath']
  if (script?.endsWith('.js') && existsSync(script)) return { command: process.execPath, args: [script] }
  return { command: 'npm', args: [] }
}

/**
 * Packs the archive. The record is stored beside it and put in place last, as npm does.
 * @param {{ part: string, home: string, env: NodeJS.ProcessEnv }} places
 */
async function pack({ part, home, env }) {
  await makePart(part, async (draft) => {
    const args = [
      '--create',
      '--file',
      join(draft, ARCHIVE),
      '--directory',
      home,
      `--exclude=./${RECORD}`,
      '.',
    ]
    await run('tar', args, { env })
    copyFileSync(join(home, RECORD), join(draft, RECORD))
  })
}

/** @param {{ part: string, home: string, env: NodeJS.ProcessEnv }} places */
async function unpack({ part, home, env }) {
  mkdirSync(home, { recursive: true })
  for (const name of readdirSync(home)) rmSync(join(home, name), { recursive: true })
  const args = ['--extract', '--no-same-owner', '--file', join(part, ARCHIVE), '--directory', home]
  await run('tar', args, { env })
  copyFileSync(join(part, RECORD), join(home, `${RECORD}.new`))
  renameSync(join(home, `${RECORD}.new`), join(home, RECORD))
  utimesSync(part, new Date(), new Date())
}

/** Removes the least recently used archives. @param {string} cache @param {string} part */
function removeOthers(cache, part) {
  const others = readdirSync(cache)
    .filter((name) => /^packages-[0-9a-f]{12}-/.test(name))
    .map((name) => join(cache, name))
    .filter((path) => path !== part)
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
  for (const path of others.slice(KEPT)) rmSync(path, { recursive: true })
}

/**
 * Names the archive by everything that determines its content. Node's version does not, because no install script runs.
 * @param {string} root
 */
function digestOf(root) {
  const hash = createHash('sha256')
  for (const name of ['package-lock.json', 'package.json', '.npmrc'])
    hash.update(`\0${name}\0${textOf(join(root, name)) ?? ''}`)
  return hash
    .update(readFileSync(fileURLToPath(import.meta.url)))
    .digest('hex')
    .slice(0, 12)
}

/**
 * Removes libraries for other systems and processors: 242 of 288 MB of ONNX Runtime, 109 of 137 MB of Temporal's core.
 * @param {string} home @param {string} arch
 */
export function removeForeignBinaries(home, arch) {
  /** @param {string} directory @param {string} kept */
  const keepOnly = (directory, kept) => {
    if (!existsSync(join(directory, kept))) return
    for (const name of readdirSync(directory))
      if (name !== kept) rmSync(join(directory, name), { recursive: true })
  }
  const onnx = join(home, 'onnxruntime-node', 'bin', 'napi-v6')
  if (existsSync(join(onnx, 'linux', arch))) keepOnly(onnx, 'linux')
  keepOnly(join(onnx, 'linux'), arch)
  const processor = arch === 'arm64' ? 'aarch64' : 'x86_64'
  keepOnly(join(home, '@temporalio', 'core-bridge', 'releases'), `${processor}-unknown-linux-gnu`)
}

/** @param {string} path @returns {Record<string, Locked> | undefined} */
const lockedIn = (path) => readProperty(path, 'packages')
