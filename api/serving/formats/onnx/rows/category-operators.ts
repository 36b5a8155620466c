/** Lowers the operators that convert categories, which are texts or integers, to numbers. */
import { DomainError } from '../../../../../domain/errors.ts'
import { addBuffer, addStep, firstFloat, type RowMachine } from '../../../network/row-program.ts'
import { unknownCategory } from './row-inputs.ts'
import { maxRowWork, valueIn, type OperatorContext, type RowOperator, type RowValue } from './row-value.ts'

/** Integers above this are not exact in 32 bits. */
const maxWhole = 2 ** 24

/** Calls `write` with the index of each row's category among the known ones; with `unknownCategory` for any other. */
function eachCategory(
  program: OperatorContext['program'],
  from: RowValue,
  { places, work }: { places: ReadonlyMap<string | number, number>; work: number },
  makeWrite: (machine: RowMachine) => (row: number, place: number) => void,
): void {
  const { codes } = from
  addStep(program, work, (machine) => {
    const { floats } = machine
    const [first, stride] = [firstFloat(from), from.buffer.stride]
    const write = makeWrite(machine)
    if (codes === undefined)
      return (rows) => {
        for (let row = 0; row < rows; row++)
          write(row, places.get(Math.trunc(floats[first + row * stride]!)) ?? unknownCategory)
      }
    // By the time this runs, all operators have added their texts.
    const placeOf = new Int32Array(codes.size).fill(unknownCategory)
    for (const [text, place] of places) placeOf[codes.get(text as string)!] = place
    return (rows) => {
      for (let row = 0; row < rows; row++) {
        const code = floats[first + row * stride]!
        write(row, code < 0 ? code : placeOf[code]!)
      }
    }
  })
}

/** Returns the index of each category; undefined when a category occurs twice. */
function placesOf(
  from: RowValue,
  texts: readonly string[],
  wholes: ArrayLike<number>,
): Map<string | number, number> | undefined {
  const places = new Map<string | number, number>()
  if (from.codes === undefined) {
    for (const whole of Array.from(wholes)) {
      if (Math.abs(whole) >= maxWhole) return undefined
      places.set(whole, places.size)
    }
    return places.size === wholes.length ? places : undefined
  }
  for (const text of texts) {
    const bytes = Buffer.from(text).toString('latin1')
    places.set(bytes, places.size)
    if (!from.codes.has(bytes)) from.codes.set(bytes, from.codes.size)
  }
  return places.size === texts.length ? places : undefined
}

const oneHot: RowOperator = ({ node, attributes, value, program }) => {
  const from = value(0)
  if (from === undefined || from.width !== 1 || from.tail.length !== 1) return undefined
  const isText = from.type === 'text'
  // Numbers are cut off, so that another last bit may be another category.
  if (!(isText || from.type === 'whole' || (from.type === 'float' && from.isExact))) return undefined
  const refusesOthers = attributes.whole('zeros') === 0
  const [texts, wholes] = [attributes.count('cats_strings'), attributes.count('cats_int64s')]
  const [count, others] = isText ? [texts, wholes] : [wholes, texts]
  if (count === 0 || others > 0 || program.work + count > maxRowWork) return undefined
  const places = placesOf(from, attributes.texts('cats_strings'), attributes.longs('cats_int64s'))
  if (places === undefined) return undefined
  const buffer = addBuffer(program, count)
  eachCategory(program, from, { places, work: count + 32 }, (machine) => (row, place) => {
    if (refusesOthers && place === unknownCategory)
      throw new DomainError(
        'unknown_category',
        `instance ${machine.firstRow + row}: the model refuses categories that it has not seen in training (${node.inputs[0]})`,
      )
    const { floats } = machine
    const at = buffer.at + row * buffer.stride
    for (let k = 0; k < count; k++) floats[at + k] = 0
    if (place >= 0) floats[at + place] = 1
  })
  return [valueIn(buffer, count, { tail: [1, count], isExact: true })]
}

/** The supported attributes of a LabelEncoder. Any other, such as default_tensor, changes its meaning. */
const encoderAttributes = new Set([
  'keys_strings',
  'values_floats',
  'values_int64s',
  'default_float',
  'default_int64',
  'default_string',
])

/** Encodes texts only. */
const labelEncoder: RowOperator = ({ node, attributes, value, program }) => {
  const from = value(0)
  if (from?.type !== 'text' || ![...node.attributes.keys()].every((name) => encoderAttributes.has(name)))
    return undefined
  const count = attributes.count('keys_strings')
  // Categories count as work, which limits their memory.
  if (count === 0 || program.work + count > maxRowWork) return undefined
  const texts = attributes.texts('keys_strings')
  const isFloat = attributes.count('values_floats') > 0
  if (attributes.count('values_floats') + attributes.count('values_int64s') !== count) return undefined
  const numbers = isFloat ? attributes.numbers('values_floats') : attributes.longs('values_int64s')
  const other = isFloat
    ? (attributes.number('default_float') ?? -0)
    : (attributes.whole('default_int64') ?? -1)
  if (!isFloat && [other, ...numbers].some((each) => Math.abs(each) >= maxWhole)) return undefined
  const places = placesOf(from, texts, [])
  if (places === undefined) return undefined
  const buffer = addBuffer(program, 1)
  eachCategory(program, from, { places, work: count + 32 }, ({ floats }) => (row, place) => {
    floats[buffer.at + row * buffer.stride] = place < 0 ? other : numbers[place]!
  })
  return [valueIn(buffer, 1, { type: isFloat ? 'float' : 'whole', tail: from.tail, isExact: true })]
}

export const categoryOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx.ml:OneHotEncoder': oneHot,
  'ai.onnx.ml:LabelEncoder': labelEncoder,
}
