/**
 * Sends generated requests to every route and compares each response with `/openapi.json`: `npm run test:interop`. The number of examples of an
 * operation is TENURE_TEST_EXAMPLES.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { environmentWith } from '../../temporal.config.ts'
import { pythonOrReason } from './packages.ts'
import { startInteropReplica, type InteropReplica } from './replica.ts'

const python = await pythonOrReason()
const examples = environmentWith({})['TENURE_TEST_EXAMPLES'] ?? '10'
let replica: InteropReplica
let folder: string

beforeAll(async () => {
  replica = await startInteropReplica()
  folder = mkdtempSync(join(tmpdir(), 'tenure-schemathesis-'))
})
afterAll(async () => {
  await replica?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const defaultChecks =
  'not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance'

/** Runs it, and returns its report. */
async function fuzz(...more: string[]): Promise<string> {
  const checks = environmentWith({})['TENURE_TEST_CHECKS'] ?? defaultChecks
  const options = `--checks ${checks} -n ${examples} --seed 1 --continue-on-failure --phases examples,coverage,fuzzing --suppress-health-check all --no-color`
  const argv = ['run', `${replica.url}/openapi.json`, '-H', `Authorization: Bearer ${replica.key}`]
  argv.push(...options.split(' '), ...more)
  const program = join((python as { bin: string }).bin, 'schemathesis')
  return new Promise((resolve) => {
    execFile(
      program,
      argv,
      { cwd: folder, maxBuffer: 1e9, env: environmentWith({}) },
      (_error, stdout, stderr) => resolve(`${stdout}${stderr}`),
    )
  })
}

const skipped = 'reason' in python ? ` (skipped: ${python.reason})` : ''
it.skipIf('reason' in python)(
  `schemathesis finds no server error, undocumented status or schema violation${skipped}`,
  async () => {
    // It sends ids that it has seen: it would revoke its own key.
    const ofKeys = '^/v1/keys/'
    const all = await fuzz('--exclude-path-regex', ofKeys)
    const keys = await fuzz('--include-path-regex', ofKeys)
    for (const output of [all, keys]) {
      const [, summary = output] = /SUMMARY =+\n([\s\S]*)/.exec(output) ?? []
      process.stdout.write(`${summary}\n`)
      writeFileSync(join(tmpdir(), `tenure-schemathesis-${output === all ? 'all' : 'keys'}.txt`), output)
      expect(output, output.slice(-20_000)).not.toMatch(/failures, |errors/)
    }
  },
)
