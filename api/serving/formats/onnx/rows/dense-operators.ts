/** Lowers the operators that multiply the numbers of a row by weights, and trees that follow other operators. */
import { affineOf } from '../../../network/batch-norm.ts'
import { softmaxes } from '../../../network/exponentials.ts'
import { addBuffer, addStep } from '../../../network/row-program.ts'
import { addDense, exponentialWork } from '../../../network/row-steps.ts'
import { vectorFunctions } from '../../../network/vector-functions.ts'
import { refuse } from '../../../network/layers-model.ts'
import { buildForest } from '../../trees/forest.ts'
import { predictorOf } from '../../trees/predictor.ts'
import { readEnsemble } from '../tree-ensemble.ts'
import { floatType } from './constants.ts'
import { doublesIn, rowCastToFloats } from './doubles/double-operators.ts'
import { addReplacement, replaced, type Replacement } from './replacement.ts'
import {
  columnNumbers,
  finiteNumbers,
  isRowOfFloats,
  maxRowWork,
  valueIn,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from './row-value.ts'

/** Adds a dense layer. The weight from input i to unit j is at i * units + j. */
function multiply(
  { program }: OperatorContext,
  from: RowValue,
  { kernel, bias, units }: { kernel: Float32Array; bias?: ArrayLike<number>; units: number },
): RowValue {
  const { buffer, step } = addDense(program, from, { kernel, units })
  if (bias !== undefined) step.bias.set(bias)
  return valueIn(buffer, units, { dense: step })
}

/** Arranges a matrix that has one row per input, or one per unit. */
export function kernelOf(
  values: Float64Array,
  { inputs, units, isByUnit }: { inputs: number; units: number; isByUnit: boolean },
  factor = 1,
): Float32Array {
  if (!isByUnit) return Float32Array.from(values, (value) => value * factor)
  const kernel = new Float32Array(inputs * units)
  for (let j = 0; j < units; j++)
    for (let i = 0; i < inputs; i++) kernel[i * units + j] = values[j * inputs + i]! * factor
  return kernel
}

const gemm: RowOperator = (context) => {
  const { node, attributes, value, constant } = context
  const [from, matrix, summand] = [value(0), constant(1), constant(2)]
  if (!isRowOfFloats(from) || (attributes.whole('transA') ?? 0) !== 0) return undefined
  const isByUnit = (attributes.whole('transB') ?? 0) !== 0
  const [rows, columns] = matrix?.dims ?? []
  const [inputs, units] = isByUnit ? [columns, rows] : [rows, columns]
  if (matrix?.type !== floatType || matrix.dims.length !== 2 || inputs !== from.width) return undefined
  const values = finiteNumbers(matrix, maxRowWork)
  if (values === undefined || !(units! >= 1)) return undefined
  const kernel = kernelOf(values, { inputs, units: units!, isByUnit }, attributes.number('alpha') ?? 1)
  // Sums that are multiplied by a large alpha may be finite when the multiplied weights are not.
  if (!kernel.every(Number.isFinite)) return undefined
  if ((node.inputs[2] ?? '') === '') return [multiply(context, from, { kernel, units: units! })]
  const beta = attributes.number('beta') ?? 1
  const bias = columnNumbers(summand, units!)?.map((each) => each * beta)
  return bias && [multiply(context, from, { kernel, bias, units: units! })]
}

const matMul: RowOperator = (context) => {
  const [from, matrix] = [context.value(0), context.constant(1)]
  // A vector instead of a matrix gives one number per row, without its own dimension.
  const [inputs, units = 1] = matrix?.dims ?? []
  if (!isRowOfFloats(from) || matrix?.type !== floatType || matrix.dims.length > 2) return undefined
  const values = inputs === from.width && units >= 1 ? finiteNumbers(matrix, maxRowWork) : undefined
  const sums = values && multiply(context, from, { kernel: Float32Array.from(values), units })
  return sums && [matrix.dims.length === 1 ? { ...sums, tail: [] } : sums]
}

/** Computes the sums of a linear model of ai.onnx.ml, whose coefficients are stored unit by unit. */
function linearSums(context: OperatorContext, from: RowValue, units: number): RowValue | undefined {
  const { attributes } = context
  const inputs = from.width
  if (!(units >= 1) || inputs * units > maxRowWork) return undefined
  if (attributes.count('coefficients') !== inputs * units) return undefined
  const values = Float64Array.from(attributes.numbers('coefficients'))
  const intercepts = attributes.numbers('intercepts')
  if (![values, intercepts].every((list) => list.every((each) => Number.isFinite(each)))) return undefined
  const kernel = kernelOf(values, { inputs, units, isByUnit: true })
  const bias = intercepts.length === units ? intercepts : undefined
  return multiply(context, from, { kernel, bias, units })
}

const linearRegressor: RowOperator = (context) => {
  const { attributes, value } = context
  const from = value(0)
  if (!isRowOfFloats(from) || (attributes.text('post_transform') ?? 'NONE') !== 'NONE') return undefined
  const sums = linearSums(context, from, attributes.whole('targets') ?? 1)
  return sums && [sums]
}

/** The functions for the scores of a classifier, by their names in ai.onnx.ml. */
const scoreFunctions: ReadonlyMap<string, Replacement['apply']> = new Map<string, Replacement['apply']>([
  ['LOGISTIC', { of: vectorFunctions.sigmoid }],
  ['SOFTMAX', softmaxes],
])

const linearClassifier: RowOperator = (context) => {
  const { attributes, program } = context
  const from = rowCastToFloats(context)
  if (from === undefined) return undefined
  const post = attributes.text('post_transform') ?? 'NONE'
  const apply = scoreFunctions.get(post)
  const units = attributes.count('intercepts')
  // ONNX Runtime returns uninitialized memory here.
  if (units === 1 && post === 'PROBIT')
    refuse(
      'the linear model gives one PROBIT score for two classes, of which the second is not defined: use LOGISTIC',
    )
  // From one score for two classes, ONNX Runtime derives the other.
  if (units < 2 || (apply === undefined && post !== 'NONE')) return undefined
  if (Math.max(attributes.count('classlabels_ints'), attributes.count('classlabels_strings')) < units)
    return undefined
  const sums = linearSums(context, from, units)
  if (sums === undefined || apply === undefined) return sums && [undefined, sums]
  addReplacement(program, sums, { apply, work: exponentialWork, inPlace: true })
  return [undefined, { ...sums, dense: undefined }]
}

const batchNormalization: RowOperator = (context) => {
  const { node, attributes, value, constant } = context
  const from = value(0)
  if (!isRowOfFloats(from) || (attributes.whole('training_mode') ?? 0) !== 0) return undefined
  // With further outputs, versions before 14 train.
  if (attributes.whole('spatial') === 0 || node.outputs.length > 1) return undefined
  const lists = [1, 2, 3, 4].map((input) => {
    const list = constant(input)
    return list?.type === floatType && list.size === from.width ? finiteNumbers(list, from.width) : undefined
  })
  if (lists.includes(undefined)) return undefined
  const [gamma, beta, mean, variance] = lists.map((list) => Float32Array.from(list!))
  const epsilon = attributes.number('epsilon') ?? 1e-5
  const { scale, shift } = affineOf({ gamma, beta, mean: mean!, variance: variance!, epsilon })
  return replaced(context, from, {
    work: 2,
    apply(values, offset, count) {
      for (let k = 0; k < count; k++) values[offset + k] = values[offset + k]! * scale[k]! + shift[k]!
    },
  })
}

const scaler: RowOperator = (context) => {
  const { attributes, value } = context
  const from = value(0)
  if (from === undefined || !['float', 'whole'].includes(from.type) || from.tail.length !== 1)
    return undefined
  const { width } = from
  const [offsets, scales] = [attributes.numbers('offset'), attributes.numbers('scale')].map((list) => {
    if (!list.every((each) => Number.isFinite(each))) return undefined
    if (list.length === width) return list
    return list.length === 1 ? new Float32Array(width).fill(list[0]!) : undefined
  })
  if (offsets === undefined || scales === undefined) return undefined
  if (attributes.count('offset') !== attributes.count('scale')) return undefined
  return replaced(context, from, {
    work: 2,
    isExact: true,
    apply(values, offset, count) {
      for (let k = 0; k < count; k++)
        values[offset + k] = Math.fround(values[offset + k]! - offsets[k]!) * scales[k]!
    },
  })
}

/** The estimated number of nodes that a row visits in a tree, in multiplications. */
const treeWork = 16

/** Requires exact numbers, because a difference in the last bit may lead to another leaf. */
const trees: RowOperator = (context) => {
  const { node, value, program } = context
  const from = value(0)
  const doubles = from?.type === 'double' && from.tail.length === 1 ? from.doubles : undefined
  if (!(isRowOfFloats(from) || doubles !== undefined) || from?.isExact !== true) return undefined
  const ensemble = readEnsemble(node, doubles !== undefined)
  if (ensemble === undefined) return undefined
  const { outputs, ...rest } = ensemble
  const forest = buildForest({
    ...rest,
    library: 'ONNX',
    columns: Array.from({ length: from.width }, (_, at) => ({ name: `f${at}` })),
    starts: new Float64Array(outputs),
    single: doubles === undefined,
  })
  const { predictOne, memoryBytes } = predictorOf(forest)
  program.otherBytes += memoryBytes
  program.isFastest = true
  const buffer = addBuffer(program, outputs)
  const [row, answer] = [new Float64Array(from.width), new Float64Array(outputs)]
  const columns = doubles ?? doublesIn(from)
  addStep(program, forest.roots.length * treeWork + from.width * 4, (machine) => {
    const { floats } = machine
    const read = columns.map((column) => column(machine))
    return (rows) => {
      for (let i = 0; i < rows; i++) {
        const to = buffer.at + i * buffer.stride
        for (let k = 0; k < row.length; k++) row[k] = read[k]!(i)
        predictOne(row, 0, answer, 0)
        for (let k = 0; k < outputs; k++) floats[to + k] = answer[k]!
      }
    }
  })
  const answered = valueIn(buffer, outputs)
  return node.op === 'TreeEnsembleClassifier' ? [undefined, answered] : [answered]
}

export const denseOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Gemm': gemm,
  'ai.onnx:MatMul': matMul,
  'ai.onnx:BatchNormalization': batchNormalization,
  'ai.onnx.ml:LinearRegressor': linearRegressor,
  'ai.onnx.ml:LinearClassifier': linearClassifier,
  'ai.onnx.ml:Scaler': scaler,
  'ai.onnx.ml:TreeEnsembleClassifier': trees,
  'ai.onnx.ml:TreeEnsembleRegressor': trees,
  'ai.onnx.ml:TreeEnsemble': trees,
}
