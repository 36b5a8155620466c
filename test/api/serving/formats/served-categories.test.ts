/** Tests that versions of CatBoost with categories answer as CatBoost does, and which of them are refused. */
import { createPredictProtocol } from '../../../../api/serving/request/native-protocol.ts'
import {
  bindColumns,
  formatOf,
  open,
  type ArtifactColumn,
  type ArtifactFacts,
  type OpenedArtifact,
} from '@tenure/predictors'
import { describe, expect, it } from 'vitest'
import { columnsOf } from '../../../../api/serving/codec/feature-columns.ts'
import {
  createInputBuffer,
  resetInput,
  writeRow,
  type InputBuffer,
} from '../../../../api/serving/codec/input-buffer.ts'
import { compileColumns } from '../../../../api/serving/columnar/column-predictor.ts'
import { attributeRows } from '../../../../api/serving/explanation/attribute-rows.ts'
import { loadVersion, readRow, type LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import { batchLayoutOf, textCodes } from '../../../../domain/model/batch-spec.ts'
import type { Feature, FeatureRow, Features } from '../../../../domain/model/features.ts'
import { broughtFacts, type Manifest } from '../../../../domain/model/manifest.ts'
import { compileEncoder } from '../../../../domain/model/preprocessing.ts'
import { readCategoryCases } from '../../../../packages/predictors/test/support/parity.ts'
import { categoryModel } from '../../../../packages/predictors/test/support/hostile/category-models.ts'
import type { Output } from '../../../../domain/tasks/output.ts'

const cases = readCategoryCases()
const treesFormat = formatOf({ artifact: 'trees' })

describe('a version of CatBoost with categories', () => {
  /** Binds a model to features of its names, and to two that it does not use. */
  function versionOf(name: string) {
    const found = cases.find((each) => each.name === `catboost-${name}-0`)!
    const files = { 'model.json': found.bytes }
    const output: Output = { kind: 'number' }
    const { columns, library } = treesFormat.inspect(files, output) as ArtifactFacts
    const kindOf = ({ isText }: ArtifactColumn): Feature =>
      isText === true ? { kind: 'category', missing: 'fill' } : { kind: 'number', missing: 'fill' }
    const features: Features = {
      note: { kind: 'category' },
      ...Object.fromEntries(columns.map((column) => [column.name, kindOf(column)])),
      weight: { kind: 'number' },
    }
    const { fits, unused } = bindColumns({ columns, features })
    expect(unused).toEqual(['note', 'weight'])
    const isSendable = (row: readonly unknown[]) =>
      row.every((value) => typeof value !== 'number' || Math.abs(value) < 1e30) &&
      !row.includes('inf') &&
      !row.includes('-inf')
    const sendable = found.rows.flatMap((row, index) => (isSendable(row) ? [index] : []))
    const rows = sendable.map((index): FeatureRow => ({
      ...Object.fromEntries(columns.map(({ name: column }, at) => [column, found.rows[index]![at]!])),
      note: `note ${index}`,
      weight: index,
    }))
    const answers = sendable.map((index) => Number(found.answers[index]))
    const manifest: Manifest = {
      format: 'tenure-artifact@1',
      model: 'trees',
      artifact: 'trees',
      library,
      features,
      featureOrder: fits.map(({ name }) => name),
      output,
      preprocessing: fits,
      files: { 'model.json': { digest: `sha256:${'0'.repeat(64)}`, bytes: found.bytes.byteLength } },
      golden: { instances: rows.slice(0, 8), outputs: answers.slice(0, 8).map((answer) => [answer]) },
      training: { ...broughtFacts, hyperparameters: {} },
    }
    return { loaded: loadVersion('trees_v1.0.0', manifest, files), files, rows, answers }
  }
  const ask = ({ predictor }: LoadedVersion, input: InputBuffer): number[] => {
    const output = new Float32Array(input.rows)
    void predictor.run(input.input, input.rows, output, undefined, input)
    return [...output]
  }
  const read = (loaded: LoadedVersion, rows: readonly FeatureRow[]): InputBuffer => {
    const input = createInputBuffer()
    resetInput(input, loaded.columns, rows.length)
    rows.forEach((row, index) => readRow(loaded, row, index, input))
    return input
  }

  it.each(['ctrs', 'combinations', 'depth-wise'])(
    'answers one row, many rows and rows by columns as the library (%s)',
    async (name) => {
      const { loaded, rows, answers } = versionOf(name)
      expect(rows.length).toBeGreaterThan(30)
      const together = read(loaded, rows)
      expect(together.unknownTexts).toBe(0)
      const given = ask(loaded, together)
      given.forEach((answer, row) => expect(answer).toBeCloseTo(answers[row]!, 5))
      expect(rows.flatMap((row) => ask(loaded, read(loaded, [row])))).toEqual(given)
      const scanned = createInputBuffer()
      const body = Buffer.from(JSON.stringify({ instances: rows }))
      createPredictProtocol(1_000).read(loaded, body, scanned)
      expect(ask(loaded, scanned)).toEqual(given)
      const { features, preprocessing } = loaded.manifest
      const layout = batchLayoutOf(features, preprocessing)
      const block = {
        rows: rows.length,
        numbers: layout.numbers.map((column) =>
          Float64Array.from(rows, (row) => (row[column] as number | null) ?? NaN),
        ),
        texts: layout.texts.map(() => new Int32Array(rows.length).fill(textCodes.other)),
        taken: together,
      }
      const outputs = new Float32Array(rows.length)
      await compileColumns(loaded, layout)(block, outputs, new Uint8Array(rows.length))
      expect([...outputs]).toEqual(given)
    },
  )

  it('reads a missing category as an empty text, and answers a category that training has not seen', () => {
    const { loaded, rows } = versionOf('ctrs')
    const [first] = rows
    const answerOf = (change: FeatureRow) => ask(loaded, read(loaded, [{ ...first!, ...change }]))
    expect(answerOf({ colour: null })).toEqual(answerOf({ colour: '' }))
    expect(answerOf({ colour: 'never seen' })).toEqual(answerOf({ colour: 'nor this' }))
  })

  it('takes the text of one category beside the code of another', async () => {
    const files = { 'model.json': categoryModel('ctrs') }
    const { columns } = treesFormat.inspect(files, { kind: 'number' }) as ArtifactFacts
    const features: Features = Object.fromEntries(
      columns.map(({ name, isText }) => [
        name,
        { kind: isText === true || name === 'price' ? 'category' : 'number' },
      ]),
    )
    const declared = columns.map(({ name }) =>
      name === 'price' ? { name, vocabulary: ['low', 'high'] } : { name },
    )
    const { fits } = bindColumns({ columns, features, declared })
    const description = { output: { kind: 'number' as const }, preprocessing: fits }
    const opening = treesFormat.open(description, files) as Generator<void, OpenedArtifact>
    opening.next()
    const { predictor } = opening.next().value as OpenedArtifact
    const rows = [0, 1, 1, 0].map((code, index): FeatureRow => ({
      ...Object.fromEntries(columns.map(({ name }, at) => [name, cases[1]!.rows[2 * index + 1]![at]!])),
      price: ['low', 'high'][code]!,
    }))
    const [layout, encode] = [columnsOf(features, fits), compileEncoder(features, fits)]
    const input = createInputBuffer()
    resetInput(input, layout, rows.length)
    for (const [index, row] of rows.entries()) {
      encode(row, input.input, index * layout.width)
      writeRow(input, layout, row, index)
    }
    const output = new Float32Array(rows.length)
    void predictor.run(input.input, rows.length, output, undefined, input)
    const model = await open(files, { columns: declared })
    const wanted = await model.predict(rows as Readonly<Record<string, string | number | null>>[])
    await model.close()
    expect([...output]).toEqual(wanted.flat())
  })

  it('is explained exactly, also where a statistic is of several features', async () => {
    const { loaded, files, rows } = versionOf('combinations')
    const { manifest, predictor } = loaded
    const names = Object.keys(manifest.features)
    const question = { manifest, rows: rows.slice(10, 14), background: rows.slice(0, 4) }
    const { method, scale, rows: explained } = await attributeRows(question, files, predictor)
    expect([method, scale]).toEqual(['tree_shap', 'raw'])
    for (const { base, score, attributions, answer } of explained) {
      expect(1 / (1 + Math.exp(-score))).toBeCloseTo(answer[0]!, 6)
      expect(attributions.reduce((sum, value) => sum + value, base)).toBeCloseTo(score, 9)
      for (const name of ['note', 'weight']) expect(attributions[names.indexOf(name)]).toBe(0)
      expect(attributions[names.indexOf('colour')]).not.toBe(0)
    }
  })

  it('is refused where a feature is a number or the preprocessing gives codes', () => {
    const { loaded } = versionOf('ctrs')
    const { manifest } = loaded
    const files = { 'model.json': categoryModel('ctrs') }
    const { columns } = treesFormat.inspect(files, manifest.output) as ArtifactFacts
    const features: Features = { ...manifest.features, colour: { kind: 'number' } }
    expect(() => bindColumns({ columns, features })).toThrow(/"colour" takes texts, the feature is a number/)
    const preprocessing = manifest.preprocessing.map((fit) =>
      fit.name === 'colour' ? { ...fit, encoding: 'code' } : fit,
    ) as Manifest['preprocessing']
    expect(() => loadVersion('trees_v1.0.0', { ...manifest, preprocessing }, files)).toThrow(
      /the trees take texts as city, colour, flag, user, store/,
    )
  })
})
