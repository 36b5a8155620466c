/** Generates the random numbers of a world: the same from a seed on any machine. */

/** Uniform numbers in [0, 1) by xoshiro128** (Blackman and Vigna 2021), its state filled by SplitMix32 from the seed. */
export function seededRandom(seed: number): () => number {
  let mixer = seed | 0
  const mix = (): number => {
    mixer = (mixer + 0x9e3779b9) | 0
    let z = mixer
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return z ^ (z >>> 16)
  }
  let [a, b, c, d] = [mix(), mix(), mix(), mix()]
  const turn = (x: number, k: number): number => (x << k) | (x >>> (32 - k))
  return () => {
    const result = Math.imul(turn(Math.imul(b, 5), 7), 9) >>> 0
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = turn(d, 11)
    return result / 0x1_0000_0000
  }
}
