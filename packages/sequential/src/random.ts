/** Generates random numbers that repeat with their seed on any machine, for bootstraps and simulations. */
/** Uniform numbers in [0, 1) by xoshiro128** (Blackman and Vigna 2021), its state filled by SplitMix32 from the seed. */
export const seededRandom = (seed: number): (() => number) => seededDraws(seed).uniform

/** Two generators over one sequence. */
export interface SeededDraws {
  uniform: () => number
  /**
   * Draws as many indices into `counts` as it has elements, and adds 1 at each: the same as `Math.floor(uniform() * places)`, in half the
   * time.
   */
  countPlaces: (counts: Uint32Array) => void
}

/** Returns both generators, which draw from one sequence. */
export function seededDraws(seed: number): SeededDraws {
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
  const uniform = (): number => {
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
  const countPlaces = (counts: Uint32Array): void => {
    const places = counts.length
    // As local variables, the state stays in registers.
    let [e, f, g, h] = [a, b, c, d]
    for (let draw = 0; draw < places; draw++) {
      const result = Math.imul(turn(Math.imul(f, 5), 7), 9) >>> 0
      const t = f << 9
      g ^= e
      h ^= f
      f ^= g
      e ^= h
      g ^= t
      h = turn(h, 11)
      counts[Math.floor((result / 0x1_0000_0000) * places)]!++
    }
    ;[a, b, c, d] = [e, f, g, h]
  }
  return { uniform, countPlaces }
}
