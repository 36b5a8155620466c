/** Tests, for each format of brought models that has categories, that training rows with categories which its file does not know are told. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openArtifactReader, type ArtifactReader } from '../../../activities/artifact/reader.ts'
import { storeForeign } from '../../../activities/artifact/store-foreign.ts'
import { fileNameOf, formatOf, formatOfFiles, type ArtifactColumn } from '@tenure/predictors'
import { columnOf, columnTableOf } from '../../../domain/model/columns.ts'
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import { broughtFacts, type TrainingFacts } from '../../../domain/model/manifest.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { getManifest, openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import { readCases, readOnnxCases } from '../../../packages/predictors/test/support/parity.ts'
import { readRosesModel } from '../../../packages/predictors/test/support/roses-lightgbm.ts'
import type { Output } from '../../../domain/tasks/output.ts'

interface BroughtCase {
  bytes: Buffer
  /** A column of categories. */
  column: string
  output: Output
  /** Rows that the library has answered. */
  rows?: readonly (readonly unknown[])[]
}

const number: Output = { kind: 'number' }
const probability: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 }

/** Writes names of categories into a model of XGBoost, as XGBoost 3 does. */
function withNames(bytes: Buffer, names: readonly string[]): Buffer {
  const file = JSON.parse(bytes.toString('utf8')) as {
    learner: { gradient_booster: { model: { cats?: object } } }
  }
  const offsets = names.reduce((ends, name) => [...ends, ends.at(-1)! + name.length], [0])
  file.learner.gradient_booster.model.cats = {
    enc: [{ offsets, values: [...Buffer.from(names.join(''))] }],
  }
  return Buffer.from(JSON.stringify(file))
}

const caseOf = (cases: ReturnType<typeof readCases>, name: string) =>
  cases.find((each) => each.name === name)!
const pipeline = caseOf(readOnnxCases(), 'session-pipeline-0')
const brought: Record<string, BroughtCase> = {
  LightGBM: { bytes: Buffer.from(readRosesModel().model), column: 'colour', output: number },
  XGBoost: {
    bytes: withNames(caseOf(readCases(), 'xgboost-categories-0').bytes, ['red', 'white', 'pink']),
    column: 'f0',
    output: number,
  },
  ONNX: { ...pipeline, column: 'city', output: probability },
}

let root: string
let artifacts: Artifacts
let reader: ArtifactReader
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-unknown-'))
  artifacts = openArtifacts(root)
  reader = openArtifactReader(root)
})
afterAll(async () => {
  await reader.close()
  rmSync(root, { recursive: true })
})

const inspected = async ({ bytes, output }: Pick<BroughtCase, 'bytes' | 'output'>) => {
  const file = fileNameOf(bytes)
  const files = { [file]: await artifacts.put('artifacts', bytes) }
  const artifact = formatOfFiles([file])
  return { files, artifact, ...(await formatOf({ artifact }).inspect({ [file]: bytes }, output)) }
}

const takesCategories = ({ isText, categories }: ArtifactColumn): boolean =>
  isText === true || categories !== undefined

/** Texts of a column that the model knows. */
function knownOf({ columns }: { columns: readonly ArtifactColumn[] }, at: number, rows: BroughtCase['rows']) {
  const { categories, knownTexts } = columns[at]!
  const seen = (rows ?? []).map((row) => row[at]).filter((cell) => typeof cell === 'string' && cell !== '')
  const told = categories?.map(String) ?? knownTexts?.listed
  return told ?? [...new Set(seen as string[])].filter((text) => knownTexts?.has(text) ?? true)
}

const rowCount = 300
/** Three unknown categories: of 4, 3 and 2 rows, which are 3 %. */
const unknown = ['X1', 'X1', 'X1', 'X1', 'X2', 'X2', 'X2', 'X3', 'X3']

/** Stores a model with training rows of which the first ones have these categories, and returns its manifest. */
async function stored(
  { column, rows, ...model }: BroughtCase,
  first: readonly string[],
  { definition = {}, training = {} }: { definition?: object; training?: Partial<TrainingFacts> } = {},
) {
  const { columns, files } = await inspected({ ...model, column } as BroughtCase)
  const features = Object.fromEntries(
    columns.map((each) => [
      each.name,
      takesCategories(each) ? { kind: 'category', missing: 'fill' } : { kind: 'number' },
    ]),
  ) as Features
  const given = Array.from({ length: rowCount }, (_, row): FeatureRow =>
    Object.fromEntries(
      columns.map((each, at) => {
        if (!takesCategories(each)) return [each.name, row % 7]
        const known = knownOf({ columns }, at, rows)
        return [each.name, (each.name === column ? first[row] : undefined) ?? known[row % known.length]!]
      }),
    ),
  )
  const { artifactDigest } = await storeForeign(artifacts, reader, {
    definition: {
      name: 'brought',
      features,
      label: { column: 'y', output: model.output },
      golden: [],
      ...definition,
    } as Partial<ModelDefinition> as ModelDefinition,
    files,
    data: {
      ...columnTableOf(given, Object.keys(features)),
      labels: [columnOf(given.map((_, at) => at % 2))],
    },
    training: { ...broughtFacts, hyperparameters: {}, ...training },
  })
  return getManifest(artifacts, artifactDigest)
}

describe.each(Object.entries(brought))('a brought model of %s', (_library, model) => {
  const { column: feature } = model

  it('says nothing where it knows the categories of all training rows', async () => {
    expect(await stored(model, [])).not.toHaveProperty('unknownCategories')
  })

  it('is refused where it does not know those of more than 2 % of the rows, unless the registration allows it', async () => {
    await expect(stored(model, unknown)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(
        `^the model does not know the category "${feature}" of 3 % of the training rows, such as "X1", "X2", "X3" \\(at most 2 %\\): write the values in the source as the model has them(, such as "[^"]+".*)?, or allow it with --allow-unknown-categories REASON$`,
      ) as string,
    })
    const training = { allowUnknownCategories: 'three new colours' }
    expect(await stored(model, unknown, { training })).toMatchObject({
      training,
      unknownCategories: [{ feature, share: 0.03, examples: ['X1', 'X2', 'X3'] }],
    })
  })

  it('tells a smaller share, without values of data subjects', async () => {
    const told = (examples: string[]) => ({ unknownCategories: [{ feature, share: 0.02, examples }] })
    expect(await stored(model, unknown.slice(0, 6))).toMatchObject(told(['X1', 'X2']))
    const definition = { subject: 'person' }
    expect(await stored(model, unknown.slice(0, 6), { definition })).toMatchObject(told([]))
  })
})

it('has a case of each library but CatBoost, whose models have numbers alone', async () => {
  const libraries = new Set<string>()
  for (const { bytes } of [...readCases(), ...readOnnxCases()]) {
    const { library } = await inspected({ bytes, output: number })
    libraries.add(library.split(' ')[0]!)
  }
  expect([...libraries].toSorted()).toEqual(['CatBoost', ...Object.keys(brought)].toSorted())
})

it('does not count those of a training, which has read the rows itself', async () => {
  const manifest = await stored(brought['LightGBM']!, unknown, { training: { origin: undefined } })
  expect(manifest).not.toHaveProperty('unknownCategories')
})
