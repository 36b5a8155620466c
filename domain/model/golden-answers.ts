/** Compares answers with those that a model is known to give. */

/**
 * The tolerance for a golden output: absolute up to 1, relative above. Both sides compute in 32 bits with a resolution of 6e-8 of the
 * value. Another order of summation differs by some tens of that, and exponentials and gates multiply the difference by a small factor.
 * Another weight, layer or preprocessing differs by far more.
 */
export const goldenTolerance = 1e-5

/** Whether an answer is the known one within the tolerance. NaN agrees with nothing. */
export const agrees = (found: number, expected: number): boolean =>
  Math.abs(found - expected) <= goldenTolerance * Math.max(1, Math.abs(expected))

/** The first answer that differs; undefined where all agree. `given` has as many rows as `expected`. */
export function findDifference(
  expected: readonly (readonly number[])[],
  given: readonly (readonly number[])[],
): { row: number; output: number; found: number; expected: number } | undefined {
  for (const [row, outputs] of expected.entries())
    for (const [output, value] of outputs.entries()) {
      const found = given[row]?.[output] ?? NaN
      if (!agrees(found, value)) return { row, output, found, expected: value }
    }
  return undefined
}
