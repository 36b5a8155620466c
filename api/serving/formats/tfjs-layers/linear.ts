/**
 * Attributes the prediction of a network with one dense layer exactly: weight times distance from the background, before the activation.
 */
import type { ExactExplainer } from '../format.ts'
import type { Network } from '../../network/layers-model.ts'

/** Returns the explainer; undefined for a network with several layers. */
export function linearExplainer({ layers }: Network): ExactExplainer | undefined {
  const [layer] = layers
  if (layer === undefined || layers.length > 1) return undefined
  const { kernel, bias, units, inputs, activations } = layer
  return {
    method: 'linear',
    scale: activations.every((name) => name === 'linear') ? 'answer' : 'raw',
    explain(row, background, { players, count, output }) {
      const weightOf = (input: number): number => kernel[input * units + output]!
      const sumOf = (of: Float64Array): number => {
        let sum = bias[output]!
        for (let input = 0; input < inputs; input++) sum += weightOf(input) * of[input]!
        return sum
      }
      const attributions = Array.from({ length: count }, () => 0)
      for (let input = 0; input < inputs; input++) {
        const usual = background.reduce((sum, other) => sum + other[input]!, 0) / background.length
        attributions[players[input]!]! += weightOf(input) * (row[input]! - usual)
      }
      const base = background.reduce((sum, other) => sum + sumOf(other), 0) / background.length
      return { base, score: sumOf(row), attributions }
    },
  }
}
