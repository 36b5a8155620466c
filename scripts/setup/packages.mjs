// @ts-check
// The npm packages, exactly as locked. npm writes its own record of what it installed as the very last step, so a
// record that agrees with the lockfile means an install that ran to its end; `npm ci` on each start would cost a minute.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './run.mjs'
import { readProperty } from './step.mjs'

/** @typedef {{ version?: string, integrity?: string, optional?: boolean }} Locked */

/** @param {{ root: string, env: NodeJS.ProcessEnv, arch?: string }} context @returns {import('./step.mjs').SetupStep} */
export function packages({ root, env, arch = process.arch }) {
  return {
    name: 'packages',
    needs: [],
    async missing() {
      const installed = lockedIn(join(root, 'node_modules', '.package-lock.json'))
      if (installed === undefined) return 'not installed yet'
      for (const [path, wanted] of Object.entries(lockedIn(join(root, 'package-lock.json')) ?? {})) {
        if (path === '' || wanted.optional === true) continue
        const found = installed[path]
        if (found === undefined || !existsSync(join(root, path))) return `${path} is not installed`
        if (found.version !== wanted.version || found.integrity !== wanted.integrity)
          return `${path} is not as locked`
      }
      return undefined
    },
    async make(update) {
      const { command, args } = npm(env)
      const flags = ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
      update('npm installs what is locked')
      await run(command, [...args, ...flags], { cwd: root, env })
      removeForeignBinaries(root, arch)
      return `${Object.keys(lockedIn(join(root, 'node_modules', '.package-lock.json')) ?? {}).length} npm packages`
    },
  }
}

/**
 * Removes the libraries of ONNX Runtime for other systems and processors: 242 of the 288 MB that its package holds.
 * @param {string} root @param {string} arch
 */
function removeForeignBinaries(root, arch) {
  const binaries = join(root, 'node_modules', 'onnxruntime-node', 'bin', 'napi-v6')
  if (!existsSync(join(binaries, 'linux', arch))) return
  /** @param {string} directory @param {string} kept */
  const keepOnly = (directory, kept) => {
    for (const name of readdirSync(directory))
      if (name !== kept) rmSync(join(directory, name), { recursive: true })
  }
  keepOnly(binaries, 'linux')
  keepOnly(join(binaries, 'linux'), arch)
}

/**
 * The npm that runs this script, when one does: it may not be the one on PATH.
 * @param {NodeJS.ProcessEnv} env
 */
function npm(env) {
  const script = env['npm_execpath']
  if (script?.endsWith('.js') && existsSync(script)) return { command: process.execPath, args: [script] }
  return { command: 'npm', args: [] }
}

/** @param {string} path @returns {Record<string, Locked> | undefined} */
const lockedIn = (path) => readProperty(path, 'packages')
