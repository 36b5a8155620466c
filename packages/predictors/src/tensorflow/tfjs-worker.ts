/**
 * Computes models with TensorFlow.js in a worker thread. Only this thread loads TensorFlow.js, which takes 60 MB and half a second, and a
 * slow model blocks only this thread. The plain JavaScript backend supports every operation and gives a row the same bits alone and in a
 * batch.
 */
import '@tensorflow/tfjs-backend-cpu'
import * as tf from '@tensorflow/tfjs-core'
import { loadLayersModel, type LayersModel } from '@tensorflow/tfjs-layers'
import { parentPort } from 'node:worker_threads'
import type { LayeredModel } from '../network/layer-limits.ts'

export type TensorCall =
  | { kind: 'load'; key: string; model: LayeredModel; outputs: number }
  | { kind: 'run'; key: string; input: Float32Array; rows: number }
  | { kind: 'drop'; key: string }
/** A message to the thread, which replies once with the same id. */
export type TensorCommand = { id: number } & TensorCall
export type TensorReply = { id: number; output?: Float32Array; error?: string }

/** The maximum number of floats that a layer may produce for one row. */
const maxFloats = 262_144

const models = new Map<string, LayersModel>()

async function load(
  key: string,
  { modelTopology, specs, weights }: LayeredModel,
  outputs: number,
): Promise<void> {
  const model = await loadLayersModel(
    tf.io.fromMemory({ modelTopology, weightSpecs: specs, weightData: weights.buffer }),
  )
  try {
    expectServable(model, outputs)
  } catch (error) {
    model.dispose()
    throw error
  }
  models.get(key)?.dispose()
  models.set(key, model)
}

function expectServable(model: LayersModel, outputs: number): void {
  for (const layer of model.layers) {
    const shapes = [layer.outputShape].flat(2)
    const floats = shapes.reduce<number>((product, size) => product * (size ?? 1), 1)
    if (floats > maxFloats)
      throw new Error(`layer ${layer.name} makes ${floats} numbers of a row, more than ${maxFloats}`)
  }
  const [output] = model.outputs
  if (model.outputs.length !== 1 || output?.shape.length !== 2 || output.shape[1] !== outputs)
    throw new Error(`the network gives the shape [${output?.shape.join(', ')}], not [null, ${outputs}]`)
}

function run(key: string, input: Float32Array, rows: number): Float32Array {
  const model = models.get(key)
  if (model === undefined) throw new Error(`${key} is not loaded`)
  return tf.tidy(() => {
    const given = model.predictOnBatch(tf.tensor2d(input, [rows, input.length / rows]))
    return (Array.isArray(given) ? given[0]! : given).dataSync().slice() as Float32Array
  })
}

async function answer(command: TensorCommand): Promise<TensorReply> {
  try {
    switch (command.kind) {
      case 'load':
        await load(command.key, command.model, command.outputs)
        return { id: command.id }
      case 'run':
        return { id: command.id, output: run(command.key, command.input, command.rows) }
      case 'drop':
        models.get(command.key)?.dispose()
        models.delete(command.key)
        return { id: command.id }
    }
  } catch (error) {
    return { id: command.id, error: (error as Error).message }
  }
}

tf.enableProdMode()
await tf.setBackend('cpu')
const port = parentPort!
port.on('message', (command: TensorCommand) => {
  void answer(command).then((reply) =>
    port.postMessage(reply, reply.output === undefined ? [] : [reply.output.buffer as ArrayBuffer]),
  )
})
