// @ts-check
// Installs the Node on which every process and test runs. If the machine's Node is older than 24, puts a newer one into the cache and links
// it beside the commands of the packages. npm and npx put that directory first on PATH, so the command that ran the set-up on the old Node
// continues on the new one.
import { createHash } from 'node:crypto'
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isOldNode, nodeLink } from '../build/old-node.mjs'
import { faultOf, makePart } from '../../packages/embedded/src/install/part.mjs'
import { run } from '../../packages/embedded/src/install/run.mjs'
import { npm } from './packages.mjs'

const VERSION = '24.21.0'

/** SHA-512 of the npm packages `node-linux-*`, as the registry names them. @type {Record<string, string>} */
const HASHES = {
  x64: '3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
}

/**
 * `version` and `execPath` are those of the Node that runs the set-up; `sha512` stands in for the real one in tests.
 * @param {import('./packages.mjs').Context & { version?: string, execPath?: string, sha512?: string }} context @returns {import('./packages.mjs').Step}
 */
export function newerNode({
  root,
  cache,
  env,
  arch,
  version = process.versions.node,
  execPath = process.execPath,
  sha512 = HASHES[arch],
}) {
  const part = join(cache, `node-${VERSION}-${arch}`)
  const binary = join(part, 'node')
  const link = nodeLink(root)
  const linked = () => (lstatSync(link, { throwIfNoEntry: false }) ? readlinkSync(link) : undefined)
  return {
    name: 'node',
    needs: [],
    async missing({ deep }) {
      // `npm ci` deletes the link on which it was started itself.
      if (!isOldNode(version) && linked() === undefined && execPath !== binary) return undefined
      const fault = await faultOf(part, { deep })
      if (fault !== undefined) return fault
      return linked() === binary ? undefined : 'not linked yet'
    },
    async make(update, { deep = false } = {}) {
      const fault = await faultOf(part, { deep })
      if (fault !== undefined) {
        if (sha512 === undefined)
          throw new Error(`There is no Node ${VERSION} for ${process.platform} on ${arch}.`)
        update(`fetching Node ${VERSION} (45 MB)`)
        await makePart(part, (draft) => fetchNode({ draft, sha512, env, arch }))
      }
      const found = (await run(binary, ['--version'], { env })).trim()
      replaceLink(link, binary)
      return `${found} for all processes, because this machine has v${version}`
    },
  }
}

/** @param {{ draft: string, sha512: string, env: NodeJS.ProcessEnv, arch: string }} options */
async function fetchNode({ draft, sha512, env, arch }) {
  const { command, args } = npm(env)
  const packing = [
    'pack',
    `node-linux-${arch}@${VERSION}`,
    '--json',
    '--loglevel=error',
    '--pack-destination',
    draft,
  ]
  await run(command, [...args, ...packing], { cwd: draft, env })
  const archive = join(draft, `node-linux-${arch}-${VERSION}.tgz`)
  if (createHash('sha512').update(readFileSync(archive)).digest('base64') !== sha512)
    throw new Error(`${basename(archive)} is not the file that was published: its hash differs`)
  const members = ['package/bin/node', 'package/LICENSE']
  await run('tar', ['-xzf', archive, '-C', draft, '--no-same-owner', ...members], { env })
  renameSync(join(draft, 'package', 'bin', 'node'), join(draft, 'node'))
  renameSync(join(draft, 'package', 'LICENSE'), join(draft, 'LICENSE'))
  chmodSync(join(draft, 'node'), 0o755)
  rmSync(join(draft, 'package'), { recursive: true })
  rmSync(archive)
}

/** Replaces a link atomically, because other processes of this checkout may start now. @param {string} link @param {string} target */
function replaceLink(link, target) {
  mkdirSync(dirname(link), { recursive: true })
  rmSync(`${link}.new`, { force: true })
  symlinkSync(target, `${link}.new`)
  renameSync(`${link}.new`, link)
}
