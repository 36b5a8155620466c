/**
 * Starts the process of ONNX Runtime, the thread of TensorFlow.js and Python processes from the sources, with what the system gives to its
 * children, and asks endpoints by the client of this system.
 */
import { Worker } from 'node:worker_threads'
import { createRuntimes as createFrom, startTied, type Hosts, type Runtimes } from '@tenure/predictors'
import { withMemoryLimit } from '@tenure/predictors/memory-limit'
import { findPython } from '../../../store/python/python-environment.ts'
import { createEndpointClient } from '../../../store/endpoint-client.ts'
import {
  cacheDir,
  checkout,
  endpointSettings,
  installerEnvironment,
  launcher,
  systemEnvironment,
} from '../../../temporal.config.ts'
import { runInBackground } from './background-process.ts'
import { requireJail, startPython } from './python-process.ts'

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
  python: {
    async prepare(needs) {
      const interpreter = await findPython(needs, {
        cache: cacheDir(),
        env: installerEnvironment(),
        signal: AbortSignal.timeout(makeEnvironmentMs),
      })
      requireJail(interpreter)
      return interpreter
    },
    start: startPython,
  },
  ask: (question) => (client ??= createEndpointClient(endpointSettings())).ask(question),
}

let client: ReturnType<typeof createEndpointClient> | undefined

/** How long installing the packages of a model may take. */
const makeEnvironmentMs = 3_600_000

export const createRuntimes = (options: Parameters<typeof createFrom>[0]): Runtimes =>
  createFrom({ ...options, hosts })
