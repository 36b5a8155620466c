/**
 * Sends generated requests to every route and compares each response with `/openapi.json`: `npm run test:all -- test/interop`. The number of examples of an
 * operation is TENURE_TEST_EXAMPLES.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { insertKey } from '../../store/access/api-keys.ts'
import { environmentWith } from '../../temporal.config.ts'
import { pythonOrReason } from './packages.ts'
import { startInteropReplica, type InteropReplica } from './replica.ts'

const python = await pythonOrReason()
const examples = environmentWith({})['TENURE_TEST_EXAMPLES'] ?? '5'
let replica: InteropReplica
let folder: string
const children = new Set<ChildProcess>()

beforeAll(async () => {
  replica = await startInteropReplica()
  folder = mkdtempSync(join(tmpdir(), 'tenure-schemathesis-'))
})
afterAll(async () => {
  for (const child of children) child.kill()
  await replica?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const defaultChecks =
  'no_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance'

/** Ten thousand cases take half an hour. */
const withinMs = 7_200_000

/** Schemathesis reuses ids from responses, and would revoke its own key. On a busy machine Temporal may be late; clients retry it. */
const hooks = (id: string): string => `
import schemathesis

@schemathesis.check
def no_server_error(ctx, response, case):
    if response.status_code >= 500 and '"temporal_unavailable"' not in response.text:
        raise AssertionError(f"a server error: {response.status_code}")

@schemathesis.hook
def before_call(ctx, case, kwargs):
    if (case.path_parameters or {}).get("id") == "${id}":
        case.path_parameters["id"] = "spared"
`

/** Runs Schemathesis and returns its report, which it writes to a file in the meantime. */
async function fuzz(): Promise<string> {
  const { key, facts } = await insertKey(replica.fixture.store, { name: 'schemathesis', role: 'admin' })
  writeFileSync(join(folder, 'schemathesis_hooks.py'), hooks(facts.id))
  const checks = environmentWith({})['TENURE_TEST_CHECKS'] ?? defaultChecks
  const options = `--checks ${checks} -n ${examples} --seed 1 --continue-on-failure --phases examples,coverage,fuzzing --suppress-health-check all --request-timeout 60 --no-color`
  const argv = [
    'run',
    `${replica.url}/openapi.json`,
    '-H',
    `Authorization: Bearer ${key}`,
    ...options.split(' '),
  ]
  const program = join((python as { bin: string }).bin, 'schemathesis')
  const path = join(tmpdir(), 'tenure-schemathesis.txt')
  const file = openSync(path, 'w')
  const env = environmentWith({ SCHEMATHESIS_HOOKS: 'schemathesis_hooks', PYTHONPATH: folder })
  const child = spawn(program, argv, { cwd: folder, stdio: ['ignore', file, file], env })
  children.add(child)
  await once(child, 'exit')
  children.delete(child)
  closeSync(file)
  return readFileSync(path, 'utf8')
}

const skipped = 'reason' in python ? ` (skipped: ${python.reason})` : ''
it.skipIf('reason' in python)(
  `schemathesis finds no server error, undocumented status or schema violation${skipped}`,
  async () => {
    const output = await fuzz()
    const [, summary = output] = /SUMMARY =+\n([\s\S]*)/.exec(output) ?? []
    process.stdout.write(`${summary}\n`)
    // The last line counts them; warnings above name errors too.
    expect(output.trim().split('\n').at(-1), output.slice(-20_000)).toMatch(
      /^=+ \d+ warnings? in [\d.]+s =+$|^=+ [^\d]*in [\d.]+s =+$/,
    )
  },
  withinMs,
)
