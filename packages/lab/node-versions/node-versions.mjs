// @ts-check
// Tests the supported Node versions with their binaries from npm: a small training through TensorFlow's addon and the fast tests, or all
// tests with `--full`. The addon once broke on Node 23 without notice. Needs the network and a finished set-up.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { since, startProgress } from '@tenure/embedded/install/progress'
import { run } from '@tenure/embedded/install/run'

const VERSIONS = ['24', '26']

const root = fileURLToPath(new URL('../../..', import.meta.url))
const tests = process.argv.includes('--full') ? [] : ['--project', 'pure', 'test/domain']
const progress = startProgress(process.stdout)
const folder = mkdtempSync(join(tmpdir(), 'tenure-nodes-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => process.exit(130))

const failures = []
const digests = new Set()
await fetchBinaries()
for (const { name, node } of [
  { name: `Node ${process.versions.node}`, node: process.execPath },
  ...VERSIONS.map((version) => ({
    name: `Node ${version}`,
    node: join(folder, 'node_modules', `n${version}`, 'bin', 'node'),
  })),
]) {
  await step(name, node).catch((error) =>
    failures.push(`${name}: ${error instanceof Error ? error.message : error}`),
  )
}
if (digests.size > 1) failures.push(`the same training gave different weights: ${[...digests].join(', ')}`)
progress.stop()
for (const failure of failures) process.stderr.write(`\n${failure}\n`)
process.exit(failures.length > 0 ? 1 : 0)

async function fetchBinaries() {
  const startedMs = Date.now()
  const aliases = VERSIONS.map((version) => `n${version}@npm:node-linux-${process.arch}@${version}`)
  const quiet = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  await run('npm', ['install', ...quiet, '--prefix', folder, ...aliases], { cwd: folder })
  progress.say(`fetched the binaries of Node ${VERSIONS.join(' and ')} (${since(startedMs)})`)
}

/** @param {string} name @param {string} node */
async function step(name, node) {
  const telling = progress.begin(name, 'a small training and the tests')
  try {
    const version = (await run(node, ['--version'])).trim()
    telling.update(`${version} trains`)
    const probe = await run(node, ['--import', 'tsx', 'packages/lab/node-versions/probe-tensorflow.ts'], {
      cwd: root,
      env: quietly(),
    })
    const digest = /^tensorflow ([0-9a-f]+)$/m.exec(probe)?.[1] ?? 'of another backend'
    digests.add(digest)
    telling.update(`${version} tests`)
    const output = await run(node, ['node_modules/vitest/vitest.mjs', 'run', ...tests], {
      cwd: root,
      env: quietly(),
    })
    const counted = /Tests +(\d+ passed.*)/.exec(output)?.[1]
    if (counted === undefined) throw new Error(`the tests did not tell how many passed\n${output}`)
    telling.done(`${version}: weights ${digest}, tests ${counted}`)
  } catch (error) {
    telling.fail()
    throw error
  }
}

function quietly() {
  return { ...process.env, NO_COLOR: '1', TF_CPP_MIN_LOG_LEVEL: '2' }
}
