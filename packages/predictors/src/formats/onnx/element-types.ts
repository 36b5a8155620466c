/** Lists the element types of tensors, by their number in TensorProto. */

const names = [
  'no type',
  'float',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  'string',
  'bool',
  'float16',
  'double',
  'uint32',
  'uint64',
  'complex64',
  'complex128',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
  'uint4',
  'int4',
] as const

/** Returns the name of a type as ONNX writes it; the number of a type that this release does not know; `no type` in a damaged file. */
export const elementTypeName = (type: number): string =>
  names[type] ?? (Number.isInteger(type) ? String(type) : 'no type')

/** Returns the number of a type. */
export const elementType = (name: (typeof names)[number]): number => names.indexOf(name)

export interface StoredElements {
  bits: number
  /** The field of TensorProto with a list of such elements, and the wire type of one element. */
  field: number
  wire: 0 | 1 | 5
  /** How many elements one number of the list holds. */
  inOne: number
}

const stored = (bits: number, field: number, wire: 0 | 1 | 5, inOne = 1): StoredElements => ({
  bits,
  field,
  wire,
  inOne,
})
const byte = stored(8, 5, 0)
const half = stored(16, 5, 0)
const nibble = stored(4, 5, 0, 2)

/** How the elements of a type are stored; absent for texts and unsupported types. */
export const storedElements: Readonly<Record<number, StoredElements>> = {
  1: stored(32, 4, 5),
  2: byte,
  3: byte,
  4: half,
  5: half,
  6: stored(32, 5, 0),
  7: stored(64, 7, 0),
  9: byte,
  10: half,
  11: stored(64, 10, 1),
  12: stored(32, 11, 0),
  13: stored(64, 11, 0),
  16: half,
  17: byte,
  18: byte,
  19: byte,
  20: byte,
  21: nibble,
  22: nibble,
}
