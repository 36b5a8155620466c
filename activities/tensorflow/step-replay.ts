/**
 * Repeats a training step without the library. The native operations of two steps are recorded; if they are equal, every further step
 * calls them directly and gives the same bits. The library spends four fifths of a step on bookkeeping.
 */
import type { LayersModel } from '@tensorflow/tfjs'
import { recordOperations, type Recording } from './operation-record.ts'
import { compileOperations, type StepProgram } from './operation-program.ts'
import { nativeBackend, type NativeBackend, type NativeVariable } from './native-backend.ts'
import type { Tensorflow } from './tfjs.ts'

export interface BatchShape {
  rows: number
  inputs: number
  outputs: number
}

export interface TrainingSteps {
  /** Trains on one batch and returns its loss. The caller may reuse the arrays afterwards. */
  step(x: Float32Array, y: Float32Array, rows: number): Promise<number>
  /** Writes the state of repeated steps back into the network and its optimizer, and ends the repetition. */
  end(): void
  /** The number of steps that were repeated from the recording. */
  readonly repeated: number
}

/** Opens the steps of one epoch. */
export function openSteps(
  tf: Tensorflow,
  network: LayersModel,
  batch: BatchShape,
  steps: number,
): TrainingSteps {
  const backend = steps >= minSteps && isRepeatable(tf, network) ? nativeBackend(tf) : undefined
  const replay = backend === undefined ? undefined : createReplay(tf, backend, network, batch)
  return {
    async step(x, y, rows) {
      if (replay !== undefined && rows === batch.rows) return replay.step(x, y)
      replay?.end()
      return takeStep(tf, network, { x, y, rows, ...widthsOf(batch) })
    },
    end: () => replay?.end(),
    get repeated() {
      return replay?.repeated ?? 0
    },
  }
}

/** Below this number of steps per epoch, recording costs more than it saves. */
const minSteps = 12

const widthsOf = ({ inputs, outputs }: BatchShape) => ({ inputs, outputs })

async function takeStep(
  tf: Tensorflow,
  network: LayersModel,
  { x, y, rows, inputs, outputs }: BatchShape & { x: Float32Array; y: Float32Array },
): Promise<number> {
  const whole = (values: Float32Array, width: number) =>
    values.length === rows * width ? values : values.subarray(0, rows * width)
  const features = tf.tensor2d(whole(x, inputs), [rows, inputs])
  const wanted = tf.tensor2d(whole(y, outputs), [rows, outputs])
  const result = await network.trainOnBatch(features, wanted)
  tf.dispose([features, wanted])
  return Number(Array.isArray(result) ? result[0] : result)
}

/** Layers that compute the same function of inputs and weights in every step. Random layers are recorded and found to differ. */
const knownLayers = new Set(
  'InputLayer Dense Activation ReLU LeakyReLU PReLU ELU ThresholdedReLU Softmax Dropout GaussianNoise GaussianDropout AlphaDropout Flatten Reshape Permute RepeatVector Masking Embedding Add Subtract Multiply Average Maximum Minimum Concatenate Dot BatchNormalization LayerNormalization'.split(
    ' ',
  ),
)

/** False for custom code of a model file within a step: it may hold state that two recorded steps do not show. */
function isRepeatable(tf: Tensorflow, network: LayersModel): boolean {
  const { optimizer, loss, metrics, layers } = network as Partial<LayersModel>
  if (optimizer === undefined || typeof loss !== 'string') return false
  if (metrics !== undefined && (!Array.isArray(metrics) || metrics.length > 0)) return false
  const optimizers: readonly unknown[] = [
    tf.SGDOptimizer,
    tf.MomentumOptimizer,
    tf.RMSPropOptimizer,
    tf.AdagradOptimizer,
    tf.AdadeltaOptimizer,
    tf.AdamOptimizer,
  ]
  return (
    optimizers.includes(optimizer.constructor) &&
    (layers ?? []).every((layer) => knownLayers.has(layer.getClassName()))
  )
}

/**
 * Replays steps of one batch size. The first step runs as usual, because optimizers create their variables in it; the next two are
 * recorded.
 */
function createReplay(tf: Tensorflow, backend: NativeBackend, network: LayersModel, batch: BatchShape) {
  const { rows, inputs, outputs } = batch
  const optimizer = network.optimizer as unknown as { iterations: number; incrementIterations(): void }
  let taken = 0
  let first: Recording | undefined
  let program: StepProgram | undefined
  let variables: NativeVariable[] = []
  let state: number[] = []
  let repeated = 0

  const record = async (x: Float32Array, y: Float32Array): Promise<number> => {
    const features = tf.tensor2d(x, [rows, inputs])
    const wanted = tf.tensor2d(y, [rows, outputs])
    variables = backend.variables()
    const before = variables.map((variable) => backend.idOf(variable))
    const iterations = optimizer.iterations
    let result: Awaited<ReturnType<LayersModel['trainOnBatch']>> = NaN
    const recording = await recordOperations(
      backend,
      { x: backend.idOf(features), y: backend.idOf(wanted), state: before },
      async () => {
        result = await network.trainOnBatch(features, wanted)
        return backend.variables()
      },
    )
    tf.dispose([features, wanted])
    const isWhole =
      recording !== undefined &&
      optimizer.iterations === iterations + 1 &&
      variables.every((variable, index) => variable === recording.variables[index])
    if (!isWhole) taken = Infinity
    else if (first === undefined) first = recording
    else if (first.text === recording.text) {
      state = recording.state
      program = compileOperations(backend, recording, state)
    } else taken = Infinity
    return Number(Array.isArray(result) ? result[0] : result)
  }
  return {
    async step(x: Float32Array, y: Float32Array): Promise<number> {
      taken++
      if (program !== undefined) {
        const [features, wanted] = [backend.create([rows, inputs], x), backend.create([rows, outputs], y)]
        const loss = program.run(features, wanted)
        backend.delete(features)
        backend.delete(wanted)
        optimizer.incrementIterations()
        repeated++
        return loss
      }
      return taken === 2 || taken === 3 ? record(x, y) : takeStep(tf, network, { x, y, ...batch })
    },
    end(): void {
      taken = Infinity
      if (program === undefined) return
      variables.forEach((variable, index) => backend.replace(variable, state[index]!))
      program.dispose()
      program = undefined
    },
    get repeated() {
      return repeated
    },
  }
}
