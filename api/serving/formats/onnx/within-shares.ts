/**
 * Keeps the probabilities of a graph within 0 to 1. ONNX Runtime adds the leaves of a forest in 32 bits, so that a certain answer is
 * 1.0000001 or -0.0000001, which would refuse the version or count as a failed request.
 */
import type { Output } from '../../../../domain/model/features.ts'
import type { Predictor } from '../../predictor.ts'

/** What is further outside is no rounding; the difference from its library at which a version is refused. */
const maxRounding = 1e-5

/** Of another output than probabilities, the predictor itself. */
export function withinShares(predictor: Predictor, { kind }: Output): Predictor {
  if (kind !== 'probability' && kind !== 'classes') return predictor
  const { outputs } = predictor
  const round = (output: Float32Array, count: number): void => {
    for (let at = 0; at < count; at++) {
      const value = output[at]!
      if (value > 1 && value <= 1 + maxRounding) output[at] = 1
      else if (value < 0 && value >= -maxRounding) output[at] = 0
    }
  }
  return {
    ...predictor,
    run(input, rows, output, order, texts) {
      const running = predictor.run(input, rows, output, order, texts)
      if (running !== undefined) return running.then(() => round(output, rows * outputs))
      round(output, rows * outputs)
      return undefined
    },
  }
}
