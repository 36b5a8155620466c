/** Starts the process of ONNX Runtime and the thread of TensorFlow.js from the compiled sources, with what the system gives to its children. */
import { Worker } from 'node:worker_threads'
import {
  createRuntimes as createFrom,
  startTied,
  type Hosts,
  type RuntimeOptions,
  type Runtimes,
} from '@tenure/predictors'
import { withMemoryLimit } from '@tenure/predictors/memory-limit'
import { checkout, launcher, systemEnvironment } from '../../../temporal.config.ts'
import { runInBackground } from './background-process.ts'

export const hosts: Hosts = {
  startSessions(memoryMb) {
    const { execPath = process.execPath, execArgv } = withMemoryLimit(memoryMb)
    const file = 'packages/predictors/src/formats/onnx/session/session-process.ts'
    const child = startTied([execPath, ...execArgv, launcher, file], {
      cwd: checkout,
      env: systemEnvironment(),
    })
    runInBackground(child)
    return child
  },
  startTensors: (heapMb) =>
    new Worker(launcher, {
      argv: ['packages/predictors/src/tensorflow/tfjs-worker.ts'],
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    }),
}

export const createRuntimes = (options: RuntimeOptions): Runtimes => createFrom({ ...options, hosts })
