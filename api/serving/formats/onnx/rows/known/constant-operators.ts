/** Computes constants from constants of any size: under another name, with other dimensions, or transposed. */
import { takesPlaces } from '../tokens/arrangement.ts'
import { floatType, type Constant } from '../constants.ts'
import { placesBy, elementsIn, stridesOf } from '../tokens/row-shape.ts'
import { givenList, shortList, type OperatorContext } from '../row-value.ts'

type ConstantOperator = (context: OperatorContext, from: Constant) => Constant | undefined

const transpose: ConstantOperator = ({ program, attributes }, from) => {
  const { dims } = from
  const given = attributes.longs('perm')
  const order = given.length > 0 ? [...given] : dims.map((_, at) => dims.length - 1 - at)
  if (order.length !== dims.length || new Set(order).size < order.length) return undefined
  if (!order.every((axis) => dims[axis] !== undefined) || !takesPlaces(program, from.size)) return undefined
  const values = from.values()
  if (values?.length !== from.size) return undefined
  const strides = stridesOf(dims)
  const turned = order.map((axis) => dims[axis]!)
  const places = placesBy(
    turned,
    order.map((axis) => strides[axis]!),
  )
  const moved = Float64Array.from(places, (place) => values[place]!)
  return { ...from, dims: turned, values: () => moved }
}

const unsqueeze: ConstantOperator = (context, from) => {
  const axes = givenList(context, 'axes', 1)
  if (axes?.length !== 1 || axes[0]! < 0 || axes[0]! > from.dims.length) return undefined
  return { ...from, dims: from.dims.toSpliced(axes[0]!, 0, 1) }
}

const reshape: ConstantOperator = (context, from) => {
  const dims = shortList(context.constant(1))
  if (dims === undefined || dims.length > 8 || !dims.every((dim) => dim >= 1)) return undefined
  return elementsIn([...dims]) === from.size ? { ...from, dims: [...dims] } : undefined
}

/** Squares numbers of 32 bits. Other powers may differ in the last bit. */
const square: ConstantOperator = (context, from) => {
  const exponent = context.constant(1)
  const values = from.type === floatType && from.size <= maxConstantSize ? from.values() : undefined
  if (exponent?.size !== 1 || exponent.values()?.[0] !== 2 || exponent.dims.length > from.dims.length)
    return undefined
  const squares = values?.map((each) => Math.fround(each * each))
  return squares && { ...from, values: () => squares }
}
const maxConstantSize = 100_000

const operators: Readonly<Record<string, ConstantOperator>> = {
  Pow: square,
  Identity: (_, from) => from,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
  Reshape: reshape,
}

/** Returns the constant that a node makes of another; undefined for another operator. */
export function computedConstant(context: OperatorContext): Constant | undefined {
  const { node } = context
  const from = context.roundedConstant(0)
  const operator = Object.hasOwn(operators, node.op) ? operators[node.op] : undefined
  if (from === undefined || node.domain !== 'ai.onnx' || node.outputs.length !== 1) return undefined
  return operator?.(context, from)
}
