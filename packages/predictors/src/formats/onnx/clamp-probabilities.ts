/**
 * Keeps the probabilities of a graph between 0 and 1. ONNX Runtime adds the leaves of a forest in 32 bits, so a certain prediction is
 * 1.0000001 or -0.0000001, which would refuse the version or count as a failed request.
 */
import type { Output } from '../../features.ts'
import type { Predictor } from '../../predictor.ts'

/** Values further outside are not rounding errors. Equals the golden tolerance, above which a version is refused. */
const maxRounding = 1e-5

/** Returns a function that limits the first numbers of an output; undefined for outputs that are no probabilities. */
export function roundingOf({ kind }: Output): ((output: Float32Array, count: number) => void) | undefined {
  if (kind !== 'probability' && kind !== 'classes') return undefined
  return (output, count) => {
    for (let at = 0; at < count; at++) {
      const value = output[at]!
      if (value > 1 && value <= 1 + maxRounding) output[at] = 1
      else if (value < 0 && value >= -maxRounding) output[at] = 0
    }
  }
}

/** Limits probabilities; returns the predictor unchanged for any other output. */
export function clampProbabilities(predictor: Predictor, of: Output): Predictor {
  const round = roundingOf(of)
  if (round === undefined) return predictor
  const { outputs } = predictor
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
