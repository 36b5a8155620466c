/** Compares the functions of four numbers with the same functions of doubles, and the shapes on which a step applies them. */
import { describe, expect, it } from 'vitest'
import {
  addBuffer,
  addConstant,
  addStep,
  compileRows,
  createRowProgram,
  type RowView,
} from '../../../../api/serving/network/row-program.ts'
import { vectorFunctions, type VectorFunction } from '../../../../api/serving/network/vector-functions.ts'
import { addVectors } from '../../../../api/serving/network/vector-steps.ts'

/** Computes a function of views of a block of rows with `inputs` columns; numbers in place of a view are a constant. */
function resultsOf(
  of: VectorFunction,
  rows: readonly (readonly number[])[],
  views: readonly (readonly [column: number, width: number] | readonly number[])[] = [[0, rows[0]!.length]],
  { isConstant = [] as readonly boolean[], inPlace = false } = {},
): number[][] {
  const inputs = rows[0]!.length
  const program = createRowProgram()
  const given = addBuffer(program, inputs)
  addStep(program, 0, (machine) => (count) => {
    for (let row = 0; row < count; row++)
      for (let k = 0; k < inputs; k++)
        machine.floats[given.at + row * given.stride + k] =
          machine.input[(machine.firstRow + row) * inputs + k]!
  })
  const parts = views.map((view, at): RowView =>
    isConstant[at] === true
      ? { buffer: addConstant(program, Float32Array.from(view)), column: 0, width: view.length }
      : { buffer: given, column: view[0]!, width: view[1]! },
  )
  const buffer = addVectors(program, parts, { of, work: 1, inPlace })
  const width = Math.max(...parts.map((part) => part.width))
  const { run } = compileRows(program, { output: { buffer, column: 0, width }, inputs, takesText: [] })
  const output = new Float32Array(rows.length * width)
  run(Float64Array.from(rows.flat()), rows.length, output)
  return rows.map((_, row) => [...output.subarray(row * width, (row + 1) * width)])
}

const specials = [
  0,
  -0,
  NaN,
  Infinity,
  -Infinity,
  1e-45,
  -1e-45,
  1e-30,
  3.4e38,
  -3.4e38,
  88.7,
  88.8,
  -87.4,
  -103.9,
  -104.1,
]
const sweep = Array.from({ length: 40_001 }, (_, at) => Math.fround((at - 20_000) / 1_000))
const near0 = Array.from({ length: 2_001 }, (_, at) => Math.fround(((at - 1_000) / 1_000) ** 3))

/** erf(x) by its series for |x| < 2. */
function errorFunctionOf(x: number): number {
  if (Math.abs(x) >= 2) return 1 - complementOf(x)
  let [term, sum] = [x, x]
  for (let k = 1; k < 60; k++) {
    term *= (-x * x) / k
    sum += term / (2 * k + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

/** 1 − erf(z), for z ≥ 2 by its continued fraction. */
function complementOf(z: number): number {
  if (z <= -2) return 2 - complementOf(-z)
  if (!(z >= 2)) return 1 - errorFunctionOf(z)
  let fraction = 0
  for (let k = 60; k >= 1; k--) fraction = k / 2 / (z + fraction)
  return Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction)
}

const sigmoidOf = (x: number): number => 1 / (1 + Math.exp(-x))
const unitOf = (x: number, alpha: number): number => alpha * Math.expm1(x)

interface Expected {
  name: string
  of: VectorFunction
  expected: (x: number) => number
  /** The largest error, relative above 1 and absolute below it. */
  error: number
  constants?: readonly number[]
}

const cases: readonly Expected[] = [
  { name: 'exponential', of: vectorFunctions.exponential, expected: Math.exp, error: 2e-7 },
  { name: 'sigmoid', of: vectorFunctions.sigmoid, expected: sigmoidOf, error: 1.5e-7 },
  { name: 'hyperbolic tangent', of: vectorFunctions.hyperbolicTangent, expected: Math.tanh, error: 2e-7 },
  { name: 'error function', of: vectorFunctions.errorFunction, expected: errorFunctionOf, error: 1.5e-7 },
  {
    name: 'GELU',
    of: vectorFunctions.gaussianUnit,
    // ONNX Runtime also gives NaN for −∞.
    expected: (x) => (x < -6 ? (x === -Infinity ? NaN : -0) : 0.5 * x * complementOf(-x * Math.SQRT1_2)),
    error: 2e-7,
  },
  {
    name: 'approximate GELU',
    of: vectorFunctions.approximateGaussianUnit,
    expected: (x) => x * sigmoidOf(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)),
    error: 4e-7,
  },
  {
    name: 'ELU',
    of: vectorFunctions.exponentialUnit,
    expected: (x) => (x < 0 ? unitOf(x, 1.5) : x),
    error: 2e-7,
    constants: [1.5],
  },
  {
    name: 'CELU of a negative alpha',
    of: vectorFunctions.continuousExponentialUnit,
    expected: (x) => (x <= 0 ? unitOf(x / -0.5, -0.5) : x),
    error: 1e-6,
    constants: [-0.5],
  },
  {
    name: 'SELU',
    of: vectorFunctions.scaledExponentialUnit,
    expected: (x) => 1.25 * (x <= 0 ? unitOf(x, 1.75) : x),
    error: 4e-7,
    constants: [1.75, 1.25],
  },
]

describe('functions of one number equal those of doubles', () => {
  it.each(cases)('$name', ({ of, expected, error, constants = [] }) => {
    const numbers = [...specials, ...sweep, ...near0].map(Math.fround)
    const columns = numbers.length
    const [found] = resultsOf(of, [numbers], [[0, columns], ...constants.map((each) => [each])], {
      isConstant: [false, ...constants.map(() => true)],
    })
    const wrong = numbers.flatMap((x, at) => {
      const [given, right] = [found![at]!, Math.fround(expected(x))]
      if (Object.is(given, right) || given === right) return []
      const difference = Math.abs(given - expected(x)) / Math.max(1, Math.abs(right))
      return difference <= error ? [] : [{ x, given, right }]
    })
    expect(wrong).toEqual([])
  })
})

describe('small results keep their digits', () => {
  it.each([
    ['hyperbolic tangent', vectorFunctions.hyperbolicTangent, Math.tanh],
    ['error function', vectorFunctions.errorFunction, errorFunctionOf],
    ['sigmoid', vectorFunctions.sigmoid, sigmoidOf],
  ] as const)('%s', (_name, of, expected) => {
    const numbers = [1e-30, -1e-20, 1e-8, 1e-4, -0.003, 0.1, -0.5, -20, -60, -85].map(Math.fround)
    const [found] = resultsOf(of, [numbers])
    for (const [at, x] of numbers.entries()) expect(found![at]! / expected(x), `of ${x}`).toBeCloseTo(1, 6)
  })
})

it('gives the bits of 32-bit arithmetic for sums, products, quotients, roots and limits', () => {
  const pairs = specials.flatMap((a) => specials.map((b) => [Math.fround(a), Math.fround(b)] as const))
  const rows = [pairs.flatMap((pair) => pair[0]).concat(pairs.map((pair) => pair[1]))]
  const count = pairs.length
  const expected: readonly [VectorFunction, (a: number, b: number) => number][] = [
    [vectorFunctions.sum, (a, b) => a + b],
    [vectorFunctions.difference, (a, b) => a - b],
    [vectorFunctions.product, (a, b) => a * b],
    [vectorFunctions.quotient, (a, b) => a / b],
    [vectorFunctions.minimum, Math.min],
    [vectorFunctions.maximum, Math.max],
    [vectorFunctions.leakyUnit, (a, b) => (a < 0 ? a * b : a)],
    [vectorFunctions.rectifiedUnit, (a) => (a < 0 ? 0 : a)],
    [vectorFunctions.absoluteValue, Math.abs],
    [vectorFunctions.negative, (a) => -a],
    [vectorFunctions.reciprocal, (a) => 1 / a],
    [vectorFunctions.squareRoot, Math.sqrt],
  ]
  for (const [of, right] of expected)
    expect(
      resultsOf(of, rows, [
        [0, count],
        [count, count],
      ])[0],
      String(right),
    ).toEqual(pairs.map(([a, b]) => Math.fround(right(a, b))))
})

describe('a step', () => {
  const rowsOf = (count: number, inputs: number): number[][] =>
    Array.from({ length: count }, (_, row) => Array.from({ length: inputs }, (_each, k) => row * 100 + k + 1))

  it.each([1, 2, 3, 4, 5, 7, 8, 9])('computes rows of %i columns alone as in a batch', (inputs) => {
    const rows = rowsOf(37, inputs)
    const views = [
      [0, inputs],
      [0, inputs],
    ] as const
    const together = resultsOf(vectorFunctions.quotient, rows, views)
    expect(together).toEqual(rows.map((row) => row.map(() => 1)))
    expect(rows.map((row) => resultsOf(vectorFunctions.sigmoid, [row])[0])).toEqual(
      resultsOf(vectorFunctions.sigmoid, rows),
    )
  })

  it('reads views that begin and end between two vectors', () => {
    const rows = rowsOf(5, 11)
    const views = [
      [1, 3],
      [8, 3],
    ] as const
    expect(resultsOf(vectorFunctions.difference, rows, views)).toEqual(rows.map(() => [-7, -7, -7]))
  })

  it('takes a single column for all columns, of either side', () => {
    const rows = rowsOf(5, 6)
    const wide = [0, 6] as const
    expect(resultsOf(vectorFunctions.difference, rows, [wide, [2, 1]])).toEqual(
      rows.map(() => [-2, -1, 0, 1, 2, 3]),
    )
    expect(resultsOf(vectorFunctions.difference, rows, [[2, 1], wide])).toEqual(
      rows.map(() => [2, 1, 0, -1, -2, -3]),
    )
  })

  it('takes constants for each column or for all, in place or not', () => {
    const rows = rowsOf(5, 6)
    for (const inPlace of [false, true]) {
      const options = { isConstant: [false, true], inPlace }
      const columns = [10, 20, 30, 40, 50, 60]
      expect(resultsOf(vectorFunctions.sum, rows, [[0, 6], columns], options)).toEqual(
        rows.map((row) => row.map((x, k) => x + columns[k]!)),
      )
      expect(resultsOf(vectorFunctions.product, rows, [[0, 6], [3]], options)).toEqual(
        rows.map((row) => row.map((x) => x * 3)),
      )
    }
  })
})
