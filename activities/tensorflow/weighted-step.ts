/** Takes one training step with a weight for each row, which the library's `trainOnBatch` does not take. */
import type { LayersModel, Scalar } from '@tensorflow/tfjs'
import type { Tensorflow } from './tfjs.ts'

/** Its training function multiplies the losses of rows by weights that follow the targets. */
interface Weighable {
  makeTrainFunction: () => (data: unknown[]) => Scalar[]
  /** The compiled model inside a sequential one. */
  model?: Weighable
}

export interface WeightedBatch {
  x: Float32Array
  y: Float32Array
  weights: Float32Array
  count: number
  inputs: number
  outputs: number
}

/** The mean of the weighted losses. */
export async function weightedStep(
  tf: Tensorflow,
  network: LayersModel,
  { x, y, weights, count, inputs, outputs }: WeightedBatch,
): Promise<number> {
  const data = [
    tf.tensor2d(x.subarray(0, count * inputs), [count, inputs]),
    tf.tensor2d(y.subarray(0, count * outputs), [count, outputs]),
    tf.tensor1d(weights.subarray(0, count)),
  ]
  const given = network as unknown as Weighable
  const losses = (given.model ?? given).makeTrainFunction()(data)
  const [loss = NaN] = await losses[0]!.data()
  tf.dispose([...data, ...losses])
  return loss
}
