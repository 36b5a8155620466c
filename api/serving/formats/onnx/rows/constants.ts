/** Reads the constants of a graph: initializers and the values of Constant nodes. */
import type { Attributes } from '../attributes.ts'
import { eachField, numbersOf, spanOf, type WireSpan } from '../wire.ts'

export interface Constant {
  /** The element type, as in TensorProto. */
  type: number
  dims: readonly number[]
  size: number
  /** Whether it was computed and may differ from ONNX Runtime's in the last bit. */
  isRounded?: boolean
  /** Reads the values row by row, when called. Undefined for values that are not numbers of 32 or 64 bits. */
  values(): Float64Array | undefined
}

/** A number, or a number times the rows. */
export interface Dim {
  times: number
  hasRows: boolean
}

/** A small tensor of which some numbers count the rows. */
export interface SizeList {
  type: number
  dims: readonly number[]
  values: readonly Dim[]
  /** As of a constant. */
  isRounded?: boolean
}

export const floatType = 1
export const doubleType = 11
export const [int32Type, int64Type, boolType] = [6, 7, 9] as const
/** For each type: the field with its numbers, their wire type, and the bytes of a number. */
const numberTypes: Readonly<Record<number, readonly [field: number, wire: 0 | 1 | 5, bytes: 4 | 8]>> = {
  [floatType]: [4, 5, 4],
  [int32Type]: [5, 0, 4],
  [int64Type]: [7, 0, 8],
  [doubleType]: [10, 1, 8],
}

/** Reads a tensor that was checked with the graph. */
export function readConstant(tensor: WireSpan): Constant {
  let type = 0
  let raw: WireSpan | undefined
  eachField(tensor, (field) => {
    if (field.number === 2) type = field.value
    else if (field.number === 9) raw = spanOf(tensor.bytes, field)
  })
  const dims = [...numbersOf(tensor, 1, 0)]
  return {
    type,
    dims,
    size: dims.reduce((product, dim) => product * dim, 1),
    values() {
      const found = numberTypes[type]
      if (found === undefined) return undefined
      const [field, wire, bytes] = found
      return raw === undefined ? numbersOf(tensor, field, wire) : rawNumbers(raw, type, bytes)
    },
  }
}

function rawNumbers({ bytes, from, to }: WireSpan, type: number, size: 4 | 8): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset + from, to - from)
  return Float64Array.from({ length: (to - from) / size }, (_, index) => {
    const at = index * size
    if (type === floatType) return view.getFloat32(at, true)
    if (type === doubleType) return view.getFloat64(at, true)
    return type === int32Type ? view.getInt32(at, true) : Number(view.getBigInt64(at, true))
  })
}

/** Reads the value of a Constant node; undefined for texts and sparse tensors. */
export function constantOfNode(attributes: Attributes, span: WireSpan | undefined): Constant | undefined {
  if (span !== undefined) {
    let tensor: WireSpan | undefined
    eachField(span, (field) => {
      if (field.number === 5) tensor = spanOf(span.bytes, field)
    })
    return tensor && readConstant(tensor)
  }
  const [number, whole] = [attributes.number('value_float'), attributes.whole('value_int')]
  if (number !== undefined) return single(floatType, number)
  if (whole !== undefined) return single(int64Type, whole)
  const [numbers, wholes] = [attributes.count('value_floats'), attributes.count('value_ints')]
  if (numbers > 0) return listed(floatType, numbers, () => attributes.numbers('value_floats'))
  return wholes > 0 ? listed(int64Type, wholes, () => attributes.longs('value_ints')) : undefined
}

const single = (type: number, value: number): Constant => ({
  type,
  dims: [],
  size: 1,
  values: () => Float64Array.of(value),
})

const listed = (type: number, size: number, read: () => ArrayLike<number>): Constant => ({
  type,
  dims: [size],
  size,
  values: () => Float64Array.from(read()),
})
