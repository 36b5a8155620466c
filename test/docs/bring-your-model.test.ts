/**
 * Runs the examples of docs/how-to/bring-your-model.md: compiles its model file, trains each Python block on the example roses, and binds
 * the resulting file to the features. Skips the blocks of a library that the available Python lacks.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openArtifactReader, type ArtifactReader } from '../../activities/artifact/reader.ts'
import { versionsGroup } from '../../cli/commands/registry/versions.ts'
import { formatOfFiles } from '@tenure/predictors'
import { parseDeclaredColumns } from '@tenure/predictors/features'
import { loadModel, modelsDirectory } from '../../models/index.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { checkout } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'
import { exampleRows } from '../support/training/example-model.ts'
import { findLibraryPython, hasPackages } from '../support/training/library-python.ts'

const page = readFileSync(join(checkout, 'docs', 'how-to', 'bring-your-model.md'), 'utf8')
const blocks = blocksOf(page)
const blockOf = (language: string) => blocks.find((each) => each.language === language)!.text
const scripts = blocks.filter(({ language }) => language === 'python')

const python = findLibraryPython()
const has = (library: string): boolean => python !== undefined && hasPackages(python, ['pandas', library])
const libraryOf = (text: string): string => /lightgbm|xgboost|catboost|skl2onnx/.exec(text)![0]

let folder: string
let reader: ArtifactReader
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-bring-'))
  reader = openArtifactReader(folder)
  const lines = exampleRows({ from: 0, to: 20 }).map(({ size, colour, age, blooms }) =>
    [size, colour, age ?? '', Number(blooms)].join(),
  )
  writeFileSync(join(folder, 'roses.csv'), `size,colour,age,blooms\n${lines.join('\n')}\n`)
})
afterAll(async () => {
  await reader.close()
  rmSync(folder, { recursive: true })
})

const definitionOf = async () => {
  // Outside a project, the words come from their file.
  const text = blockOf('ts').replace("'tenure'", `'${modelsDirectory}define.ts'`)
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
  writeFileSync(join(folder, 'roses.ts'), text)
  return (await loadModel('roses', folder)).definition
}

describe('bring your model', () => {
  it('has a model file that is fed by brought versions alone', async () =>
    expect(await definitionOf()).toMatchObject({ name: 'roses', isBrought: true }))

  it('names options that the command has', () => {
    const { options = [] } = versionsGroup.commands.find(({ name }) => name.startsWith('register'))!
    const known = options.map(([flags]) => flags.split(' ')[0])
    for (const [option] of blockOf('sh').matchAll(/--[\w-]+/g)) expect(known).toContain(option)
  })

  it('has a columns.json that is read', () =>
    expect(parseDeclaredColumns(JSON.parse(blockOf('json')))).toEqual([
      { name: 'size' },
      { name: 'colour', vocabulary: ['red', 'white'] },
      { name: 'age' },
    ]))

  it('names in its first table calls that a job has, and files that are read as it says', () => {
    const python = readFileSync(join(checkout, 'packages/python/src/tenure/_job.py'), 'utf8')
    const rows = page
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) => line.split('|').slice(1, -1))
    const table = rows.slice(
      0,
      rows.findIndex(([first]) => first!.startsWith(' file')),
    )
    const named = (cell: string, pattern: RegExp) => [...cell.matchAll(pattern)].map(([, name]) => name!)
    const calls = table.flatMap(([, call = '']) => named(call, /job\.(\w+)\(/g))
    for (const name of calls) expect(python).toContain(`    def ${name}(self, model`)
    expect(new Set(calls)).toEqual(
      new Set([...python.matchAll(/ {4}def (save\w*)\(/g)].map(([, name]) => name!)),
    )
    const files = table.flatMap(([, , file = '']) => named(file, /`(\w+\.(?:txt|json|ubj|onnx))`/g))
    for (const name of files) expect(formatOfFiles([name])).toBeDefined()
    expect(table.length).toBeGreaterThan(8)
  })

  it('has an example for each library', () =>
    expect(scripts.map(({ text }) => libraryOf(text))).toEqual([
      'lightgbm',
      'xgboost',
      'catboost',
      'skl2onnx',
    ]))

  it.each(scripts.map(({ text }) => [libraryOf(text), text] as const))(
    'the file that the example of %s writes answers rows of the model',
    async (library, text) => {
      if (python === undefined || !has(library)) return
      execFileSync(python, ['-c', text], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
      const [, file = ''] = /"(model\.\w+)"/.exec(text)!
      const stored = await openArtifacts(folder).put('artifacts', readFileSync(join(folder, file)))
      const { features, label } = await definitionOf()
      const files = { [file]: stored }
      const { artifact, fits } = await reader.bind({ files, features, output: label.output })
      const manifest = { artifact, files, features, output: label.output, preprocessing: fits }
      const rows = exampleRows({ from: 20, to: 22 })
      const answers = await reader.answer(
        manifest,
        rows.map(({ size, colour, age }) => ({ size, colour, age })),
      )
      const meanOf = (blooms: boolean) => {
        const some = answers.filter((_, index) => rows[index]!.blooms === blooms).map(([p = NaN]) => p)
        return some.reduce((sum, p) => sum + p, 0) / some.length
      }
      expect(meanOf(true) - meanOf(false)).toBeGreaterThan(0.2)
    },
  )
})
