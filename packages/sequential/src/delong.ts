/**
 * Computes DeLong's test for two AUCs on the same rows (DeLong, DeLong and Clarke-Pearson, Biometrics, 1988), in the midrank form of Sun
 * and Xu (IEEE Signal Processing Letters, 2014). Both AUCs share their rows, so an interval that ignored their correlation would have the
 * wrong width.
 */
import { midranks } from './auc.ts'
import { nullsOf } from './nulls.ts'
import { ownersOf, sumByUnit } from './bootstrap.ts'
import { normalQuantile, normalTwoSided, sumOf } from './distributions.ts'

/** Both AUCs, their variances and covariance, and the test of their difference. */
export interface DeLong {
  /** `no_variance`: the difference cannot vary (identical or perfect rankings), so it has no z. */
  status: 'ok' | 'no_variance' | 'one_class'
  auc1: number | null
  auc2: number | null
  var1: number | null
  var2: number | null
  cov: number | null
  /** Of auc1 − auc2. */
  z: number | null
  pTwoSided: number | null
  /** Of auc1 − auc2. */
  interval: [number, number] | null
  standardError: number | null
}

const nothing = {
  ...nullsOf(['auc1', 'auc2', 'var1', 'var2', 'cov']),
  ...nullsOf(['z', 'pTwoSided', 'interval', 'standardError']),
}

/**
 * @param y 1 for positive, 0 for negative
 * @param first the scores of one model; @param second those of the other, in the same order
 * @returns null figures where one class has no row, or fewer than two
 */
export function delong(
  y: ArrayLike<number>,
  first: ArrayLike<number>,
  second: ArrayLike<number>,
  confidence = 0.95,
): DeLong {
  const [positives, negatives] = rowsByLabel(y)
  const [m, n] = [positives.length, negatives.length]
  if (m === 0 || n === 0) return { ...nothing, status: 'one_class' }
  const a = placements(first, positives, negatives)
  const b = placements(second, positives, negatives)
  if (m < 2 || n < 2) return { ...nothing, status: 'no_variance', auc1: a.auc, auc2: b.auc }
  const covariance = (p: Placements, q: Placements) =>
    product(p.positive, p.auc, q.positive, q.auc) / (m * (m - 1)) +
    product(p.negative, p.auc, q.negative, q.auc) / (n * (n - 1))
  const [var1, var2, cov] = [covariance(a, a), covariance(b, b), covariance(a, b)]
  const difference = a.auc - b.auc
  const variance = varianceOfDifference(a, b)
  const known = { auc1: a.auc, auc2: b.auc, var1, var2, cov }
  if (!(variance > 1e-20)) {
    return {
      ...nothing,
      ...known,
      status: 'no_variance',
      interval: [difference, difference],
      standardError: 0,
    }
  }
  const standardError = Math.sqrt(variance)
  const z = difference / standardError
  const reach = (normalQuantile((1 + confidence) / 2) ?? NaN) * standardError
  return {
    ...known,
    status: 'ok',
    z,
    pTwoSided: normalTwoSided(z),
    interval: Number.isFinite(reach) ? [difference - reach, difference + reach] : null,
    standardError,
  }
}

/** A difference with its standard error, and the degrees of freedom of Student's distribution that it is compared with. */
export interface DifferenceError {
  difference: number
  error: number
  dof: number
}

/**
 * The difference of two AUCs where the rows of an entity vary together: the terms of DeLong's variance are summed by entity first
 * (Obuchowski, 1997). Student's distribution has as many degrees of freedom as the class with the fewest entities, so that a test keeps its
 * level from two entities of each class on. Without entities, each row is one. Null when a class has fewer than two.
 */
export function delongByEntity(
  y: ArrayLike<number>,
  first: ArrayLike<number>,
  second: ArrayLike<number>,
  entities?: readonly (string | number)[],
): DifferenceError | null {
  const [positives, negatives] = rowsByLabel(y)
  if (positives.length === 0 || negatives.length === 0) return null
  const a = placements(first, positives, negatives)
  const b = placements(second, positives, negatives)
  const difference = a.auc - b.auc
  const owners = entities && ownersOf(entities)
  const terms = new Float64Array(y.length)
  const countsOfClasses = (
    [
      [positives, a.positive, b.positive],
      [negatives, a.negative, b.negative],
    ] as const
  ).map(([rows, x, z]) => {
    const count = owners === undefined ? rows.length : new Set(Array.from(rows, (row) => owners[row]!)).size
    const scale = Math.sqrt(count / (count - 1)) / rows.length
    for (let i = 0; i < rows.length; i++) terms[rows[i]!] = (x[i]! - z[i]! - difference) * scale
    return count
  })
  const dof = Math.min(...countsOfClasses) - 1
  if (dof < 1) return null
  const draws = owners === undefined ? terms : sumByUnit(terms, owners)
  return { difference, error: Math.sqrt(draws.reduce((sum, term) => sum + term ** 2, 0)), dof }
}

/** The rows with label 1, and the others. */
function rowsByLabel(y: ArrayLike<number>): [Uint32Array, Uint32Array] {
  let count = 0
  for (let row = 0; row < y.length; row++) if (y[row] === 1) count++
  const positives = new Uint32Array(count)
  const negatives = new Uint32Array(y.length - count)
  for (let row = 0, at = 0; row < y.length; row++)
    if (y[row] === 1) positives[at++] = row
    else negatives[row - at] = row
  return [positives, negatives]
}

interface Placements {
  auc: number
  /** For each positive row, the share of negatives below it. */
  positive: Float64Array
  /** For each negative row, the share of positives above it. */
  negative: Float64Array
}

function placements(scores: ArrayLike<number>, positives: Uint32Array, negatives: Uint32Array): Placements {
  const [m, n] = [positives.length, negatives.length]
  const all = midranks(scores)
  const among = (rows: Uint32Array) => {
    const picked = new Float64Array(rows.length)
    for (let i = 0; i < picked.length; i++) picked[i] = scores[rows[i]!]!
    return midranks(picked)
  }
  const [amongPositives, amongNegatives] = [among(positives), among(negatives)]
  const positive = new Float64Array(m)
  for (let i = 0; i < m; i++) positive[i] = (all[positives[i]!]! - amongPositives[i]!) / n
  const negative = new Float64Array(n)
  for (let i = 0; i < n; i++) negative[i] = 1 - (all[negatives[i]!]! - amongNegatives[i]!) / m
  return { auc: sumOf(positive) / m, positive, negative }
}

function product(x: Float64Array, xMean: number, y: Float64Array, yMean: number): number {
  let sum = 0
  for (let i = 0; i < x.length; i++) sum += (x[i]! - xMean) * (y[i]! - yMean)
  return sum
}

/** From the differences themselves: var1 + var2 − 2·cov would be noise around 0 for nearly equal models. */
function varianceOfDifference(a: Placements, b: Placements): number {
  const spread = (x: Float64Array, y: Float64Array) => {
    const mean = a.auc - b.auc
    let sum = 0
    for (let i = 0; i < x.length; i++) sum += (x[i]! - y[i]! - mean) ** 2
    return sum / (x.length * (x.length - 1))
  }
  return spread(a.positive, b.positive) + spread(a.negative, b.negative)
}
