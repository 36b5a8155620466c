/** Computes the rows of a model with its forest. */
import { refuse } from '../../errors.ts'
import { inputWidthOf, type ModelDescription } from '../../features.ts'
import type { Predictor } from '../../predictor.ts'
import type { Forest } from './forest.ts'
import { predictorOf, type ForestOptions } from './predictor.ts'

export type { ForestOptions } from './predictor.ts'

export function openForest(
  forest: Forest,
  { preprocessing }: Pick<ModelDescription, 'preprocessing'>,
  options?: ForestOptions,
): { predictor: Predictor; memoryBytes: number } {
  const inputs = inputWidthOf(preprocessing)
  const count = forest.columns.length
  if (count > inputs) refuse(`the trees take ${count} columns, the preprocessing gives ${inputs}`)
  const { outputs, memoryBytes, predictOne } = predictorOf(forest, options)
  const answer = new Float64Array(outputs)
  return {
    memoryBytes,
    predictor: {
      inputs,
      outputs,
      run(input, rows, output) {
        for (let row = 0; row < rows; row++) {
          predictOne(input, row * inputs, answer, 0)
          const at = row * outputs
          for (let k = 0; k < outputs; k++) output[at + k] = answer[k]!
        }
        return undefined
      },
    },
  }
}
