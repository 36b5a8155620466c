/** Runs graphs in the process of ONNX Runtime. */
import { ownHosts } from '../../../runtime/hosts.ts'
import { startModelProcess, type ModelFile } from '../../../runtime/process-host.ts'
import { createRuntime, type Runtime, type RuntimeOptions } from '../../../runtime/runtime.ts'
import type { SessionPlan } from './session-process.ts'

export type Sessions = Runtime<ModelFile<SessionPlan>>

export interface SessionsOptions extends RuntimeOptions {
  /** The memory limit of the process with all its models. */
  memoryMb?: number
}

export const createSessions = ({
  memoryMb = 2_048,
  hosts = ownHosts,
  batches,
  ...options
}: SessionsOptions): Sessions =>
  createRuntime<ModelFile<SessionPlan>>(
    {
      name: 'ONNX Runtime',
      where: 'process',
      start: (host) => startModelProcess('ONNX Runtime', host, hosts.startSessions(memoryMb)),
    },
    // A run is short, and a call to the process takes longer than a row. No batch waits for requests, and those that arrive in the meantime
    // are combined.
    { ...options, batches: { waitMs: 0, maxRows: 2_048, ...batches } },
  )
