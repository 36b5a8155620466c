/**
 * Generates clients from `/openapi.json` with openapi-typescript and openapi-python-client, compiles them and makes every call on a whole
 * replica: `npm run test:all -- test/interop`. Skipped without a network.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { callsOf, type Call, type OpenApiDocument } from './calls.ts'
import { npmOrReason, pythonOrReason } from './packages.ts'
import { startInteropReplica, type InteropReplica } from './replica.ts'

const npm = await npmOrReason()
const python = await pythonOrReason()
const run = promisify(execFile)
let replica: InteropReplica
let folder: string
let calls: Call[]

beforeAll(async () => {
  replica = await startInteropReplica()
  folder = mkdtempSync(join(tmpdir(), 'tenure-clients-'))
  const headers = { authorization: `Bearer ${replica.key}` }
  const text = await (await fetch(`${replica.url}/openapi.json`, { headers })).text()
  writeFileSync(join(folder, 'openapi.json'), text)
  const subjects = { name: 'iris', model: 'iris', version: replica.version }
  calls = callsOf(JSON.parse(text) as OpenApiDocument, {
    ...subjects,
    one: replica.version,
    other: replica.version,
  })
})
afterAll(async () => {
  await replica?.stop()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

/** Besides calls with an id: calls about objects that the replica lacks, serves, or already has from the other client. */
const unserved = new Set([
  'delete_v1_models_name',
  'post_v1_models_name_reviews',
  'post_v1_bundles',
  'post_v1_models_name_files',
  'get_v1_models_name_files',
  'get_v1_models_name_files_digest_diff',
  'post_v1_models_name_files_digest_approve',
  'post_v1_models_name_files_digest_reject',
  'post_v1_models_name_triggers_trigger',
  'post_v1_outcomes_bulk',
  'get_v1_models_name_feature_counts',
  'post_v1_models_name_feature_counts',
  'post_v1_models_name_versions',
  'post_v1_models_name_retrainings',
  'post_v1_models_name_sweeps',
  'post_v1_models_name_rollback',
  'post_v1_releases',
  'post_v1_rollback_orders',
  'post_v1_drills',
  // That of the other client still waits for a worker.
  'post_v1_versions_version_load_tests',
  'post_v1_batches',
  'post_v1_keys',
  'get_v1_features_name',
  'get_v1_features_name_values',
  'post_v1_features_name_materialise',
])

/** Reads the statuses by operation that a program prints. */
async function statusesOf(program: string, argv: string[], cwd: string): Promise<Record<string, number>> {
  const options = { cwd, env: environmentWith({}), maxBuffer: 64 * 1_048_576 }
  const { stdout } = await run(program, argv, options)
  return JSON.parse(stdout) as Record<string, number>
}

function expectDocumented(statuses: Record<string, number>): void {
  expect(Object.keys(statuses)).toEqual(calls.map(({ id }) => id))
  for (const { id, statuses: documented } of calls) expect(documented, id).toContain(statuses[id])
  const failed = calls.filter(
    ({ id, path }) => statuses[id]! >= 400 && !path.includes('{id}') && !unserved.has(id),
  )
  expect(failed.map(({ id }) => `${id}: ${statuses[id]}`)).toEqual([])
}

const compilerOptions = {
  strict: true,
  noUncheckedIndexedAccess: true,
  target: 'es2022',
  module: 'nodenext',
  lib: ['es2022', 'dom', 'dom.iterable'],
  types: [],
}

const literal = (value: unknown): string => JSON.stringify(value)

/** Writes a call as a user of openapi-fetch does: with literals, so that the compiler compares them with the generated types. */
function typedCall({ id, method, path, parameters, query, body, media, isText }: Call): string {
  const params = [
    ...(Object.keys(parameters).length === 0 ? [] : [`path: ${literal(parameters)}`]),
    ...(Object.keys(query).length === 0 ? [] : [`query: ${literal(query)}`]),
  ]
  const options = [
    ...(params.length === 0 ? [] : [`params: { ${params.join(', ')} }`]),
    ...(body === undefined ? [] : [`body: ${literal(body)}`]),
    ...(media === undefined || media === 'application/json'
      ? []
      : [`bodySerializer: (body) => body as string`, `headers: { 'content-type': ${literal(media)} }`]),
    ...(isText ? [`parseAs: 'text'`] : []),
  ]
  const verb = method.toUpperCase()
  return `{
  const { data, error, response } = await client.${verb}(${literal(path)}, { ${options.join(', ')} })
  if (response.ok ? error !== undefined : error === undefined) throw new Error(${literal(id)} + ': ' + JSON.stringify({ data, error }))
  statuses[${literal(id)}] = response.status
}`
}

const skippedNpm = 'reason' in npm ? ` (skipped: ${npm.reason})` : ''
it.skipIf('reason' in npm)(
  `a client of openapi-typescript and openapi-fetch compiles and makes every call${skippedNpm}`,
  async () => {
    const { folder: packages } = npm as { folder: string }
    symlinkSync(join(packages, 'node_modules'), join(folder, 'node_modules'))
    const bin = (name: string) => join(packages, 'node_modules', '.bin', name)
    await run(bin('openapi-typescript'), ['openapi.json', '-o', 'schema.d.ts'], { cwd: folder })
    writeFileSync(
      join(folder, 'calls.ts'),
      [
        `import createClient from 'openapi-fetch'`,
        `import type { paths } from './schema.js'`,
        `const headers = { authorization: 'Bearer ${await replica.fixture.key()}' }`,
        // On a busy machine Temporal may be late; clients retry it.
        `const asked = async (request: Request): Promise<Response> => {`,
        `  const answer = await fetch(request.clone())`,
        `  if (answer.status !== 503) return answer`,
        `  return (await answer.clone().text()).includes('"temporal_unavailable"') ? asked(request) : answer`,
        `}`,
        `const client = createClient<paths>({ baseUrl: '${replica.url}', headers, fetch: asked })`,
        `const statuses: Record<string, number> = {}`,
        ...calls.map(typedCall),
        `console.log(JSON.stringify(statuses))`,
      ].join('\n'),
    )
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['calls.ts'] }))
    const compiled = await run(bin('tsc'), [], { cwd: folder }).catch((error: { stdout: string }) => error)
    expect(compiled.stdout).toBe('')
    expectDocumented(await statusesOf(process.execPath, ['calls.js'], folder))
  },
)

const skippedPython = 'reason' in python ? ` (skipped: ${python.reason})` : ''
it.skipIf('reason' in python)(
  `a client of openapi-python-client compiles and makes every call${skippedPython}`,
  async () => {
    const { bin, python: interpreter } = python as { bin: string; python: string }
    // A warning names an operation or a schema that the generator omits.
    const options = 'generate --path openapi.json --meta none --output-path tenure_api --fail-on-warning'
    const settings = join(checkout, 'test', 'interop', 'openapi-python-client.yaml')
    const argv = [...options.split(' '), '--config', settings]
    const generated = await run(join(bin, 'openapi-python-client'), argv, {
      cwd: folder,
      env: environmentWith({ PATH: `${bin}:${environmentWith({})['PATH']}` }),
    }).catch((error: { stdout: string; stderr: string }) => error)
    expect(`${generated.stdout}${generated.stderr}`).not.toMatch(/warning|error|Traceback/i)
    writeFileSync(join(folder, 'calls.json'), JSON.stringify(calls))
    const script = join(checkout, 'test', 'interop', 'generated_client.py')
    const called = [script, folder, replica.url, await replica.fixture.key()]
    expectDocumented(await statusesOf(interpreter, called, folder))
  },
)
