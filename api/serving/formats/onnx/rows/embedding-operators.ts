/** Lowers embeddings: rows of a constant table, chosen by whole numbers. */
import { DomainError } from '../../../../../domain/errors.ts'
import { addBuffer, addConstant, addStep, firstFloat } from '../../../network/row-program.ts'
import { finiteNumbers, valueIn, type RowOperator } from './row-value.ts'
import { floatType } from './constants.ts'

/** The maximum number of numbers in a table: 16 MB. */
const maxTable = 4_000_000
/** The work of choosing a row of the table, in multiplications. */
const choiceWork = 16

/** Chooses rows of a table. A negative index counts from the last row; beyond the table, the row of the request is refused. */
export const embedding: RowOperator = ({ node, attributes, value, constant, program }) => {
  const [table, indices] = [constant(0), value(1)]
  if (table?.type !== floatType || table.dims.length !== 2 || (attributes.whole('axis') ?? 0) !== 0)
    return undefined
  if (indices?.type !== 'whole' || !indices.isExact) return undefined
  const [count, width] = table.dims as [number, number]
  const values = count >= 1 && width >= 1 ? finiteNumbers(table, maxTable) : undefined
  if (values === undefined) return undefined
  const rowsOfTable = addConstant(program, Float32Array.from(values))
  const buffer = addBuffer(program, indices.width * width)
  addStep(program, indices.width * (width + choiceWork), (machine) => {
    const { floats } = machine
    const [first, stride] = [firstFloat(indices), indices.buffer.stride]
    return (rows) => {
      for (let row = 0; row < rows; row++)
        for (let k = 0; k < indices.width; k++) {
          const index = floats[first + row * stride + k]!
          const place = index < 0 ? index + count : index
          if (!(place >= 0 && place < count))
            throw new DomainError(
              'wrong_type',
              `instance ${machine.firstRow + row}: ${node.inputs[0]} of the graph has ${count} rows, and none at ${index}`,
            )
          const from = rowsOfTable.at + place * width
          const to = buffer.at + row * buffer.stride + k * width
          for (let j = 0; j < width; j++) floats[to + j] = floats[from + j]!
        }
    }
  })
  return [valueIn(buffer, indices.width * width, { tail: [...indices.tail, width], isExact: true })]
}
