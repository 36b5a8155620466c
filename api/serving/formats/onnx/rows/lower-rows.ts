/**
 * Lowers a graph to a row program when it supports every operator that the output needs; any other graph needs ONNX Runtime. A row program
 * answers within the turn of the request, and equals ONNX Runtime up to 32-bit rounding.
 */
import type { Predictor } from '../../../predictor.ts'
import { compileRows, createRowProgram, type RowProgram } from '../../../network/row-program.ts'
import { attributesOf } from '../attributes.ts'
import { onnxLimits, type OnnxGraph, type OnnxNode } from '../graph.ts'
import type { OnnxLayout } from '../layout.ts'
import { categoryOperators } from './category-operators.ts'
import { constantOfNode, readConstant, type Constant } from './constants.ts'
import { comparisonOperators } from './comparison-operators.ts'
import { denseOperators } from './dense-operators.ts'
import { doubleOperators, inMemory } from './double-operators.ts'
import { numberOperators } from './number-operators.ts'
import { pairOperators } from './pair-operators.ts'
import { reductionOperators } from './reduction-operators.ts'
import { addInputs } from './row-inputs.ts'
import { maxRowWork, type OperatorContext, type RowOperator, type RowValue } from './row-value.ts'
import { shapeOperators } from './shape-operators.ts'
import { supportVectorOperators } from './support-vectors.ts'

/** A graph that does not need ONNX Runtime. */
export interface RowGraph {
  outputs: number
  program: RowProgram
  output: RowValue
}

const operators: ReadonlyMap<string, RowOperator> = new Map(
  Object.entries({
    ...denseOperators,
    ...numberOperators,
    ...pairOperators,
    ...reductionOperators,
    ...comparisonOperators,
    ...shapeOperators,
    ...categoryOperators,
    ...supportVectorOperators,
  }),
)

/** Lowers a graph; undefined when it needs ONNX Runtime. Throws `artifact_invalid` for damaged trees. */
export function lowerRows(graph: OnnxGraph, layout: OnnxLayout): RowGraph | undefined {
  const program = createRowProgram()
  const values = addInputs(program, layout)
  const constants = new Map<string, Constant>()
  for (const [name, span] of graph.initializers) if (name !== '') constants.set(name, readConstant(span))
  const uses = new Map<string, number>([[layout.output, 1]])
  for (const node of neededNodes(graph.nodes, uses)) {
    if (!lowerNode(node, { program, values, constants, uses })) return undefined
    if (program.work > maxRowWork) return undefined
  }
  const given = values.get(layout.output)
  if (given === undefined || !(given.type === 'float' || given.type === 'double')) return undefined
  const output = inMemory(program, given)
  if (output.tail.length > 1 || output.width > onnxLimits.outputs) return undefined
  return { outputs: output.width, program, output }
}

/** Returns the nodes that the output needs, in the order of the file. Counts how often each value is read. */
function neededNodes(nodes: readonly OnnxNode[], uses: Map<string, number>): OnnxNode[] {
  const needed: OnnxNode[] = []
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((name) => uses.has(name))) continue
    needed.push(node)
    for (const name of node.inputs) uses.set(name, (uses.get(name) ?? 0) + 1)
  }
  return needed.reverse()
}

interface Lowering {
  program: RowProgram
  values: Map<string, RowValue>
  constants: Map<string, Constant>
  uses: ReadonlyMap<string, number>
}

/** Operators whose small answers ONNX Runtime computes by an approximation, or rounds to 0. */
const coarse = new Set(['Sigmoid', 'LinearClassifier', 'Erf', 'Gelu'])

/** Operators that magnify the differences between small numbers. */
const magnifying = new Set(['Log', 'Sqrt', 'Reciprocal', 'Pow'])

/** Lowers a node; returns false when it needs ONNX Runtime. */
function lowerNode(node: OnnxNode, { program, values, constants, uses }: Lowering): boolean {
  const { op, domain, inputs, outputs } = node
  // ONNX Runtime refuses a name that is in use.
  if (outputs.some((name) => values.has(name) || constants.has(name))) return false
  const attributes = attributesOf(node)
  if (op === 'Constant') {
    const constant = constantOfNode(attributes, node.attributes.get('value'))
    if (constant !== undefined) constants.set(outputs[0] ?? '', constant)
    return constant !== undefined
  }
  const isCoarse = coarse.has(op) || inputs.some((name) => values.get(name)?.isCoarse)
  const dividesByCoarse = op === 'Div' && values.get(inputs[1] ?? '')?.isCoarse === true
  if (dividesByCoarse || (isCoarse && magnifying.has(op))) return false
  const isOfDoubles = inputs.some((name) => values.get(name)?.type === 'double') || op === 'Where'
  const name = `${domain}:${op}`
  const context: OperatorContext = {
    node,
    attributes,
    program,
    value: (input) => values.get(inputs[input] ?? ''),
    constant: (input) => constants.get(inputs[input] ?? ''),
    isLastUse: (input) => uses.get(inputs[input] ?? '') === 1,
  }
  const made = (isOfDoubles ? doubleOperators[name]?.(context) : undefined) ?? operators.get(name)?.(context)
  if (made === undefined) return false
  for (const [place, name] of outputs.entries()) {
    const value = made[place]
    if (value !== undefined && name !== '') values.set(name, isCoarse ? { ...value, isCoarse } : value)
    else if (uses.has(name)) return false
  }
  return true
}

/**
 * Returns a predictor of rows with `width` inputs, of which the graph takes the first. `takesText`: for each text column, whether the graph
 * takes it.
 */
export function predictorOfRows(
  { outputs, program, output }: RowGraph,
  { inputs, takesText }: { inputs: number; takesText: readonly boolean[] },
): { predictor: Predictor; memoryBytes: number } {
  const { run, memoryBytes } = compileRows(program, { output, inputs, takesText })
  return {
    memoryBytes,
    predictor: {
      inputs,
      outputs,
      run(input, rows, into, _order, texts) {
        run(input, rows, into, texts)
        return undefined
      },
    },
  }
}
