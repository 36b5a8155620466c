/**
 * Builds the two networks of the comparison as artifacts: *iris* 4-16-16-3 and *wide* 32-128-64-1. The weights are those of the peers
 * if available, otherwise seeded.
 */
import { readFileSync } from 'node:fs'
import type { Features, FeatureRow } from '../../../domain/model/features.ts'
import {
  randomLayer,
  seeded,
  type ArtifactSpec,
  type LayerSpec,
} from '../../../test/support/serving/artifact.ts'
import type { Output } from '../../../domain/tasks/output.ts'

export type NetName = 'iris' | 'wide'

/** `weights.json` of the peers: each layer inputs × units, row by row. */
type PlainWeights = Record<
  NetName,
  { act: string; layers: { w: number[]; b: number[]; in: number; out: number }[] }
>

const outputs: Record<NetName, Output> = {
  iris: { kind: 'classes', classes: ['setosa', 'versicolor', 'virginica'] },
  wide: { kind: 'number' },
}
const sizes: Record<NetName, readonly number[]> = { iris: [4, 16, 16, 3], wide: [32, 128, 64, 1] }
const goldenRows = 20

export function netSpecs(weightsFile: string | undefined): Record<NetName, ArtifactSpec> {
  const plain =
    weightsFile === undefined ? undefined : (JSON.parse(readFileSync(weightsFile, 'utf8')) as PlainWeights)
  return { iris: specOf('iris', plain), wide: specOf('wide', plain) }
}

/** A network trained elsewhere; its inputs are not scaled. */
function specOf(name: NetName, plain: PlainWeights | undefined): ArtifactSpec {
  const layers = plain === undefined ? seededLayers(name) : importedLayers(plain[name])
  const names = Array.from({ length: sizes[name][0]! }, (_, index) => `x${index}`)
  const next = seeded(7)
  return {
    model: name,
    features: Object.fromEntries(names.map((each) => [each, { kind: 'number' }])) satisfies Features,
    output: outputs[name],
    preprocessing: names.map((each) => ({ name: each, kind: 'number', mean: 0, std: 1, fill: 0 })),
    layers,
    golden: Array.from({ length: goldenRows }, (): FeatureRow =>
      Object.fromEntries(names.map((each) => [each, Math.fround(3 * next())])),
    ),
  }
}

const importedLayers = ({ act, layers }: PlainWeights[NetName]): LayerSpec[] =>
  layers.map(({ w, b, out }, index) => ({
    units: out,
    activation: index < layers.length - 1 ? 'relu' : act,
    kernel: w,
    bias: b,
  }))

function seededLayers(name: NetName): LayerSpec[] {
  const [inputs = 0, ...units] = sizes[name]
  const next = seeded(name === 'iris' ? 1 : 2)
  const last = name === 'iris' ? 'softmax' : 'linear'
  return units.map((count, index) =>
    randomLayer(
      index === 0 ? inputs : units[index - 1]!,
      count,
      index < units.length - 1 ? 'relu' : last,
      next,
    ),
  )
}

/** A request body with the given number of rows. */
export function inferBody(name: NetName, rows: number): string {
  const next = seeded(11)
  const width = sizes[name][0]!
  const data = Array.from({ length: rows * width }, () => Number((4 * next()).toFixed(4)))
  return JSON.stringify({
    id: 'b0c1',
    inputs: [{ name: 'input', shape: [rows, width], datatype: 'FP32', data }],
  })
}

/** An expensive network: a million weights, with the features of *wide*. */
export function deepSpec(): ArtifactSpec {
  const { model: _model, layers: _layers, ...like } = netSpecs(undefined).wide
  const next = seeded(3)
  const units = [32, 1_024, 1_024, 1]
  return {
    ...like,
    model: 'deep',
    layers: units
      .slice(1)
      .map((count, index) => randomLayer(units[index]!, count, index < 2 ? 'relu' : 'linear', next)),
  }
}
