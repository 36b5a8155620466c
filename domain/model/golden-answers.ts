/** Compares answers with those that a model is known to give. */

/** Tolerance: absolute up to 1, relative above. A library computes in 32 bits and sums in another order. */
const tolerance = 1e-5

/** The first answer that differs; undefined where all agree. `given` has as many rows as `expected`. */
export function findDifference(
  expected: readonly (readonly number[])[],
  given: readonly (readonly number[])[],
): { row: number; output: number; found: number; expected: number } | undefined {
  for (const [row, outputs] of expected.entries())
    for (const [output, value] of outputs.entries()) {
      const found = given[row]?.[output] ?? NaN
      if (!(Math.abs(found - value) <= tolerance * Math.max(1, Math.abs(value))))
        return { row, output, found, expected: value }
    }
  return undefined
}
