/** Computes the log loss of a row. */

/** The machine epsilon that keeps the log loss of a certain, wrong row finite. */
const epsilon = 2 ** -52

/** −ln of the probability of the outcome, clipped at machine precision. */
export function surprise(probability: number): number {
  return -Math.log(Math.min(1 - epsilon, Math.max(epsilon, probability)))
}
