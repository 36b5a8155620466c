/** Takes the probability of the positive class from a graph that gives those of both classes. */
import type { Predictor } from '../../predictor.ts'

const none = new Float32Array(0)

/** Returns a predictor of the second of two outputs. */
export function secondOf(predictor: Predictor): Predictor {
  const { outputs } = predictor
  /** The memory for the pairs of a request. A request that comes while another one is computed takes its own. */
  let spare = none
  return {
    ...predictor,
    outputs: 1,
    run(input, rows, output, order, texts) {
      const pairs = spare.length < rows * outputs ? new Float32Array(rows * outputs) : spare
      spare = none
      const take = (): void => {
        for (let row = 0; row < rows; row++) output[row] = pairs[row * outputs + 1]!
        spare = pairs
      }
      const running = predictor.run(input, rows, pairs, order, texts)
      if (running !== undefined) return running.then(take)
      take()
      return undefined
    },
  }
}
