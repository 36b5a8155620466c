/** Tests that models of other libraries become artifacts: in a child process, with the outputs of their library. */
import type { DeclaredColumn } from '@tenure/predictors/features'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openArtifactReader, type ArtifactReader } from '../../../activities/artifact/reader.ts'
import { storeForeign, type ForeignArtifact } from '../../../activities/artifact/store-foreign.ts'
import { loadVersion } from '../../../api/serving/version/loaded-version.ts'
import { columnOf, columnTableOf, type CellColumn } from '../../../domain/model/columns.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { getArtifact, openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import { readOnnxCases } from '../../../packages/predictors/test/support/parity.ts'
import { graph, model, node, value } from '../../../packages/predictors/test/support/onnx-writer.ts'
import { readRosesModel } from '../../../packages/predictors/test/support/roses-lightgbm.ts'
import { treeVersion, type TreeVersion } from '../../support/formats/tree-version.ts'

let root: string
let artifacts: Artifacts
let reader: ArtifactReader
let trees: TreeVersion
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'tenure-foreign-'))
  artifacts = openArtifacts(root)
  reader = openArtifactReader(root)
  trees = await treeVersion('lightgbm-binary-0')
})
afterAll(async () => {
  await reader.close()
  rmSync(root, { recursive: true })
})

const foreign = async (change: Partial<ForeignArtifact> = {}, bytes = trees.files['model.txt']!) => {
  const definition = {
    name: 'trees',
    features: trees.manifest.features,
    label: { column: 'late', output: { kind: 'probability', positive: 'late', threshold: 0.5 } },
    golden: [],
  } as Partial<ModelDefinition> as ModelDefinition
  const { rows } = trees
  const names = Object.keys(trees.manifest.features)
  const data = { ...columnTableOf(rows, names), labels: [columnOf(rows.map((_, index) => index % 2))] }
  return storeForeign(artifacts, reader, {
    definition,
    files: { 'model.txt': await artifacts.put('artifacts', bytes) },
    data,
    training: trees.manifest.training,
    ...change,
  } as ForeignArtifact)
}

describe('a model of another library', () => {
  it('becomes an artifact that a replica loads, with golden rows, profile and its library', async () => {
    const replay = { rows: trees.rows, outputs: trees.answers }
    const { artifactDigest, library, unused } = await foreign({ replay })
    expect({ library, unused }).toEqual({ library: 'LightGBM', unused: [] })
    const { manifest, files } = await getArtifact(artifacts, artifactDigest)
    expect(manifest).toMatchObject({
      artifact: 'trees',
      library: 'LightGBM',
      training: { origin: 'brought' },
    })
    expect(manifest.golden.instances.length).toBeGreaterThan(8)
    expect(manifest.profile!.features).toHaveLength(8)
    expect(loadVersion('trees_v1.0.0', manifest, files).predictor.outputs).toBe(1)
  })

  it('answers the rows of an evaluation, missing values as such', async () => {
    const { artifactDigest } = await foreign()
    const { manifest } = await getArtifact(artifacts, artifactDigest)
    const given = await reader.answer(manifest, trees.rows)
    for (const [row, [value = NaN]] of trees.answers.entries()) expect(given[row]![0]).toBeCloseTo(value, 6)
  })

  it('is refused when it answers otherwise than its library did', async () => {
    const outputs = trees.answers.map(([p = 0], row) => [row === 3 ? p + 1e-4 : p])
    await expect(foreign({ replay: { rows: trees.rows, outputs } })).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(/^row 3 of the replayed answers gives .*, its library gave/) as string,
    })
  })

  it('is refused with answers of another number of outputs, of which the first alone would be compared', async () => {
    for (const more of [[], [0.5, 0.5]]) {
      const outputs = trees.answers.map(([p = 0], row) => (row === 3 ? more : [p]))
      await expect(foreign({ replay: { rows: trees.rows, outputs } })).rejects.toMatchObject({
        code: 'artifact_invalid',
        message: `row 3 of the replayed answers has ${more.length} outputs, the model gives 1`,
      })
    }
  })

  it('is refused where no value of a category in the training rows is one that it knows', async () => {
    const { model: text, rows } = readRosesModel()
    const features: ModelDefinition['features'] = {
      size: { kind: 'number', missing: 'fill' },
      colour: { kind: 'category', missing: 'fill' },
      age: { kind: 'number', missing: 'fill' },
    }
    const wanted = async (colours: (colour: unknown) => string | null, declared?: DeclaredColumn[]) => {
      const given = rows.map((row) => ({ ...row, colour: colours(row['colour']) }))
      const labels: ForeignArtifact['data']['labels'] = [columnOf(given.map((_, index) => index % 2))]
      const definition = {
        name: 'roses',
        features,
        label: { column: 'blooms', output: { kind: 'probability', positive: 'blooms', threshold: 0.5 } },
        golden: [],
      } as Partial<ModelDefinition> as ModelDefinition
      const data = { ...columnTableOf(given, Object.keys(features)), labels }
      return foreign({ definition, data, declared }, Buffer.from(text))
    }
    const loud = (colour: unknown) => (typeof colour === 'string' ? colour.toUpperCase() : null)
    await expect(wanted(loud)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(
        /^no value of "colour" in the training rows, such as "(?:RED|WHITE)".* is a category that the model knows, such as "red", "white": write the values/,
      ) as string,
    })
    const vocabulary = ['RED', 'WHITE']
    const renamed = [{ name: 'size' }, { name: 'colour', vocabulary }, { name: 'age' }]
    for (const stored of [
      wanted(loud, renamed),
      wanted(() => null),
      wanted((colour) => (colour === 'red' ? 'red' : null)),
    ])
      await expect(stored).resolves.toMatchObject({ library: 'LightGBM' })
  })

  it('is refused where its encoder knows no text of a column in the training rows', async () => {
    const zipCodes = (...zips: (string | null)[]) => {
      const rows = zips.map((zip) => ({ zip }))
      return { ...columnTableOf(rows, ['zip']), labels: [columnOf(zips.map((_, at) => at))] as [CellColumn] }
    }
    const encode = node({
      op: 'LabelEncoder',
      domain: 'ai.onnx.ml',
      inputs: ['zip'],
      outputs: ['y'],
      attributes: { keys_strings: ['10115', '20095'], values_floats: { floats: [1, 2] } },
    })
    const bytes = model(
      graph({ inputs: [value('zip', [0, 1], 8)], outputs: [value('y', [0, 1])], nodes: [encode] }),
    )
    const definition = {
      name: 'zips',
      features: { zip: { kind: 'category', missing: 'fill' } },
      label: { column: 'price', output: { kind: 'number' } },
      golden: [],
    } as Partial<ModelDefinition> as ModelDefinition
    const files = { 'model.onnx': await artifacts.put('artifacts', bytes) }
    const stored = (data: ForeignArtifact['data']) => foreign({ definition, files, data })
    await expect(stored(zipCodes('10115.0', '20095.0', null))).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(
        /^no value of "zip" in the training rows, such as "10115\.0", "20095\.0", is a category that the model knows, such as "10115", "20095": write the values in the source as the model has them, or, if they are new to the model on purpose, list them/,
      ) as string,
    })
    await expect(stored(zipCodes('10115', '20095', null))).resolves.toMatchObject({ unused: [] })
  })

  it('has its quantiles in order, although its library crosses them', async () => {
    const crossing = await treeVersion('lightgbm-classes-0')
    const { rows, answers, manifest: given } = crossing
    const output = { kind: 'quantiles', levels: [0.1, 0.5, 0.9] }
    const definition = {
      name: 'trees',
      features: given.features,
      label: { column: 'late', output },
      golden: [],
    }
    const names = Object.keys(given.features)
    const { artifactDigest } = await foreign(
      {
        definition: definition as Partial<ModelDefinition> as ModelDefinition,
        data: { ...columnTableOf(rows, names), labels: [columnOf(rows.map((_, index) => index % 2))] },
        replay: { rows, outputs: answers },
      },
      crossing.files['model.txt'],
    )
    const { manifest, files } = await getArtifact(artifacts, artifactDigest)
    for (const each of manifest.golden.outputs) expect(each).toEqual(each.toSorted((a, b) => a - b))
    expect(loadVersion('trees_v1.0.0', manifest, files).predictor.outputs).toBe(3)
    const found = await reader.answer(manifest, rows)
    for (const [row, each] of found.entries())
      answers[row]!.toSorted((a, b) => a - b).forEach((value, at) => expect(each[at]).toBeCloseTo(value, 6))
  })

  it('is refused where missing values make its answer no number, with the features that lack them', async () => {
    const bytes = model(graph({ nodes: [node({ op: 'Identity', inputs: ['x'], outputs: ['y'] })] }))
    const rows = Array.from({ length: 9 }, (_, at) => ({ x: at }))
    const refused = foreign({
      definition: {
        name: 'plain',
        features: { x: { kind: 'number', missing: 'fill' } },
        label: { column: 'price', output: { kind: 'number' } },
        golden: [],
      } as Partial<ModelDefinition> as ModelDefinition,
      files: { 'model.onnx': await artifacts.put('artifacts', bytes) },
      data: { ...columnTableOf(rows, ['x']), labels: [columnOf(rows.map(({ x }) => x))] },
    })
    await expect(refused).rejects.toThrow(
      /returns \[NaN\], expected a finite number, for a row without "x": impute missing values in the model/,
    )
  })

  it('is refused when its columns, its outputs or its bytes do not fit', async () => {
    await expect(foreign({ declared: [{ name: 'x' }] })).rejects.toThrow(
      /columns.json names 1 columns, the file has 8/,
    )
    const classes = await treeVersion('lightgbm-classes-0')
    await expect(foreign({}, classes.files['model.txt'])).rejects.toThrow(
      /gives 3 numbers, the output probability/,
    )
    const wanted = { files: { 'model.txt': await artifacts.put('artifacts', classes.files['model.txt']!) } }
    await expect(
      reader.bind({ ...wanted, features: trees.manifest.features, output: { kind: 'number' } }),
    ).rejects.toThrow(
      /gives 3 numbers, the output number of the model file has 1: declare quantities\(\[…\]\) for several numbers, quantiles/,
    )
    const binary = { 'model.txt': await artifacts.put('artifacts', trees.files['model.txt']!) }
    const two = { kind: 'classes', classes: ['no', 'yes'] } as const
    await expect(
      reader.bind({ files: binary, features: trees.manifest.features, output: two }),
    ).rejects.toThrow(
      /gives 1 number, the output classes of the model file has 2: a probability .* yesNo\({ positive: "yes" }\)/,
    )
    await expect(foreign({}, Buffer.from('tree\nversion=v9\n'))).rejects.toMatchObject({
      code: 'artifact_invalid',
    })
    const raw = await treeVersion('lightgbm-absolute-0')
    await expect(foreign({}, raw.files['model.txt'])).rejects.toThrow(
      /returns \[.*\], expected a probability/,
    )
  })
})

it('an ONNX model of two classes gives the probability of the second one, as its library did', async () => {
  const found = readOnnxCases().find(({ name }) => name === 'sklearn-forest-0')!
  const names = found.rows[0]!.map((_, at) => `f${at}`)
  const places = found.rows.flatMap((row, at) => (row.every((cell) => typeof cell === 'number') ? [at] : []))
  const rows = places.map((at) =>
    Object.fromEntries(names.map((name, column) => [name, found.rows[at]![column]!])),
  )
  const outputs = places.map((at) => [(found.answers[at] as number[])[1]!])
  const { artifactDigest } = await foreign({
    definition: {
      name: 'forest',
      features: Object.fromEntries(names.map((name) => [name, { kind: 'number' }])),
      label: { column: 'late', output: { kind: 'probability', positive: 'late', threshold: 0.5 } },
      golden: [],
    } as Partial<ModelDefinition> as ModelDefinition,
    files: { 'model.onnx': await artifacts.put('artifacts', found.bytes) },
    data: { ...columnTableOf(rows, names), labels: [columnOf(rows.map(() => 1))] },
    replay: { rows, outputs },
  })
  expect((await getArtifact(artifacts, artifactDigest)).manifest).toMatchObject({ artifact: 'onnx' })
})

it('a file that ends its reader is refused, and names the limit', async () => {
  const other = openArtifactReader(root)
  const bytes = await artifacts.put('artifacts', Buffer.alloc(67_108_865, 0x20))
  await expect(
    other.bind({
      files: { 'model.txt': bytes },
      features: trees.manifest.features,
      output: { kind: 'number' },
    }),
  ).rejects.toThrow(/has 67108865 bytes, more than 67108864/)
  await other.close()
  await expect(other.answer(trees.manifest, trees.rows)).rejects.toMatchObject({ code: 'artifact_invalid' })
})
