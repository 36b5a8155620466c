/**
 * Lowers regressions and classifiers by support vectors. The last sums are computed with 64 bits, where ONNX Runtime has 32, so that answers
 * differ by its rounding.
 */
import { addBuffer, addStep, firstFloat, type RowView } from '../../../../network/row-program.ts'
import { addDense, addReduction, vectorWork, type RowReduction } from '../../../../network/row-steps.ts'
import { vectorFunctions } from '../../../../network/vector-functions.ts'
import type { Attributes } from '../../attributes.ts'
import { rowCastToFloats } from '../doubles/double-operators.ts'
import { createClassScores, type ClassPairs } from './class-pairs.ts'
import { addReplacement, type Replacement } from '../replacement.ts'
import {
  isRowOfFloats,
  maxRowWork,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from '../row-value.ts'

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

/** Returns a list of so many finite numbers; undefined for any other. */
function finiteList(attributes: Attributes, name: string, size: number): Float32Array | undefined {
  if (attributes.count(name) !== size) return undefined
  const list = Float32Array.from(attributes.numbers(name))
  return list.every((each) => Number.isFinite(each)) ? list : undefined
}

/** Compares a row with `count` vectors by the kernel. Undefined for a kernel that is not known, and for too many vectors. */
function comparedVectors(
  { attributes, program }: OperatorContext,
  from: RowValue,
  count: number,
): RowView | undefined {
  const kernel = kernelOf(attributes)
  const { width } = from
  const work = count * (width + vectorWork + 1)
  if (kernel === undefined || program.work + work > maxRowWork) return undefined
  const vectors = finiteList(attributes, 'support_vectors', count * width)
  if (vectors === undefined) return undefined
  const layer = { kernel: weightsOf(vectors, count), units: count, isDistance: kernel.isDistance }
  const { buffer } = addDense(program, from, layer)
  const compared = { buffer, column: 0, width: count }
  if (kernel.apply !== undefined)
    addReplacement(program, compared, { apply: kernel.apply, work: vectorWork, inPlace: true })
  program.isFastest ||= kernel.isDistance
  return compared
}

const svmRegressor: RowOperator = (context) => {
  const { attributes, value, program } = context
  const from = value(0)
  const count = attributes.whole('n_supports') ?? 0
  if (!isRowOfFloats(from) || !(count >= 1)) return undefined
  // A novelty detector answers with the side of a limit, which the last bit may change.
  if ((attributes.whole('one_class') ?? 0) !== 0 || (attributes.text('post_transform') ?? 'NONE') !== 'NONE')
    return undefined
  const coefficients = finiteList(attributes, 'coefficients', count)
  const rho = finiteList(attributes, 'rho', 1)
  if (coefficients === undefined || rho === undefined) return undefined
  const compared = comparedVectors(context, from, count)
  if (compared === undefined) return undefined
  program.otherBytes += coefficients.byteLength
  const sumOf: RowReduction = (values, offset) => {
    let sum = rho[0]!
    for (let i = 0; i < count; i++) sum += coefficients[i]! * values[offset + i]!
    return sum
  }
  return [valueIn(addReduction(program, compared, sumOf), 1)]
}

/** Reads what a classifier knows of each pair of classes; undefined for one that needs ONNX Runtime. */
function classPairsOf(attributes: Attributes): ClassPairs | undefined {
  const classes = Math.max(attributes.count('classlabels_ints'), attributes.count('classlabels_strings'))
  if (attributes.count('vectors_per_class') !== classes || !(classes >= 2 && classes <= maxClasses))
    return undefined
  const counts = [...attributes.longs('vectors_per_class')]
  const count = counts.reduce((sum, each) => sum + each, 0)
  // Each weight is a multiplication, which limits the memory for them.
  if (!counts.every((each) => each >= 0) || !(count >= 1 && (classes - 1) * count <= maxRowWork))
    return undefined
  const pairs = (classes * (classes - 1)) / 2
  const coefficients = finiteList(attributes, 'coefficients', (classes - 1) * count)
  const rho = finiteList(attributes, 'rho', pairs)
  if (coefficients === undefined || rho === undefined) return undefined
  if (attributes.count('prob_a') + attributes.count('prob_b') === 0) {
    // Scores of several classes are votes, and ONNX Runtime treats weights that are all positive otherwise.
    const isPlain = classes === 2 && coefficients.some((each) => each < 0)
    return isPlain ? { counts, coefficients, rho } : undefined
  }
  const [slopes, offsets] = ['prob_a', 'prob_b'].map((name) => finiteList(attributes, name, pairs))
  return slopes && offsets && { counts, coefficients, rho, sigmoids: { slopes, offsets } }
}
const maxClasses = 100

const svmClassifier: RowOperator = (context) => {
  const { attributes, program } = context
  const pairs =
    (attributes.text('post_transform') ?? 'NONE') === 'NONE' ? classPairsOf(attributes) : undefined
  const from = pairs && rowCastToFloats(context)
  if (pairs === undefined || from === undefined) return undefined
  const { counts, coefficients } = pairs
  const compared = comparedVectors(context, from, coefficients.length / (counts.length - 1))
  if (compared === undefined) return undefined
  program.otherBytes += coefficients.byteLength
  const buffer = addBuffer(program, counts.length)
  const { work, write } = createClassScores(pairs)
  addStep(program, work, ({ floats }) => {
    const [first, stride] = [firstFloat(compared), compared.buffer.stride]
    return (rows) => {
      for (let row = 0; row < rows; row++)
        write(floats, first + row * stride, buffer.at + row * buffer.stride)
    }
  })
  return [undefined, valueIn(buffer, counts.length)]
}

export const supportVectorOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx.ml:SVMRegressor': svmRegressor,
  'ai.onnx.ml:SVMClassifier': svmClassifier,
}
