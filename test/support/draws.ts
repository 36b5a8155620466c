/** Draws values for generated tests, the same ones for a seed. */
import { seededRandom } from '@tenure/sequential'

export function valueDraws(seed: number) {
  const chance = seededRandom(seed)
  /** A whole number from 0 to below the limit. */
  const whole = (below: number): number => Math.floor(chance() * below)
  const oneOf = <T>(values: readonly T[]): T => values[whole(values.length)]!
  return { chance, whole, oneOf }
}
