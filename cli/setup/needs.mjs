// @ts-check
// Checks the tools that the machine itself must provide. Checks each only if a step that needs it has work to do, so a machine with a
// filled cache needs no compiler. Reports all missing tools at once, with one line that installs them.
import { run, findOnPath } from './run.mjs'

/** @typedef {'g++' | 'python3' | 'go'} Need */
/** @typedef {{ what: string, apt?: string[], line?: string }} Lack */

/** The Temporal server requires a newer toolchain, which `go install` of this version can fetch. */
const GO_AT_LEAST = [1, 21]
const PIP_AT_LEAST = [20, 3]
const NODE_AT_LEAST = [20, 19]
const GO_LINE = '1.26.8'
const NODE_LINE = '24.21.0'

/** @param {Need[]} needs @param {NodeJS.ProcessEnv} env @returns {Promise<Lack[]>} */
export async function lacking(needs, env) {
  const lacks = await Promise.all([...new Set(needs)].map((need) => checks[need](env)))
  return lacks.filter((lack) => lack !== undefined)
}

/** @type {Record<Need, (env: NodeJS.ProcessEnv) => Promise<Lack | undefined>>} */
const checks = {
  async 'g++'(env) {
    if (findOnPath('g++', env)) return undefined
    return { what: 'g++ (compiles the TensorFlow addon)', apt: ['g++'] }
  },
  async python3(env) {
    const what = `python3 with pip ${PIP_AT_LEAST.join('.')} or newer (fetches and unpacks the TensorFlow library)`
    // `python3 -m pip --version` loads all of pip and takes four times the CPU.
    const version = await versionFrom('python3', ['-c', 'import pip; print(pip.__version__)'], env)
    return atLeast(version, PIP_AT_LEAST) ? undefined : { what, apt: ['python3', 'python3-pip'] }
  },
  async go(env) {
    const version = await versionFrom('go', ['version'], env)
    if (atLeast(version, GO_AT_LEAST)) return undefined
    const found = version === undefined ? '' : `, found ${version.join('.')}`
    return {
      what: `go ${GO_AT_LEAST.join('.')} or newer${found} (builds the Temporal server; or put a Temporal CLI on PATH)`,
      line: `${tarball(`https://go.dev/dl/go${GO_LINE}.linux-${goArch()}.tar.gz`, '-z')} && export PATH=$PATH:/usr/local/go/bin`,
    }
  },
}

/**
 * Checks Node separately, before loading any module that an old Node could not load.
 * @param {string} version such as 20.20.2
 * @returns {Lack | undefined}
 */
export function lackOfNode(version) {
  if (atLeast(version.split('.').map(Number), NODE_AT_LEAST)) return undefined
  const file = `v${NODE_LINE}/node-v${NODE_LINE}-linux-${process.arch}.tar.gz`
  return {
    what: `Node ${NODE_AT_LEAST.join('.')} or newer, found ${version}`,
    line: tarball(`https://nodejs.org/dist/${file}`, '--strip-components=1 -z'),
  }
}

/**
 * Describes what is missing, and the one line that installs all of it.
 * @param {Lack[]} lacks
 */
export function remedy(lacks) {
  const packages = lacks.flatMap((lack) => lack.apt ?? [])
  const apt = packages.length > 0 ? [`${sudo()}apt-get install -y ${packages.join(' ')}`] : []
  const lines = [...apt, ...lacks.flatMap((lack) => lack.line ?? [])]
  return [
    'Missing on this machine:',
    ...lacks.map((lack) => `  - ${lack.what}`),
    'Install it on Debian with:',
    `  ${lines.join(' && ')}`,
  ].join('\n')
}

/** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env */
async function versionFrom(command, args, env) {
  const path = findOnPath(command, env)
  if (path === undefined) return undefined
  const output = await run(path, args, { env }).catch(() => '')
  const [, major, minor] = /(\d+)\.(\d+)/.exec(output) ?? []
  return major === undefined ? undefined : [Number(major), Number(minor)]
}

/** @param {number[] | undefined} version @param {number[]} wanted */
function atLeast(version, [major = 0, minor = 0]) {
  const [foundMajor = 0, foundMinor = 0] = version ?? []
  return foundMajor > major || (foundMajor === major && foundMinor >= minor)
}

/** @param {string} url @param {string} unpack */
function tarball(url, unpack) {
  return `wget -qO- ${url} | ${sudo()}tar -C /usr/local ${unpack}x`
}

function sudo() {
  return process.getuid?.() === 0 ? '' : 'sudo '
}

function goArch() {
  return process.arch === 'x64' ? 'amd64' : process.arch
}
