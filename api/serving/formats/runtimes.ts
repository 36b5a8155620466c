/** The worker threads of formats that do not answer in the turn of the request. Each starts with its first model and ends with its last. */
import { createTensors, type Tensors, type TensorsOptions } from '../tensorflow/tfjs-models.ts'

export interface Runtimes {
  tensors: Tensors
  stop(): Promise<void>
}

export function createRuntimes(options: TensorsOptions): Runtimes {
  const tensors = createTensors(options)
  return { tensors, stop: tensors.stop }
}
