/**
 * Lets a dense network learn the answers of another one by gradient steps (Adam: Kingma and Ba, ICLR 2015). The products of matrices run in the
 * kernel that also answers rows, because scalar loops would take ten times as long.
 */
import { activationOf, type Activation } from './activations.ts'
import type { Network } from './layers-model.ts'
import { denseKernelOn, packedWeights, padded } from './simd-predictor.ts'
import { memoryFor } from './wasm-instance.ts'

const batchRows = 128
/** A core computes 5 to 10 billion products of two numbers a second. They end the learning of a large network, the steps that of a small one. */
const maxProducts = 5e9
const maxSteps = 800
/** The first steps change a weight by this share of the root mean square of its row. The rate falls to 0 as a cosine. */
const firstRate = 0.01
const [meanDecay, squareDecay] = [0.9, 0.999]

/** Rows of inputs and the answers to learn, both row by row. */
export interface Lesson {
  input: Float64Array
  answers: Float32Array
}

/**
 * Returns the network with other weights, the same ones for the same lesson. Probabilities are learnt with cross-entropy, other numbers by their
 * squared error. A network with a softmax before its end stays as it is.
 */
export function learnAnswers(network: Network, { input, answers }: Lesson): Network {
  const { inputs, outputs } = network
  const names = network.layers.flatMap(({ activations }) => activations.filter((name) => name !== 'linear'))
  if (names.slice(0, -1).includes('softmax')) return network
  const ends = network.layers.at(-1)!.activations.filter((name) => name !== 'linear')
  /** The gradient of cross-entropy at the sums is the difference of the answers. */
  const isEntropy = ends.length === 1 && ['sigmoid', 'softmax'].includes(ends[0]!)
  if (ends.includes('softmax') && !isEntropy) return network

  const multiply = productsFor(network)
  const layers = network.layers.map(({ inputs, units, kernel, bias, activations }, index) => ({
    inputs,
    units,
    kernel: kernel.slice(),
    bias: bias.slice(),
    activate: activationOf(activations, index),
    moveKernel: adam(kernel.length, rootMeanSquares(kernel, units)),
    moveBias: adam(units),
  }))
  const weights = layers.reduce((sum, { kernel }) => sum + kernel.length, 0)
  // Each step multiplies each weight three times a row: for the answer, for its own gradient and for that of the layer before.
  const steps = Math.min(maxSteps, Math.floor(maxProducts / (3 * weights * batchRows)))
  const random = randomNumbers()
  for (let step = 1; step <= steps; step++) {
    const batch = new Float32Array(batchRows * inputs)
    const wanted = new Float32Array(batchRows * outputs)
    for (let row = 0; row < batchRows; row++) {
      const from = Math.floor((random() * input.length) / inputs)
      batch.set(input.subarray(from * inputs, (from + 1) * inputs), row * inputs)
      wanted.set(answers.subarray(from * outputs, (from + 1) * outputs), row * outputs)
    }
    const passed: { x: Float32Array; sums: Float32Array }[] = []
    let x = batch
    for (const { kernel, bias, activate, inputs, units } of layers) {
      const sums = multiply(x, kernel, { rows: batchRows, inner: inputs, columns: units, plus: bias })
      passed.push({ x, sums })
      x = sums.slice()
      for (let row = 0; row < batchRows; row++) activate?.(x, row * units, units)
    }
    const rate = (firstRate / 2) * (1 + Math.cos((Math.PI * step) / steps))
    let gradient: Float32Array = x.map((value, at) => (value - wanted[at]!) / batchRows)
    for (let at = layers.length - 1; at >= 0; at--) {
      const { kernel, bias, activate, inputs, units, moveKernel, moveBias } = layers[at]!
      const { x, sums } = passed[at]!
      if (activate !== undefined && !(isEntropy && at === layers.length - 1)) {
        const slopes = slopesOf(activate, sums)
        gradient = gradient.map((value, place) => value * slopes[place]!)
      }
      const ofKernel = multiply(transposed(x, inputs), gradient, {
        rows: inputs,
        inner: batchRows,
        columns: units,
      })
      const ofBias = new Float32Array(units)
      gradient.forEach((value, place) => (ofBias[place % units]! += value))
      if (at > 0)
        gradient = multiply(gradient, transposed(kernel, units), {
          rows: batchRows,
          inner: units,
          columns: inputs,
        })
      moveKernel(kernel, ofKernel, { step, rate })
      moveBias(bias, ofBias, { step, rate: rate * rootMeanSquares(sums, sums.length)[0]! })
    }
  }
  return {
    ...network,
    layers: network.layers.map((layer, at) => ({
      ...layer,
      kernel: layers[at]!.kernel,
      bias: layers[at]!.bias,
    })),
  }
}

/** Returns a function that takes one step against a gradient. `scales`: of the weights of each row, so that a feature may have any unit. */
function adam(count: number, scales: Float64Array = Float64Array.of(1)) {
  const [means, squares] = [new Float32Array(count), new Float32Array(count)]
  const width = count / scales.length
  return (weights: Float32Array, gradient: Float32Array, { step, rate }: { step: number; rate: number }) => {
    const unbiased = (rate * Math.sqrt(1 - squareDecay ** step)) / (1 - meanDecay ** step)
    for (let at = 0; at < count; at++) {
      const slope = gradient[at]!
      means[at] = meanDecay * means[at]! + (1 - meanDecay) * slope
      squares[at] = squareDecay * squares[at]! + (1 - squareDecay) * slope * slope
      if (squares[at]! > 0)
        weights[at]! -= (unbiased * scales[Math.floor(at / width)]! * means[at]!) / Math.sqrt(squares[at]!)
    }
  }
}

/** By central differences, so that no activation needs a second formula. */
function slopesOf(activate: Activation, sums: Float32Array): Float64Array {
  const step = 1e-3
  const [up, down] = [step, -step].map((by) => Float64Array.from(sums, (value) => value + by))
  activate(up!, 0, up!.length)
  activate(down!, 0, down!.length)
  return up!.map((value, at) => (value - down![at]!) / (2 * step))
}

/** Of each row of a matrix. */
function rootMeanSquares(values: Float32Array, width: number): Float64Array {
  const means = new Float64Array(values.length / width)
  values.forEach((value, at) => (means[Math.floor(at / width)]! += (value * value) / width))
  return means.map(Math.sqrt)
}

function transposed(matrix: Float32Array, width: number): Float32Array {
  const rows = matrix.length / width
  const turned = new Float32Array(matrix.length)
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < width; at++) turned[at * rows + row] = matrix[row * width + at]!
  return turned
}

/** Numbers of [0, 1), the same ones each time. */
function randomNumbers(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

interface Sizes {
  rows: number
  inner: number
  columns: number
  /** Added to each row of the product. */
  plus?: Float32Array
}

/** Returns a function that multiplies two matrices, each row by row, of the sizes that the batches of a network have. */
function productsFor({
  layers,
}: Network): (left: Float32Array, right: Float32Array, sizes: Sizes) => Float32Array {
  const largest = Math.max(
    ...layers.map(({ inputs, units }) => {
      const [wide, deep] = [padded(units), padded(inputs)]
      return batchRows * (wide + deep) + wide * deep + wide + deep
    }),
  )
  const memory = memoryFor(largest * 4)
  const run = denseKernelOn(memory)
  const numbers = new Float32Array(memory.buffer)
  return (left, right, { rows, inner, columns, plus = new Float32Array(columns) }) => {
    const stride = padded(columns)
    const packed = padded(rows * inner)
    const added = packed + inner * stride
    const product = added + stride
    numbers.set(left)
    numbers.set(packedWeights(right, inner, columns), packed)
    numbers.fill(0, added, product)
    numbers.set(plus, added)
    run(0, packed * 4, added * 4, product * 4, rows, inner, inner * 4, stride * 4, 0)
    if (stride === columns) return numbers.slice(product, product + rows * columns)
    return Float32Array.from(
      { length: rows * columns },
      (_, at) => numbers[product + Math.floor(at / columns) * stride + (at % columns)]!,
    )
  }
}
