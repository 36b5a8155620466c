/**
 * Computes exponentials for 32-bit results, with a relative error of 1e-9. Math.exp and Math.tanh are calls that leave compiled code, which
 * take several times as long.
 */

/** The number of table entries per power of two. The remainder is at most half an entry, small enough for four terms of the series. */
const parts = 64
const partsOfLn2 = parts / Math.LN2
const ln2OfParts = Math.LN2 / parts
const partPowers = Float64Array.from({ length: parts }, (_, part) => 2 ** (part / parts))
/** The powers of two of all results. Smaller ones are 0 in 32 bits, larger ones are infinite. */
const [smallest, largest] = [-160, 130]
const wholePowers = Float64Array.from({ length: largest - smallest + 1 }, (_, at) => 2 ** (at + smallest))

export function exponentialOf(x: number): number {
  if (!(x > -104)) return x <= -104 ? 0 : NaN
  if (x > 89) return Infinity
  const near = Math.floor(x * partsOfLn2 + 0.5)
  const rest = x - near * ln2OfParts
  const power = partPowers[near & (parts - 1)]! * wholePowers[(near >> 6) - smallest]!
  return power * (1 + rest * (1 + rest * (1 / 2 + rest * (1 / 6))))
}

/*
 * Each replaces `count` numbers from `offset` on, in a loop of its own, in which the exponential is compiled: a function that is handed in would
 * take a call and an allocation for each number.
 */
type Numbers = Float32Array

export function exponentials(values: Numbers, offset: number, count: number): void {
  for (let i = offset; i < offset + count; i++) values[i] = exponentialOf(values[i]!)
}

export function sigmoids(values: Numbers, offset: number, count: number): void {
  for (let i = offset; i < offset + count; i++) values[i] = 1 / (1 + exponentialOf(-values[i]!))
}

export function hyperbolicTangents(values: Numbers, offset: number, count: number): void {
  for (let i = offset; i < offset + count; i++) {
    const x = values[i]!
    // The difference loses digits near 0, where tanh(x) is x.
    values[i] = x < 1e-4 && x > -1e-4 ? x : 1 - 2 / (1 + exponentialOf(2 * x))
  }
}

export function softmaxes(values: Numbers, offset: number, count: number): void {
  let [most, sum] = [-Infinity, 0]
  for (let i = offset; i < offset + count; i++) if (values[i]! > most) most = values[i]!
  for (let i = offset; i < offset + count; i++) {
    const power = exponentialOf(values[i]! - most)
    values[i] = power
    sum += power
  }
  for (let i = offset; i < offset + count; i++) values[i] = values[i]! / sum
}

/**
 * Returns an exponential unit such as ELU or SELU. `rate` divides negative numbers first. `ofZero`: whether -0 becomes 0, as ONNX Runtime
 * does for some units.
 */
export const exponentialUnits =
  (alpha: number, { rate = 1, scale = 1, ofZero = false } = {}) =>
  (values: Numbers, offset: number, count: number): void => {
    for (let i = offset; i < offset + count; i++) {
      const x = values[i]!
      values[i] = scale * (x < 0 || (ofZero && x === 0) ? alpha * (exponentialOf(x / rate) - 1) : x)
    }
  }

const gaussianRate = 2 * Math.sqrt(2 / Math.PI)

/** GELU by its approximation with a hyperbolic tangent: 0.5 · (1 + tanh(y)) is 1 / (1 + exp(−2 y)). */
export function approximateGaussianUnits(values: Numbers, offset: number, count: number): void {
  for (let i = offset; i < offset + count; i++) {
    const x = values[i]!
    values[i] = x / (1 + exponentialOf(-gaussianRate * (x + 0.044715 * x * x * x)))
  }
}
