/**
 * Functions of single numbers, as code that computes four numbers at a time with 32 bits. The relative error of an exponential is at most
 * 2e-7, that of the functions made of it about as small. The polynomials are minimax approximations, fitted to the functions of the
 * standard library of Python with Lawson's weights; `test/api/serving/network/vector-functions.test.ts` measures their errors.
 */
import * as wasm from './wasm-encoder.ts'
import type { Code } from './wasm-encoder.ts'
import type { MultiplyAdd } from './wasm-instance.ts'

export interface VectorWriter {
  /** Reads a vector of four equal floats, which is built once before the loop. */
  number(value: number): Code
  /** Reads a vector of four equal integers, which is built once before the loop. */
  integer(value: number): Code
  /** Stores what a code gives in a variable, so that it is computed once, and returns the code that reads it. */
  keep(value: Code): Code
  /** a · b + sum, with one rounding where the processor can. */
  multiplyAdd: MultiplyAdd
}

/** Returns the code of four results. `inputs` are the codes of four numbers each. */
export type VectorFunction = (inputs: readonly Code[], writer: VectorWriter) => Code

const plus = wasm.addFloats
const minus = wasm.subtractFloats
const times = wasm.multiplyFloats
const over = wasm.divideFloats
const isBelow0 = (x: Code): Code => wasm.areFloatsLess(x, wasm.zeros)

/** Evaluates a polynomial by Horner's rule. The constant term is first. */
const polynomial = (x: Code, coefficients: readonly number[], { number, multiplyAdd }: VectorWriter): Code =>
  coefficients
    .slice(0, -1)
    .reduceRight((sum, next) => multiplyAdd(number(next), sum, x), number(coefficients.at(-1)!))

const withSignOf = (x: Code, size: Code, { number }: VectorWriter): Code =>
  wasm.orBytes(size, wasm.andBits(x, number(-0)))

/** ln 2 in two parts. The first has few bits, so that its product with a whole number of eight bits is exact. */
const [ln2, restOfLn2] = [0.693359375, Math.LN2 - 0.693359375]
/** (eʳ − 1 − r) / r² for |r| ≤ ln 2 / 2, within 8e-9 of eʳ. */
const exponentialTerms = [
  0.5, 0.16666576266288757, 0.04166637361049652, 0.008363180793821812, 0.0013941123615950346,
]
/** Beyond, exponentials are 0 or infinite in 32 bits. */
const [leastExponent, mostExponent] = [-104, 89]
const [exponentBias, fractionBits] = [127, 23]

/** Splits eˣ into (1 + rest) · a · b, where a and b are powers of two. Two powers reach infinity, and numbers too small for one. */
function splitExponential(x: Code, writer: VectorWriter): Record<'rest' | 'a' | 'b', Code> {
  const whole = writer.keep(wasm.roundedFloats(times(x, writer.number(Math.LOG2E))))
  const r = writer.keep(
    minus(minus(x, times(whole, writer.number(ln2))), times(whole, writer.number(restOfLn2))),
  )
  const power = writer.keep(wasm.integersOfFloats(whole))
  const first = writer.keep(wasm.shiftIntegersRight(power, 1))
  const powerOfTwo = (exponent: Code): Code =>
    wasm.shiftIntegersLeft(wasm.addIntegers(exponent, writer.integer(exponentBias)), fractionBits)
  return {
    rest: writer.keep(writer.multiplyAdd(r, times(r, r), polynomial(r, exponentialTerms, writer))),
    a: powerOfTwo(first),
    b: powerOfTwo(wasm.subtractIntegers(power, first)),
  }
}

/** eˣ, for x ≤ 89. */
function exponentialOfSmall(x: Code, writer: VectorWriter): Code {
  const { rest, a, b } = splitExponential(
    writer.keep(wasm.maximumOfFloats(x, writer.number(leastExponent))),
    writer,
  )
  return times(times(plus(writer.number(1), rest), a), b)
}

/** eˣ − 1, for x ≤ 80. */
function exponentialLess1(x: Code, writer: VectorWriter): Code {
  const { rest, a, b } = splitExponential(
    writer.keep(wasm.maximumOfFloats(x, writer.number(leastExponent))),
    writer,
  )
  const scale = writer.keep(times(a, b))
  return plus(times(rest, scale), minus(scale, writer.number(1)))
}

const exponential: VectorFunction = ([x], writer) =>
  exponentialOfSmall(wasm.minimumOfFloats(x!, writer.number(mostExponent)), writer)

/** Exponentials of differences from the largest number of a softmax. Those below e⁻⁸⁰ are 0: numbers without an exponent of their own take long. */
const softmaxTerm: VectorFunction = ([x, most], writer) => {
  const distance = writer.keep(minus(x!, most!))
  const least = writer.number(-80)
  const power = exponentialOfSmall(wasm.maximumOfFloats(distance, least), writer)
  return wasm.selectBits(wasm.areFloatsLess(distance, least), wasm.zeros, power)
}

/** Exponentials of the products of numbers with the second input. */
const scaledExponential: VectorFunction = ([x, factor], writer) =>
  exponential([writer.keep(times(x!, factor!))], writer)

/** 1 / (1 + e⁻ˣ). The exponential of −|x| does not overflow. */
const sigmoid: VectorFunction = ([x], writer) => {
  const power = writer.keep(exponentialOfSmall(wasm.negatedFloats(wasm.absoluteFloats(x!)), writer))
  return over(wasm.selectBits(isBelow0(x!), power, writer.number(1)), plus(writer.number(1), power))
}

/** tanh x, as (e²ˣ − 1) / (e²ˣ + 1). Beyond 20, it is 1 in 32 bits. */
const hyperbolicTangent: VectorFunction = ([x], writer) => {
  const double = wasm.minimumOfFloats(times(wasm.absoluteFloats(x!), writer.number(2)), writer.number(40))
  const power = writer.keep(exponentialLess1(double, writer))
  return withSignOf(x!, over(power, plus(power, writer.number(2))), writer)
}

/** tanh(a · x + b), of numbers, a and b. */
const tangentOfLine: VectorFunction = ([x, a, b], writer) =>
  hyperbolicTangent([writer.keep(writer.multiplyAdd(b!, a!, x!))], writer)

/** (a · x + b)², of numbers, a and b. */
const squareOfLine: VectorFunction = ([x, a, b], writer) => {
  const line = writer.keep(writer.multiplyAdd(b!, a!, x!))
  return times(line, line)
}

/** (a · x + b)³, of numbers, a and b. */
const cubeOfLine: VectorFunction = ([x, a, b], writer) => {
  const line = writer.keep(writer.multiplyAdd(b!, a!, x!))
  return times(times(line, line), line)
}

/** erf(x) / x as a polynomial of x², for |x| < 0.9. */
const errorTerms = [
  1.128379225730896, -0.37612634897232056, 0.11283719539642334, -0.026860753074288368, 0.005204435903578997,
  -0.0008181927842088044, 8.538841211702675e-5,
]
/** ln(1 − erf(x)), for 0.9 ≤ x ≤ 4. */
const restTerms = [
  0.00010172803740715608, -1.1291685104370117, -0.6340320110321045, -0.10754982382059097,
  0.024667374789714813, -0.004008911084383726, 0.00040332545177079737, -1.863128454715479e-5,
]
/** Beyond 4, the error function is ±1 in 32 bits. */
const [errorSwitch, errorEnd] = [0.9, 4]

/** Returns erf(x) for |x| < 0.9, 1 − erf(|x|) beyond, and the mask of the former. */
function errorParts(x: Code, writer: VectorWriter): Record<'near' | 'rest' | 'isNear', Code> {
  const size = writer.keep(wasm.absoluteFloats(x))
  const end = writer.number(errorEnd)
  const exponent = polynomial(writer.keep(wasm.minimumOfFloats(size, end)), restTerms, writer)
  return {
    near: times(x, polynomial(writer.keep(times(x, x)), errorTerms, writer)),
    rest: writer.keep(
      wasm.selectBits(wasm.areFloatsAtMost(end, size), wasm.zeros, exponentialOfSmall(exponent, writer)),
    ),
    isNear: wasm.areFloatsLess(size, writer.number(errorSwitch)),
  }
}

const errorFunction: VectorFunction = ([x], writer) => {
  const { near, rest, isNear } = errorParts(x!, writer)
  return wasm.selectBits(isNear, near, withSignOf(x!, minus(writer.number(1), rest), writer))
}

/** GELU, exactly: x · Φ(x). */
const gaussianUnit: VectorFunction = ([x], writer) => {
  const { near, rest, isNear } = errorParts(writer.keep(times(x!, writer.number(Math.SQRT1_2))), writer)
  const far = wasm.selectBits(isBelow0(x!), rest, minus(writer.number(2), rest))
  return times(times(x!, writer.number(0.5)), wasm.selectBits(isNear, plus(writer.number(1), near), far))
}

/** GELU by its approximation with a hyperbolic tangent: 0.5 · (1 + tanh(y / 2)) is the sigmoid of y. */
const approximateGaussianUnit: VectorFunction = ([x], writer) => {
  const cube = times(times(x!, x!), x!)
  const y = writer.keep(
    times(writer.number(2 * Math.sqrt(2 / Math.PI)), plus(x!, times(writer.number(0.044715), cube))),
  )
  return times(x!, sigmoid([y], writer))
}

/** alpha · (eˣ − 1). Rounds eˣ before the difference, as ONNX Runtime: the square root of the small number that is lost would be NaN. */
const exponentialPart = (x: Code, alpha: Code, writer: VectorWriter): Code =>
  times(alpha, minus(exponential([x], writer), writer.number(1)))

/** ELU, of numbers and alpha. */
const exponentialUnit: VectorFunction = ([x, alpha], writer) =>
  wasm.selectBits(isBelow0(x!), exponentialPart(x!, alpha!, writer), x!)

/** CELU, of numbers and alpha. −0 becomes 0, as in ONNX Runtime. */
const continuousExponentialUnit: VectorFunction = ([x, alpha], writer) =>
  wasm.selectBits(wasm.areFloatsAtMost(x!, wasm.zeros), exponentialPart(over(x!, alpha!), alpha!, writer), x!)

/** SELU, of numbers, alpha and gamma. −0 becomes 0, as in ONNX Runtime. */
const scaledExponentialUnit: VectorFunction = ([x, alpha, gamma], writer) =>
  times(
    gamma!,
    wasm.selectBits(wasm.areFloatsAtMost(x!, wasm.zeros), exponentialPart(x!, alpha!, writer), x!),
  )

/** Keeps NaN. */
const rectifiedUnit: VectorFunction = ([x]) => wasm.larger(x!, wasm.zeros)

/** Multiplies numbers below 0 by the second input. */
const leakyUnit: VectorFunction = ([x, slope]) => wasm.selectBits(isBelow0(x!), times(x!, slope!), x!)

const absoluteValue: VectorFunction = ([x]) => wasm.absoluteFloats(x!)
const negative: VectorFunction = ([x]) => wasm.negatedFloats(x!)
const reciprocal: VectorFunction = ([x], writer) => over(writer.number(1), x!)
const squareRoot: VectorFunction = ([x]) => wasm.squareRoots(x!)

const sum: VectorFunction = ([a, b]) => plus(a!, b!)
const difference: VectorFunction = ([a, b]) => minus(a!, b!)
const product: VectorFunction = ([a, b]) => times(a!, b!)
const quotient: VectorFunction = ([a, b]) => over(a!, b!)
const minimum: VectorFunction = ([a, b]) => wasm.minimumOfFloats(a!, b!)
const maximum: VectorFunction = ([a, b]) => wasm.maximumOfFloats(a!, b!)

export const vectorFunctions = {
  exponential,
  softmaxTerm,
  scaledExponential,
  tangentOfLine,
  squareOfLine,
  cubeOfLine,
  sigmoid,
  hyperbolicTangent,
  errorFunction,
  gaussianUnit,
  approximateGaussianUnit,
  exponentialUnit,
  continuousExponentialUnit,
  scaledExponentialUnit,
  rectifiedUnit,
  leakyUnit,
  absoluteValue,
  negative,
  reciprocal,
  squareRoot,
  sum,
  difference,
  product,
  quotient,
  minimum,
  maximum,
}

/** Writes a function with variables from `local` on: what is computed once, what is computed for each four numbers, and the result. */
export function writeFunction(
  of: VectorFunction,
  inputs: readonly Code[],
  { local, multiplyAdd }: { local: number; multiplyAdd: MultiplyAdd },
): { once: Code; before: Code; result: Code; variables: number } {
  const once: Code[] = []
  const before: Code[] = []
  const constants = new Map<string, Code>()
  const store = (where: Code[], value: Code): Code => {
    const variable = local + once.length + before.length
    where.push(wasm.set(variable, value))
    return wasm.get(variable)
  }
  const constant = (value: Code): Code => {
    const key = value.join()
    const kept = constants.get(key) ?? store(once, value)
    constants.set(key, kept)
    return kept
  }
  const result = of(inputs, {
    number: (value) => constant(wasm.splatFloat(value)),
    integer: (value) => constant(wasm.splatInteger(value)),
    keep: (value) => store(before, value),
    multiplyAdd,
  })
  return { once: once.flat(), before: before.flat(), result, variables: once.length + before.length }
}
