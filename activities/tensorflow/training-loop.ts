/**
 * Trains with its own shuffling, seeded by (seed, phase, epoch), and a checkpoint after each epoch. The library shuffles with an unseeded
 * generator, so its trainings could be neither repeated nor resumed.
 */
import type { LayersModel, Scalar, Tensor } from '@tensorflow/tfjs'
import { DomainError } from '../../domain/errors.ts'
import { isStopped, watchEpoch, type StopWatch } from '../../domain/training/early-stopping.ts'
import { seededRandom } from '@tenure/sequential'
import { hash32 } from '../../domain/serving/route.ts'
import type { FitOptions } from '../../models/define/model.ts'
import { capture, restore, restoreWeights, type Checkpoint } from './checkpoint.ts'
import type { Tensorflow } from './tfjs.ts'

export interface EncodedRows {
  rows: number
  inputs: number
  outputs: number
  encode: (row: number, into: Float32Array, offset: number) => void
  /** One target per row and output. */
  targets: Float32Array
  /** One weight per row, with a mean of 1. Absent: all rows have equal weight. */
  weights?: Float32Array
}

export interface FitStep {
  /** Counted over all calls of `fit`. */
  epoch: number
  epochs: number
  loss: number
  /** The loss on the validation rows, when the split has them. */
  validationLoss?: number
}

export interface FitDeps {
  tf: Tensorflow
  data: EncodedRows
  validation?: EncodedRows
  seed: number
  /** The identity of this training, stored in its checkpoints. */
  of: string
  resume?: Checkpoint
  /** The curve of the judged training, for a refit: an early stop ends at its best epoch. */
  frozen?: readonly { epoch: number; validationLoss?: number }[]
  /** Stores the checkpoint and reports the epoch. */
  onEpoch: (step: FitStep, checkpoint: Checkpoint) => Promise<void>
  /** Called several times a second; detects that the parent has exited. */
  onBatch: () => Promise<void>
}

/** The `fit` given to a model file. */
export function makeFit(deps: FitDeps): (network: LayersModel, options: FitOptions) => Promise<void> {
  const { tf, seed, of, resume, validation, frozen } = deps
  let phases = 0
  let before = 0
  let declared = 0
  return async (network, options) => {
    const given = checkedOptions(options, validation !== undefined || frozen !== undefined)
    const { batchSize } = given
    const isFrozen = frozen !== undefined && given.stopEarly !== undefined
    const epochs = isFrozen ? bestEpochOf(frozen, { ...given, after: declared }) : given.epochs
    const stopEarly = isFrozen ? undefined : given.stopEarly
    declared += given.epochs
    const isOver = (at?: Checkpoint) => stopEarly !== undefined && isStopped(at?.watch, stopEarly)
    const phase = phases++
    const done = before
    before += epochs
    if (resume !== undefined && phase < resume.phase) return
    let checkpoint = resume?.phase === phase ? resume : undefined
    const step = openStep(deps, network)
    for (let epoch = (checkpoint?.epoch ?? 0) + 1; epoch <= epochs; epoch++) {
      if (isOver(checkpoint)) break
      if (checkpoint !== undefined) await restore(tf, network, checkpoint)
      const chance = seededRandom(hash32(`${seed}/${phase}/${epoch}`))
      // Layers with randomness, such as unseeded dropout, must repeat it after a resume.
      Math.random = seededRandom(hash32(`${seed}/${phase}/${epoch}/layers`))
      const loss = await runEpoch(deps, step, shuffled(deps.data.rows, chance), batchSize)
      const validationLoss = validation && (await validationLossOf(tf, network, validation))
      const watch =
        stopEarly && watchEpoch(checkpoint?.watch, { epoch, loss: validationLoss ?? NaN }, stopEarly)
      const best = checkpoint?.best
      checkpoint = await capture(tf, network, { of, phase, epoch, watch })
      checkpoint.best = watch && (watch.bestEpoch === epoch ? checkpoint.weights : best)
      await deps.onEpoch({ epoch: done + epoch, epochs: before, loss, validationLoss }, checkpoint)
    }
    if (checkpoint === undefined || (checkpoint.epoch < epochs && !isOver(checkpoint))) return
    await restore(tf, network, checkpoint)
    if (checkpoint.best !== undefined) restoreWeights(tf, network, checkpoint.best)
  }
}

/** The best epoch of one call of `fit` in the curve of all calls, whose epochs are counted on from call to call. */
function bestEpochOf(
  curve: NonNullable<FitDeps['frozen']>,
  { epochs, stopEarly, after }: Pick<FitOptions, 'epochs' | 'stopEarly'> & { after: number },
): number {
  const own = curve.filter(({ epoch }) => epoch > after && epoch <= after + epochs)
  let watch: StopWatch | undefined
  for (const { epoch, validationLoss } of own)
    watch = watchEpoch(watch, { epoch: epoch - after, loss: validationLoss ?? NaN }, stopEarly!)
  return watch?.bestEpoch ?? epochs
}

/** As in Keras. */
const defaultBatchSize = 32

/** An unknown option throws. Ignored silently, the training would differ from what the model file says. */
function checkedOptions(
  { epochs, batchSize = defaultBatchSize, stopEarly, ...more }: FitOptions,
  hasValidation: boolean,
): FitOptions & { batchSize: number } {
  const wrong = (message: string) => new DomainError('training_failed', `fit: ${message}`)
  const [unknown] = Object.keys(more)
  if (unknown !== undefined)
    throw wrong(
      `takes the options epochs, batchSize and stopEarly, not ${unknown}; validation rows are declared in the split`,
    )
  for (const [name, value] of Object.entries({ epochs, batchSize }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw wrong(`${name} is a whole number from 1, not ${String(value)}`)
  if (stopEarly === undefined) return { epochs, batchSize }
  const { after, minDelta = 0 } = stopEarly
  if (!hasValidation)
    throw wrong(
      'stopEarly needs validation rows: declare them in the split, as in random({ test: 0.2, validation: 0.1 })',
    )
  if (!Number.isSafeInteger(after) || after < 1)
    throw wrong(`stopEarly.after is a whole number from 1, not ${String(after)}`)
  if (!(Number.isFinite(minDelta) && minDelta >= 0))
    throw wrong(`stopEarly.minDelta is a number of at least 0, not ${String(minDelta)}`)
  return { epochs, batchSize, stopEarly }
}

interface Batch {
  x: Float32Array
  y: Float32Array
  weights?: Float32Array
  /** The rows of the batch; the arrays may have room for more. */
  rows: number
}

/** Trains on one batch and returns its loss. */
type Step = (batch: Batch) => Promise<number>

function openStep({ tf, data: { inputs, outputs, weights: all } }: FitDeps, network: LayersModel): Step {
  let current: Float32Array | undefined
  const trained = all === undefined ? network : weighted(tf, network, () => tf.tensor1d(current!))
  return async ({ x, y, weights, rows }) => {
    const features = tf.tensor2d(x.subarray(0, rows * inputs), [rows, inputs])
    const targets = tf.tensor2d(y.subarray(0, rows * outputs), [rows, outputs])
    current = weights?.subarray(0, rows)
    const result = await trained.trainOnBatch(features, targets)
    tf.dispose([features, targets])
    return Number(Array.isArray(result) ? result[0] : result)
  }
}

/** The same layers and optimizer with a loss that multiplies the losses of rows by weights, which the library does not support. */
function weighted(
  tf: Tensorflow,
  { inputs, outputs, optimizer, loss }: LayersModel,
  weights: () => Tensor,
): LayersModel {
  // Named, so that the networks of the model file keep the names that they have without weights.
  const network = tf.model({ inputs, outputs, name: 'weighted' })
  network.compile({ optimizer, loss })
  network.lossFunctions = network.lossFunctions.map(
    (lossOf) => (expected, predicted) => tf.mul(lossOf(expected, predicted), weights()),
  )
  return network
}

async function runEpoch(
  { data, onBatch }: FitDeps,
  step: Step,
  order: Uint32Array,
  batchSize: number,
): Promise<number> {
  const { inputs, outputs, targets, encode } = data
  const room = Math.min(batchSize, order.length)
  const x = new Float32Array(room * inputs)
  const y = new Float32Array(room * outputs)
  const weights = data.weights && new Float32Array(room)
  let sum = 0
  for (let start = 0; start < order.length; start += room) {
    const rows = Math.min(room, order.length - start)
    for (let index = 0; index < rows; index++) {
      const row = order[start + index]!
      encode(row, x, index * inputs)
      for (let output = 0; output < outputs; output++)
        y[index * outputs + output] = targets[row * outputs + output]!
      if (weights !== undefined) weights[index] = data.weights![row]!
    }
    sum += (await step({ x, y, weights, rows })) * rows
    await onBatch()
  }
  return sum / order.length
}

const validationBatchRows = 8_192

async function validationLossOf(
  tf: Tensorflow,
  network: LayersModel,
  { rows, inputs, outputs, encode, targets }: EncodedRows,
): Promise<number> {
  let sum = 0
  for (let start = 0; start < rows; start += validationBatchRows) {
    const count = Math.min(validationBatchRows, rows - start)
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

/** A random permutation of 0 … rows − 1 (Fisher and Yates). */
export function shuffled(rows: number, uniform: () => number): Uint32Array {
  const order = Uint32Array.from({ length: rows }, (_, index) => index)
  for (let last = rows - 1; last > 0; last--) {
    const other = Math.floor(uniform() * (last + 1))
    const kept = order[last] ?? 0
    order[last] = order[other] ?? 0
    order[other] = kept
  }
  return order
}
