/** What finds a part of a graph that an exporter writes out: the nodes by their outputs, and the constants. */
import { attributesOf } from '../../attributes.ts'
import type { OnnxNode } from '../../graph.ts'
import { constantOfNode, floatType, type Constant } from '../constants.ts'

export interface Finder {
  makers: ReadonlyMap<string, OnnxNode>
  constants: ReadonlyMap<string, Constant>
}

/** Returns the inputs of a node of a value and a constant. */
export function withConstant(
  node: OnnxNode | undefined,
  finder: Finder,
  op = 'Add',
): { value: string; constant: string } | undefined {
  if (node?.op !== op || node.inputs.length !== 2) return undefined
  const [a, b] = node.inputs as [string, string]
  if (constantNamed(b, finder) !== undefined) return { value: a, constant: b }
  return constantNamed(a, finder) === undefined ? undefined : { value: b, constant: a }
}

export function constantNamed(name: string, { makers, constants }: Finder): Constant | undefined {
  const node = makers.get(name)
  if (node?.op === 'Constant') return constantOfNode(attributesOf(node), node.attributes.get('value'))
  return constants.get(node?.op === 'Identity' ? (node.inputs[0] ?? '') : name)
}

/** Returns a constant of one number. */
export function numberOf(name: string, finder: Finder): number | undefined {
  const constant = constantNamed(name, finder)
  return constant?.size === 1 && constant.type === floatType ? constant.values()?.[0] : undefined
}
