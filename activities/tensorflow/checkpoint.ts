/**
 * Encodes a network in training: weights and optimizer state. Every epoch starts from a checkpoint, so that a resumed training takes
 * exactly the same steps.
 */
import type { LayersModel } from '@tensorflow/tfjs'
import type * as tfjs from '@tensorflow/tfjs'
import type { StopWatch } from '../../domain/training/early-stopping.ts'
import type { Tensorflow } from './tfjs.ts'

export interface CheckpointHeader {
  /** The identity of the training; a checkpoint of other code or data is rejected. */
  of: string
  /** The index of the call of `fit`, from 0. */
  phase: number
  /** Completed epochs of this phase. */
  epoch: number
  /** The state of early stopping. */
  watch?: StopWatch
}

export interface Checkpoint extends CheckpointHeader {
  weights: Block
  optimizer: Block
  /** The weights of the best epoch so far, in a training that may stop early. */
  best?: Block
}
interface NamedTensor {
  name: string
  tensor: tfjs.Tensor
}
interface Block {
  specs: tfjs.io.WeightsManifestEntry[]
  bytes: Uint8Array
}

export async function capture(
  tf: Tensorflow,
  network: LayersModel,
  header: CheckpointHeader,
): Promise<Checkpoint> {
  const weights = network.getWeights().map((tensor, index) => ({ name: `w${index}`, tensor }))
  return {
    ...header,
    weights: await toBlock(tf, weights),
    optimizer: await toBlock(tf, await network.optimizer.getWeights()),
  }
}

/** Restores a checkpoint into a network of the same shape, compiled in the same way. */
export async function restore(tf: Tensorflow, network: LayersModel, checkpoint: Checkpoint): Promise<void> {
  restoreWeights(tf, network, checkpoint.weights)
  const before = await network.optimizer.getWeights()
  const optimizer = fromBlock(tf, checkpoint.optimizer)
  await network.optimizer.setWeights(optimizer)
  tf.dispose([...before, ...optimizer].map(({ tensor }) => tensor))
}

export function restoreWeights(tf: Tensorflow, network: LayersModel, block: Block): void {
  const weights = fromBlock(tf, block)
  network.setWeights(weights.map(({ tensor }) => tensor))
  tf.dispose(weights.map(({ tensor }) => tensor))
}

export function encodeCheckpoint({ weights, optimizer, best, ...header }: Checkpoint): Buffer {
  const specs = {
    weights: weights.specs,
    optimizer: optimizer.specs,
    split: weights.bytes.length,
    best: best === undefined ? undefined : { specs: best.specs, bytes: best.bytes.length },
  }
  const text = JSON.stringify({ ...header, ...specs })
  const length = Buffer.alloc(4)
  length.writeUInt32LE(Buffer.byteLength(text))
  return Buffer.concat([
    length,
    Buffer.from(text),
    weights.bytes,
    optimizer.bytes,
    best?.bytes ?? Buffer.alloc(0),
  ])
}

export function decodeCheckpoint(bytes: Buffer): Checkpoint {
  const end = 4 + bytes.readUInt32LE(0)
  type Specs = {
    weights: Block['specs']
    optimizer: Block['specs']
    split: number
    best?: { specs: Block['specs']; bytes: number }
  }
  const text = bytes.subarray(4, end).toString('utf8')
  const { weights, optimizer, split, best, ...header } = JSON.parse(text) as CheckpointHeader & Specs
  return {
    ...header,
    weights: { specs: weights, bytes: bytes.subarray(end, end + split) },
    optimizer: { specs: optimizer, bytes: bytes.subarray(end + split, bytes.length - (best?.bytes ?? 0)) },
    best: best && { specs: best.specs, bytes: bytes.subarray(bytes.length - best.bytes) },
  }
}

async function toBlock(tf: Tensorflow, tensors: NamedTensor[]): Promise<Block> {
  const { data, specs } = await tf.io.encodeWeights(tensors)
  return { specs, bytes: new Uint8Array(data) }
}

/** In the order of the specs, which the optimizer expects. */
function fromBlock(tf: Tensorflow, { specs, bytes }: Block): NamedTensor[] {
  const tensors = tf.io.decodeWeights(Uint8Array.from(bytes).buffer, specs)
  return specs.map(({ name }) => ({ name, tensor: tensors[name] as tfjs.Tensor }))
}
