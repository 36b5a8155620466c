/**
 * Makes a smaller file of a LayersModel, which TensorFlow.js reads too: weights of 16 or 8 bits in its own standard, or fewer units in each
 * hidden layer of a dense network.
 */
import { refuse } from '../../errors.ts'
import { bitsOfHalf, half } from '../../half.ts'
import type { DenseLayer } from '../../network/batch-norm.ts'
import { isDense, networkOf, readModel, type Network, type ReadModel } from '../../network/layers-model.ts'
import { learnAnswers } from '../../network/learn-answers.ts'
import { compileDense } from '../../network/simd-predictor.ts'
import type { ArtifactFiles, EncodedRows } from '../format.ts'

interface Stored {
  bytes: Uint8Array
  quantization?: { dtype: 'float16' } | { dtype: 'uint8'; min: number; scale: number }
}

interface StoredWeight {
  name: string
  shape: readonly number[]
  stored: Stored
}

/** More bytes than this buy too little: 8 bits by channel need words for each layer, which a small network has no use for. */
const maxBytesOfChannels = 1.1

/**
 * Stores each weight in 16 bits, or each matrix in 8 and the rest, which is little, in 16. A list with a number beyond 16 bits, such as a
 * variance, keeps 32.
 */
export function quantize(read: ReadModel, to: 'float16' | 'int8'): ArtifactFiles {
  const weights = [...read.named].map(([name, { values, shape }]) => ({
    name,
    shape,
    stored: to === 'int8' && shape.length > 1 ? ofEightBits(values) : ofSixteenBits(values),
  }))
  const byMatrix = filesOf(read.model, weights)
  if (to === 'float16' || !isDense(read)) return byMatrix
  const byChannel = filesOfNetwork(networkOf(read), layerOfEightBits)
  const isSmall = totalBytes(byChannel) <= maxBytesOfChannels * totalBytes(byMatrix)
  // A replica compiles no normalization of a very wide layer.
  return isSmall && isDense(readModel(byChannel['model.json']!, byChannel['weights.bin']!))
    ? byChannel
    : byMatrix
}

const totalBytes = (files: ArtifactFiles): number =>
  Object.values(files).reduce((sum, { byteLength }) => sum + byteLength, 0)

function filesOf(model: object, all: readonly StoredWeight[]): ArtifactFiles {
  const weights = all.map(({ name, shape, stored: { quantization } }) => ({
    name,
    shape,
    dtype: 'float32',
    quantization,
  }))
  const bytes = new Uint8Array(all.reduce((sum, { stored }) => sum + stored.bytes.byteLength, 0))
  let at = 0
  for (const { stored } of all) {
    bytes.set(stored.bytes, at)
    at += stored.bytes.byteLength
  }
  const weightsManifest = [{ paths: ['weights.bin'], weights }]
  return {
    'model.json': new TextEncoder().encode(JSON.stringify({ ...model, weightsManifest })),
    'weights.bin': bytes,
  }
}

const bytesOf = ({ buffer }: Float32Array | Uint16Array): Uint8Array => new Uint8Array(buffer)

const ofAllBits = (values: Float32Array): Stored => ({ bytes: bytesOf(values.slice()) })

function ofSixteenBits(values: Float32Array): Stored {
  if (values.some((value) => Math.abs(value) >= 65_520)) return ofAllBits(values)
  return { bytes: bytesOf(Uint16Array.from(values, bitsOfHalf)), quantization: { dtype: 'float16' } }
}

/** Whole numbers times one scale. The range includes 0, which stays exact. */
function ofEightBits(values: Float32Array): Stored {
  let [low, high] = [0, 0]
  for (const value of values) {
    if (value < low) low = value
    if (value > high) high = value
  }
  const scale = (high - low) / 255 || 1
  const zero = Math.round(-low / scale)
  return {
    bytes: Uint8Array.from(values, (value) => Math.min(255, Math.max(0, Math.round(value / scale) + zero))),
    quantization: { dtype: 'uint8', min: -zero * scale, scale },
  }
}

/** The work of a hidden layer grows with the third power of its units. Two layers of 1,024 take about half a minute. */
const maxWork = 2 * 1_024 ** 3
/** The shares of the units that may stay are whole multiples of 1 / `shares`. */
const shares = 16
/** Each fifth row is not fitted, but compared. */
const comparedEach = 5

/**
 * Removes units of each hidden layer, one after the other: the one whose loss changes the sums of the next layer least when the weights of
 * the units that are left make up for it, which are then changed so (optimal brain surgeon: Hassibi and Stork, NeurIPS 1992, over units).
 * The network that is left learns the parent's answers to the same rows. Other rows decide whether that brought it closer, and choose by halving the
 * smallest share of the units whose answers differ by at most `mean` on average.
 */
export function prune(read: ReadModel, { input, rows, width }: EncodedRows, mean: number): ArtifactFiles {
  if (!isDense(read)) refuse('only a sequence of dense layers can be pruned: compress it to float16 or int8')
  const parent = networkOf(read)
  const isPruned = parent.layers.slice(0, -1).map(({ activations }) => !activations.includes('softmax'))
  if (!isPruned.includes(true)) refuse('the network has no hidden layer whose units could be pruned')
  const widths = parent.layers.slice(0, -1).map(({ units }) => units)
  if (widths.reduce((sum, units) => sum + units ** 3, 0) > maxWork)
    refuse(
      `hidden layers of ${widths.join(', ')} units would be pruned for too long, and two of 1,024 are the most: compress it to float16 or int8`,
    )
  const part = (isIn: (row: number) => boolean): Float64Array => {
    const places = Array.from({ length: rows }, (_, row) => row).filter(isIn)
    const some = new Float64Array(places.length * width)
    places.forEach((row, at) => some.set(input.subarray(row * width, (row + 1) * width), at * width))
    return some
  }
  const fitted = part((row) => row % comparedEach !== 0)
  const compared = part((row) => row % comparedEach === 0)
  const steps = parent.layers.slice(1).map((next, at) => {
    const { units } = parent.layers[at]!
    const head = { inputs: parent.inputs, outputs: units, layers: parent.layers.slice(0, at + 1) }
    return isPruned[at]! ? withFewerInputs(answersOf(head, fitted), next) : undefined
  })
  const ofShare = (share: number): Network => {
    const layers = parent.layers.map((layer, at): DenseLayer => {
      const [before, after] = [steps[at - 1]?.[share - 1], steps[at]?.[share - 1]]
      return withUnits(before?.layer ?? layer, after?.kept)
    })
    return { ...parent, layers }
  }
  const wanted = answersOf(parent, compared)
  const differenceOf = (network: Network): number =>
    answersOf(network, compared).reduce((sum, value, at) => sum + Math.abs(value - wanted[at]!), 0) /
    wanted.length
  const lesson = { input: fitted, answers: answersOf(parent, fitted) }
  let [tooFew, enough] = [0, shares]
  let found: Network | undefined
  while (enough - tooFew > 1) {
    const share = Math.floor((tooFew + enough) / 2)
    const closed = ofShare(share)
    const { network, difference } = [closed, learnAnswers(closed, lesson)]
      .map((each) => ({ network: each, difference: differenceOf(each) }))
      .reduce((one, other) => (other.difference < one.difference ? other : one))
    if (difference <= mean) [enough, found] = [share, network]
    else tooFew = share
  }
  if (found === undefined)
    refuse(
      `no network with fewer units answers these rows within ${Number(mean.toPrecision(4))} on average: allow a larger difference`,
    )
  return filesOfNetwork(found, layerOf)
}

function answersOf(network: Network, input: Float64Array): Float32Array {
  const rows = input.length / network.inputs
  const output = new Float32Array(rows * network.outputs)
  compileDense(network).run(input, rows, output)
  return output
}

/** A layer with the units that are left of the one before it. */
interface Reduced {
  kept: number[]
  layer: DenseLayer
}

/**
 * Returns the layer for each share of its inputs, from the smallest share on. `values`: of the inputs, row by row.
 */
function withFewerInputs(values: Float32Array, layer: DenseLayer): Reduced[] {
  const { inputs, units } = layer
  const { means, covariance } = momentsOf(values, inputs)
  const inverse = inverted(covariance, inputs)
  const kernel = Float64Array.from(layer.kernel)
  const left = new Set(Array.from({ length: inputs }, (_, at) => at))
  const found: Reduced[] = []
  const squareOf = (input: number): number => {
    let sum = 0
    for (let j = 0; j < units; j++) sum += kernel[input * units + j]! ** 2
    return sum
  }
  for (let share = shares - 1; share >= 1; share--) {
    const count = Math.max(1, Math.round((inputs * share) / shares))
    while (left.size > count) {
      let [gone, least] = [-1, Infinity]
      for (const each of left) {
        const loss = squareOf(each) / inverse[each * inputs + each]!
        if (gone < 0 || loss < least) [gone, least] = [each, loss]
      }
      left.delete(gone)
      const column = Float64Array.from({ length: inputs }, (_, at) => inverse[at * inputs + gone]!)
      for (const i of left) {
        const factor = column[i]! / column[gone]!
        for (let j = 0; j < units; j++) kernel[i * units + j]! -= factor * kernel[gone * units + j]!
        for (const k of left) inverse[i * inputs + k]! -= factor * column[k]!
      }
    }
    const kept = [...left]
    const bias = layer.bias.slice()
    // The mean of each sum stays.
    for (let j = 0; j < units; j++) {
      let shift = 0
      for (let i = 0; i < inputs; i++)
        shift += means[i]! * (layer.kernel[i * units + j]! - (left.has(i) ? kernel[i * units + j]! : 0))
      bias[j]! += shift
    }
    const rows = kept.map((i) => kernel.subarray(i * units, (i + 1) * units))
    found.push({
      kept,
      layer: {
        ...layer,
        inputs: kept.length,
        kernel: Float32Array.from(
          { length: kept.length * units },
          (_, at) => rows[Math.floor(at / units)]![at % units]!,
        ),
        bias,
      },
    })
  }
  return found.toReversed()
}

/** The mean of each column, and the covariances of all with a thousandth of their mean variance added to the diagonal, so that they have an inverse. */
function momentsOf(values: Float32Array, width: number): { means: Float64Array; covariance: Float64Array } {
  const rows = values.length / width
  const means = new Float64Array(width)
  values.forEach((value, at) => (means[at % width]! += value / rows))
  const covariance = new Float64Array(width * width)
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < width; i++) {
      const distance = (values[row * width + i]! - means[i]!) / rows
      for (let j = 0; j <= i; j++)
        covariance[i * width + j]! += distance * (values[row * width + j]! - means[j]!)
    }
  let ridge = 1e-12
  for (let i = 0; i < width; i++) ridge += (1e-3 * covariance[i * width + i]!) / width
  for (let i = 0; i < width; i++) {
    covariance[i * width + i]! += ridge
    for (let j = 0; j < i; j++) covariance[j * width + i] = covariance[i * width + j]!
  }
  return { means, covariance }
}

/** The inverse of a positive definite matrix, by Gauss and Jordan in place. */
function inverted(of: Float64Array, width: number): Float64Array {
  const all = Float64Array.from(of)
  for (let p = 0; p < width; p++) {
    const pivot = 1 / all[p * width + p]!
    all[p * width + p] = 1
    for (let j = 0; j < width; j++) all[p * width + j]! *= pivot
    for (let i = 0; i < width; i++) {
      if (i === p) continue
      const factor = all[i * width + p]!
      all[i * width + p] = 0
      for (let j = 0; j < width; j++) all[i * width + j]! -= factor * all[p * width + j]!
    }
  }
  return all
}

/** Returns the layer with these units alone; with all where they are not given. */
function withUnits(layer: DenseLayer, kept: readonly number[] | undefined): DenseLayer {
  if (kept === undefined) return layer
  const { inputs, units, kernel, bias } = layer
  return {
    ...layer,
    units: kept.length,
    kernel: Float32Array.from(
      { length: inputs * kept.length },
      (_, at) => kernel[Math.floor(at / kept.length) * units + kept[at % kept.length]!]!,
    ),
    bias: Float32Array.from(kept, (unit) => bias[unit]!),
  }
}

interface StoredLayer {
  configs: { class_name: string; config: object }[]
  weights: StoredWeight[]
}

/** Writes a dense network. Layers for training alone are gone, and normalization is part of the weights. */
function filesOfNetwork(
  { inputs, layers }: Network,
  store: (layer: DenseLayer, name: string) => StoredLayer,
): ArtifactFiles {
  const stored = layers.map((layer, at) => store(layer, `dense_${at}`))
  const configs = stored.flatMap((layer) => layer.configs)
  Object.assign(configs[0]!.config, { batch_input_shape: [null, inputs], dtype: 'float32' })
  return filesOf(
    {
      format: 'layers-model',
      modelTopology: { class_name: 'Sequential', config: { name: 'compressed', layers: configs } },
    },
    stored.flatMap((layer) => layer.weights),
  )
}

function layerOf(
  { inputs, units, kernel, bias, activations: [first = 'linear', ...others] }: DenseLayer,
  name: string,
  { ofMatrix, ofList } = { ofMatrix: ofAllBits, ofList: ofAllBits },
): StoredLayer {
  return {
    configs: [
      { class_name: 'Dense', config: { name, units, activation: first, use_bias: true } },
      ...activationsOf(others, name),
    ],
    weights: [
      { name: `${name}/kernel`, shape: [inputs, units], stored: ofMatrix(kernel) },
      { name: `${name}/bias`, shape: [units], stored: ofList(bias) },
    ],
  }
}

const activationsOf = (names: readonly string[], of: string) =>
  names.map((activation, at) => ({
    class_name: 'Activation',
    config: { name: `${of}_activation_${at}`, activation },
  }))

/** Exact in 16 bits, and so is its distance from 1. */
const epsilon = 2 ** -10

/**
 * Stores whole numbers of 8 bits times one scale an output. TensorFlow.js's standard has one scale for the whole matrix, so the others are
 * the factors of a normalization that moves nothing; a replica multiplies them into the weights again.
 */
function layerOfEightBits(layer: DenseLayer, name: string): StoredLayer {
  const { inputs, units, kernel, bias, activations } = layer
  if (units === 1) return layerOf(layer, name, { ofMatrix: ofEightBits, ofList: ofSixteenBits })
  const largest = new Float32Array(units)
  kernel.forEach((value, at) => {
    if (Math.abs(value) > largest[at % units]!) largest[at % units] = Math.abs(value)
  })
  const scale = largest.reduce((a, b) => Math.max(a, b), 0) / 127 || 1
  const factors = largest.map((value) => half(value / scale / 127))
  const scaled = name.replace('dense', 'scaled')
  const list = (part: string, stored: Stored): StoredWeight => ({
    name: `${scaled}/${part}`,
    shape: [units],
    stored,
  })
  return {
    configs: [
      { class_name: 'Dense', config: { name, units, activation: 'linear', use_bias: false } },
      { class_name: 'BatchNormalization', config: { name: scaled, axis: -1, epsilon } },
      ...activationsOf(
        activations.filter((each) => each !== 'linear'),
        name,
      ),
    ],
    weights: [
      {
        name: `${name}/kernel`,
        shape: [inputs, units],
        stored: {
          bytes: Uint8Array.from(kernel, (value, at) => {
            const whole = Math.round(value / (factors[at % units]! * scale || 1))
            return 127 + Math.min(128, Math.max(-127, whole))
          }),
          quantization: { dtype: 'uint8', min: -127 * scale, scale },
        },
      },
      list('gamma', ofSixteenBits(factors)),
      list('beta', ofSixteenBits(bias)),
      list('moving_mean', ofEightBits(new Float32Array(units))),
      list('moving_variance', ofSixteenBits(new Float32Array(units).fill(1 - epsilon))),
    ],
  }
}
