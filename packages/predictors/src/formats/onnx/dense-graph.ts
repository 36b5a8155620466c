/** Reads a graph of dense layers, as PyTorch and scikit-learn write a network of numbers, into a network. */
import type { DenseLayer } from '../../network/batch-norm.ts'
import type { Network } from '../../network/layers-model.ts'
import { attributesOf, readTensor, type Attributes } from './attributes.ts'
import { elementType } from './element-types.ts'
import type { OnnxGraph, OnnxNode } from './graph.ts'
import { readHalves } from './half-weights.ts'
import type { OnnxLayout } from './layout.ts'
import { numbersOf, type WireSpan } from './wire.ts'

/**
 * The most multiplications of a row. A row of two layers of 64 then takes 0.1 × of a call of ONNX Runtime, and 100 rows as long as a call.
 * 100 rows of two layers of 256 take 4 × as long, because its vectors are wider.
 */
const maxWork = 20_000
/** The most outputs behind another activation than Relu, which is a loop here: 100 rows of two layers of 64 with Tanh take 6 × as long. */
const maxActivated = 16

/** The activations by their operators, with the attributes of which ONNX and the network have the same default. */
const activations: ReadonlyMap<string, { name: string; defaults?: readonly string[] }> = new Map([
  ['Relu', { name: 'relu' }],
  ['Sigmoid', { name: 'sigmoid' }],
  ['Tanh', { name: 'tanh' }],
  ['Softmax', { name: 'softmax' }],
  ['Elu', { name: 'elu', defaults: ['alpha'] }],
  ['Selu', { name: 'selu', defaults: ['alpha', 'gamma'] }],
  ['Softplus', { name: 'softplus' }],
  ['Softsign', { name: 'softsign' }],
])

/** Returns the network; undefined for any other graph, and for one that takes long. */
export function networkOfGraph(
  { initializers }: Pick<OnnxGraph, 'initializers'>,
  makers: ReadonlyMap<string, OnnxNode>,
  { inputs, output }: OnnxLayout,
): Network | undefined {
  const [input] = inputs
  if (input === undefined || inputs.length > 1 || input.type !== 'float32') return undefined
  const layers: DenseLayer[] = []
  let value = output
  let after: string[] = []
  let bias: Matrix | undefined
  const constantOf = (name = ''): Matrix | undefined => {
    const maker = makers.get(name)
    const isWidened = maker?.op === 'Cast' && attributesOf(maker).whole('to') === elementType('float')
    const tensor = initializers.get(isWidened ? maker.inputs[0]! : name)
    return tensor && matrixOf(tensor, isWidened ? readHalves : readTensor)
  }
  while (value !== input.name) {
    const node = makers.get(value)
    if (node === undefined || node.domain !== 'ai.onnx' || node.outputs[0] !== value) return undefined
    const attributes = attributesOf(node)
    const activation = activationOf(node, attributes)
    const [first = '', second] = node.inputs
    value = first
    if (activation !== undefined || node.op === 'Identity' || node.op === 'Dropout') {
      if (bias !== undefined) return undefined
      if (activation !== undefined) after.unshift(activation)
      continue
    }
    if (node.op === 'Add' && bias === undefined) {
      const last = constantOf(second)
      bias = last ?? constantOf(first)
      if (bias?.rows !== 1 || bias.columns === 1) return undefined
      value = last === undefined ? second! : first
      continue
    }
    const layer = layerOf(node, attributes, { bias, constantOf })
    if (layer === undefined) return undefined
    layers.unshift({ ...layer, activations: after })
    after = []
    bias = undefined
  }
  const [inner] = layers
  const work = layers.reduce((sum, { inputs: width, units }) => sum + width * units, 0)
  const areQuick = layers.every(
    ({ activations: names, units }, at) =>
      names.every((name) => name === 'relu') || (at === layers.length - 1 && units <= maxActivated),
  )
  const areJoined = layers.every(
    (layer, at) => layer.inputs === (at === 0 ? input.width : layers[at - 1]!.units),
  )
  if (
    inner === undefined ||
    after.length > 0 ||
    bias !== undefined ||
    !areJoined ||
    !areQuick ||
    work > maxWork
  )
    return undefined
  return { inputs: input.width, outputs: layers.at(-1)!.units, layers }
}

function activationOf({ op }: OnnxNode, attributes: Attributes): string | undefined {
  const found = activations.get(op)
  if (found?.defaults?.some((name) => attributes.number(name) !== undefined) === true) return undefined
  return op !== 'Softmax' || [1, -1].includes(attributes.whole('axis') ?? -1) ? found?.name : undefined
}

interface Matrix {
  rows: number
  columns: number
  values: Float32Array
}

/** Reads a tensor of up to two dimensions, into 32 bits. A vector is one row. */
function matrixOf(tensor: WireSpan, read: typeof readTensor): Matrix | undefined {
  const dims = numbersOf(tensor, 1, 0)
  const values = dims.length === 1 || dims.length === 2 ? read(tensor) : undefined
  if (!(values instanceof Float32Array)) return undefined
  return { rows: dims.length === 1 ? 1 : dims[0]!, columns: dims.at(-1)!, values }
}

/** Reads a product with constant weights. */
function layerOf(
  { op, inputs }: OnnxNode,
  attributes: Attributes,
  { bias: added, constantOf }: { bias: Matrix | undefined; constantOf(name?: string): Matrix | undefined },
): Omit<DenseLayer, 'activations'> | undefined {
  const isGemm = op === 'Gemm'
  if (!isGemm && op !== 'MatMul') return undefined
  if (isGemm && ['alpha', 'beta'].some((name) => (attributes.number(name) ?? 1) !== 1)) return undefined
  if ((attributes.whole('transA') ?? 0) !== 0 || (isGemm && (inputs[2] ?? '') !== '' && added !== undefined))
    return undefined
  const weights = constantOf(inputs[1])
  if (weights === undefined) return undefined
  const kernel = isGemm && attributes.whole('transB') === 1 ? transposed(weights) : weights
  const units = kernel.columns
  const hasOwn = isGemm && (inputs[2] ?? '') !== ''
  const bias = hasOwn ? constantOf(inputs[2]) : (added ?? zeros(units))
  if (bias?.rows !== 1 || bias.columns !== units) return undefined
  return { inputs: kernel.rows, units, kernel: kernel.values, bias: bias.values }
}

const zeros = (columns: number): Matrix => ({ rows: 1, columns, values: new Float32Array(columns) })

function transposed({ rows, columns, values }: Matrix): Matrix {
  const into = new Float32Array(values.length)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      into[column * rows + row] = values[row * columns + column]!
  return { rows: columns, columns: rows, values: into }
}
