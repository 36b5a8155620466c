/** Lowers the operators that compute numbers of a row from numbers of the same row, without weights. */
import { activations } from '../../../network/activations.ts'
import { softmaxes } from '../../../network/exponentials.ts'
import { refuse } from '../../../network/layers-model.ts'
import {
  exponentialWork,
  vectorWork,
  type RowFunction,
  type RowReduction,
} from '../../../network/row-steps.ts'
import { vectorFunctions } from '../../../network/vector-functions.ts'
import type { Attributes } from '../attributes.ts'
import { floatType } from './constants.ts'
import { foundDomain } from './found/shares.ts'
import { reductions } from './reduction-operators.ts'
import { replaced, type Replacement, type VectorOf } from './replacement.ts'
import {
  columnNumbers,
  isRowOfFloats,
  operatorsOf,
  type OperatorContext,
  type RowOperator,
  type RowValue,
} from './row-value.ts'

const each =
  (of: (x: number) => number): RowFunction =>
  (values, offset, count) => {
    for (let i = offset; i < offset + count; i++) values[i] = of(values[i]!)
  }

/** Replaces the numbers of a value of any shape. */
function mapped(context: OperatorContext, how: Replacement): RowValue[] | undefined {
  const from = context.value(0)
  return from?.type === 'float' ? replaced(context, from, how) : undefined
}

/** Applies Relu inside the preceding dense layer if possible, where the kernel computes it with the sums. */
const relu: RowOperator = (context) => {
  const from = context.value(0)
  if (from?.dense !== undefined && context.isLastUse(0)) {
    from.dense.isRelu = true
    return [{ ...from, dense: undefined }]
  }
  return mapped(context, { apply: { of: vectorFunctions.rectifiedUnit }, isExact: true })
}

/** The functions of one number. NaN stays NaN, because every comparison with it fails. */
const functions: Readonly<Record<string, (attributes: Attributes) => (x: number) => number>> = {
  HardSigmoid(attributes) {
    const [alpha, beta] = [attributes.number('alpha') ?? 0.2, attributes.number('beta') ?? 0.5]
    return (x) => Math.min(1, Math.max(0, alpha * x + beta))
  },
  Softsign: () => (x) => x / (1 + Math.abs(x)),
  HardSwish: () => (x) => x * Math.min(1, Math.max(0, x / 6 + 0.5)),
  Sign: () => (x) => (x === 0 ? 0 : Math.sign(x)),
  Floor: () => Math.floor,
  Ceil: () => Math.ceil,
}

/** The functions that are computed four numbers at a time, with the bits of ONNX Runtime. */
const exactVectors: Readonly<Record<string, (attributes: Attributes) => VectorOf>> = {
  Abs: () => ({ of: vectorFunctions.absoluteValue }),
  Neg: () => ({ of: vectorFunctions.negative }),
  Reciprocal: () => ({ of: vectorFunctions.reciprocal }),
  Sqrt: () => ({ of: vectorFunctions.squareRoot }),
  LeakyRelu: (attributes) => ({
    of: vectorFunctions.leakyUnit,
    constants: [attributes.number('alpha') ?? 0.01],
  }),
}

/** The functions with an exponential or a logarithm. */
const exponentialFunctions: Readonly<Record<string, (attributes: Attributes) => RowFunction | VectorOf>> = {
  Exp: () => ({ of: vectorFunctions.exponential }),
  Log: () => each(Math.log),
  Sin: () => each(Math.sin),
  Cos: () => each(Math.cos),
  Mish: () => each((x) => x * Math.tanh(Math.log1p(Math.exp(x)))),
  Sigmoid: () => ({ of: vectorFunctions.sigmoid }),
  Softplus: () => activations.get('softplus')!,
  Tanh: () => ({ of: vectorFunctions.hyperbolicTangent }),
  Erf: () => ({ of: vectorFunctions.errorFunction }),
  Gelu: (attributes) => ({
    of:
      attributes.text('approximate') === 'tanh'
        ? vectorFunctions.approximateGaussianUnit
        : vectorFunctions.gaussianUnit,
  }),
  Elu: (attributes) => ({
    of: vectorFunctions.exponentialUnit,
    constants: [attributes.number('alpha') ?? 1],
  }),
  Celu(attributes) {
    const alpha = attributes.number('alpha') ?? 1
    if (alpha === 0) refuse('the operator Celu divides by its alpha, which is 0')
    return { of: vectorFunctions.continuousExponentialUnit, constants: [alpha] }
  },
  Selu: (attributes) => ({
    of: vectorFunctions.scaledExponentialUnit,
    constants: [
      attributes.number('alpha') ?? 1.6732632423543772,
      attributes.number('gamma') ?? 1.0507009873554805,
    ],
  }),
}

const largestFloat = (2 - 2 ** -23) * 2 ** 127

/** Clips numbers. Only version 11 and later: older versions have the bounds as attributes, and replace NaN by a bound. */
const clip: RowOperator = (context) => {
  const { node, attributes, constant } = context
  if (attributes.number('min') !== undefined || attributes.number('max') !== undefined) return undefined
  const bounds = [-largestFloat, largestFloat].map((none, place) => {
    if ((node.inputs[place + 1] ?? '') === '') return none
    const bound = constant(place + 1)
    const given = bound?.size === 1 && bound.type === floatType ? bound.values()![0] : undefined
    return Number.isNaN(given) ? undefined : given
  })
  const [low, high] = bounds
  if (low === undefined || high === undefined) return undefined
  return mapped(context, { apply: each((x) => Math.min(high, Math.max(low, x))), isExact: true })
}

const prelu: RowOperator = (context) => {
  const from = context.value(0)
  const slopes = isRowOfFloats(from) ? columnNumbers(context.constant(1), from.width) : undefined
  if (slopes === undefined) return undefined
  return mapped(context, {
    apply(values, offset, count) {
      for (let k = 0; k < count; k++)
        if (values[offset + k]! < 0) values[offset + k] = values[offset + k]! * slopes[k]!
    },
  })
}

const logSoftmax: RowFunction = (values, offset, count) => {
  let [most, sum] = [-Infinity, 0]
  for (let i = offset; i < offset + count; i++) if (values[i]! > most) most = values[i]!
  for (let i = offset; i < offset + count; i++) sum += Math.exp(values[i]! - most)
  // In 32 bits, as ONNX Runtime: when one number dominates, its logarithm is exactly 0.
  const rest = Math.fround(Math.log(Math.fround(sum)))
  for (let i = offset; i < offset + count; i++) values[i] = Math.fround(values[i]! - most) - rest
}

/** Applies a function along the numbers of a row; undefined for any other axis. */
const alongRow =
  (apply: RowFunction, { usualAxis = 1, work = exponentialWork } = {}): RowOperator =>
  (context) => {
    const axis = context.attributes.whole('axis') ?? usualAxis
    if (!isRowOfFloats(context.value(0)) || (axis !== 1 && axis !== -1)) return undefined
    return mapped(context, { apply, work })
  }

/** The norms as ONNX Runtime computes them: in 32 bits, and MAX by the largest number instead of the largest absolute value. */
const norms: Readonly<Record<'L1' | 'L2' | 'MAX', RowFunction>> = {
  L1(values, offset, count) {
    let sum = 0
    for (let i = offset; i < offset + count; i++) sum = Math.fround(sum + Math.abs(values[i]!))
    if (sum !== 0) for (let i = offset; i < offset + count; i++) values[i] = values[i]! / sum
  },
  L2(values, offset, count) {
    let sum = 0
    for (let i = offset; i < offset + count; i++)
      sum = Math.fround(sum + Math.fround(values[i]! * values[i]!))
    if (sum === 0) return
    for (let i = offset; i < offset + count; i++) {
      const x = values[i]!
      const root = Math.sqrt(Math.fround(Math.fround(x * x) / sum))
      values[i] = x < 0 ? -root : root
    }
  },
  MAX(values, offset, count) {
    let most = -largestFloat
    for (let i = offset; i < offset + count; i++) if (values[i]! > most) most = values[i]!
    if (most !== 0) for (let i = offset; i < offset + count; i++) values[i] = values[i]! / most
  },
}

const normalizer: RowOperator = (context) => {
  const norm = context.attributes.text('norm') ?? 'MAX'
  if (!(norm === 'L1' || norm === 'L2' || norm === 'MAX') || !isRowOfFloats(context.value(0)))
    return undefined
  return mapped(context, { apply: norms[norm], work: 4 })
}

/** Divides the numbers of a row by what `of` gives of them. Where that is 0, `otherwise` gives each number. */
const dividedBy =
  (of: RowReduction, otherwise: (x: number) => number = () => 0): RowFunction =>
  (values, offset, count) => {
    const divisor = of(values, offset, count)
    for (let i = offset; i < offset + count; i++)
      values[i] = divisor === 0 ? otherwise(values[i]!) : values[i]! / divisor
  }

const shareOfSum = dividedBy(reductions.ReduceL1)

const lpNormalization: RowOperator = (context) => {
  const apply = { 1: shareOfSum, 2: dividedBy(reductions.ReduceL2) }[context.attributes.whole('p') ?? 2]
  return apply && alongRow(apply, { usualAxis: -1, work: 4 })(context)
}

/** Divides by the sum of the row; where that is 0, each number plus 1 is divided by a constant. */
const shares: RowOperator = (context) => {
  const [from, count] = [context.value(0), context.constant(1)]
  const equal = count?.size === 1 && count.type === floatType ? count.values()?.[0] : undefined
  if (!isRowOfFloats(from) || equal === undefined) return undefined
  return mapped(context, { work: 4, apply: dividedBy(reductions.ReduceSum, (x) => (x + 1) / equal) })
}

/**
 * Divides probabilities of linear models by their sum. ONNX Runtime computes those below 0.5 as 1 - p in 32 bits, so that less than 3e-8 is 0;
 * where all are, so are the shares.
 */
const linearShares: RowOperator = (context) =>
  mapped(context, {
    work: 6,
    apply(values, offset, count) {
      for (let i = offset; i < offset + count; i++)
        if (values[i]! < 0.5) values[i] = 1 - Math.fround(1 - values[i]!)
      shareOfSum(values, offset, count)
    },
  })

const imputer: RowOperator = (context) => {
  const { attributes, value } = context
  const from = value(0)
  const given = attributes.numbers('imputed_value_floats')
  const replaced = attributes.number('replaced_value_float')
  if (!isRowOfFloats(from) || given.length === 0 || replaced === undefined) return undefined
  // A number with another last bit would not be replaced.
  if (!(from.isExact || !Number.isFinite(replaced))) return undefined
  const fills = given.length === from.width ? given : new Float32Array(from.width).fill(given[0]!)
  const isNaN = Number.isNaN(replaced)
  return mapped(context, {
    isExact: true,
    apply(values, offset, count) {
      for (let k = 0; k < count; k++) {
        const x = values[offset + k]!
        if (x === replaced || (isNaN && x !== x)) values[offset + k] = fills[k]!
      }
    },
  })
}

/** Adds up the numbers of a row, each rounded to 32 bits. */
const cumulativeSum: RowOperator = (context) => {
  const { attributes, value, constant } = context
  const axis = constant(1)?.size === 1 ? constant(1)?.values()?.[0] : undefined
  const from = value(0)
  const isPlain = ['exclusive', 'reverse'].every((name) => (attributes.whole(name) ?? 0) === 0)
  if (!isRowOfFloats(from) || !(axis === 1 || axis === -1) || !isPlain) return undefined
  return mapped(context, {
    isExact: true,
    apply(values, offset, count) {
      for (let i = offset + 1; i < offset + count; i++) values[i] = values[i]! + values[i - 1]!
    },
  })
}

/** Functions that jump, so that a difference in the last bit would be a whole one. */
const jumpingFunctions = new Set(['Sign', 'Floor', 'Ceil'])

export const numberOperators: Readonly<Record<string, RowOperator>> = {
  'ai.onnx:Relu': relu,
  'ai.onnx:Clip': clip,
  'ai.onnx:PRelu': prelu,
  'ai.onnx:Softmax': alongRow(softmaxes),
  'ai.onnx:LogSoftmax': alongRow(logSoftmax),
  'ai.onnx:LpNormalization': lpNormalization,
  'ai.onnx:CumSum': cumulativeSum,
  'ai.onnx.ml:Normalizer': normalizer,
  [`${foundDomain}:Shares`]: shares,
  [`${foundDomain}:LinearShares`]: linearShares,
  'ai.onnx.ml:Imputer': imputer,
  ...operatorsOf(
    functions,
    (of, name) => (context) =>
      jumpingFunctions.has(name) && context.value(0)?.isExact !== true
        ? undefined
        : mapped(context, { apply: each(of(context.attributes)), isExact: jumpingFunctions.has(name) }),
  ),
  ...operatorsOf(
    exactVectors,
    (of) => (context) => mapped(context, { apply: of(context.attributes), isExact: true }),
  ),
  ...operatorsOf(exponentialFunctions, (of) => (context) => {
    const apply = of(context.attributes)
    return mapped(context, { apply, work: typeof apply === 'function' ? exponentialWork : vectorWork })
  }),
}
