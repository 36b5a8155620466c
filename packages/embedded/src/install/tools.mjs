// @ts-check
// Checks the tools that the machine itself must provide, only for a step that has work to do: a machine with a filled cache needs no compiler.
// Reports all missing tools at once, with one line that installs them.
import { findOnPath } from './machine.mjs'
import { run } from './run.mjs'

/** @typedef {{ what: string, apt?: string[], line?: string }} Lack What is missing, and the packages of Debian or the shell line that install it. */
/** @typedef {(env: NodeJS.ProcessEnv) => Promise<Lack | undefined>} Tool Returns what the machine lacks of the tool. */

/** The Temporal server requires a newer toolchain, which `go install` of this version can fetch. */
const GO_AT_LEAST = [1, 21]
const GO_LINE = '1.26.8'

/** @type {Tool} */
export async function go(env) {
  const version = await versionFrom('go', ['version'], env)
  if (isAtLeast(version, GO_AT_LEAST)) return undefined
  const found = version === undefined ? '' : `, found ${version.join('.')}`
  const processor = process.arch === 'x64' ? 'amd64' : process.arch
  return {
    what: `go ${GO_AT_LEAST.join('.')} or newer${found} (builds the Temporal server; or put a Temporal CLI on PATH)`,
    line: `${tarball(`https://go.dev/dl/go${GO_LINE}.linux-${processor}.tar.gz`, '-z')} && export PATH=$PATH:/usr/local/go/bin`,
  }
}

/** @param {readonly Tool[]} tools @param {NodeJS.ProcessEnv} env @returns {Promise<Lack[]>} */
export async function lacking(tools, env) {
  const lacks = await Promise.all([...new Set(tools)].map((tool) => tool(env)))
  return lacks.filter((lack) => lack !== undefined)
}

/**
 * Describes what is missing, and the one line that installs all of it.
 * @param {readonly Lack[]} lacks
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
export async function versionFrom(command, args, env) {
  const path = findOnPath(command, env)
  if (path === undefined) return undefined
  const output = await run(path, args, { env }).catch(() => '')
  const [, major, minor] = /(\d+)\.(\d+)/.exec(output) ?? []
  return major === undefined ? undefined : [Number(major), Number(minor)]
}

/**
 * Compares versions number by number. An unknown version is never enough.
 * @param {readonly number[] | undefined} version @param {readonly number[]} wanted
 */
export function isAtLeast(version, wanted) {
  const place = wanted.findIndex((least, index) => version?.[index] !== least)
  return version !== undefined && (place < 0 || (version[place] ?? 0) > (wanted[place] ?? 0))
}

/** Returns the shell line that unpacks an archive to /usr/local. @param {string} url @param {string} unpack */
export function tarball(url, unpack) {
  return `wget -qO- ${url} | ${sudo()}tar -C /usr/local ${unpack}x`
}

function sudo() {
  return process.getuid?.() === 0 ? '' : 'sudo '
}
