/** Computes dense networks with 32 bits as in training, layer by layer over blocks of rows. */
import { activationOf } from './activations.ts'
import type { DensePredictor } from './scalar-predictor.ts'
import type { Network } from './layers-model.ts'
import { memoryFor, instantiate, type Run } from './wasm-instance.ts'
import * as wasm from './wasm-encoder.ts'
import type { Code } from './wasm-encoder.ts'

/** The number of floats that fit into the processor's cache. */
const cachedFloats = 32_768

/** Compiles the network. Throws `artifact_invalid` for an unknown activation. */
export function compileDense(network: Network): DensePredictor {
  const widest = Math.max(network.inputs, ...network.layers.map(({ units }) => padded(units)))
  const blockRows = Math.max(4, Math.min(256, Math.floor(cachedFloats / widest) & ~3))
  let bytes = 0
  const reserve = (floats: number): number => {
    const at = bytes
    bytes += padded(floats) * 4
    return at
  }
  const layers = network.layers.map(({ inputs, units, activations }, index) => {
    const isRelu = activations.filter((name) => name !== 'linear').join() === 'relu'
    return {
      inputs,
      units,
      /** The bytes of a row of outputs, padded to whole vectors. */
      stride: padded(units) * 4,
      weights: reserve(inputs * padded(units)),
      bias: reserve(units),
      isRelu: isRelu ? 1 : 0,
      activation: isRelu ? undefined : activationOf(activations, index),
    }
  })
  const front = reserve(blockRows * widest)
  const back = reserve(blockRows * widest)
  const memory = memoryFor(bytes)
  const floats = new Float32Array(memory.buffer)
  layers.forEach((layer, index) => {
    const { kernel, bias: biases } = network.layers[index]!
    floats.set(packedWeights(kernel, layer.inputs, layer.units), layer.weights / 4)
    floats.set(biases, layer.bias / 4)
  })
  const run = denseKernelOn(memory)

  /** Runs all layers and returns the position of the outputs, in floats. */
  const runLayers = (count: number): number => {
    let [from, to] = [front, back]
    let stride = network.inputs * 4
    for (let i = 0; i < layers.length; i++) {
      const layer = layers[i]!
      run(from, layer.weights, layer.bias, to, count, layer.inputs, stride, layer.stride, layer.isRelu)
      stride = layer.stride
      if (layer.activation !== undefined)
        for (let row = 0; row < count; row++) layer.activation(floats, (to + row * stride) / 4, layer.units)
      const swap = from
      from = to
      to = swap
    }
    return from / 4
  }
  const outputStride = padded(network.outputs)
  return {
    inputs: network.inputs,
    outputs: network.outputs,
    run(input, rows, output) {
      for (let row = 0; row < rows; row += blockRows) {
        const count = Math.min(blockRows, rows - row)
        const start = row * network.inputs
        const end = start + count * network.inputs
        // Converts from 64 to 32 bits in a loop, which takes less time than a call of `set`.
        for (let i = start; i < end; i++) floats[front / 4 + i - start] = input[i]!
        const at = runLayers(count)
        for (let i = 0; i < count; i++)
          for (let j = 0; j < network.outputs; j++)
            output[(row + i) * network.outputs + j] = floats[at + i * outputStride + j]!
      }
      return undefined
    },
  }
}

// Computes the sums of dense layers four numbers at a time in WebAssembly, with 32 bits as in training. For a batch, this is ten times as
// fast as scalar loops. The order of each sum does not depend on the batch, so a row gets the same bits alone and in a batch.

/**
 * The parameters of the kernel. Addresses and strides are in bytes, and the units of a row are a multiple of four. `weights` is the address
 * of `packedWeights`.
 */
const [x, weights, bias, y, rows, inputs, xStride, yStride, isRelu] = [0, 1, 2, 3, 4, 5, 6, 7, 8] as const
const parameterCount = 9
/** The local integers of the kernel. */
const [unit, left, weightAt, nextPanel, offset] = [9, 10, 11, 12, 13] as const
const xAt = (row: number): number => 14 + row
const numberCount = 9
/** The local vectors of the kernel: sums of up to four rows and four groups of units, and the weights. */
const firstVector = parameterCount + numberCount
const sum = (row: number, group: number): number => firstVector + row * 4 + group
const weight = (group: number): number => firstVector + 16 + group
const spread = firstVector + 20
const vectorCount = 21

/** The units of a panel, whose weights are stored together. */
const panelUnits = 8
const panelGroups = 2
const { get, set, constant, add, vectorBytes } = wasm

/** Rounds a number of floats up to whole vectors. */
export const padded = (count: number): number => (count + 3) & ~3

/**
 * Packs weights for the kernel, which then reads them one after the other: the weights of eight units for all inputs, then of the next
 * eight. The weight from input i to unit j is at i * units + j of `kernel`.
 */
export function packedWeights(kernel: Float32Array, inputs: number, units: number): Float32Array {
  const packed = new Float32Array(inputs * padded(units))
  for (let first = 0; first < units; first += panelUnits) {
    const width = Math.min(panelUnits, padded(units) - first)
    const count = Math.min(width, units - first)
    for (let i = 0; i < inputs; i++) {
      const to = first * inputs + i * width
      for (let j = 0; j < count; j++) packed[to + j] = kernel[i * units + first + j]!
    }
  }
  return packed
}

/** Writes the code for the sums of some rows and some groups of four units, over all inputs. */
function tile(rowCount: number, groupCount: number): Code {
  const rowsOf = Array.from({ length: rowCount }, (_, row) => row)
  const groups = Array.from({ length: groupCount }, (_, group) => group)
  const pairs = rowsOf.flatMap((row) => groups.map((group) => ({ row, group })))
  const inputBytes = Math.min(groupCount, panelGroups) * vectorBytes
  const isWide = groupCount > panelGroups
  const weightsOf = (group: number): Code =>
    wasm.load(get(group < panelGroups ? weightAt : nextPanel), (group % panelGroups) * vectorBytes)
  const step = [
    ...groups.flatMap((group) => set(weight(group), weightsOf(group))),
    ...rowsOf.flatMap((row) => [
      ...set(spread, wasm.loadSplat(add(get(xAt(row)), get(offset)))),
      ...groups.flatMap((group) =>
        set(
          sum(row, group),
          wasm.addFloats(get(sum(row, group)), wasm.multiplyFloats(get(spread), get(weight(group)))),
        ),
      ),
    ]),
    ...set(weightAt, add(get(weightAt), constant(inputBytes))),
    ...(isWide ? set(nextPanel, add(get(nextPanel), constant(inputBytes))) : []),
    ...set(offset, add(get(offset), constant(4))),
    ...set(left, wasm.subtract(get(left), constant(1))),
  ]
  const relu = pairs.flatMap(({ row, group }) =>
    set(sum(row, group), wasm.larger(get(sum(row, group)), wasm.zeros)),
  )
  const panelBytes = wasm.multiply(get(inputs), constant(panelUnits * 4))
  return [
    ...pairs.flatMap(({ row, group }) =>
      set(sum(row, group), wasm.load(add(get(bias), get(unit)), group * vectorBytes)),
    ),
    ...set(weightAt, add(get(weights), wasm.multiply(get(unit), get(inputs)))),
    ...(isWide ? set(nextPanel, add(get(weightAt), panelBytes)) : []),
    ...set(offset, constant(0)),
    ...set(left, get(inputs)),
    ...wasm.repeatWhile(get(left), step),
    ...wasm.when(get(isRelu), relu),
    ...rowsOf.flatMap((row) => {
      const at = add(add(get(y), get(unit)), wasm.multiply(get(yStride), constant(row)))
      return groups.flatMap((group) => wasm.store(at, group * vectorBytes, get(sum(row, group))))
    }),
    ...set(unit, add(get(unit), constant(groupCount * vectorBytes))),
  ]
}

/** Writes the code for some rows: tiles of each number of groups, the widest first. Tiles of one group come last, as that ends a panel. */
function rowsOfTiles(rowCount: number, groupCounts: readonly number[]): Code {
  const fits = (groups: number) => wasm.isAtMost(add(get(unit), constant(groups * vectorBytes)), get(yStride))
  return wasm.loopWhile(wasm.isAtMost(constant(rowCount), get(rows)), [
    ...Array.from({ length: rowCount }, (_, row) =>
      set(xAt(row), add(get(x), wasm.multiply(get(xStride), constant(row)))),
    ).flat(),
    ...set(unit, constant(0)),
    ...groupCounts.flatMap((groups) => wasm.loopWhile(fits(groups), tile(rowCount, groups))),
    ...set(x, add(get(x), wasm.multiply(get(xStride), constant(rowCount)))),
    ...set(y, add(get(y), wasm.multiply(get(yStride), constant(rowCount)))),
    ...set(rows, wasm.subtract(get(rows), constant(rowCount))),
  ])
}

let compiled: WebAssembly.Module | undefined

/** Returns the kernel, which rounds each product and each sum, as `scalar-predictor.ts` does with 32 bits. */
export function denseKernelOn(memory: WebAssembly.Memory): Run {
  compiled ??= new WebAssembly.Module(
    wasm.moduleOf({ parameters: parameterCount, numbers: numberCount, vectors: vectorCount }, [
      ...rowsOfTiles(4, [2, 1]),
      ...rowsOfTiles(1, [4, 2, 1]),
    ]),
  )
  return instantiate(compiled, memory)
}
