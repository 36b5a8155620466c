/**
 * Computes the probabilities of classes from comparisons of each pair of them, as LIBSVM does: Platt's sigmoid for each pair, then the second
 * method of Wu, Lin and Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling", JMLR 5 (2004).
 */
export interface ClassPairs {
  /** The number of support vectors of each class, which follow each other. */
  counts: readonly number[]
  /** The weights of the vectors: for class i, those against class j are in row j − 1 if i < j, otherwise in row j. */
  coefficients: Float32Array
  /** A summand for each pair of classes: (0, 1), (0, 2), …, (1, 2), … */
  rho: Float32Array
  /** The sigmoid of each pair; without, two classes have the score of the second and its negative. */
  sigmoids?: { slopes: Float32Array; offsets: Float32Array }
}

/** Writes an answer for each class from how similar the row is to each vector. */
export type WriteScores = (values: Float32Array, from: number, to: number) => void

/** The work of a pair of classes in the steps that find probabilities, in multiplications. */
const pairWork = 160

/** Returns the function that answers a row, and its work in multiplications. */
export function createClassScores(pairs: ClassPairs): { work: number; write: WriteScores } {
  const { counts, coefficients, sigmoids } = pairs
  const classes = counts.length
  const scores = new Float64Array((classes * (classes - 1)) / 2)
  const sum = pairSums(pairs, scores)
  const work = coefficients.length + classes * classes * pairWork
  if (sigmoids === undefined)
    return {
      work,
      write(values, from, to) {
        sum(values, from)
        values[to] = -scores[0]!
        values[to + 1] = scores[0]!
      },
    }
  const { slopes, offsets } = sigmoids
  const couple = createCoupling(classes)
  return {
    work,
    write(values, from, to) {
      sum(values, from)
      for (let pair = 0; pair < scores.length; pair++)
        scores[pair] = sigmoidOf(scores[pair]! * slopes[pair]! + offsets[pair]!)
      couple(scores, values, to)
    },
  }
}

/** Returns the probability of the first class of a pair, which is neither 0 nor 1. */
function sigmoidOf(x: number): number {
  const probability = x >= 0 ? Math.exp(-x) / (1 + Math.exp(-x)) : 1 / (1 + Math.exp(x))
  if (probability < leastProbability) return leastProbability
  return probability > 1 - leastProbability ? 1 - leastProbability : probability
}
const leastProbability = 1e-7

/** Computes the score of each pair from the vectors of its two classes. */
function pairSums(
  { counts, coefficients, rho }: ClassPairs,
  scores: Float64Array,
): (values: Float32Array, from: number) => void {
  const count = coefficients.length / (counts.length - 1)
  const starts = counts.map((_, at) => counts.slice(0, at).reduce((sum, each) => sum + each, 0))
  return (values, from) => {
    let pair = 0
    for (let i = 0; i < counts.length - 1; i++)
      for (let j = i + 1; j < counts.length; j++) {
        let sum = 0
        const [first, second] = [(j - 1) * count, i * count]
        for (let k = starts[i]!; k < starts[i]! + counts[i]!; k++)
          sum += coefficients[first + k]! * values[from + k]!
        for (let k = starts[j]!; k < starts[j]! + counts[j]!; k++)
          sum += coefficients[second + k]! * values[from + k]!
        scores[pair] = sum + rho[pair]!
        pair++
      }
  }
}

/** Returns the function that finds the probabilities of classes from those of each pair, in steps until they change little. */
function createCoupling(classes: number): (pairs: Float64Array, answer: Float32Array, to: number) => void {
  const matrix = new Float64Array(classes * classes)
  const [probabilities, products] = [new Float64Array(classes), new Float64Array(classes)]
  const limit = 0.005 / classes
  return (pairs, answer, to) => {
    fillMatrix(matrix, classes, pairs)
    probabilities.fill(1 / classes)
    for (let step = 0; step < maxSteps; step++) {
      let total = 0
      for (let i = 0; i < classes; i++) {
        let product = 0
        for (let j = 0; j < classes; j++) product += matrix[i * classes + j]! * probabilities[j]!
        products[i] = product
        total += probabilities[i]! * product
      }
      let error = 0
      // NaN is no larger: a missing number gives all classes the same probability, as in ONNX Runtime.
      for (const product of products) if (Math.abs(product - total) > error) error = Math.abs(product - total)
      if (error < limit) break
      for (let i = 0; i < classes; i++) {
        const own = matrix[i * classes + i]!
        const change = (total - products[i]!) / own
        probabilities[i]! += change
        total = (total + change * (change * own + 2 * products[i]!)) / (1 + change) / (1 + change)
        for (let j = 0; j < classes; j++) {
          products[j] = (products[j]! + change * matrix[i * classes + j]!) / (1 + change)
          probabilities[j]! /= 1 + change
        }
      }
    }
    answer.set(probabilities, to)
  }
}
const maxSteps = 100

/** Fills the matrix Q of the method: the squares of what speaks against a class on its diagonal. */
function fillMatrix(matrix: Float64Array, classes: number, pairs: Float64Array): void {
  for (let i = 0; i < classes; i++) matrix[i * classes + i] = 0
  let pair = 0
  for (let i = 0; i < classes - 1; i++)
    for (let j = i + 1; j < classes; j++) {
      const [first, second] = [pairs[pair]!, 1 - pairs[pair]!]
      matrix[i * classes + i]! += second * second
      matrix[j * classes + j]! += first * first
      matrix[i * classes + j] = matrix[j * classes + i] = -first * second
      pair++
    }
}
