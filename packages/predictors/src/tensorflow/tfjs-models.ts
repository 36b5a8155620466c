/** Runs models that are not compiled with TensorFlow.js, in a worker thread. */
import { createRuntime, type Runtime, type RuntimeOptions } from '../runtime/runtime.ts'
import { ownHosts } from '../runtime/hosts.ts'
import { heapMb, startThread, type TensorModel } from './tfjs-thread.ts'

export type Tensors = Runtime<TensorModel>

export const createTensors = ({ hosts = ownHosts, ...options }: RuntimeOptions): Tensors =>
  createRuntime<TensorModel>(
    {
      name: 'TensorFlow.js',
      where: 'thread',
      start: (host) => startThread(host, hosts.startTensors(heapMb)),
    },
    options,
  )
