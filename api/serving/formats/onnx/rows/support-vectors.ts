/**
 * Lowers regressions by support vectors. The last sum is computed with 64 bits, where ONNX Runtime has 32, so that answers differ by its
 * rounding. Classifiers are left to ONNX Runtime: it finds their probabilities in steps until a limit, and a last bit may add a step.
 */
import { addDense, addReduction, vectorWork, type RowReduction } from '../../../network/row-steps.ts'
import { vectorFunctions } from '../../../network/vector-functions.ts'
import type { Attributes } from '../attributes.ts'
import { addReplacement, type Replacement } from './replacement.ts'
import { isRowOfFloats, maxRowWork, valueIn, type RowOperator } from './row-value.ts'

/** A kernel of LIBSVM: each vector is compared with the row, then a function is applied to each result. */
interface SupportKernel {
  isDistance: boolean
  apply?: Replacement['apply']
}

/** Returns a kernel by its name in ai.onnx.ml. */
function kernelOf(attributes: Attributes): SupportKernel | undefined {
  const params = attributes.numbers('kernel_params')
  const [gamma = 0, coef0 = 0, degree = 0] = params
  if (!(params.length === 0 || params.length === 3) || !params.every((each) => Number.isFinite(each)))
    return undefined
  switch (attributes.text('kernel_type') ?? 'LINEAR') {
    case 'LINEAR':
      return { isDistance: false }
    case 'POLY':
      return { isDistance: false, apply: raisedSums(gamma, coef0, degree) }
    case 'SIGMOID':
      return { isDistance: false, apply: { of: vectorFunctions.tangentOfLine, constants: [gamma, coef0] } }
    case 'RBF':
      return { isDistance: true, apply: { of: vectorFunctions.scaledExponential, constants: [-gamma] } }
    default:
      return undefined
  }
}

/** Returns (gamma · x + coef0) raised to a power. The powers 2 and 3 are products. */
function raisedSums(gamma: number, coef0: number, degree: number): Replacement['apply'] {
  const constants = [gamma, coef0]
  if (degree === 2) return { of: vectorFunctions.squareOfLine, constants }
  if (degree === 3) return { of: vectorFunctions.cubeOfLine, constants }
  return (values, offset, count) => {
    for (let i = offset; i < offset + count; i++) values[i] = (gamma * values[i]! + coef0) ** degree
  }
}

/** Arranges the vectors, one after the other, as the weights of a layer with a unit for each. */
function weightsOf(vectors: Float32Array, count: number): Float32Array {
  const width = vectors.length / count
  const weights = new Float32Array(vectors.length)
  for (let unit = 0; unit < count; unit++)
    for (let k = 0; k < width; k++) weights[k * count + unit] = vectors[unit * width + k]!
  return weights
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
  const work = count * (width + vectorWork + 1)
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
  const layer = { kernel: weightsOf(vectors, count), units: count, isDistance: kernel.isDistance }
  const { buffer } = addDense(program, from, layer)
  const compared = { buffer, column: 0, width: count }
  if (kernel.apply !== undefined)
    addReplacement(program, compared, { apply: kernel.apply, work: vectorWork, inPlace: true })
  program.otherBytes += coefficients.byteLength
  program.isFastest ||= kernel.isDistance
  const sumOf: RowReduction = (values, offset) => {
    let sum = rho[0]!
    for (let i = 0; i < count; i++) sum += coefficients[i]! * values[offset + i]!
    return sum
  }
  return [valueIn(addReduction(program, compared, sumOf), 1)]
}

export const supportVectorOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx.ml:SVMRegressor': svmRegressor,
}
