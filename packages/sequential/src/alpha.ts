/** Turns an error probability into the evidence that it takes, and shares it between several tests. */

/**
 * The log evidence at which a test may act: ln(1/α). A test whose log evidence is compared with it after every observation acts wrongly
 * with probability at most α over all looks together (Ville's inequality, 1939).
 * @param alpha the error probability, between 0 and 1
 * @throws RangeError for an α that is not between 0 and 1
 */
export function thresholdFor(alpha: number): number {
  if (!(alpha > 0 && alpha < 1))
    throw new RangeError(`alpha is ${alpha}: give a probability between 0 and 1, such as 0.05`)
  return Math.log(1 / alpha)
}

/**
 * Shares one α between several tests in proportion to their weights, so that any of them acts wrongly with probability at most α
 * (Bonferroni). It holds for tests that share data, and for metrics, stages and looks of one experiment.
 * @param alpha the error probability of all tests together, between 0 and 1
 * @param weights a weight above 0 by the name of each test
 * @returns the α of each test; they sum to `alpha`
 * @throws RangeError for an α that is not between 0 and 1, for no tests and for a weight that is not above 0
 */
export function splitAlpha<Name extends string>(
  alpha: number,
  weights: Readonly<Record<Name, number>>,
): Record<Name, number> {
  const entries = Object.entries<number>(weights)
  const lacking = entries.find(([, weight]) => !(weight > 0 && weight < Infinity))
  if (lacking !== undefined)
    throw new RangeError(`the weight of ${lacking[0]} is ${lacking[1]}: give a number above 0`)
  if (entries.length === 0) throw new RangeError('there are no tests: name at least one with its weight')
  if (!(alpha > 0 && alpha < 1))
    throw new RangeError(`alpha is ${alpha}: give a probability between 0 and 1, such as 0.05`)
  const total = entries.reduce((sum, [, weight]) => sum + weight, 0)
  return Object.fromEntries(entries.map(([name, weight]) => [name, (alpha * weight) / total])) as Record<
    Name,
    number
  >
}
