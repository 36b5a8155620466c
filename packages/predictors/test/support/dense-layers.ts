/** Makes dense networks of seeded weights in the files of TensorFlow.js, and computes their answers in doubles, independently of the predictors. */
import {
  heldInputsOf,
  inputWidthOf,
  widthOfFit,
  writeHeld,
  type FeatureFit,
  type Output,
} from '../../src/features.ts'

export interface LayerSpec {
  units: number
  activation: string
  /** Kernel in row order: inputs × units. */
  kernel: number[]
  bias: number[]
}

/** A network and the encoding of its rows. */
export interface DenseModel {
  preprocessing: readonly FeatureFit[]
  layers: readonly LayerSpec[]
  /** Additional layers after the first, in the format of TensorFlow.js; `answerOf` ignores them. */
  behind?: readonly object[]
  output?: Output
}

/** Returns a generator of seeded numbers in [-1, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 0x8000_0000 - 1
  }
}

export function randomLayer(
  inputs: number,
  units: number,
  activation: string,
  next: () => number,
): LayerSpec {
  const scale = Math.sqrt(2 / inputs)
  return {
    units,
    activation,
    kernel: Array.from({ length: inputs * units }, () => next() * scale),
    bias: Array.from({ length: units }, () => next() * 0.1),
  }
}

/** Computes the outputs of a row in doubles, directly from the definition. */
export function answerOf(
  { preprocessing, layers, output }: DenseModel,
  row: Readonly<Record<string, unknown>>,
): number[] {
  let values = preprocessing.filter(widthOfFit).flatMap((fit) => {
    const value = row[fit.name]
    if (fit.kind === 'number')
      return [((typeof value === 'number' ? value : (fit.fill ?? NaN)) - fit.mean) / fit.std]
    if (fit.encoding === 'elements') return JSON.parse(String(value)) as number[]
    const held = heldInputsOf(fit)
    if (held !== undefined) {
      const pixels = new Float64Array(widthOfFit(fit))
      writeHeld(String(value), held, pixels, 0)
      return [...pixels]
    }
    const place = typeof value === 'string' ? fit.vocabulary.indexOf(value) : -1
    const wanted = place < 0 ? fit.vocabulary.length : place
    return Array.from({ length: fit.vocabulary.length + 1 }, (_, index) => (index === wanted ? 1 : 0))
  })
  for (const { units, activation, kernel, bias } of layers) {
    const sums = bias.map((start, j) =>
      values.reduce((sum, x, i) => sum + x * Math.fround(kernel[i * units + j]!), Math.fround(start)),
    )
    values = activate(activation, sums)
  }
  return output?.kind === 'quantiles' ? values.toSorted((a, b) => a - b) : values
}

function activate(name: string, x: number[]): number[] {
  const total = x.reduce((sum, value) => sum + Math.exp(value), 0)
  switch (name) {
    case 'linear':
      return x
    case 'relu':
      return x.map((value) => Math.max(0, value))
    case 'sigmoid':
      return x.map((value) => 1 / (1 + Math.exp(-value)))
    case 'tanh':
      return x.map((value) => (Math.exp(2 * value) - 1) / (Math.exp(2 * value) + 1))
    case 'elu':
      return x.map((value) => (value < 0 ? Math.exp(value) - 1 : value))
    case 'softmax':
      return x.map((value) => Math.exp(value) / total)
    default:
      throw new Error(`no activation ${name} here`)
  }
}

/** Builds model.json as tfjs writes it. */
export function topologyOf({ preprocessing, layers, behind = [] }: DenseModel) {
  const columns = inputWidthOf(preprocessing)
  const named = layers.map((layer, index) => ({ ...layer, name: `dense_Dense${index + 1}` }))
  const dense = named.map(({ name, units, activation }, index) => ({
    class_name: 'Dense',
    config: {
      name,
      units,
      activation,
      use_bias: true,
      trainable: true,
      ...(index === 0 ? { batch_input_shape: [null, columns], dtype: 'float32' } : {}),
    },
  }))
  return {
    format: 'layers-model',
    generatedBy: 'test',
    modelTopology: {
      class_name: 'Sequential',
      config: {
        name: 'sequential_1',
        layers: dense.toSpliced(1, 0, ...(behind as typeof dense)),
      },
      keras_version: 'tfjs-layers 4.22.0',
      backend: 'tensor_flow.js',
    },
    weightsManifest: [
      {
        paths: ['weights.bin'],
        weights: named.flatMap(({ name, units, kernel, bias }) => [
          { name: `${name}/kernel`, shape: [kernel.length / units, units], dtype: 'float32' },
          { name: `${name}/bias`, shape: [bias.length], dtype: 'float32' },
        ]),
      },
    ],
  }
}

export function weightsOf(layers: readonly LayerSpec[]): Buffer {
  const values = layers.flatMap(({ kernel, bias }) => [...kernel, ...bias])
  return Buffer.from(Float32Array.from(values).buffer)
}
