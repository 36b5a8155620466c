/**
 * Finds layer normalizations, GELU, softplus and shares of a sum that exporters write out as single operators, and makes each of them one, as ONNX
 * Runtime does for the first two. The square roots of normalizations would otherwise magnify how coarsely ONNX Runtime computes the activations
 * before them.
 */
import { attributesOf } from '../../attributes.ts'
import type { OnnxNode } from '../../graph.ts'
import type { WireSpan } from '../../wire.ts'
import type { Constant } from '../constants.ts'
import { constantNamed, numberOf, withConstant, type Finder } from './finder.ts'
import { linearSharesAt, sharesAt } from './shares.ts'

/** Returns the nodes with what was found as one node each; the same list without any. */
export function withFoundNodes(
  nodes: readonly OnnxNode[],
  constants: ReadonlyMap<string, Constant>,
): readonly OnnxNode[] {
  // Each begins with one of these operators, which few other graphs have.
  if (!nodes.some(({ op }) => ['ReduceMean', 'Erf', 'Not', 'LpNormalization', 'Softplus'].includes(op)))
    return nodes
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)))
  const finder = { makers, constants }
  const found = nodes.map((node) => finders.map((find) => find(node, finder)).find((made) => made) ?? node)
  return found.every((node, at) => node === nodes[at]) ? nodes : found
}

const finders = [normalizationAt, gaussianUnitAt, softplusAt, sharesAt, linearSharesAt]

/** Returns the normalization that ends with a node: `(x - mean) / sqrt(mean of squares + epsilon) * scale + bias`. */
function normalizationAt(node: OnnxNode, finder: Finder): OnnxNode | undefined {
  const sum = node.op === 'Add' ? withConstant(node, finder) : undefined
  const product = sum && withConstant(finder.makers.get(sum.value), finder, 'Mul')
  const quotient = product && finder.makers.get(product.value)
  if (quotient?.op !== 'Div') return undefined
  const difference = finder.makers.get(quotient.inputs[0] ?? '')
  const root = finder.makers.get(quotient.inputs[1] ?? '')
  if (difference?.op !== 'Sub' || root?.op !== 'Sqrt') return undefined
  const raised = withConstant(finder.makers.get(root.inputs[0] ?? ''), finder, 'Add')
  const squares = raised && meanOf(finder.makers.get(raised.value), finder)
  const epsilon = raised && numberOf(raised.constant, finder)
  const [x = '', mean = ''] = difference.inputs
  const isNormalization =
    isSquare(finder.makers.get(squares ?? ''), difference.outputs[0]!, finder) &&
    meanOf(finder.makers.get(mean), finder) === x
  if (!isNormalization || epsilon === undefined || !(epsilon > 0)) return undefined
  return {
    op: 'LayerNormalization',
    domain: 'ai.onnx',
    inputs: [x, product!.constant, sum!.constant],
    outputs: node.outputs,
    attributes: new Map([['epsilon', floatAttribute(epsilon)]]),
  }
}

/** Returns the GELU that ends with a node: `x * (erf(x / √2) + 1) * 0.5`. */
function gaussianUnitAt(node: OnnxNode, finder: Finder): OnnxNode | undefined {
  const half = node.op === 'Mul' ? withConstant(node, finder, 'Mul') : undefined
  const product = half && finder.makers.get(half.value)
  if (product?.op !== 'Mul' || numberOf(half!.constant, finder) !== 0.5) return undefined
  const [x = '', sum = ''] = product.inputs
  const raised = withConstant(finder.makers.get(sum), finder, 'Add')
  const erf = raised && finder.makers.get(raised.value)
  if (erf?.op !== 'Erf' || numberOf(raised!.constant, finder) !== 1) return undefined
  const quotient = finder.makers.get(erf.inputs[0] ?? '')
  const divisor = numberOf(quotient?.inputs[1] ?? '', finder)
  const isScaled =
    (quotient?.op === 'Div' && divisor === Math.fround(Math.SQRT2)) ||
    (quotient?.op === 'Mul' && divisor === Math.fround(Math.SQRT1_2))
  if (!isScaled || quotient!.inputs[0] !== x) return undefined
  return { op: 'Gelu', domain: 'ai.onnx', inputs: [x], outputs: node.outputs, attributes: new Map() }
}

/** Returns the softplus that ends with a node: PyTorch takes the number itself above 20, where softplus has the same 32 bits. */
function softplusAt(node: OnnxNode, finder: Finder): OnnxNode | undefined {
  if (node.op !== 'Where') return undefined
  const [is, x = '', softplus] = node.inputs
  const [greater, other] = [is, softplus].map((name) => finder.makers.get(name ?? ''))
  if (other?.op !== 'Softplus' || other.inputs[0] !== x) return undefined
  const limit = numberOf(greater?.inputs[1] ?? '', finder) ?? 0
  if (greater?.op !== 'Greater' || greater.inputs[0] !== x || limit < 20) return undefined
  return { ...other, outputs: node.outputs }
}

/** Returns the input of a mean along the last dimension, which it keeps. */
function meanOf(node: OnnxNode | undefined, finder: Finder): string | undefined {
  if (node?.op !== 'ReduceMean') return undefined
  const attributes = attributesOf(node)
  const given = constantNamed(node.inputs[1] ?? '', finder)
  const axes = given?.size === 1 ? given.values() : attributes.longs('axes')
  return axes?.length === 1 && axes[0] === -1 && attributes.whole('keepdims') !== 0
    ? node.inputs[0]
    : undefined
}

function isSquare(node: OnnxNode | undefined, of: string, finder: Finder): boolean {
  if (node?.inputs[0] !== of) return false
  if (node.op === 'Mul') return node.inputs[1] === of
  const exponent = constantNamed(node.inputs[1] ?? '', finder)
  return node.op === 'Pow' && exponent?.size === 1 && exponent.values()?.[0] === 2
}

/** Returns an attribute as it is in a file: a number of 32 bits in its field 2. */
function floatAttribute(number: number): WireSpan {
  const bytes = new Uint8Array(5)
  bytes[0] = 2 * 8 + 5
  new DataView(bytes.buffer).setFloat32(1, number, true)
  return { bytes, from: 0, to: bytes.length }
}
