// @ts-check
// The tools that the machine itself must provide for TensorFlow, and Node.
import { findOnPath } from '../../packages/embedded/src/install/machine.mjs'
import { isAtLeast, tarball, versionFrom } from '../../packages/embedded/src/install/tools.mjs'

/** @typedef {import('../../packages/embedded/src/install/tools.mjs').Tool} Tool */

const PIP_AT_LEAST = [20, 3]
const NODE_AT_LEAST = [20, 19]
const NODE_LINE = '24.21.0'

/** @type {Tool} */
export async function compiler(env) {
  if (findOnPath('g++', env)) return undefined
  return { what: 'g++ (compiles the TensorFlow addon)', apt: ['g++'] }
}

/** @type {Tool} */
export async function python(env) {
  // `python3 -m pip --version` loads all of pip and takes four times the CPU.
  const version = await versionFrom('python3', ['-c', 'import pip; print(pip.__version__)'], env)
  if (isAtLeast(version, PIP_AT_LEAST)) return undefined
  const what = `python3 with pip ${PIP_AT_LEAST.join('.')} or newer (fetches and unpacks the TensorFlow library)`
  return { what, apt: ['python3', 'python3-pip'] }
}

/** @param {string} version such as 20.20.2 */
export function lackOfNode(version) {
  if (isAtLeast(version.split('.').map(Number), NODE_AT_LEAST)) return undefined
  const file = `v${NODE_LINE}/node-v${NODE_LINE}-linux-${process.arch}.tar.gz`
  return {
    what: `Node ${NODE_AT_LEAST.join('.')} or newer, found ${version}`,
    line: tarball(`https://nodejs.org/dist/${file}`, '--strip-components=1 -z'),
  }
}
