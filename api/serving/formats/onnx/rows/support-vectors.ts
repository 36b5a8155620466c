/**
 * Lowers regressions by support vectors. Sums are computed with 64 bits, where ONNX Runtime has 32, so that answers differ by its rounding.
 * Classifiers are left to ONNX Runtime: it finds their probabilities in steps until a limit, and a last bit may add a step.
 */
import { exponentialOf } from '../../../network/exponentials.ts'
import { addReduction, exponentialWork } from '../../../network/row-steps.ts'
import type { Attributes } from '../attributes.ts'
import { isRowOfFloats, maxRowWork, valueIn, type RowOperator } from './row-value.ts'

/** The work of a multiplication outside the kernel of dense layers. */
const scalarWork = 8

/** A kernel of LIBSVM: first all vectors are compared with the row, then a function is applied to each result. */
interface SupportKernel {
  isDistance: boolean
  apply(found: Float64Array): void
}

/** Returns a kernel by its name in ai.onnx.ml. */
function kernelOf(attributes: Attributes): SupportKernel | undefined {
  const params = attributes.numbers('kernel_params')
  const [gamma = 0, coef0 = 0, degree = 0] = params
  if (!(params.length === 0 || params.length === 3) || !params.every((each) => Number.isFinite(each)))
    return undefined
  const of = (isDistance: boolean, change: (found: number) => number): SupportKernel => ({
    isDistance,
    apply(found) {
      for (let i = 0; i < found.length; i++) found[i] = change(found[i]!)
    },
  })
  switch (attributes.text('kernel_type') ?? 'LINEAR') {
    case 'LINEAR':
      return of(false, (sum) => sum)
    case 'POLY':
      return of(false, (sum) => Math.fround((gamma * sum + coef0) ** degree))
    case 'SIGMOID':
      return of(false, (sum) => Math.tanh(gamma * sum + coef0))
    case 'RBF':
      return of(true, (sum) => exponentialOf(-gamma * sum))
    default:
      return undefined
  }
}

/** Writes the product of the row with each vector. */
function multiply(row: Float32Array, offset: number, vectors: Float32Array, found: Float64Array): void {
  const width = vectors.length / found.length
  for (let i = 0, at = 0; i < found.length; i++) {
    let sum = 0
    for (let k = offset; k < offset + width; k++) sum += row[k]! * vectors[at++]!
    // Overflows as in ONNX Runtime.
    found[i] = Math.fround(sum)
  }
}

/** Writes the squared distance of the row from each vector. */
function measure(row: Float32Array, offset: number, vectors: Float32Array, found: Float64Array): void {
  const width = vectors.length / found.length
  for (let i = 0, at = 0; i < found.length; i++) {
    let sum = 0
    for (let k = offset; k < offset + width; k++) {
      const difference = row[k]! - vectors[at++]!
      sum += difference * difference
    }
    found[i] = sum
  }
}

const svmRegressor: RowOperator = ({ attributes, value, program }) => {
  const from = value(0)
  const count = attributes.whole('n_supports') ?? 0
  const kernel = kernelOf(attributes)
  if (!isRowOfFloats(from) || kernel === undefined || !(count >= 1)) return undefined
  // A novelty detector answers with the side of a limit, which the last bit may change.
  if ((attributes.whole('one_class') ?? 0) !== 0 || (attributes.text('post_transform') ?? 'NONE') !== 'NONE')
    return undefined
  const { width } = from
  const work = count * (width * scalarWork + exponentialWork)
  if (program.work + work > maxRowWork) return undefined
  const listOf = (name: string, size: number): Float32Array | undefined => {
    if (attributes.count(name) !== size) return undefined
    const list = Float32Array.from(attributes.numbers(name))
    return list.every((each) => Number.isFinite(each)) ? list : undefined
  }
  const vectors = listOf('support_vectors', count * width)
  const coefficients = listOf('coefficients', count)
  const rho = listOf('rho', 1)
  if (vectors === undefined || coefficients === undefined || rho === undefined) return undefined
  const found = new Float64Array(count)
  const compare = kernel.isDistance ? measure : multiply
  program.otherBytes += vectors.byteLength + coefficients.byteLength + found.byteLength
  const sumOf = (row: Float32Array, offset: number): number => {
    compare(row, offset, vectors, found)
    kernel.apply(found)
    let sum = rho[0]!
    for (let i = 0; i < count; i++) sum += coefficients[i]! * found[i]!
    return sum
  }
  return [valueIn(addReduction(program, from, sumOf, work), 1)]
}

export const supportVectorOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx.ml:SVMRegressor': svmRegressor,
}
