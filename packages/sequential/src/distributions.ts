/**
 * Computes the distribution functions of all tests. Undefined values are null instead of NaN, because
 * every comparison with NaN is false, which reads as "no alarm".
 *
 * A tail is computed as a tail, never as 1 − the rest: that difference has no digit left below 1e-16, and is 0 where the tail is 1e-19.
 */

const probability = (value: number): number | null =>
  Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : null

/** ln(eᵃ + eᵇ), without overflow. */
export function logAddExp(a: number, b: number): number {
  const high = a > b ? a : b
  if (high === -Infinity || high === Infinity) return high
  return high + Math.log1p(Math.exp(a > b ? b - a : a - b))
}

/** The log of the mean of exp(values), without overflow; 0 for no values. */
export function logMeanExp(values: ArrayLike<number>): number {
  const n = values.length
  if (n === 0) return 0
  let high = -Infinity
  for (let i = 0; i < n; i++) if (values[i]! > high) high = values[i]!
  if (!Number.isFinite(high)) return high
  let sum = 0
  for (let i = 0; i < n; i++) sum += Math.exp(values[i]! - high)
  return high + Math.log(sum / n)
}

/** A compensated sum, which keeps small terms beside large ones (Neumaier). */
export function sumOf(values: Iterable<number>): number {
  let sum = 0
  let lost = 0
  for (const value of values) {
    const next = sum + value
    lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum
    sum = next
  }
  return sum + lost
}

/** P(Z ≤ z) for a standard normal variable. */
export function normalCdf(z: number): number | null {
  const beyond = normalTwoSided(z)
  if (beyond === null) return null
  return z < 0 ? beyond / 2 : 1 - beyond / 2
}

/** P(|Z| > |z|). */
export const normalTwoSided = (z: number): number | null =>
  Number.isNaN(z) ? null : gammaUpperTail(z ** 2 / 2, 0.5)

/** The z with P(Z ≤ z) = p; null unless 0 < p < 1. */
export function normalQuantile(p: number): number | null {
  if (!(p > 0 && p < 1)) return null
  if (p === 0.5) return 0
  const tail = Math.min(p, 1 - p)
  // The first guess is right to 5e-4 (Abramowitz and Stegun, 26.2.23); each step of Newton on the log of the tail squares its error.
  const t = Math.sqrt(-2 * Math.log(tail))
  let z =
    t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
  for (let step = 0; step < 4; step++) {
    const above = normalTwoSided(z)! / 2
    const beyond = z < 0 ? 1 - above : above
    const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)
    z += (Math.log(beyond / tail) * beyond) / density
  }
  return p < 0.5 ? -z : z
}

/** P(X > x) for a chi-square variable. */
export function chiSquareUpperTail(x: number, dof: number): number | null {
  if (!(x >= 0 && dof > 0 && x < Infinity)) return null
  return gammaUpperTail(x / 2, dof / 2)
}

/** P(X > x) for a gamma variable of this shape and scale 1: a series below the mean, and a continued fraction above it. */
function gammaUpperTail(x: number, shape: number): number {
  if (x === 0) return 1
  if (x === Infinity) return 0
  const front = gammaFront(x, shape)
  if (x < shape + 1) {
    let term = 1 / shape
    let sum = term
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= x / (shape + n)
      sum += term
    }
    return probability(1 - front * sum)!
  }
  // Lentz's method; x > shape + 1, so no denominator is 0.
  let b = x + 1 - shape
  let c = Infinity
  let d = 1 / b
  let value = d
  for (let n = 1; Math.abs(c * d - 1) > 1e-16 && n < 100_000; n++) {
    const numerator = n * (shape - n)
    b += 2
    d = 1 / (b + numerator * d)
    c = b + numerator / c
    value *= c * d
  }
  return probability(front * value)!
}

/** x^shape · e^−x / Γ(shape). For large shapes, terms that cancel are removed before rounding. */
function gammaFront(x: number, shape: number): number {
  if (shape < 10) return Math.exp(shape * Math.log(x) - x - logGamma(shape))
  const off = (x - shape) / shape
  return Math.sqrt(shape / (2 * Math.PI)) * Math.exp(shape * (Math.log1p(off) - off) - stirlingRest(shape))
}

/** The remainder of Stirling's formula for ln Γ(x), x ≥ 10. */
function stirlingRest(x: number): number {
  const r = 1 / (x * x)
  return (1 / 12 - r * (1 / 360 - r * (1 / 1260 - r * (1 / 1680 - r * (1 / 1188 - (r * 691) / 360360))))) / x
}

/** ln Γ(x) for x > 0, by Stirling's formula above 10 and the recurrence below. */
export function logGamma(x: number): number {
  let shift = 0
  let at = x
  while (at < 10) {
    shift += Math.log(at)
    at++
  }
  return (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + stirlingRest(at) - shift
}

/** ln B(a, b). For large arguments, terms that cancel are removed before rounding. */
export function logBeta(a: number, b: number): number {
  const [low, high] = a < b ? [a, b] : [b, a]
  const total = low + high
  if (high < 10) return logGamma(low) + logGamma(high) - logGamma(total)
  const rest = stirlingRest(high) - stirlingRest(total)
  const shrunk = (high - 0.5) * Math.log1p(-low / total)
  if (low < 10) return logGamma(low) + rest + low - low * Math.log(total) + shrunk
  return (
    0.5 * Math.log((2 * Math.PI) / total) +
    stirlingRest(low) +
    rest +
    (low - 0.5) * Math.log(low / total) +
    shrunk
  )
}

/** P(X ≤ x) for a beta variable: the regularised incomplete beta function, by its continued fraction. */
export const betaCdf = (x: number, a: number, b: number): number | null => betaTails(x, a, b)?.lower ?? null

/** P(X ≤ x) and P(X > x): the smaller one is computed, and the other is 1 − it. */
function betaTails(x: number, a: number, b: number): { lower: number; upper: number } | null {
  if (!(a > 0 && b > 0 && a < Infinity && b < Infinity) || Number.isNaN(x)) return null
  if (x <= 0) return { lower: 0, upper: 1 }
  if (x >= 1) return { lower: 1, upper: 0 }
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta(a, b))
  if (x < (a + 1) / (a + b + 2)) {
    const lower = probability((front * betaFraction(x, a, b)) / a)!
    return { lower, upper: 1 - lower }
  }
  const upper = probability((front * betaFraction(1 - x, b, a)) / b)!
  return { lower: 1 - upper, upper }
}

/** 1/(1+ d1/(1+ d2/(1+ …))) evaluated from the front, with the numerators of the incomplete beta function. */
function betaFraction(x: number, a: number, b: number): number {
  const tiny = 1e-300
  const away = (value: number) => (Math.abs(value) < tiny ? tiny : value)
  let c = 1
  let d = 1 / away(1 - ((a + b) * x) / (a + 1))
  let value = d
  const step = (numerator: number): number => {
    d = 1 / away(1 + numerator * d)
    c = away(1 + numerator / c)
    value *= c * d
    return Math.abs(c * d - 1)
  }
  // The terms needed grow with the square root of the larger parameter.
  const maxSteps = 200 + 20 * Math.sqrt(Math.max(a, b))
  for (let m = 1; m < maxSteps; m++) {
    step((m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)))
    if (step((-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))) < 1e-16) break
  }
  return value
}

/** P(|T| > |t|) for a variable of Student. */
export const studentTwoSided = (t: number, dof: number): number | null =>
  betaCdf(dof / (dof + t ** 2), dof / 2, 0.5)

/** The t with P(|T| > t) = p for a variable of Student. */
export function studentTwoSidedQuantile(p: number, dof: number): number | null {
  const x = betaQuantile(p, dof / 2, 0.5)
  return x === null || x === 0 ? null : Math.sqrt((dof * (1 - x)) / x)
}

/** The x with P(X ≤ x) = p: the mean, or the quantile of the density near 0, refined by bisection and Newton on betaCdf. */
export function betaQuantile(p: number, a: number, b: number): number | null {
  if (!(p >= 0 && p <= 1 && a > 0 && b > 0 && a < Infinity && b < Infinity)) return null
  if (p === 0 || p === 1) return p
  let low = 0
  let high = 1
  let x = Math.min(a / (a + b), Math.exp((Math.log(p * a) + logBeta(a, b)) / a))
  for (let i = 0; i < 200; i++) {
    const off = (betaCdf(x, a, b) ?? 0) - p
    if (off === 0) return x
    if (off > 0) high = x
    else low = x
    const density = Math.exp((a - 1) * Math.log(x) + (b - 1) * Math.log1p(-x) - logBeta(a, b))
    const newton = x - off / density
    const next = newton > low && newton < high ? newton : (low + high) / 2
    if (Math.abs(next - x) <= 1e-16 * x || high - low <= 1e-16 * high) return next
    x = next
  }
  return x
}

/** P(X = k) for a binomial variable. */
export function binomialPmf(k: number, n: number, p: number): number | null {
  const readable = Number.isInteger(k) && Number.isInteger(n) && n >= 0 && p >= 0 && p <= 1
  if (!readable) return null
  if (k < 0 || k > n) return 0
  if (p === 0 || p === 1) return k === n * p ? 1 : 0
  const ways = logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1)
  return Math.exp(ways + k * Math.log(p) + (n - k) * Math.log1p(-p))
}

/** P(X ≤ k) for a binomial variable. */
export function binomialCdf(k: number, n: number, p: number): number | null {
  const readable = Number.isInteger(k) && Number.isInteger(n) && n >= 0 && p >= 0 && p <= 1
  if (!readable) return null
  if (k < 0) return 0
  if (k >= n) return 1
  return betaTails(p, k + 1, n - k)?.upper ?? null
}
