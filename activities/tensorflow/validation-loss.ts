/** Measures the loss of a network on the validation rows. */
import type { LayersModel, Scalar } from '@tensorflow/tfjs'
import type { Tensorflow } from './tfjs.ts'

export interface RowsWithTargets {
  rows: number
  inputs: number
  outputs: number
  encode: (row: number, into: Float32Array, offset: number) => void
  /** One target per row and output. */
  targets: Float32Array
}

const batchRows = 8_192

export async function validationLossOf(
  tf: Tensorflow,
  network: LayersModel,
  { rows, inputs, outputs, encode, targets }: RowsWithTargets,
): Promise<number> {
  let sum = 0
  for (let start = 0; start < rows; start += batchRows) {
    const count = Math.min(batchRows, rows - start)
    const x = new Float32Array(count * inputs)
    for (let row = 0; row < count; row++) encode(start + row, x, row * inputs)
    const y = targets.subarray(start * outputs, (start + count) * outputs)
    const given = [tf.tensor2d(x, [count, inputs]), tf.tensor2d(y, [count, outputs])] as const
    const found = network.evaluate(...given, { batchSize: count })
    const all: Scalar[] = Array.isArray(found) ? found : [found]
    const [loss = NaN] = await all[0]!.data()
    tf.dispose([...given, ...all])
    sum += loss * count
  }
  return sum / rows
}
