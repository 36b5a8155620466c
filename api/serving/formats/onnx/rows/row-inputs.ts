/** Copies the rows of a request into the memory of a row program: their numbers, and the codes of their texts. */
import { noText } from '../../../../../domain/model/batch-spec.ts'
import {
  addBuffer,
  addDoubleBuffer,
  addStep,
  type RowMachine,
  type RowProgram,
} from '../../../network/row-program.ts'
import type { OnnxInput, OnnxLayout } from '../layout.ts'
import { columnsInBuffer } from './doubles/double-operators.ts'
import { valueIn, type DoubleColumn, type RowValue } from './row-value.ts'

const typeOf = {
  float32: 'float',
  float64: 'double',
  int32: 'whole',
  int64: 'whole',
  bool: 'bool',
  string: 'text',
} as const

/** Adds the inputs, and returns their values by name. */
export function addInputs(program: RowProgram, { inputs }: OnnxLayout): Map<string, RowValue> {
  const numbers = inputs.filter(({ type }) => type !== 'string')
  const texts = inputs.filter(({ type }) => type === 'string')
  const values = new Map<string, RowValue>()
  const width = numbers.reduce((sum, input) => sum + input.width, 0)
  if (width > 0) {
    const buffer = addNumbers(program, numbers, width)
    let column = 0
    for (const input of numbers) {
      const more = { type: typeOf[input.type], isExact: true, isOwn: false }
      values.set(input.name, {
        ...valueIn(buffer, input.width, more),
        column,
        ...doublesOfInput(program, input, column),
      })
      column += input.width
    }
  }
  if (texts.length > 0) {
    const codes = texts.map(() => new Map<string, number>())
    const buffer = addTexts(program, codes)
    for (const [column, { name }] of texts.entries())
      values.set(name, {
        ...valueIn(buffer, 1, { type: 'text', isExact: true, isOwn: false, codes: codes[column] }),
        column,
      })
  }
  return values
}

/** Returns the numbers of an input of more than 32 bits. Those of 64 bits are stored, because most operators read all of them. */
function doublesOfInput(
  program: RowProgram,
  { type, width }: OnnxInput,
  first: number,
): Pick<RowValue, 'doubles' | 'stored'> {
  if (type === 'float32') return {}
  if (type !== 'float64') return { doubles: doublesOf(first, width) }
  const stored = addDoubleBuffer(program, width)
  addStep(program, width, (machine) => {
    const { doubles, inputs } = machine
    return (rows) => {
      const { input, firstRow } = machine
      for (let row = 0; row < rows; row++) {
        const [from, to] = [(firstRow + row) * inputs + first, stored.at / 2 + row * (stored.stride / 2)]
        for (let k = 0; k < width; k++) doubles[to + k] = input[from + k]!
      }
    }
  })
  return { doubles: columnsInBuffer(stored, width), stored }
}

/** Reads numbers as they were sent, before the memory rounds them. An input of 32 bits is rounded for the graph as well. */
const doublesOf = (first: number, width: number): DoubleColumn[] =>
  Array.from({ length: width }, (_, k): DoubleColumn => (machine) => {
    const { inputs } = machine
    return (row) => machine.input[(machine.firstRow + row) * inputs + first + k]!
  })

function addNumbers(program: RowProgram, numbers: readonly OnnxInput[], width: number) {
  const buffer = addBuffer(program, width)
  const truths = numbers.flatMap(({ type, width: count }) => Array<boolean>(count).fill(type === 'bool'))
  const hasTruths = truths.includes(true)
  addStep(program, width, (machine) => {
    const { floats, inputs } = machine
    return (rows) => {
      const { input, firstRow } = machine
      for (let row = 0; row < rows; row++) {
        const [from, to] = [(firstRow + row) * inputs, buffer.at + row * buffer.stride]
        for (let k = 0; k < width; k++) floats[to + k] = input[from + k]!
      }
      if (!hasTruths) return
      for (let row = 0; row < rows; row++)
        for (let k = 0; k < width; k++) {
          const at = buffer.at + row * buffer.stride + k
          if (truths[k]) floats[at] = floats[at] === 0 ? 0 : 1
        }
    }
  })
  return buffer
}

/** The code of an unknown category. */
export const unknownCategory = -1
/** The code in a run without texts, which warms up the program. */
const withoutTexts = -2

/** The work of reading a text, in multiplications. */
const textWork = 128

function addTexts(program: RowProgram, codes: readonly ReadonlyMap<string, number>[]) {
  const buffer = addBuffer(program, codes.length)
  addStep(program, codes.length * textWork, (machine) => (rows) => {
    const { floats, texts } = machine
    for (let row = 0; row < rows; row++) {
      const at = buffer.at + row * buffer.stride
      if (texts === undefined) for (let k = 0; k < codes.length; k++) floats[at + k] = withoutTexts
      else readTexts(machine, texts.texts, at, codes)
    }
  })
  return buffer
}

function readTexts(
  machine: RowMachine,
  bytes: Buffer,
  to: number,
  codes: readonly ReadonlyMap<string, number>[],
): void {
  let [at, place] = [machine.textAt, 0]
  for (const isTaken of machine.takesText) {
    const length = bytes.readUInt32LE(at)
    const from = at + 4
    at = length === noText ? from : from + length
    // A missing text is read as an empty one.
    if (isTaken) {
      machine.floats[to + place] = codes[place]!.get(bytes.toString('latin1', from, at)) ?? unknownCategory
      place++
    }
  }
  machine.textAt = at
}
