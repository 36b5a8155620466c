/**
 * Lowers a graph to a row program when it supports every operator that the output needs; any other graph needs ONNX Runtime. A row program
 * answers within the turn of the request, and equals ONNX Runtime up to 32-bit rounding.
 */
import type { Predictor } from '../../../predictor.ts'
import { compileRows, createRowProgram, type RowProgram } from '../../../network/row-program.ts'
import { attributesOf, type Attributes } from '../attributes.ts'
import { onnxLimits, type OnnxGraph, type OnnxNode } from '../graph.ts'
import type { OnnxLayout } from '../layout.ts'
import { arrangingOperators } from './tokens/arranging-operators.ts'
import { inOrder } from './tokens/arrangement.ts'
import { categoryOperators } from './category-operators.ts'
import { computedConstant } from './known/constant-operators.ts'
import { constantOfNode, readConstant, type Constant, type SizeList } from './constants.ts'
import { comparisonOperators } from './comparison-operators.ts'
import { denseOperators } from './dense-operators.ts'
import { doubleLayerOperators } from './doubles/double-layers.ts'
import { doubleOperators, inMemory } from './doubles/double-operators.ts'
import { constantOf, knownOutput } from './known/known-values.ts'
import { numberOperators } from './number-operators.ts'
import { pairOperators } from './pair-operators.ts'
import { productOperators } from './tokens/product-operators.ts'
import { reductionOperators } from './reduction-operators.ts'
import { addInputs } from './row-inputs.ts'
import { isOrdinaryRow } from './tokens/row-shape.ts'
import { maxRowWork, type OperatorContext, type RowOperator, type RowValue } from './row-value.ts'
import { shapeOperators } from './shape-operators.ts'
import { supportVectorOperators } from './support-vectors/support-vectors.ts'
import { withFoundNodes } from './found/written-out.ts'
import { wholeOperators } from './whole-operators.ts'
import { tokenOperators } from './tokens/token-operators.ts'
import { inTurns, maxTurnWork } from './turns.ts'

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

/** The operators of values with several dimensions, and with rows at any place among them. */
const wideOperators: ReadonlyMap<string, RowOperator> = new Map(
  Object.entries({ ...arrangingOperators, ...tokenOperators, ...productOperators }),
)

const doubles: Readonly<Record<string, RowOperator>> = { ...doubleOperators, ...doubleLayerOperators }

/** The operators of single numbers, for which the shape of a value does not count. */
const shapelessOperators = new Set(
  [
    'Abs Neg Reciprocal Sqrt LeakyRelu HardSigmoid Softsign HardSwish Sign Floor Ceil Exp Log Sigmoid Softplus Tanh Erf Gelu Elu Celu',
    'Selu Relu Clip Pow Sin Cos Mish Identity',
  ].flatMap((names) => names.split(' ').map((name) => `ai.onnx:${name}`)),
)

/** Lowers a graph; undefined when it needs ONNX Runtime. Throws `artifact_invalid` for damaged trees. */
export function lowerRows(graph: OnnxGraph, layout: OnnxLayout): RowGraph | undefined {
  const initializers = new Map<string, Constant>()
  for (const [name, span] of graph.initializers) if (name !== '') initializers.set(name, readConstant(span))
  const nodes = withFoundNodes(graph.nodes, initializers)
  const found = lowerNodes(nodes, layout, initializers)
  return found === undefined && nodes !== graph.nodes ? lowerNodes(graph.nodes, layout, initializers) : found
}

function lowerNodes(
  nodes: readonly OnnxNode[],
  layout: OnnxLayout,
  initializers: ReadonlyMap<string, Constant>,
): RowGraph | undefined {
  const program = createRowProgram()
  const values = addInputs(program, layout)
  const constants = new Map(initializers)
  const sizes = new Map<string, SizeList>()
  const uses = new Map<string, number>([[layout.output, 1]])
  for (const node of neededNodes(nodes, uses)) {
    if (!lowerNode(node, { program, values, constants, sizes, uses })) return undefined
    if (program.work > maxRowWork || program.constantCount > maxConstants) return undefined
  }
  const given = values.get(layout.output)
  if (given === undefined || !(given.type === 'float' || given.type === 'double')) return undefined
  if (given.shape !== undefined) return undefined
  const output = inMemory(program, inOrder(program, given))
  if (output.tail.length > 1 || output.width > onnxLimits.outputs) return undefined
  return { outputs: output.width, program, output }
}

/** Returns the nodes that the output needs, in the order of the file. Counts how often each value is read. */
export function neededNodes(nodes: readonly OnnxNode[], uses: Map<string, number>): OnnxNode[] {
  const needed: OnnxNode[] = []
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((name) => uses.has(name))) continue
    needed.push(node)
    // The shape of a value is known without its numbers, which may then be changed in place.
    const reads = node.op === 'Shape' ? 0 : 1
    for (const name of node.inputs) uses.set(name, (uses.get(name) ?? 0) + reads)
  }
  return needed.reverse()
}

interface Lowering {
  program: RowProgram
  values: Map<string, RowValue>
  constants: Map<string, Constant>
  /** What is known beside the constants: sizes of which some count the rows. */
  sizes: Map<string, SizeList>
  uses: ReadonlyMap<string, number>
}

/**
 * The maximum numbers of all constants of a program: 80 MB, more than a file has. Several nodes may read one constant, and each has a copy of
 * it.
 */
const maxConstants = 20_000_000

/** Operators whose small answers ONNX Runtime computes by an approximation, or rounds to 0; with 64 bits they are computed alike. */
const coarse = new Set(['Sigmoid', 'Erf', 'Gelu', 'SVMClassifier'])

/** Whether a node answers small numbers otherwise than ONNX Runtime, or passes such numbers on. */
function isCoarseNode({ op, inputs }: OnnxNode, attributes: Attributes, values: Lowering['values']): boolean {
  const given = inputs.flatMap((name) => values.get(name) ?? [])
  if (given.some(({ isCoarse }) => isCoarse)) return true
  if (op === 'LinearClassifier') return (attributes.text('post_transform') ?? 'NONE') !== 'NONE'
  return coarse.has(op) && (op === 'SVMClassifier' || given.some(({ type }) => type !== 'double'))
}

/** The input by whose numbers an operator divides. */
const divisors: ReadonlyMap<string, number> = new Map([
  ['Div', 1],
  ['LpNormalization', 0],
  ['Shares', 0],
])

/** Operators that magnify the differences between small numbers. */
const magnifying = new Set(['Log', 'Sqrt', 'Reciprocal', 'Pow'])

/** Lowers a node; returns false when it needs ONNX Runtime. */
function lowerNode(node: OnnxNode, { program, values, constants, sizes, uses }: Lowering): boolean {
  const { op, inputs, outputs } = node
  // ONNX Runtime refuses a name that is in use.
  if (outputs.some((name) => values.has(name) || constants.has(name) || sizes.has(name))) return false
  const attributes = attributesOf(node)
  if (op === 'Constant') {
    const constant = constantOfNode(attributes, node.attributes.get('value'))
    if (constant !== undefined) constants.set(outputs[0] ?? '', constant)
    return constant !== undefined
  }
  const context: OperatorContext = {
    node,
    attributes,
    program,
    value: (input) => values.get(inputs[input] ?? ''),
    constant(input) {
      const constant = constants.get(inputs[input] ?? '')
      return constant?.isRounded === true ? undefined : constant
    },
    roundedConstant: (input) => constants.get(inputs[input] ?? ''),
    sizes: (input) => sizes.get(inputs[input] ?? ''),
    isLastUse: (input) => uses.get(inputs[input] ?? '') === 1,
  }
  if (op === 'Shape' || !inputs.some((name) => values.has(name))) {
    const known = knownOutput(context)
    const constant = known === undefined ? computedConstant(context) : constantOf(known)
    if (constant !== undefined) constants.set(outputs[0]!, constant)
    else if (known !== undefined) sizes.set(outputs[0]!, known)
    if (known !== undefined || constant !== undefined) return true
  }
  const isCoarse = isCoarseNode(node, attributes, values)
  const divisor = divisors.get(op)
  const dividesByCoarse = divisor !== undefined && values.get(inputs[divisor] ?? '')?.isCoarse === true
  if (dividesByCoarse || (isCoarse && magnifying.has(op))) return false
  const made = madeBy(context)
  if (made === undefined) return false
  for (const [place, name] of outputs.entries()) {
    const value = made[place]
    if (value !== undefined && name !== '') values.set(name, isCoarse ? { ...value, isCoarse } : value)
    else if (uses.has(name)) return false
  }
  return true
}

/** Lowers a node by the operators of plain values, or by those of values in any shape. */
function madeBy(context: OperatorContext): ReturnType<RowOperator> {
  const { node, program } = context
  const name = `${node.domain}:${node.op}`
  const given = node.inputs.map((_, input) => context.value(input)).filter((value) => value !== undefined)
  const plain = (of: OperatorContext): ReturnType<RowOperator> => {
    const isOfDoubles = given.some(({ type }) => type === 'double') || node.op === 'Where'
    return (isOfDoubles ? doubles[name]?.(of) : undefined) ?? operators.get(name)?.(of)
  }
  if (given.every(isOrdinaryRow))
    return plain(context) ?? wideOperators.get(name)?.(context) ?? wholeOperators[name]?.(context)
  const made = shapelessOperators.has(name) ? plain(context) : wideOperators.get(name)?.(context)
  if (made !== undefined || given.some(({ shape }) => shape !== undefined)) return made
  const ordered = new Map(given.map((value) => [value, inOrder(program, value)]))
  return plain({ ...context, value: (input) => ordered.get(context.value(input)!) })
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
  const rowsAtOnce = Math.max(1, Math.floor(maxTurnWork / program.work))
  const runInTurns: Predictor['run'] = (input, rows, into, order, texts) => {
    let textAt = 0
    return inTurns({ rows, rowsAtOnce, order }, (from, to) => {
      textAt = run(input, to, into, texts, from, textAt)
    })
  }
  return {
    memoryBytes,
    predictor: {
      inputs,
      outputs,
      run(input, rows, into, order, texts) {
        if (rows > rowsAtOnce) return runInTurns(input, rows, into, order, texts)
        run(input, rows, into, texts)
        return undefined
      },
    },
  }
}
