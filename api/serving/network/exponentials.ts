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

/** Replaces `count` numbers from `offset` on by their softmax. */
export function softmaxes(values: Float32Array, offset: number, count: number): void {
  let [most, sum] = [-Infinity, 0]
  for (let i = offset; i < offset + count; i++) if (values[i]! > most) most = values[i]!
  for (let i = offset; i < offset + count; i++) {
    const power = exponentialOf(values[i]! - most)
    values[i] = power
    sum += power
  }
  for (let i = offset; i < offset + count; i++) values[i] = values[i]! / sum
}
