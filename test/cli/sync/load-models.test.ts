/** Tests that every bad model file is reported with its position and remedy, and that none hangs or ends a command. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkModels } from '../../../cli/doctor/files.ts'
import { loadModelsInChild } from '../../../cli/sync/load-models.ts'
import { modelsDirectory, type BrokenModel } from '../../../models/index.ts'
import { markdownTable } from '../../support/docs/markdown-table.ts'
import { checkout } from '../../../temporal.config.ts'
import { exampleModelDirectory } from '../../support/training/example-model.ts'
import { badModelFiles, modelFile } from './bad-model-files.ts'

const directories: string[] = []
const answers = new Map<string, string[]>()
let loaded: { models: { name: string }[]; broken: BrokenModel[] }

async function directoryOf(files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const directory = await exampleModelDirectory()
  directories.push(directory)
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true })
    await writeFile(join(directory, path), text)
  }
  return directory
}

const endless = new Set(['loops.ts', 'waits.ts'])
/** The longest time that a timer takes, in ms. */
const longestMs = 2 ** 31 - 1

beforeAll(async () => {
  const files = badModelFiles.flatMap(({ name, text, more = {} }) => [
    [`${name}.ts`, text] as const,
    ...Object.entries(more),
  ])
  const directory = await directoryOf({
    ...Object.fromEntries(files),
    'good.ts': modelFile('good'),
    'default-export.ts': `${modelFile('default-export')}export default model\n`,
    'iris.ts': `export { iris } from '${modelsDirectory}iris.ts'\n`,
    'zinnias.ts': modelFile('zinnias'),
  })
  // Only a file that never ends has a limit that it can reach, however busy the machine is.
  loaded = await loadModelsInChild({
    directory,
    limitMsOf: (file) => (endless.has(file) ? 4_000 : longestMs),
  })
  for (const { file, issues } of loaded.broken) answers.set(file, issues)
})
afterAll(() => Promise.all(directories.map((directory) => rm(directory, { recursive: true }))))

const documentation = (): string =>
  `# Bad model files

\`tenure models sync\` and \`tenure up\` load every model file in a process of its own, with a limit of 20 s and 1 GB for each. A file with an issue
is named, with every issue and its place, and is not applied: the model keeps the definition that it had, and serves on. The other files are
applied. \`tenure doctor\` names the same issues. A retraining reads the file again before it trains, and ends with the same sentences.

A field that no code reads is an issue, because a misspelled one would leave its default in force. Where the CSV of a model is there, its header and the
first labels are compared with the model file; the rest of the rows is read by a retraining ([bad data](../bad-data.md)).

## Sentences

Each file is a copy of a good one with one fault. A test loads all of them.

${markdownTable(
  ['Fault', 'Answer'],
  badModelFiles.map(({ title, issues }) => [
    title,
    issues.map((issue) => issue.replace('within 4 s', 'within 20 s')).join('<br>'),
  ]),
)}
`

it('bad model files stand in the documentation; `vitest -u` writes it', () =>
  expect(documentation()).toMatchFileSnapshot(join(checkout, 'docs/reference/bad-model-files.md')))

it.each(badModelFiles)('a model file with this fault is reported: $title', ({ name, issues }) => {
  expect(answers.get(`${name}.ts`)).toEqual(issues)
  for (const issue of issues) expect(issue).not.toContain(checkout)
})

it('good model files beside bad ones are loaded, also after one that hangs or ends its process', () =>
  expect(loaded.models.map(({ name }) => name)).toEqual(['default-export', 'good', 'iris', 'zinnias']))

it('model files and what they import get the vocabulary of the process, whichever way they import it', async () => {
  const same = (name: string, from: string) =>
    `import { csv as ${name} } from '${from}'\n` +
    `if (${name} !== (globalThis as any)[Symbol.for('tenure:vocabulary')].csv) throw new Error('another vocabulary')\n`
  const file = `${modelsDirectory}define.ts`
  const directory = await directoryOf({
    'asters.ts': `import './near/help.ts'\n${same('one', 'tenure')}${same('two', file)}${modelFile('asters')}`,
    'near/help.ts': same('three', 'tenure') + same('four', file),
  })
  expect((await loadModelsInChild({ directory })).broken).toEqual([])
})

it('doctor names a bad model file with its issues', async () => {
  const directory = await directoryOf({
    'good.ts': modelFile('good'),
    'no-features.ts': modelFile('no-features', { features: '{}' }),
  })
  expect(await checkModels({ directory })).toMatchObject([
    { state: 'ok', found: 'good' },
    { state: 'broken', found: 'models/no-features.ts: features: at least one is required' },
  ])
})
