/**
 * Computes what is known of a graph before it has rows: the sizes that exporters take from the shape of a value and calculate with, and small
 * constants. A size may be a multiple of the number of rows, which stays open.
 */
import {
  boolType,
  constantOfNode,
  floatType,
  int32Type,
  int64Type,
  type Constant,
  type Dim,
  type SizeList,
} from '../constants.ts'
import { shapeOfRows, elementsIn } from '../tokens/row-shape.ts'
import type { OperatorContext } from '../row-value.ts'

/** The maximum number of numbers that are calculated with. */
export const maxKnown = 64

type KnownOperator = (context: OperatorContext) => SizeList | undefined

const known = (times: number): Dim => ({ times, hasRows: false })
/** The types whose numbers are calculated with. */
const knownTypes: ReadonlySet<number> = new Set([floatType, int32Type, int64Type, boolType])

/** Returns an input that is known; undefined for values of rows and for larger constants. */
function knownInput(context: OperatorContext, input: number): SizeList | undefined {
  const sizes = context.sizes(input)
  if (sizes !== undefined) return sizes
  const constant = context.roundedConstant(input)
  if (constant === undefined || constant.size > maxKnown || !knownTypes.has(constant.type)) return undefined
  const values = constant.values()
  if (values?.length !== constant.size) return undefined
  const { type, dims, isRounded } = constant
  return { type, dims, isRounded, values: Array.from(values, known) }
}

/** Returns the numbers of an input without rows. */
function numbersIn(context: OperatorContext, input: number): number[] | undefined {
  const found = knownInput(context, input)
  return found?.values.every(({ hasRows }) => !hasRows) === true
    ? found.values.map(({ times }) => times)
    : undefined
}

/** Returns a constant of numbers that are all known; undefined when some count the rows. */
export function constantOf({ type, dims, values, isRounded }: SizeList): Constant | undefined {
  if (values.some(({ hasRows }) => hasRows)) return undefined
  const numbers = Float64Array.from(values, ({ times }) => times)
  return { type, dims, size: numbers.length, isRounded, values: () => numbers }
}

const shape: KnownOperator = (context) => {
  const { attributes } = context
  const value = context.value(0)
  const other = context.sizes(0) ?? context.roundedConstant(0)
  const all =
    value === undefined
      ? other?.dims.map(known)
      : shapeOfRows(value).dims.map((times, at) => ({ times, hasRows: at === shapeOfRows(value).axis }))
  if (all === undefined || all.length > maxKnown) return undefined
  const values = all.slice(attributes.whole('start') ?? 0, attributes.whole('end') ?? all.length)
  return { type: int64Type, dims: [values.length], values }
}

const gather: KnownOperator = (context) => {
  const [from, places] = [knownInput(context, 0), knownInput(context, 1)]
  if (from?.dims.length !== 1 || places === undefined || (context.attributes.whole('axis') ?? 0) > 0)
    return undefined
  const values = places.values.map(({ times }) => from.values[times < 0 ? times + from.values.length : times])
  if (!values.every((value) => value !== undefined)) return undefined
  return { ...from, dims: places.dims, values }
}

const slice: KnownOperator = (context) => {
  const from = knownInput(context, 0)
  const [starts, ends, axes = [0], steps = [1]] = [1, 2, 3, 4].map((input) => numbersIn(context, input))
  if (from?.dims.length !== 1 || starts?.length !== 1 || ends?.length !== 1) return undefined
  if (!(axes.length === 1 && (axes[0] === 0 || axes[0] === -1) && steps.length === 1 && steps[0] === 1))
    return undefined
  // An array is cut as ONNX says, also by numbers beyond its ends.
  const values = from.values.slice(starts[0], ends[0])
  return { ...from, dims: [values.length], values }
}

const concat: KnownOperator = (context) => {
  const { inputs } = context.node
  if (inputs.length > maxKnown) return undefined
  const parts = inputs.map((_, input) => knownInput(context, input))
  const axis = context.attributes.whole('axis')
  if (!(axis === 0 || axis === -1) || !parts.every((part) => part?.dims.length === 1)) return undefined
  const values = parts.flatMap((part) => part!.values)
  if (values.length > maxKnown) return undefined
  return { ...parts[0]!, dims: [values.length], values, isRounded: parts.some((part) => part!.isRounded) }
}

/** Makes a list of a number, or the reverse. */
const redimensioned =
  (rank: 0 | 1): KnownOperator =>
  (context) => {
    const from = knownInput(context, 0)
    return from?.values.length === 1 && from.dims.length === 1 - rank
      ? { ...from, dims: rank === 0 ? [] : [1] }
      : undefined
  }

const reshape: KnownOperator = (context) => {
  const [from, to] = [knownInput(context, 0), numbersIn(context, 1)]
  if (from === undefined || to === undefined || to.length > 1) return undefined
  const isFit = to.length === 0 ? from.values.length === 1 : to[0] === -1 || to[0] === from.values.length
  return isFit ? { ...from, dims: to.length === 0 ? [] : [from.values.length] } : undefined
}

const cast: KnownOperator = (context) => {
  const [from, to] = [knownInput(context, 0), context.attributes.whole('to')]
  const isWhole = to === int64Type || to === int32Type
  if (from === undefined || !(isWhole || to === floatType)) return undefined
  if (from.values.some(({ hasRows }) => hasRows)) return isWhole ? { ...from, type: to } : undefined
  const values = from.values.map(({ times }) => known(isWhole ? Math.trunc(times) : Math.fround(times)))
  // A rounded number may be cut off to another whole one.
  const isSafe =
    !isWhole || (from.isRounded !== true && values.every(({ times }) => Math.abs(times) < 2 ** 31))
  return isSafe ? { ...from, type: to, values } : undefined
}

const constantOfShape: KnownOperator = (context) => {
  const dims = numbersIn(context, 0)
  if (dims === undefined || dims.length > 1 || !(elementsIn(dims) <= maxKnown)) return undefined
  const filled = constantOfNode(context.attributes, context.node.attributes.get('value'))
  const number = filled === undefined ? 0 : filled.values()?.[0]
  if (number === undefined) return undefined
  return {
    type: filled?.type ?? floatType,
    dims,
    values: Array.from({ length: elementsIn(dims) }, () => known(number)),
  }
}

type Calculation = (a: Dim, b: Dim, isWhole: boolean) => Dim | undefined

/** Calculates with two lists, or a list and a number. */
const calculated =
  (
    of: Calculation,
    { type, isRounded = false }: { type?: number; isRounded?: boolean } = {},
  ): KnownOperator =>
  (context) => {
    const [a, b] = [knownInput(context, 0), knownInput(context, 1)]
    if (a === undefined || b === undefined || a.dims.length > 1 || b.dims.length > 1) return undefined
    const [small, large] =
      a.dims.length < b.dims.length || a.values.length < b.values.length ? [a, b] : [b, a]
    if (!(small.values.length === 1 || small.values.length === large.values.length)) return undefined
    const isWhole = a.type !== floatType
    const limit = a.type === int64Type ? Number.MAX_SAFE_INTEGER : 2 ** 31 - 1
    const values = large.values.map((_, at) => {
      const [left, right] = [a, b].map((each) => each.values[each.values.length === 1 ? 0 : at]!)
      const found = of(left!, right!, isWhole)
      if (found === undefined || !isWhole) return found && known(Math.fround(found.times))
      return Math.abs(found.times) <= limit ? found : undefined
    })
    if (!values.every((value) => value !== undefined)) return undefined
    const rounds = isRounded || a.isRounded || b.isRounded
    // A difference in the last bit would be another truth.
    if (rounds && type === boolType) return undefined
    return { type: type ?? a.type, dims: large.dims, values, isRounded: rounds }
  }

const sum =
  (of: (a: number, b: number) => number): Calculation =>
  (a, b) =>
    a.hasRows || b.hasRows ? undefined : known(of(a.times, b.times))

const product: Calculation = (a, b) =>
  a.hasRows && b.hasRows ? undefined : { times: a.times * b.times, hasRows: a.hasRows || b.hasRows }

const quotient: Calculation = (a, b, isWhole) => {
  if (!a.hasRows && !b.hasRows) {
    if (isWhole && b.times === 0) return undefined
    return known(isWhole ? Math.trunc(a.times / b.times) : a.times / b.times)
  }
  const times = a.times / b.times
  return a.hasRows && Number.isInteger(times) ? { times, hasRows: !b.hasRows } : undefined
}

const equal: Calculation = (a, b) => {
  if (a.hasRows === b.hasRows) return known(a.times === b.times ? 1 : 0)
  const [rows, other] = a.hasRows ? [a, b] : [b, a]
  // There is at least one row.
  return rows.times >= 1 && other.times <= 0 ? known(0) : undefined
}

const where: KnownOperator = (context) => {
  const [chooses, a, b] = [0, 1, 2].map((input) => knownInput(context, input))
  const length = chooses?.values.length
  if (chooses === undefined || a === undefined || b === undefined) return undefined
  if (a.values.length !== length || b.values.length !== length) return undefined
  const values = chooses.values.map(({ times }, at) => (times === 0 ? b : a).values[at]!)
  return { ...a, values, isRounded: a.isRounded || b.isRounded }
}

/** Computes a function of each number. */
const mapped =
  (of: (x: number) => number): KnownOperator =>
  (context) => {
    const [from, numbers] = [knownInput(context, 0), numbersIn(context, 0)]
    if (from?.type !== floatType || numbers === undefined) return undefined
    return { ...from, values: numbers.map((each) => known(Math.fround(of(each)))) }
  }

/** Of whole numbers the remainder has the sign of the divisor; of others ONNX Runtime rounds it. */
const remainder: KnownOperator = (context) =>
  context.attributes.whole('fmod') === 1 || context.roundedConstant(0)?.type === floatType
    ? undefined
    : calculated(sum((a, b) => a - b * Math.floor(a / b)))(context)

const identity: KnownOperator = (context) => context.sizes(0)

const operators: ReadonlyMap<string, KnownOperator> = new Map(
  Object.entries({
    Shape: shape,
    Gather: gather,
    Slice: slice,
    Concat: concat,
    Unsqueeze: redimensioned(1),
    Squeeze: redimensioned(0),
    Reshape: reshape,
    Cast: cast,
    ConstantOfShape: constantOfShape,
    Identity: identity,
    Add: calculated(sum((a, b) => a + b)),
    Sub: calculated(sum((a, b) => a - b)),
    Mul: calculated(product),
    Div: calculated(quotient),
    Mod: remainder,
    Equal: calculated(equal, { type: boolType }),
    Where: where,
    Pow: calculated(
      sum((a, b) => a ** b),
      { isRounded: true },
    ),
    Sqrt: mapped(Math.sqrt),
    Reciprocal: mapped((x) => 1 / x),
  }),
)

/** Returns what a node computes without rows; undefined when it needs rows, or is no such operator. */
export function knownOutput(context: OperatorContext): SizeList | undefined {
  const { node } = context
  if (node.domain !== 'ai.onnx' || node.outputs.length !== 1) return undefined
  return operators.get(node.op)?.(context)
}
