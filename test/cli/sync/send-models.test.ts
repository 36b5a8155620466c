/**
 * Runs docs/how-to/projects/laptop-to-server.md from a laptop, which reaches the API and nothing else, to a running installation, and tests what
 * is refused there.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { findConnection } from '../../../cli/client/connection.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { writeTar } from '../../../store/bundles/bundle.ts'
import { loadModelsInChild } from '../../../cli/sync/load-models.ts'
import { packModelFiles, printedEntry } from '../../../store/registry/model-files.ts'
import { checkout } from '../../../temporal.config.ts'
import { blocksOf, type Block } from '../../support/docs/markdown.ts'
import { startTenure, type Ended, type Running } from '../../support/commands/tenure-process.ts'

let dir: string
let state: string
let system: Running
let url: string
const keys = {} as Record<'ada' | 'lea' | 'leo' | 'mia', string>
const keyPattern = /tnr_\w+/

const network = `export const layersOf = (tf, inputs, outputs, units) =>
  tf.sequential({
    layers: [
      tf.layers.dense({ inputShape: [inputs], units, activation: 'relu' }),
      tf.layers.dense({ units: outputs, activation: 'softmax' }),
    ],
  })
`
const model = (
  floor = 0.8,
  before = '',
) => `import { canary, csv, defineModel, number, oneOf, percent, stratified } from 'tenure'
import { layersOf } from './shared/network.ts'
${before}
export const iris = defineModel({
  name: 'iris',
  features: { sepalLength: number(), sepalWidth: number(), petalLength: number(), petalWidth: number() },
  label: oneOf(['setosa', 'versicolor', 'virginica'], { column: 'species' }),
  source: csv('data/iris.csv'),
  split: stratified({ test: 0.3 }),
  hyperparameters: { units: 16, epochs: 40, batchSize: 16, learningRate: 0.02 },
  train: async ({ tf, inputs, outputs, hyperparameters, fit }) => {
    const { units, epochs, batchSize, learningRate } = hyperparameters
    const network = layersOf(tf, inputs, outputs, units)
    network.compile({ optimizer: tf.train.adam(learningRate), loss: 'categoricalCrossentropy' })
    await fit(network, { epochs, batchSize })
    return network
  },
  evaluation: {
    primary: 'accuracy',
    floors: { accuracy: ${floor} },
    evidence: { rows: 40, positives: 10, negatives: 10 },
    calibration: 'off',
  },
  release: canary({ stages: [percent(5)], approval: { by: 1, within: '7 d' } }),
})
`
const write = (text: string) => writeFileSync(join(dir, 'laptop/models/iris.ts'), text)

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-laptop-'))
  state = mkdtempSync(join(tmpdir(), 'tenure-up-'))
  for (const folder of ['server/models', 'server/data', 'laptop/models/shared'])
    mkdirSync(join(dir, folder), { recursive: true })
  for (const project of ['server', 'laptop']) writeFileSync(join(dir, project, 'tenure.config.json'), '{}')
  cpSync(join(checkout, 'models/data/iris.csv'), join(dir, 'server/data/iris.csv'))
  writeFileSync(join(dir, 'laptop/models/shared/network.ts'), network)
  write(model())
  system = startTenure(server(), ['up'])
  await system.says(/Ctrl-C stops everything/)
  url = findConnection(state)!.url
  for (const [name, of] of [
    ['mia', 'pansies'],
    ['lea', 'lilies'],
  ] as const) {
    const { out } = await atServer('keys', 'create', name, '--role', 'developer', '--models', of)
    keys[name] = keyPattern.exec(out)![0]
  }
})
afterAll(async () => {
  system.child.kill('SIGINT')
  await system.ended
  for (const each of [dir, state]) rmSync(each, { recursive: true, force: true })
})

const server = () => ({
  TENURE_PROJECT: join(dir, 'server'),
  TENURE_STATE: state,
})
const atServer = (...words: string[]): Promise<Ended> => startTenure(server(), words).ended
const atLaptop = (key: keyof typeof keys, ...words: string[]): Promise<Ended> =>
  startTenure(
    {
      TENURE_PROJECT: join(dir, 'laptop'),
      TENURE_STATE: join(dir, 'none'),
      TENURE_URL: url,
      TENURE_KEY: keys[key],
    },
    words,
  ).ended

async function send(archive: Uint8Array, key: keyof typeof keys = 'leo', name = 'iris') {
  const answer = await fetch(`${url}/v1/models/${name}/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${keys[key]}`, 'content-type': 'application/octet-stream' },
    body: archive as Uint8Array<ArrayBuffer>,
  })
  return { status: answer.status, body: (await answer.json()) as { code: string; detail: string } }
}
const files = (entries: Record<string, string>) =>
  new Map(Object.entries(entries).map(([name, text]) => [name, Buffer.from(text)]))
let printed: Record<string, unknown>
/** With what the file is said to define. */
const archive = (text: string, definition?: object, more: Record<string, string> = {}) =>
  packModelFiles(
    files({
      'iris.ts': text,
      'shared/network.ts': network,
      ...more,
      ...(definition && { [printedEntry]: JSON.stringify({ model: definition, issues: [] }) }),
    }),
  )

const page = blocksOf(readFileSync(join(checkout, 'docs/how-to/projects/laptop-to-server.md'), 'utf8'))
let digest: string

/** The commands of a block; of a pipeline, those of Tenure that need no package registry. */
const commandsOf = ({ language, text }: Block): string[] => {
  if (language === 'sh') return text.split('\n')
  const { jobs } = parse(text) as { jobs: Record<string, { steps: { run?: string }[] }> }
  const steps = Object.values(jobs).flatMap((job) => job.steps.flatMap(({ run }) => run ?? []))
  return steps.filter((step) => /tenure (?!setup)/.test(step))
}

it.each(page.map((block) => [block.line, block.notes['as']!, commandsOf(block).join('; '), block] as const))(
  'line %d of the page, as %s: %s',
  async (_, as, _commands, block) => {
    const { shows } = block.notes
    let shown = ''
    for (const line of commandsOf(block)) {
      const words = line.replace(/^npx (--no-install )?tenure /, '').replace('sha256:…', digest)
      const run =
        as === 'server' ? atServer : (...given: string[]) => atLaptop(as as keyof typeof keys, ...given)
      const { code, out, err } = await run(...words.split(' '))
      expect([err, code]).toEqual(['', exitCodes.done])
      shown += out
      digest = /approve iris (sha256:\w+)/.exec(out)?.[1] ?? digest
      const [, created] = /^keys create (\w+)/.exec(words) ?? []
      if (created !== undefined) keys[created as keyof typeof keys] = keyPattern.exec(out)![0]
    }
    if (shows !== undefined) expect(shown).toContain(shows)
  },
)

describe('a model that was sent', () => {
  it('is not approved with the key of a developer, and not sent with that of another model', async () => {
    const own = await atLaptop('leo', 'models', 'approve', 'iris', digest)
    expect(own.code).toBe(exitCodes.refused)
    const all = await atLaptop('mia', 'models', 'sync')
    expect(all.out).toMatch(/^iris +not sent: the key has no access to this model$/m)
    const named = await atLaptop('mia', 'models', 'sync', 'iris')
    expect(named.code).toBe(exitCodes.refused)
    expect(named.err).toContain('the key mia has no access to the model iris')
  })

  it('changes its settings at once, and the same files a second time change nothing', async () => {
    write(model(0.85))
    const { out } = await atLaptop('leo', 'models', 'sync')
    expect(out).toContain('evaluation.policy.floors.accuracy: 0.8 → 0.85\n  its settings are applied at once')
    expect(out).toContain('its code needs an approval: the code of iris.ts was changed')
    const again = await atLaptop('leo', 'models', 'sync')
    expect(again.out).toMatch(/^iris +changed, waits for an approval of its code$/m)
    expect(again.out).not.toContain('settings')
    write(model(0.8, '// The floor is that of last year.'))
    const { out: lower } = await atLaptop('leo', 'models', 'sync')
    expect(lower).toContain(
      'its code needs an approval: evaluation.policy.floors.accuracy loosens its policy',
    )
    expect(lower).not.toContain('settings are applied')
    const waiting = /approve iris (sha256:\w+)/.exec(lower)![1]!
    expect((await atLaptop('ada', 'models', 'approve', 'iris', waiting)).out).toMatch(/^iris +applied$/m)
    expect((await atLaptop('leo', 'models', 'sync')).out).toMatch(/^iris +unchanged$/m)
  })

  it('waits again after a change of a file that it imports, which an approver rejects', async () => {
    writeFileSync(join(dir, 'laptop/models/shared/network.ts'), network.replace('relu', 'tanh'))
    const { out } = await atLaptop('leo', 'models', 'sync')
    expect(out).toContain('its code needs an approval: the code of shared/network.ts was changed')
    const changed = /approve iris (sha256:\w+)/.exec(out)![1]!
    const { out: diff } = await atLaptop('ada', 'models', 'waiting', 'iris', '--diff')
    expect(diff).toContain('--- shared/network.ts\n+++ shared/network.ts\n@@ -1,7 +1,7 @@\n')
    expect(diff).toMatch(/^-.*'relu'(.*\n)+?\+.*'tanh'/m)
    expect(diff).not.toContain('the definition')
    const developer = await atLaptop('leo', 'models', 'waiting', 'iris', '--diff')
    expect(developer.code).toBe(exitCodes.refused)
    const rejected = await atLaptop('ada', 'models', 'reject', 'iris', changed, '--reason', 'no reason to')
    expect(rejected.out).toMatch(/^iris +rejected$/m)
    const late = await atLaptop('ada', 'models', 'approve', 'iris', changed)
    expect(late.err).toContain('wait no longer')
    writeFileSync(join(dir, 'laptop/models/shared/network.ts'), network)
  })

  it('has an audit row for each step', async () => {
    const { out } = await atServer('audit', 'list', '--model', 'iris', '--limit', '100', '--json')
    const rows = (JSON.parse(out) as { audit: { actor: string; action: string }[] }).audit
    const steps = rows.filter(({ action }) => action.startsWith('model.'))
    expect(steps.map(({ actor, action }) => `${action} by ${actor}`).toSorted()).toEqual([
      'model.code_rejected by ada',
      'model.sent by leo',
      'model.sent by leo',
      'model.sent by leo',
      'model.sent by leo',
      'model.synced by ada',
      'model.synced by ada',
      'model.synced by leo',
    ])
  })
})

describe('a model file in Python that was sent', () => {
  const python = `import tenure
from tenure import csv, direct, number, one_of, random

def train(job):
    raise SystemExit("not here")

tenure.define_model(
    name="pansies",
    features={"sepalLength": number(), "sepalWidth": number()},
    label=one_of(["setosa", "versicolor", "virginica"], column="species"),
    source=csv("data/iris.csv"),
    split=random(test=0.3),
    train=train,
    evaluation={"primary": "accuracy", "floors": {"accuracy": 0.8}},
    release=direct(approval={"by": 1}),
)
`
  const pansies = (text: string) => writeFileSync(join(dir, 'laptop/models/pansies.py'), text)

  it('is approved by an approver of its model, and changes its settings at once as one in TypeScript does', async () => {
    pansies(python)
    const { out } = await atLaptop('mia', 'models', 'sync', 'pansies')
    const sent = /approve pansies (sha256:\w+)/.exec(out)![1]!
    const other = await atLaptop('ada', 'models', 'approve', 'pansies', sent)
    expect(other.code).not.toBe(exitCodes.done)
    const approved = await atServer('models', 'approve', 'pansies', sent)
    expect([approved.err, approved.out]).toEqual(['', expect.stringMatching(/^pansies +applied\n$/)])
    expect((await atLaptop('mia', 'models', 'sync', 'pansies')).out).toMatch(/^pansies +unchanged$/m)
    pansies(python.replace('0.8', '0.82'))
    const changed = await atLaptop('mia', 'models', 'sync', 'pansies')
    expect(changed.out).toContain(
      'evaluation.policy.floors.accuracy: 0.8 → 0.82\n  its settings are applied at once',
    )
    const stored = await atServer('models', 'show', 'pansies', '--json')
    // Back to the text in use, which lowers the floor that is in force.
    pansies(python)
    const lower = await atLaptop('mia', 'models', 'sync', 'pansies')
    expect(lower.out).toContain(
      'its code needs an approval: evaluation.policy.floors.accuracy loosens its policy',
    )
    expect((await atServer('models', 'show', 'pansies', '--json')).out).toBe(stored.out)
  })
})

const plain = {
  features: { sepalLength: { $word: 'number', arguments: [] } },
  label: { $word: 'oneOf', arguments: [['setosa', 'versicolor', 'virginica'], { column: 'species' }] },
  source: { $word: 'csv', arguments: ['data/iris.csv'] },
  split: { $word: 'random', arguments: [{ test: 0.3 }] },
  evaluation: { floors: { accuracy: 0.8 } },
  release: { $word: 'direct', arguments: [] },
}
const texts: Record<string, string> = {
  ts: `import { csv, defineModel, direct, number, oneOf, random } from 'tenure'
export const model = defineModel({
  name: 'lilies', features: { sepalLength: number() }, label: oneOf(['setosa', 'versicolor', 'virginica'], { column: 'species' }),
  source: csv('data/iris.csv'), split: random({ test: 0.3 }), train: ({ tf }) => tf.sequential(),
  evaluation: { floors: { accuracy: 0.8 } }, release: direct(),
})
`,
  py: `from tenure import csv, define_model, direct, number, one_of, random
def train(job):
    pass
define_model(
    name="lilies", features={"sepalLength": number()}, label=one_of(["setosa", "versicolor", "virginica"], column="species"),
    source=csv("data/iris.csv"), split=random(test=0.3), train=train, evaluation={"floors": {"accuracy": 0.8}}, release=direct(),
)
`,
}

describe('files that are sent', () => {
  beforeAll(async () => {
    const { models } = await loadModelsInChild({ directory: join(dir, 'laptop/models'), isPrinted: true })
    printed = models.find(({ name }) => name === 'iris')!.printed!.model!
  })

  it.each([
    ['lead out of their folder', () => writeTar(files({ '../iris.ts': model() })), 'does not lead to a file'],
    ['are no archive', () => Buffer.alloc(2_048, 'x'), 'it is not a bundle'],
    [
      'lack the model file',
      () => packModelFiles(files({ 'lilies.ts': model() })),
      'there is no iris.ts or iris.py',
    ],
    ['do not parse', () => archive(`const = 1\n${model()}`), 'iris: line 1: the code cannot be parsed'],
    ['lack their definition', () => archive(model()), 'what iris.ts defines is missing'],
    [
      'define another model',
      () => archive(model(), { ...printed, name: 'lilies' }),
      'must be in a file of this name',
    ],
    ['have an issue', () => archive(model(), { ...printed, seed: -1 }), 'seed: a whole number'],
    [
      'call what is no word',
      () => archive(model(), { ...printed, split: { $word: 'constructor', arguments: [] } }),
      'split: has the wrong shape: there is no word constructor',
    ],
    [
      'have an issue beside a program in Python of the same name',
      () => archive(model(), { ...printed, seed: -1 }, { 'iris.py': '' }),
      'seed: a whole number',
    ],
  ])('are refused where they %s', async (_, sent, why) => {
    const { status, body } = await send(sent())
    expect(body.detail).toContain(why)
    expect([status, body.code]).toEqual([422, 'invalid_model_file'])
  })

  it.each([
    [
      'TypeScript',
      'lilies.ts',
      (marker: string) => `import fs from 'node:fs'\nfs.writeFileSync('${marker}', '')`,
    ],
    ['Python', 'lilies.py', (marker: string) => `open('${marker}', 'w')`],
  ])('run neither when they are sent nor while they wait: in %s', async (language, file, code) => {
    const marker = join(dir, language)
    const definition: Record<string, unknown> = { ...printed, name: 'lilies' }
    if (file.endsWith('.py')) definition['train'] = { $word: 'python', arguments: [file] }
    const entries = {
      [file]: code(marker),
      [printedEntry]: JSON.stringify({ model: definition, issues: [] }),
    }
    const { status, body } = await send(packModelFiles(files(entries)), 'lea', 'lilies')
    expect([status, body]).toEqual([200, expect.objectContaining({ state: 'waiting', change: 'new' })])
    const { out } = await atServer('models', 'waiting', 'lilies', '--diff')
    expect(out).toContain(`+++ ${file}`)
    expect(out).toContain('+++ the definition')
    const lines = out.slice(0, out.indexOf('sent by')).split('\n')
    expect(lines.filter((line) => line.length > 80)).toEqual([])
    expect(existsSync(marker)).toBe(false)
  })

  const forged = {
    'a source': { source: { $word: 'csv', arguments: ['data/salaries.csv'] } },
    'a floor': { evaluation: { floors: { accuracy: 0.1 } } },
    'a function that trains': { train: { $word: 'queue', arguments: ['gpu'] } },
  }
  it.each(
    ['ts', 'py'].flatMap((language) =>
      Object.entries(forged).map(([what, part]) => [language, what, part] as const),
    ),
  )(
    'are not applied where the approved files in %s have other than the data for %s',
    async (language, _, part) => {
      const file = `lilies.${language}`
      const train = language === 'ts' ? printed['train'] : { $word: 'python', arguments: [file] }
      const data = (more: object) => ({ ...plain, name: 'lilies', train, ...more })
      const sent = (more: object) =>
        send(
          packModelFiles(
            files({
              [file]: texts[language]!,
              [printedEntry]: JSON.stringify({ model: data(more), issues: [] }),
            }),
          ),
          'lea',
          'lilies',
        )
      const { body } = await sent(part)
      const { digest: waiting } = body as unknown as { digest: string }
      const refused = await atServer('models', 'approve', 'lilies', waiting)
      expect(refused.err).toMatch(
        /lilies: the files define another [\w.]+ than the data that came with them: none of them is applied/,
      )
      expect((await atServer('models', 'waiting', 'lilies')).err).toContain('no waiting file')
      expect((await atServer('models', 'show', 'lilies')).err).toContain('there is no model')
    },
  )

  it('do not show the first line of a file that is no table', async () => {
    writeFileSync(join(dir, 'server/.env'), 'TOKEN=hidden\n')
    const { body } = await send(
      archive(model(), { ...printed, source: { $word: 'csv', arguments: ['.env'] } }),
      'leo',
    )
    rmSync(join(dir, 'server/.env'))
    expect(JSON.stringify(body)).not.toContain('hidden')
  })

  it('are refused where they are too large', async () => {
    const { status, body } = await send(Buffer.alloc(10_485_760))
    expect([status, body.code]).toEqual([413, 'body_too_large'])
  })
})

describe('a model whose files were sent', () => {
  it('is deleted for good with the key that was made for it alone, as delete-a-model.md says', async () => {
    const listed = async () =>
      (JSON.parse((await atServer('models', '--json')).out) as { models: { name: string }[] }).models.map(
        ({ name }) => name,
      )
    expect(await listed()).toContain('pansies')
    const deleted = await atServer('models', 'delete', 'pansies', '--confirm', 'pansies')
    expect([deleted.err, deleted.out]).toEqual(['', expect.stringMatching(/^pansies: deleted\n/)])
    expect(await listed()).not.toContain('pansies')
    expect((await atServer('models', 'waiting', 'pansies')).err).toContain('no waiting file')
    expect((await atLaptop('mia', 'models', 'sync', 'pansies')).err).toMatch(/key/)
    expect((await atServer('audit', 'list', '--model', 'pansies')).out).toContain('model.purged')
  })
})
