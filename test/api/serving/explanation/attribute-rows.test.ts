/** Tests that rows are explained by the method of their format, and that the methods agree where both apply. */
import type { Runtimes } from '@tenure/predictors'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attributeRows } from '../../../../api/serving/explanation/attribute-rows.ts'
import { createRuntimes } from '../../../../api/serving/runtime/hosts.ts'
import { sampledShapley } from '../../../../domain/explanation/shapley.ts'
import type { FeatureRow, Features } from '../../../../domain/model/features.ts'
import { readOnnxCases } from '../../../../packages/predictors/test/support/parity.ts'
import { openGraph } from '../../../support/formats/graph-predictor.ts'
import { loadTrees, treeVersion } from '../../../support/formats/tree-version.ts'
import type { Output } from '../../../../domain/tasks/output.ts'

let runtimes: Runtimes
beforeAll(() => {
  runtimes = createRuntimes({ onError: () => {} })
})
afterAll(() => runtimes.stop())

const sumOf = (base: number, attributions: readonly number[]): number =>
  attributions.reduce((sum, value) => sum + value, base)

describe('rows', () => {
  it('of trees without a link function get the same attributions exactly and by sampling', async () => {
    const version = await treeVersion('lightgbm-absolute-0')
    const { manifest, files, rows } = version
    const { predictor } = loadTrees(version)
    const [row, background] = [rows[20]!, rows.slice(0, 4)]
    const found = await attributeRows({ manifest, rows: [row], background }, files, predictor)
    expect([found.method, found.scale]).toEqual(['tree_shap', 'answer'])
    const names = Object.keys(manifest.features)
    const output = new Float32Array(1)
    const answerOf = (each: FeatureRow): number => {
      void predictor.run(
        Float64Array.from(names, (name) => Number(each[name] ?? NaN)),
        1,
        output,
      )
      return output[0]!
    }
    const sampled = await sampledShapley({
      features: names,
      row,
      background,
      permutations: 2_000,
      seed: 1,
      answer: (asked) => Promise.resolve(asked.map(answerOf)),
    })
    const [exact] = found.rows
    expect(exact!.score).toBeCloseTo(sampled.score, 3)
    const scale = Math.max(...exact!.attributions.map(Math.abs))
    exact!.attributions.forEach((value, at) =>
      expect(Math.abs(value - sampled.attributions[at]!)).toBeLessThanOrEqual(
        2 * sampled.errors![at]! + 1e-5 * scale,
      ),
    )
  })

  it('of a graph with texts are sampled in the process of ONNX Runtime, and sum to its answer', async () => {
    const { bytes, rows } = readOnnxCases().find(({ name }) => name === 'session-pipeline-0')!
    const { columns, preprocessing, predictor } = await openGraph(bytes, runtimes)
    const features: Features = Object.fromEntries(
      preprocessing.map(({ name, kind }) => [name, { kind, missing: 'fill' }]),
    )
    const classes = Array.from({ length: predictor.outputs }, (_, at) => `class ${at}`)
    const output: Output = classes.length === 1 ? { kind: 'number' } : { kind: 'classes', classes }
    const plain = rows
      .filter((row) =>
        row.every((cell, at) => typeof cell === (columns[at]!.isText === true ? 'string' : 'number')),
      )
      .map((row): FeatureRow => Object.fromEntries(columns.map(({ name }, at) => [name, row[at]!])))
    expect(plain.length).toBeGreaterThan(5)
    const manifest = { artifact: 'onnx' as const, files: {}, features, output, preprocessing }
    const question = { manifest, rows: plain.slice(3, 5), background: plain.slice(0, 3) }
    const found = await attributeRows(question, { 'model.onnx': bytes }, predictor)
    expect([found.method, found.scale]).toEqual(['sampled', 'answer'])
    for (const { base, score, attributions, answer, output: place } of found.rows) {
      expect(score).toBeCloseTo(answer[place]!, 6)
      expect(sumOf(base, attributions)).toBeCloseTo(score, 6)
      expect(Math.max(...answer)).toBe(answer[place])
      expect(attributions.some((value) => Math.abs(value) > 1e-6)).toBe(true)
    }
    predictor.close!()
  })
})
