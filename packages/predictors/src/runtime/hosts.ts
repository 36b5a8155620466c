/**
 * Starts the process of ONNX Runtime and the thread of TensorFlow.js. A program that compiles its sources into other files, or that limits
 * its children in another way, gives functions of its own.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { withMemoryLimit } from './memory-limit.ts'

/** What an object of Python was trained with. */
export interface PythonPackages {
  /** The version of Python: `3.11.7`. */
  python: string
  /** Versions by the names of the packages, in lower case. */
  packages: Readonly<Record<string, string>>
}

/** One request to a server of others. */
export interface OutgoingQuestion {
  address: string
  headers: Record<string, string>
  body: string | Uint8Array
  /** Whether the server speaks HTTP/2 alone, without TLS too, as those of gRPC do. */
  http2?: boolean
  /** The name of what proves to the server who asks. */
  secret?: string
  /** The service and region of AWS for which the secret signs the request. Default: the secret is sent as a bearer token. */
  signedFor?: { service: string; region: string }
  /** The most bytes of the answer, and the most time for all of it. */
  maxBytes: number
  maxMs: number
}

export interface OutgoingReply {
  status: number
  body: Uint8Array
  /** The headers, with those after the body. */
  headers?: Readonly<Record<string, unknown>>
}

export interface Hosts {
  /** Starts `session-process` with at most this much memory. Its standard error is a pipe, and the third channel a socket. */
  startSessions(memoryMb: number): ChildProcess
  /** Starts `tfjs-worker` with at most this much heap. */
  startTensors(heapMb: number): Worker
  /** Runs models that are code of Python. Absent: they are refused. */
  python?: {
    /** Returns the interpreter of an environment with these packages, which it makes where this machine has none. Throws with what is missing. */
    prepare(needs: PythonPackages): Promise<string>
    /** Starts the server of one model with at most this much memory. Its standard error is a pipe, and the third channel a socket. */
    start(interpreter: string, memoryMb: number): ChildProcess
  }
  /** Asks the server of an endpoint. Follows no redirect. Throws with what has happened, as `lasting: true` where asking again changes nothing. Absent: endpoints are refused. */
  ask?(question: OutgoingQuestion): Promise<OutgoingReply>
}

/** Ends a process with its parent, even while it computes. */
const tie = '/usr/bin/setpriv'

/** Starts a command as `Hosts.startSessions` must. */
export function startTied(
  command: readonly string[],
  options: { cwd?: string; env?: Record<string, string | undefined> } = {},
): ChildProcess {
  const [file = '', ...args] = existsSync(tie) ? [tie, '--pdeathsig', 'KILL', '--', ...command] : command
  return spawn(file, args, { ...options, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] })
}

const here = import.meta.url
/** The files beside this one: sources, or what they were compiled to. */
const fileOf = (name: string): string => fileURLToPath(new URL(`${name}${/\.\w+$/.exec(here)?.[0]}`, here))

/** Starts the files of this package. */
export const ownHosts: Hosts = {
  startSessions(memoryMb) {
    const { execPath = process.execPath, execArgv } = withMemoryLimit(memoryMb)
    return startTied([execPath, ...execArgv, fileOf('../formats/onnx/session/session-process')])
  },
  startTensors: (heapMb) =>
    new Worker(fileOf('../tensorflow/tfjs-worker'), {
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    }),
}
