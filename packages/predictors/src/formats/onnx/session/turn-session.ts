/**
 * Answers small requests to a graph in their turn of the event loop, and leaves the others to the process of ONNX Runtime, which has loaded
 * the graph before and measured it. ONNX Runtime cannot be interrupted, and ending a worker thread during a run aborts the whole process,
 * so nothing but this estimate bounds how long a run delays other requests.
 */
import type { Predictor } from '../../../predictor.ts'
import type { HostedPredictor, RunCost, TextsOf } from '../../../runtime/runtime.ts'
import type { OnnxLayout } from '../layout.ts'
import { maxTurnMs } from './turn-cost.ts'
import { openGraphSession, textsByColumn } from './graph-session.ts'

export interface TurnOptions {
  bytes: Uint8Array
  layout: OnnxLayout
  cost: RunCost
  textsOf: TextsOf | undefined
}

/** Loads the graph into this process. Closing the predictor releases both. */
export function inTurn(hosted: HostedPredictor, { bytes, layout, cost, textsOf }: TurnOptions): Predictor {
  const { inputs, outputs } = hosted
  const session = openGraphSession(bytes, layout)
  const texts = layout.inputs.filter(({ type }) => type === 'string').length
  const { callMs, rowMs, byteMs } = cost
  const noTexts: string[][] = []
  return {
    inputs,
    outputs,
    run(input, rows, output, order, given) {
      const textMs = texts === 0 ? 0 : (given?.textBytes ?? 0) * byteMs
      if (callMs + (rows - 1) * rowMs + textMs > maxTurnMs)
        return hosted.run(input, rows, output, order, given)
      const columns = texts === 0 ? noTexts : textsByColumn(textsOf!(given!, rows).bytes, rows, texts)
      const answer = session.compute({ rows, numbers: input.subarray(0, rows * inputs), texts: columns })
      // The process returns the second of two outputs alone for a probability.
      if (answer.length === 2 * rows * outputs)
        for (let row = 0; row < rows; row++) output[row] = answer[2 * row + 1]!
      else output.set(answer)
      return undefined
    },
    close() {
      session.release()
      hosted.close?.()
    },
  }
}
