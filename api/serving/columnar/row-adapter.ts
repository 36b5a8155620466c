/** Runs rows that are read column by column through the loops of a version. */
import { codesBefore, type AnswerColumns, type ColumnSource } from './column-source.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

const blockRows = 256

export function answerWhole({ predictor }: LoadedVersion, sources: readonly ColumnSource[]): AnswerColumns {
  const { inputs, outputs: width } = predictor
  const input = new Float32Array(blockRows * inputs)
  const answers = new Float32Array(blockRows * width)
  return async ({ rows, numbers, texts }, outputs, refused) => {
    for (let from = 0; from < rows; from += blockRows) {
      const count = Math.min(blockRows, rows - from)
      input.fill(0)
      for (const source of sources)
        for (let row = 0; row < count; row++) {
          if (source.kind === 'number') {
            const value = source.scale(numbers[source.slot]![from + row]!)
            if (Number.isFinite(value)) input[row * inputs + source.start] = value
            else refused[from + row] = 1
            continue
          }
          const place = source.places[codesBefore + texts[source.slot]![from + row]!]!
          if (place < 0) refused[from + row] = 1
          else input[row * inputs + place] = 1
        }
      await predictor.run(input, count, answers)
      outputs.set(answers.subarray(0, count * width), from * width)
    }
  }
}
