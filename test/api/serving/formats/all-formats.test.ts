/** Tests, for each format of the one list, that all places which take files of models know it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readResultFolder } from '../../../../activities/trainers/result-folder.ts'
import { fileNameOf, formatOf, maxBytesOf } from '@tenure/predictors'
import {
  artifactFormats,
  broughtFileNames,
  broughtLibraries,
  formatOfFiles,
  type ArtifactFormatName,
} from '@tenure/predictors/format-names'
import { issueOfBrought } from '../../../../domain/model/brought-artifact.ts'
import type { Manifest } from '../../../../domain/model/manifest.ts'
import { checkout } from '../../../../temporal.config.ts'
import { readCases } from '../../../../packages/predictors/test/support/parity.ts'
import { treeModel } from '../../../../packages/predictors/test/support/onnx-trees.ts'
import { readTexts } from '../../../tidy/source.ts'

const names = Object.keys(artifactFormats) as ArtifactFormatName[]
const sets = names.flatMap((name) =>
  artifactFormats[name].fileSets.map((files) => ({ name, files: files as readonly string[] })),
)
const digest = `sha256:${'a'.repeat(64)}`

const caseOf = (name: string): Buffer => readCases().find((each) => each.name === name)!.bytes
/** A file of each name under which a model can be brought. */
const samples: Readonly<Record<string, Buffer>> = {
  'model.txt': caseOf('lightgbm-binary-0'),
  'model.json': caseOf('xgboost-binary-0'),
  'model.ubj': caseOf('xgboost-binary-ubj-0'),
  'model.onnx': treeModel(),
  'endpoint.json': Buffer.from(
    JSON.stringify({
      endpoint: 'json',
      address: 'https://models.example.org/',
      columns: ['a'],
      outputs: ['predictions.*'],
    }),
  ),
}

describe.each(sets)('$files of the format $name', ({ name, files }) => {
  const stored = Object.fromEntries(files.map((file) => [file, { digest, bytes: 1 }]))

  it('belong to that format alone, and each has a limit', () => {
    expect(formatOfFiles(files)).toBe(name)
    expect(Object.keys(formatOf({ artifact: name }).limits)).toEqual(expect.arrayContaining([...files]))
    for (const file of files)
      expect(maxBytesOf({ artifact: name, files: stored } as Manifest, file)).toBeGreaterThan(0)
  })
})

describe.each(broughtFileNames)('%s, which can be brought', (file) => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tenure-format-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('has a sample, which is recognised by its first bytes and read by its format', async () => {
    const bytes = samples[file]!
    expect(fileNameOf(bytes)).toBe(file)
    const format = formatOf({ artifact: formatOfFiles([file]) })
    const { columns, library } = await format.inspect({ [file]: bytes }, { kind: 'number' })
    expect(columns.length).toBeGreaterThan(0)
    expect(library).not.toBe('')
  })

  it('is taken from an upload and from a training program', async () => {
    expect(issueOfBrought({ file, digest, bytes: 1 })).toBeUndefined()
    writeFileSync(join(folder, file), samples[file]!)
    await expect(readResultFolder(folder)).rejects.toThrow('has no replay.json')
  })

  it('is named to people: by the command line, the error of an unknown file and the page', () => {
    const [ending] = /\.\w+$/.exec(file)!
    expect(broughtLibraries).toContain(ending)
    expect(() => fileNameOf(Buffer.from('a,b'))).toThrow(broughtLibraries)
    const isOn = (page: string, text: string): boolean =>
      readFileSync(join(checkout, 'docs', page), 'utf8').includes(text)
    expect(isOn('reference/commands.md', broughtLibraries)).toBe(true)
    expect(isOn('how-to/bring-your-model.md', ending!)).toBe(true)
  })
})

it('no other file of the product names a format or a file of it', () => {
  const known = new Set([...broughtFileNames, ...names])
  // A network of TensorFlow.js is what Tenure trains itself, and consists of these files.
  for (const own of ['tfjs-layers', 'model.json']) known.delete(own)
  const found = readTexts()
    .filter(({ path }) => /^(activities|api|cli|domain|store|workflows)\/.*\.tsx?$/.test(path))
    .flatMap(({ path, text }) =>
      [...text.matchAll(/(['"`])([^'"`\n]+)\1/g)].flatMap(([, , word]) =>
        known.has(word!) ? [`${path} has ${word}`] : [],
      ),
    )
  expect(found).toEqual([])
})
