/** Tests that versions of trees are served like networks: the same readers, the library's outputs, and refusals by name. */
import { createPredictProtocol } from '../../../../api/serving/request/native-protocol.ts'
import {
  bindColumns,
  expectFileSet,
  formatNameOf,
  formatOf,
  maxBytesOf,
  type ArtifactFormatName,
} from '@tenure/predictors'
import { afterAll, describe, expect, it } from 'vitest'
import { createInputBuffer, type InputBuffer } from '../../../../api/serving/codec/input-buffer.ts'
import { compileColumns } from '../../../../api/serving/columnar/column-predictor.ts'
import { createRuntimes } from '../../../../api/serving/runtime/hosts.ts'
import { openVersion, readRow, type LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import { batchLayoutOf, textCodes } from '../../../../domain/model/batch-spec.ts'
import type { FeatureRow, Features } from '../../../../domain/model/features.ts'
import type { Manifest } from '../../../../domain/model/manifest.ts'
import { resetInput } from '../../../../api/serving/codec/input-buffer.ts'
import { loadTrees, treeVersion, type TreeVersion } from '../../../support/formats/tree-version.ts'

const runtimes = createRuntimes({ onError: () => {} })
afterAll(() => runtimes.stop())

/** Names the codes of the category columns 3 and 4. */
const withCategories = (manifest: Manifest): Manifest => {
  const vocabulary = Array.from({ length: 40 }, (_, code) => `c${code}`)
  const named = ['Column_3', 'Column_4']
  const { features, preprocessing, golden } = manifest
  return {
    ...manifest,
    features: {
      ...features,
      ...Object.fromEntries(named.map((name) => [name, { kind: 'category', missing: 'fill' }])),
    },
    preprocessing: preprocessing.map((fit) =>
      named.includes(fit.name) ? { name: fit.name, kind: 'category', vocabulary, encoding: 'code' } : fit,
    ),
    golden: { ...golden, instances: golden.instances.map(renamed) },
  }
}
/** Replaces codes by names. A code outside the forty has no name, like a value that training has not seen. */
const renamed = (row: FeatureRow): FeatureRow => ({
  ...row,
  ...Object.fromEntries(
    ['Column_3', 'Column_4'].map((name) => [name, row[name] === null ? null : `c${row[name]}`]),
  ),
})
const isWhole = (value: unknown) =>
  value === null || (Number.isInteger(value) && Number(value) >= 0 && Number(value) < 40)

const bodyOf = (rows: readonly FeatureRow[]) => Buffer.from(JSON.stringify({ instances: rows }))
const readRows = (loaded: LoadedVersion, rows: readonly FeatureRow[]): InputBuffer => {
  const input = createInputBuffer()
  resetInput(input, loaded.columns, rows.length)
  rows.forEach((row, index) => readRow(loaded, row, index, input))
  return input
}
const ask = (loaded: LoadedVersion, { input, rows }: InputBuffer): number[][] => {
  const { outputs, run } = loaded.predictor
  const output = new Float32Array(rows * outputs)
  void run(input, rows, output)
  return Array.from({ length: rows }, (_, row) => [...output.subarray(row * outputs, (row + 1) * outputs)])
}
const rounded = (answers: readonly number[][]) => answers.map((answer) => answer.map(Math.fround))

/** The version with all of its columns as one vector, and the rows that have every number. */
function withVector({ manifest, files, rows, answers }: TreeVersion): TreeVersion {
  const features: Features = { v: { kind: 'vector', length: manifest.preprocessing.length } }
  const places = rows.flatMap((row, at) => (Object.values(row).includes(null) ? [] : [at]))
  const joined = places.map((at) => ({
    v: JSON.stringify(manifest.preprocessing.map(({ name }) => rows[at]![name])),
  }))
  const own = places.map((at) => answers[at]!)
  const golden = { instances: joined.slice(0, 5), outputs: own.slice(0, 5) }
  const preprocessing = bindColumns({
    columns: manifest.preprocessing.map(({ name }) => ({ name })),
    features,
  }).fits
  return {
    manifest: { ...manifest, features, featureOrder: ['v'], preprocessing, golden },
    files,
    rows: joined,
    answers: own,
  }
}

describe('a version of trees', () => {
  it.each(['lightgbm-binary-0', 'xgboost-binary-ubj-0', 'catboost-binary-0'])(
    'answers as its library (%s) with its columns as one vector',
    async (name) => {
      const version = withVector(await treeVersion(name))
      const { rows, answers } = version
      expect(rows.length).toBeGreaterThan(9)
      const loaded = loadTrees(version)
      const given = ask(loaded, readRows(loaded, rows))
      for (const [row, [answer]] of rounded(answers).entries()) expect(given[row]![0]).toBeCloseTo(answer!, 6)
    },
  )

  it.each([
    'lightgbm-binary-0',
    'lightgbm-classes-0',
    'xgboost-binary-ubj-0',
    'xgboost-classes-0',
    'catboost-binary-0',
  ])(
    'answers as its library (%s), whether rows are read from a body, as objects or by columns',
    async (name) => {
      const version = await treeVersion(name)
      const loaded = loadTrees(version)
      const { rows, answers } = version
      expect(rows.length).toBeGreaterThan(20)
      const scanned = createInputBuffer()
      createPredictProtocol(1_000).read(loaded, bodyOf(rows), scanned)
      const given = ask(loaded, scanned)
      for (const [row, answer] of rounded(answers).entries())
        for (const [k, value] of answer.entries()) expect(given[row]![k]).toBeCloseTo(value, 6)
      expect(ask(loaded, readRows(loaded, rows))).toEqual(given)
      const layout = batchLayoutOf(version.manifest.features, version.manifest.preprocessing)
      const numbers = layout.numbers.map((column) =>
        Float64Array.from(rows, (row) => (row[column] as number | null) ?? NaN),
      )
      const outputs = new Float32Array(rows.length * loaded.predictor.outputs)
      const refused = new Uint8Array(rows.length)
      await compileColumns(loaded, layout)({ rows: rows.length, numbers, texts: [] }, outputs, refused)
      expect([...outputs]).toEqual(given.flat())
      expect(refused).toEqual(new Uint8Array(rows.length))
    },
  )

  it('reads categories by their code, and a value that training has not seen as missing', async () => {
    const plain = await treeVersion('lightgbm-categories-0')
    const rows = plain.rows.filter((row) => isWhole(row['Column_3']) && isWhole(row['Column_4']))
    const wanted = ask(loadTrees(plain), readRows(loadTrees(plain), rows))
    const golden = { instances: rows.slice(0, 4), outputs: wanted.slice(0, 4) }
    const named = await treeVersion('lightgbm-categories-0', (manifest) =>
      withCategories({ ...manifest, golden }),
    )
    const loaded = await openVersion('trees_v1.0.0', named.manifest, named.files, runtimes)
    const scanned = createInputBuffer()
    createPredictProtocol(1_000).read(loaded, bodyOf(rows.map(renamed)), scanned)
    expect(scanned.unknownTexts).toBe(0)
    expect(ask(loaded, scanned)).toEqual(wanted)
    const odd = { ...renamed(rows[0]!), Column_3: 'never seen' }
    const missing = { ...rows[0]!, Column_3: null }
    createPredictProtocol(1_000).read(loaded, bodyOf([odd]), scanned)
    expect(scanned.unknownTexts).toBe(1)
    expect(ask(loaded, scanned)).toEqual(ask(loadTrees(plain), readRows(loadTrees(plain), [missing])))
    const layout = batchLayoutOf(named.manifest.features, named.manifest.preprocessing)
    const [first] = rows.map(renamed)
    const block = {
      rows: 3,
      numbers: layout.numbers.map((column) =>
        new Float64Array(3).fill((first![column] as number | null) ?? NaN),
      ),
      texts: layout.texts.map(({ name, codes }) => {
        const code = codes.indexOf(first![name] as string)
        return Int32Array.of(code, name === 'Column_3' ? textCodes.other : code, code)
      }),
    }
    const outputs = new Float32Array(3)
    await compileColumns(loaded, layout)(block, outputs, new Uint8Array(3))
    expect([...outputs]).toEqual([wanted[0]![0], ask(loaded, scanned)[0]![0], wanted[0]![0]])
  })

  it('compares numbers that are equal in 32 bits', async () => {
    const version = await treeVersion('lightgbm-binary-0')
    const threshold = Number(/threshold=(\S+)/.exec(version.files['model.txt']!.toString('utf8'))![1])
    const column = `Column_${/split_feature=(\d+)/.exec(version.files['model.txt']!.toString('utf8'))![1]}`
    const just = { ...version.rows[0]!, [column]: threshold }
    const above = { ...just, [column]: threshold + Math.abs(threshold) * 2 ** -50 }
    expect(Math.fround(just[column] as number)).toBe(Math.fround(above[column] as number))
    const loaded = loadTrees(version)
    const [low, high] = ask(loaded, readRows(loaded, [just, above]))
    expect(low).not.toEqual(high)
  })

  it('is refused when its library answered otherwise', async () => {
    const version = await treeVersion('lightgbm-binary-0', (manifest) => ({
      ...manifest,
      golden: { ...manifest.golden, outputs: manifest.golden.outputs.map(([p = 0]) => [p + 1e-4]) },
    }))
    expect(() => loadTrees(version)).toThrow(/golden row 0 gives .* in training it gave/)
  })

  it('is refused with fewer inputs than columns, and with another number of outputs', async () => {
    const fewer = await treeVersion('lightgbm-binary-0', (manifest) => {
      const { Column_0: _first, ...features } = manifest.features
      return { ...manifest, features, preprocessing: manifest.preprocessing.slice(1) }
    })
    expect(() => loadTrees(fewer)).toThrow(/the trees take 8 columns, the preprocessing gives 7/)
    const classes = await treeVersion('lightgbm-classes-0', (manifest) => ({
      ...manifest,
      output: { kind: 'number' },
    }))
    expect(() => loadTrees(classes)).toThrow(/gives 3 numbers, the output number has 1/)
  })
})

describe('a format', () => {
  it('that this release does not know is refused by name', () =>
    expect(() => formatOf({ artifact: 'pickle' as ArtifactFormatName })).toThrow(
      /format "pickle" are not served/,
    ))

  it.each([
    [undefined, ['model.json', 'weights.bin'], 'weights.bin'],
    ['trees', ['model.txt'], 'model.txt'],
  ] as const)('%s limits the bytes of its files', (artifact, names, name) => {
    const files = Object.fromEntries(names.map((each) => [each, { digest: 'd', bytes: 1 }]))
    expect(maxBytesOf({ artifact, files }, name)).toBeGreaterThan(1_000_000)
  })

  it.each([
    [
      undefined,
      ['model.json'],
      /has the files model.json, one of tfjs-layers has model.json and weights.bin/,
    ],
    ['trees', ['model.txt', 'model.json'], /one of trees has model.txt, or model.json, or model.ubj/],
    ['trees', ['../model.txt'], /has the files/],
    ['trees', [], /has the files none/],
  ] as const)('%s refuses the files %j', (artifact, names, why) =>
    expect(() => expectFileSet(names, formatNameOf({ artifact }))).toThrow(why),
  )
})
