/** Runs each model that is code in a Python process of its own, so that it can neither read, slow down nor end another one. */
import { refuse } from '../../errors.ts'
import type { PythonPackages } from '../../runtime/hosts.ts'
import { startModelProcess, type ModelFile } from '../../runtime/process-host.ts'
import {
  createRuntime,
  type HostedPredictor,
  type HostedShape,
  type Runtime,
  type RuntimeOptions,
} from '../../runtime/runtime.ts'

export interface PythonModels {
  /** Makes the environment where this machine lacks it, starts the process and loads the model. Throws `artifact_invalid` where it does not load. */
  open(
    name: string,
    model: ModelFile & { needs: PythonPackages },
    shape: HostedShape,
  ): Promise<HostedPredictor>
  stop(): Promise<void>
}

export interface PythonOptions extends RuntimeOptions {
  /** The limit of memory of each process in MiB. */
  memoryMb?: number
}

export function createPythonModels({
  memoryMb = 2_048,
  hosts,
  batches,
  ...options
}: PythonOptions): PythonModels {
  const runtimes = new Set<Runtime<ModelFile>>()

  const open: PythonModels['open'] = async (name, { needs, ...model }, shape) => {
    const { python } = hosts ?? {}
    if (python === undefined) return refuse('the model is code of Python, which is not run here')
    const interpreter = await python.prepare(needs)
    const runtime = createRuntime<ModelFile>(
      {
        name: 'Python',
        where: 'process',
        start: (host) => startModelProcess('Python', host, python.start(interpreter, memoryMb)),
      },
      // A call costs the same for one row as for a hundred, so that requests which arrive during a call are answered by the next one. Rows are
      // not divided because a call takes long, as on a busy machine: each part would take as long. No other model waits for this process.
      { ...options, batches: { waitMs: 0, maxRows: 2_048, batchMs: 1_000, ...batches } },
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
    open,
    async stop() {
      await Promise.all([...runtimes].map((each) => each.stop()))
    },
  }
}
