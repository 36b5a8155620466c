/** Takes training steps with a weight per row, which the library's `trainOnBatch` does not support. */
import type { LayersModel, Scalar } from '@tensorflow/tfjs'
import type { TrainingSteps } from './step-replay.ts'
import type { Tensorflow } from './tfjs.ts'

/** A compiled model whose training function multiplies the losses of rows by the weights that follow the targets. */
interface Weighable {
  makeTrainFunction: () => (data: unknown[]) => Scalar[]
  /** The compiled model inside a sequential one. */
  model?: Weighable
}

/** `weights` holds the weights of the rows of each step. The loss is the mean of the weighted losses. */
export function openWeightedSteps(
  tf: Tensorflow,
  network: LayersModel,
  { inputs, outputs, weights }: { inputs: number; outputs: number; weights: Float32Array },
): Pick<TrainingSteps, 'step' | 'end'> {
  const given = network as unknown as Weighable
  return {
    async step(x, y, rows) {
      const data = [
        tf.tensor2d(x.subarray(0, rows * inputs), [rows, inputs]),
        tf.tensor2d(y.subarray(0, rows * outputs), [rows, outputs]),
        tf.tensor1d(weights.subarray(0, rows)),
      ]
      const losses = (given.model ?? given).makeTrainFunction()(data)
      const [loss = NaN] = await losses[0]!.data()
      tf.dispose([...data, ...losses])
      return loss
    },
    end() {},
  }
}
