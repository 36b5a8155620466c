/** Runs models that are not compiled with TensorFlow.js, in a worker thread. */
import { createRuntime, type Runtime, type RuntimeOptions } from '../runtime/runtime.ts'
import { startThread, type TensorModel } from './tfjs-thread.ts'

export type Tensors = Runtime<TensorModel>

export const createTensors = (options: RuntimeOptions): Tensors =>
  createRuntime<TensorModel>({ name: 'TensorFlow.js', where: 'thread', start: startThread }, options)
