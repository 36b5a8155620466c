/** Runs each model that is code in a Python process of its own, so that it can neither read, slow down nor end another one. */
import { setTimeout as pause } from 'node:timers/promises'
import { predictorError, refuse } from '../../errors.ts'
import type { PythonPackages } from '../../runtime/hosts.ts'
import { startModelProcess, type ModelFile } from '../../runtime/process-host.ts'
import {
  createRuntime,
  type HostedPredictor,
  type Runtime,
  type RuntimeOptions,
  type TextsOf,
} from '../../runtime/runtime.ts'

export interface PythonModels {
  /** Makes the environment where this machine lacks it, starts the process and loads the model. Throws `artifact_invalid` where it does not load. */
  open(
    name: string,
    model: ModelFile & { needs: PythonPackages },
    shape: { inputs: number; textsOf?: TextsOf },
  ): Promise<HostedPredictor>
  stop(): Promise<void>
}

/** How long an opened model that its caller has not waited for is kept for the next call. */
const keptMs = 300_000
/** How long a failure is told again: each call would install the packages anew. */
const failedMs = 60_000

export interface PythonOptions extends RuntimeOptions {
  /** The limit of memory of each process in MiB. */
  memoryMb?: number
  /**
   * How long `open` waits. Beyond it, the model goes on opening, `open` throws `model_unavailable`, and a later call for the same name returns it. Default:
   * until it is open.
   */
  patienceMs?: number
}

export function createPythonModels({
  memoryMb = 2_048,
  patienceMs = Infinity,
  hosts,
  batches,
  ...options
}: PythonOptions): PythonModels {
  const runtimes = new Set<Runtime<ModelFile>>()
  const opening = new Map<string, Promise<HostedPredictor>>()

  const openWhole: PythonModels['open'] = async (name, { needs, ...model }, shape) => {
    const { python } = hosts ?? {}
    if (python === undefined) return refuse('the model is code of Python, which is not run here')
    const interpreter = await python.prepare(needs)
    const runtime = createRuntime<ModelFile>(
      {
        name: 'Python',
        where: 'process',
        start: (host) => startModelProcess('Python', host, python.start(interpreter, memoryMb)),
      },
      // A call costs the same for one row as for a hundred, so that requests which arrive during a call are answered by the next one.
      { ...options, batches: { waitMs: 0, maxRows: 2_048, ...batches } },
    )
    runtimes.add(runtime)
    const stop = () => {
      runtimes.delete(runtime)
      return runtime.stop()
    }
    try {
      const hosted = await runtime.open(name, model, shape)
      return { ...hosted, close: () => void stop() }
    } catch (error) {
      await stop()
      throw error
    }
  }

  return {
    async open(name, model, shape) {
      if (patienceMs === Infinity) return openWhole(name, model, shape)
      const found = opening.get(name) ?? keep(name, openWhole(name, model, shape))
      const first = await Promise.race([found, pause(patienceMs, undefined, { ref: false })])
      if (first === undefined)
        throw predictorError(
          'model_unavailable',
          `${name} is code: its packages are installed where they are missing, and its process is started`,
        )
      opening.delete(name)
      return first
    },
    async stop() {
      opening.clear()
      await Promise.all([...runtimes].map((each) => each.stop()))
    },
  }

  /** Keeps what a later call takes: a release may end before it, and a failure would be met again. */
  function keep(name: string, found: Promise<HostedPredictor>): Promise<HostedPredictor> {
    opening.set(name, found)
    const forget = (hosted?: HostedPredictor): void => {
      if (opening.get(name) !== found) return
      opening.delete(name)
      hosted?.close?.()
    }
    found.then(
      (hosted) => setTimeout(() => forget(hosted), keptMs).unref(),
      () => setTimeout(forget, failedMs).unref(),
    )
    return found
  }
}
