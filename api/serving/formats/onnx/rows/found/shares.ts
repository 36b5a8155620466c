/**
 * Finds what skl2onnx writes for the probabilities of several classes that were scored one by one: the share of each in their sum. Where the
 * sum is 0, either all shares are equal, or all are 0.
 */
import { attributesOf } from '../../attributes.ts'
import type { OnnxNode } from '../../graph.ts'
import { boolType } from '../constants.ts'
import { constantNamed, numberOf, withConstant, type Finder } from './finder.ts'

/** Returns the shares that end with a node: `(p + isNone) / (sum(p) + isNone * classes)`, where `isNone` is 1 if the sum is 0. */
export function sharesAt(node: OnnxNode, finder: Finder): OnnxNode | undefined {
  if (node.op !== 'Div') return undefined
  const [dividend, divisor] = node.inputs.map((name) => finder.makers.get(name))
  if (dividend?.op !== 'Add' || divisor?.op !== 'Add') return undefined
  const [sum = '', product = ''] = divisor.inputs
  const scaled = withConstant(finder.makers.get(product), finder, 'Mul')
  const [p = '', isNone = ''] = dividend.inputs
  if (scaled === undefined || scaled.value !== isNone) return undefined
  if (sumOf(finder.makers.get(sum), finder) !== p || !isWithout(isNone, sum, finder)) return undefined
  return {
    op: 'Shares',
    domain: foundDomain,
    inputs: [p, scaled.constant],
    outputs: node.outputs,
    attributes: new Map(),
  }
}

/** Returns the shares that end with a norm, of probabilities by one linear model for each class. */
export function linearSharesAt(node: OnnxNode, finder: Finder): OnnxNode | undefined {
  if (node.op !== 'LpNormalization') return undefined
  const attributes = attributesOf(node)
  if (attributes.whole('p') !== 1 || attributes.whole('axis') !== 1) return undefined
  const joined = finder.makers.get(node.inputs[0] ?? '')
  const areLinear = joined?.op === 'Concat' && joined.inputs.every((name) => isLinear(name, finder, 0))
  if (!areLinear) return undefined
  const { inputs, outputs } = node
  return { op: 'LinearShares', domain: foundDomain, inputs, outputs, attributes: new Map() }
}

/** Whether a value holds probabilities of linear models, or what is left of them to 1. */
function isLinear(name: string, finder: Finder, depth: number): boolean {
  const node = finder.makers.get(name)
  if (node === undefined || depth > 3) return false
  const isNext = (input: string | undefined): boolean => isLinear(input ?? '', finder, depth + 1)
  switch (node.op) {
    case 'LinearClassifier':
      return node.outputs[1] === name && attributesOf(node).text('post_transform') === 'LOGISTIC'
    case 'Slice':
      return isNext(node.inputs[0])
    case 'Concat':
      return node.inputs.length === 1 && isNext(node.inputs[0])
    case 'Sub':
      return numberOf(node.inputs[0] ?? '', finder) === 1 && isNext(node.inputs[1])
    default:
      return false
  }
}

/** The domain of operators that are in no file. */
export const foundDomain = 'found'

/** Returns the input of a sum of columns, which it keeps as a dimension. */
function sumOf(node: OnnxNode | undefined, finder: Finder): string | undefined {
  if (node?.op !== 'ReduceSum') return undefined
  const attributes = attributesOf(node)
  const given = constantNamed(node.inputs[1] ?? '', finder)
  const axes = given?.size === 1 ? given.values() : attributes.longs('axes')
  const isOfColumns = axes?.length === 1 && axes[0] === 1 && attributes.whole('keepdims') !== 0
  return isOfColumns ? node.inputs[0] : undefined
}

/** Whether a value is 1 where another is 0: a cast of what is not, cast to a truth. */
function isWithout(name: string, of: string, { makers }: Finder): boolean {
  const number = makers.get(name)
  const not = makers.get(number?.inputs[0] ?? '')
  const truth = makers.get(not?.inputs[0] ?? '')
  const isCast = number?.op === 'Cast' && not?.op === 'Not' && truth?.op === 'Cast'
  return isCast && truth.inputs[0] === of && attributesOf(truth).whole('to') === boolType
}
