/**
 * Computes the two-sample Kolmogorov–Smirnov test. Do not alert on it alone: on a million rows it calls a negligible difference
 * significant.
 */
import { logGamma, sumOf } from './distributions.ts'

/** The distance of two samples, from 0 to 1, and its p-values; null without data. */
export interface KolmogorovSmirnov {
  status: 'ok' | 'no_data'
  /** The largest distance between the two empirical distribution functions. */
  distance: number | null
  /** The p-value from Kolmogorov's limiting distribution at √(nm/(n+m))·D. */
  pLimit: number | null
  /** The p-value from the one-sample distribution at round(nm/(n+m)), which SciPy calls asymptotic. */
  pFinite: number | null
}

/** Compares two samples; null and NaN are left out. The two p-values differ in how they approximate; both are two-sided. */
export function kolmogorovSmirnov(
  a: readonly (number | null)[],
  b: readonly (number | null)[],
): KolmogorovSmirnov {
  const [first, second] = [sorted(a), sorted(b)]
  const [n, m] = [first.length, second.length]
  if (n === 0 || m === 0) return { status: 'no_data', distance: null, pLimit: null, pFinite: null }
  let distance = 0
  for (let i = 0, j = 0; i < n && j < m;) {
    const at = Math.min(first[i]!, second[j]!)
    while (i < n && first[i]! <= at) i++
    while (j < m && second[j]! <= at) j++
    distance = Math.max(distance, Math.abs(i / n - j / m))
  }
  const size = (n * m) / (n + m)
  return {
    status: 'ok',
    distance,
    pLimit: kolmogorovTail(Math.sqrt(size) * distance),
    pFinite: kolmogorovTailOf(roundToEven(size), distance),
  }
}

function sorted(values: readonly (number | null)[]): Float64Array {
  return Float64Array.from(values.filter((v): v is number => v !== null && !Number.isNaN(v))).sort()
}

function roundToEven(value: number): number {
  const down = Math.floor(value)
  const rest = value - down
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down
}

const clip = (p: number): number => Math.min(1, Math.max(0, p))

/** Computes P(K > x) = 2·Σ_{k≥1} (−1)^(k−1)·exp(−2k²x²). Below x = 1, where that series converges slowly, uses the theta transform. */
function kolmogorovTail(x: number): number {
  if (x <= 0) return 1
  let sum = 0
  if (x < 1) {
    for (let k = 1; k < 20; k += 2) sum += Math.exp(-((k * Math.PI) ** 2) / 8 / (x * x))
    return clip(1 - (Math.sqrt(2 * Math.PI) / x) * sum)
  }
  for (let k = 1; k < 20; k++) sum += (k % 2 === 1 ? 2 : -2) * Math.exp(-2 * (k * x) ** 2)
  return clip(sum)
}

/**
 * Computes P(D_n ≥ d) for one sample of size n, exactly or to seven digits; null unless n is a positive integer and d a number. Selects the
 * method as Simard and L'Ecuyer (2011): Durbin's matrix for small samples, twice the one-sided tail where the two tails hardly overlap, and
 * the expansion of Pelz and Good for large samples.
 */
export function kolmogorovTailOf(n: number, d: number): number | null {
  if (!(Number.isInteger(n) && n > 0) || Number.isNaN(d)) return null
  if (d >= 1) return 0
  if (n * d <= 0.5) return 1
  const nd2 = n * d * d
  if (nd2 >= 370) return 0
  if (n > 140 && nd2 < 0.04) return 1 // a probability of 4e-14 from certainty
  if (n * d >= n - 1 || d >= 0.5 || nd2 > (n <= 140 ? 4 : 2.2)) return clip(2 * oneSidedTail(n, d))
  if (n <= 140 || (n <= 100_000 && n * d ** 1.5 <= 1.4)) return clip(1 - durbin(n, d))
  return clip(1 - pelzGood(n, d))
}

/** Birnbaum and Tingey: P(D_n⁺ ≥ d) = d·Σ_j C(n,j)·(d + j/n)^(j−1)·(1 − d − j/n)^(n−j). */
function oneSidedTail(n: number, d: number): number {
  const top = logGamma(n + 1)
  const terms: number[] = []
  for (let j = 0; j <= Math.floor(n * (1 - d)); j++) {
    const up = d + j / n
    const down = 1 - up
    if (down <= 0) {
      if (j === n) terms.push(up ** (n - 1))
      continue
    }
    const ways = top - logGamma(j + 1) - logGamma(n - j + 1)
    terms.push(Math.exp(ways + (j - 1) * Math.log(up) + (n - j) * Math.log(down)))
  }
  return d * sumOf(terms)
}

/**
 * Durbin's matrix (in the form of Marsaglia, Tsang and Wang): P(D_n < d) = n!/nⁿ · (Hⁿ)_kk with d = (k − h)/n.
 * One row of the power suffices: a vector times H, n times, scaled by i/n at each step.
 */
function durbin(n: number, d: number): number {
  const k = Math.ceil(n * d)
  const h = k - n * d
  const size = 2 * k - 1
  const factorial = (i: number) => Math.exp(logGamma(i + 1))
  const edge = Array.from({ length: size }, (_, i) => (1 - h ** (i + 1)) / factorial(i + 1))
  edge[size - 1] = (1 - 2 * h ** size + Math.max(0, 2 * h - 1) ** size) / factorial(size)
  // H is 1/(i−j+1)! on and below the first superdiagonal; its first column and last row differ.
  const entry = (i: number, j: number): number =>
    j === 0 ? edge[i]! : i === size - 1 ? edge[size - 1 - j]! : i - j + 1 < 0 ? 0 : 1 / factorial(i - j + 1)
  const matrix = Float64Array.from({ length: size * size }, (_, at) =>
    entry(Math.floor(at / size), at % size),
  )
  let row = new Float64Array(size)
  row[k - 1] = 1
  let exponent = 0
  for (let step = 1; step <= n; step++) {
    const next = new Float64Array(size)
    for (let i = 0; i < size; i++) {
      const weight = (row[i]! * step) / n
      if (weight === 0) continue
      for (let j = 0; j < Math.min(size, i + 2); j++) next[j]! += weight * matrix[i * size + j]!
    }
    row = next
    const high = row.reduce((max, value) => Math.max(max, value), 0)
    const scale = high > 1e100 ? -100 : high > 0 && high < 1e-100 ? 100 : 0
    if (scale !== 0) {
      for (let j = 0; j < size; j++) row[j]! *= 10 ** scale
      exponent -= scale
    }
  }
  return row[k - 1]! * 10 ** exponent
}

/**
 * Pelz and Good (1976): P(D_n < d) ≈ K0(z) + K1(z)/√n + K2(z)/n + K3(z)/n^1.5, z = d·√n, each a theta series.
 * The odd terms run over (k + ½)π, the even ones over kπ; both fall off like exp(−const·k²/z²).
 */
function pelzGood(n: number, d: number): number {
  const z = d * Math.sqrt(n)
  const pi2 = Math.PI ** 2
  const pi4 = Math.PI ** 4
  const pi6 = Math.PI ** 6
  const root = Math.sqrt(Math.PI / 2)
  let [k0, k1, k2, k3, k2b, k3b] = [0, 0, 0, 0, 0, 0]
  for (let k = 0; k < 40; k++) {
    const half = (k + 0.5) ** 2
    const odd = Math.exp((-pi2 * half) / (2 * z * z))
    k0 += odd
    k1 += (pi2 * half - z * z) * odd
    k2 +=
      (6 * z ** 6 +
        2 * z ** 4 +
        pi2 * (2 * z ** 4 - 5 * z * z) * half +
        pi4 * (1 - 2 * z * z) * half * half) *
      odd
    k3 +=
      (-30 * z ** 6 -
        90 * z ** 8 +
        pi2 * (135 * z ** 4 - 96 * z ** 6) * half +
        pi4 * (212 * z ** 4 - 60 * z * z) * half * half +
        pi6 * (5 - 30 * z * z) * half ** 3) *
      odd
    const square = k * k
    const even = Math.exp((-pi2 * square) / (2 * z * z))
    k2b += pi2 * square * even
    k3b += (3 * pi2 * square * z * z - pi4 * square * square) * even
  }
  const zeroth = (2 * root * k0) / z
  const first = (root * k1) / (3 * z ** 4)
  const second = (root * k2) / (36 * z ** 7) - (root * k2b) / (18 * z ** 3)
  const third = (root * k3) / (3240 * z ** 10) + (root * k3b) / (108 * z ** 6)
  return zeroth + first / Math.sqrt(n) + second / n + third / n ** 1.5
}
