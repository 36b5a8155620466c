/**
 * Runs the examples of docs/clients/typescript.md, python.md, http.md and kserve-and-mlflow.md, and of
 * docs/how-to/python-for-data-scientists.md: predictions and outcomes against a whole replica, commands against a server that responds like the API when a retraining and a release end.
 */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import sql from 'sql-template-tag'
import { build } from 'esbuild'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type RunningServer } from '../../api/server.ts'
import { moveChampion } from '../../store/registry/champions.ts'
import { checkout, environmentWith, readConfig } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'
import { irisSpec } from '../support/serving/artifact.ts'
import { findLibraryPython, hasPackages } from '../support/training/library-python.ts'
import { openServingFixture, until, type ServingFixture } from '../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let replica: RunningServer
let commands: Server
let folder: string
const seen: string[] = []
let urls: Record<string, string>
let key: string

/** Ends a retraining at the second read, accepts the approval at the second attempt, and ends the release. */
function answerOf(method: string, path: string): { status: number; json: object } {
  const ask = `${method} ${path}`
  seen.push(ask)
  const times = seen.filter((each) => each === ask).length
  const retraining = { id: 'retrain/iris/1', model: 'iris' }
  const release = { id: 'rel_1', model: 'iris', artifact_digest: 'sha256:a' }
  if (ask === 'POST /v1/models/iris/retrainings') return { status: 202, json: retraining }
  if (ask === 'GET /v1/retrainings/retrain%2Firis%2F1')
    return {
      status: 200,
      json: times < 2 ? retraining : { ...retraining, outcome: 'registered', version: 'iris_v1.1.0' },
    }
  if (ask.startsWith('GET /v1/releases?')) return { status: 200, json: { releases: [release], waiting: [] } }
  if (ask.startsWith('GET /v1/releases/rel_1'))
    return { status: 200, json: { ...release, outcome: 'promoted' } }
  if (ask === 'POST /v1/releases/rel_1/approve' && times > 1)
    return { status: 200, json: { release: 'rel_1', accepted: true, message: 'approved' } }
  return {
    status: 503,
    json: { code: 'temporal_unavailable', detail: 'Temporal does not respond', retryable: true },
  }
}

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  const spec = irisSpec()
  const version = await fixture.register(spec)
  // By which the log names inputs and answers.
  const manifest = JSON.stringify({ output: spec.output, preprocessing: spec.preprocessing })
  await fixture.store.query(sql`update versions set manifest = ${manifest} where version = ${version}`)
  await moveChampion(fixture.store, {
    model: 'iris',
    to: version,
    cause: 'promotion',
    actor: 'a',
    reason: 'r',
  })
  await fixture.route('iris', { proven: version })
  const config = readConfig({
    ...fixture.environment(),
  })
  replica = await startServer(config, pino({ level: 'silent' }))
  await until(async () => (await fetch(`${replica.url}/readyz`)).ok, 'a replica that is ready')
  commands = createServer((request, response) => {
    void textOf(request).then(() => {
      const { status, json } = answerOf(request.method ?? '', request.url ?? '')
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
    })
  })
  await new Promise<void>((resolve) => commands.listen(0, '127.0.0.1', resolve))
  urls = {
    predict: replica.url,
    async: replica.url,
    frames: replica.url,
    log: replica.url,
    commands: `http://127.0.0.1:${(commands.address() as AddressInfo).port}`,
  }
  folder = mkdtempSync(join(tmpdir(), 'tenure-clients-'))
  const compiler = join(checkout, 'node_modules', 'typescript', 'bin', 'tsc')
  const source = join(checkout, 'packages', 'client')
  execFileSync(process.execPath, [compiler, '-p', source, '--outDir', join(clientFolder(), 'dist')])
  writeFileSync(
    join(clientFolder(), 'package.json'),
    JSON.stringify({ name: '@tenure/client', type: 'module', exports: './dist/index.js' }),
  )
})
afterAll(async () => {
  await replica?.stop('the test ends')
  commands?.close()
  await fixture.close()
  rmSync(folder, { recursive: true, force: true })
})

function run(program: string, argv: string[], which: string): Promise<string> {
  const env = environmentWith({
    TENURE_URL: urls[which],
    TENURE_KEY: key,
    PYTHONPATH: join(checkout, 'packages', 'python', 'src'),
    PYTHONDONTWRITEBYTECODE: '1',
  })
  return new Promise((resolve, reject) => {
    execFile(program, argv, { cwd: folder, env }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(`${error.message}\n${stderr}`)),
    )
  })
}

const clientFolder = () => join(folder, 'node_modules', '@tenure', 'client')

const pageOf = (name: string) => blocksOf(readFileSync(join(checkout, 'docs', 'clients', name), 'utf8'))
const expected: Record<string, RegExp> = {
  predict: /^iris_v1\.0\.0 champion setosa\nprobabilities \[ ?1, 3 ?\]\n$/,
  commands: /^registered iris_v1\.1\.0\npromoted\n$/,
  async: /^8 setosa\n$/,
  frames:
    /^\['iris_v1\.0\.0', 'champion', 'setosa'\] 2\n\['sepalLength', 'sepalWidth', 'petalLength', 'petalWidth', 'base', 'score'\]\n$/,
  log: /iris_v1\.0\.0 +champion +[\d.]+ +setosa\n[\s\S]*version\niris_v1\.0\.0 +1\.0\n/,
}

const found = findLibraryPython()
const pandasPython = found !== undefined && hasPackages(found, ['pandas']) ? found : undefined

describe('the page python-for-data-scientists.md', () => {
  const page = join('..', 'how-to', 'python-for-data-scientists.md')
  const noted = pageOf(page).filter(({ notes }) => Object.keys(notes).length > 0)
  const [script, frames, log] = noted

  it('shows the script of an example', () =>
    expect(readFileSync(join(checkout, script!.notes['same']!), 'utf8')).toContain(script!.text))

  it('sends a data frame, its outcomes, and reads both from the log', async () => {
    if (pandasPython === undefined) return
    const runBlock = (text: string, which: string) => {
      const file = join(folder, `${which}.py`)
      writeFileSync(file, text)
      return run(pandasPython, [file], which)
    }
    expect(await runBlock(frames!.text, 'frames')).toMatch(expected['frames']!)
    const [setUp = ''] = frames!.text.split('rows = ')
    // The log has a prediction a second after its answer.
    await expect.poll(() => runBlock(setUp + log!.text, 'log').catch(String)).toMatch(expected['log']!)
  })
})

describe.each([
  ['typescript.md', 'ts'],
  ['python.md', 'python'],
])('the page %s', (name, language) => {
  const blocks = pageOf(name).filter((each) => each.language === language)

  it.each(blocks.map(({ text, notes }) => [notes['run'] ?? '', text]))(
    'runs its example "%s"',
    async (which, text) => {
      seen.splice(0)
      const file = join(folder, `${which}.${language === 'ts' ? 'mts' : 'py'}`)
      writeFileSync(file, text)
      const program = language === 'ts' ? process.execPath : 'python3'
      const argv = language === 'ts' ? ['--import', import.meta.resolve('tsx'), file] : [file]
      expect(await run(program, argv, which)).toMatch(expected[which]!)
      if (which === 'commands')
        expect(seen.filter((ask) => ask.startsWith('POST /v1/releases'))).toHaveLength(2)
    },
  )
})

it('the examples of the page typescript.md have the types of the client', async () => {
  const files = pageOf('typescript.md').filter(({ language }) => language === 'ts')
  const names = files.map(({ text }, at) => {
    writeFileSync(join(folder, `typed-${at}.mts`), text)
    return `typed-${at}.mts`
  })
  const tsc = join(checkout, 'node_modules', 'typescript', 'bin', 'tsc')
  const types = join(checkout, 'node_modules', '@types')
  const options =
    '--noEmit --strict --skipLibCheck --module nodenext --target es2023 --types node --typeRoots'
  expect(await run(process.execPath, [tsc, ...options.split(' '), types, ...names], 'predict')).toBe('')
})

it('the README of the client runs its example', async () => {
  const readme = readFileSync(join(checkout, 'packages', 'client', 'README.md'), 'utf8')
  const example = blocksOf(readme).find(({ language }) => language === 'ts')!
  const file = join(folder, 'readme.mts')
  writeFileSync(file, example.text)
  expect(await run(process.execPath, ['--import', import.meta.resolve('tsx'), file], 'predict')).toBe(
    'iris_v1.0.0 setosa\n',
  )
})

it.each([
  ['http.md', { predictions: [{ label: 'setosa' }], version: 'iris_v1.0.0' }],
  ['kserve-and-mlflow.md', { predictions: ['setosa', expect.any(String)], model_version: 'iris_v1.0.0' }],
])('the page %s runs its example, and shows the fields of its answer', async (page, expected) => {
  const blocks = pageOf(page)
  const command = blocks.find(({ text }) => text.startsWith('curl'))!.text
  const answer = JSON.parse(await run('bash', ['-c', command], 'predict')) as Record<string, unknown>
  const shown = JSON.parse(blocks.find(({ language }) => language === 'json')!.text) as typeof answer
  expect(Object.keys(answer).sort()).toEqual(Object.keys(shown).sort())
  expect(answer).toMatchObject(expected)
})

it('stores the outcomes of the examples', async () => {
  const stored = await fixture.store.query(sql`select value from outcomes`)
  expect(stored).toHaveLength(pandasPython === undefined ? 3 : 5)
})

it('the client is small: bundled and minified it has 5 kB, as its page says', async () => {
  const built = await build({
    entryPoints: [join(clientFolder(), 'dist', 'index.js')],
    bundle: true,
    minify: true,
    format: 'esm',
    write: false,
  })
  expect(Math.round(built.outputFiles[0]!.contents.length / 1_000)).toBe(5)
})
