/**
 * Creates the threads, processes and connections of formats that do not answer within the turn of the request. Each thread or process starts
 * with its first model and ends with its last.
 */
import type { RuntimeOptions } from '../runtime/runtime.ts'
import { createTensors, type Tensors } from '../tensorflow/tfjs-models.ts'
import { createEndpoints, type Endpoints } from './endpoint/endpoints.ts'
import { createPythonModels, type PythonModels, type PythonOptions } from './python/python-models.ts'
import { createSessions, type Sessions, type SessionsOptions } from './onnx/session/session-host.ts'

export interface Runtimes {
  tensors: Tensors
  sessions: Sessions
  python: PythonModels
  endpoints: Endpoints
  onError: RuntimeOptions['onError']
  stop(): Promise<void>
}

export function createRuntimes(options: SessionsOptions & PythonOptions): Runtimes {
  const [tensors, sessions] = [createTensors(options), createSessions(options)]
  const python = createPythonModels(options)
  return {
    tensors,
    sessions,
    python,
    endpoints: createEndpoints(options),
    onError: options.onError,
    async stop() {
      await Promise.all([tensors.stop(), sessions.stop(), python.stop()])
    },
  }
}
