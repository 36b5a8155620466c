/** Says how many worlds a test of an error rate simulates. */
import { environmentWith } from '../../../temporal.config.ts'

const share = 6

/** All where TENURE_TEST_WORLDS is `all`, as in `packages/lab/test/long/error-rates.test.ts`; otherwise a sixth. */
export const worldsOf = (all: number): number =>
  environmentWith({})['TENURE_TEST_WORLDS'] === 'all' ? all : Math.ceil(all / share)

/** The most that a rate may be seen in this many worlds: the rate plus three standard errors of the simulation. */
export const mostOf = (rate: number, worlds: number): number =>
  (rate + 3 * Math.sqrt((rate * (1 - rate)) / worlds)) * worlds
