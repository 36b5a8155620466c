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

interface Difference {
  row: number
  output: number
  found: number
  expected: number
}

function* differences(
  expected: readonly (readonly number[])[],
  given: readonly (readonly number[])[],
): Generator<Difference> {
  for (const [row, outputs] of expected.entries())
    for (const [output, value] of outputs.entries()) {
      const found = given[row]?.[output] ?? NaN
      if (!agrees(found, value)) yield { row, output, found, expected: value }
    }
}

/** The first answer that differs; undefined where all agree. `given` has as many rows as `expected`. */
export const findDifference = (...answers: Parameters<typeof differences>): Difference | undefined =>
  differences(...answers).next().value ?? undefined

/** The answer that differs most; undefined where all agree. `given` has as many rows as `expected`. */
export const findLargest = (...answers: Parameters<typeof differences>): Difference | undefined =>
  [...differences(...answers)].toSorted((one, other) => sizeOf(other) - sizeOf(one))[0]

/** NaN differs most. */
const sizeOf = ({ found, expected }: Difference): number =>
  Number.isNaN(found) ? Number.MAX_VALUE : Math.abs(found - expected)
