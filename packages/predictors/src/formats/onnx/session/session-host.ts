/**
 * Starts the process of ONNX Runtime and sends calls to it. A process instead of a thread, because only a process can be ended during a
 * run, crash without the replica, and have a memory limit.
 */
import type { Socket } from 'node:net'
import type { ChildProcess } from 'node:child_process'
import { predictorError } from '../../../errors.ts'
import { ownHosts } from '../../../runtime/hosts.ts'
import { createCalls } from '../../../runtime/pending-calls.ts'
import {
  createRuntime,
  type HostOptions,
  type ModelHost,
  type Runtime,
  type RuntimeOptions,
} from '../../../runtime/runtime.ts'
import { createMessages, encodeMessage, errorOf, splitMessage } from './session-messages.ts'
import type { SessionCall, SessionPlan, SessionReply } from './session-process.ts'

/** A checked file and the plan for running it. */
export interface SessionModel {
  bytes: Uint8Array
  plan: SessionPlan
}

export type Sessions = Runtime<SessionModel>

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
  createRuntime<SessionModel>(
    {
      name: 'ONNX Runtime',
      where: 'process',
      start: (host) => startProcess(host, hosts.startSessions(memoryMb)),
    },
    // A run is short, and a call to the process takes longer than a row. No batch waits for requests, and those that arrive in the meantime
    // are combined.
    { ...options, batches: { waitMs: 0, maxRows: 2_048, ...batches } },
  )

/** How long the process may take until it is ready. On a busy machine this takes longer than loading a graph. */
const startMs = 30_000

/** How long the complaint of a process that has ended may still arrive. */
const lastWordsMs = 500

interface Answer {
  /** Absent when the reply consists of outputs. */
  head?: SessionReply
  output?: Float32Array
}

function startProcess(
  { onError, onDeath }: HostOptions<SessionModel>,
  child: ChildProcess,
): ModelHost<SessionModel> {
  let cause = new Error('it has ended')
  child.on('error', (error) => (cause = error))
  // Node.js reports by an event that the system has refused the pipes of a process.
  if ((child.stdio as ChildProcess['stdio'] | undefined) === undefined)
    throw predictorError(
      'overloaded',
      'the process of ONNX Runtime cannot be started: too many files are open',
    )
  const [socket, stderr] = [child.stdio[3] as Socket, child.stderr as Socket]
  let complaint = ''
  stderr.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2_000)))
  const end = (): void => {
    // The reason is told when the process has ended, for which this process must wait although nothing else keeps it.
    for (const each of [child, socket, stderr]) each.ref()
    child.kill('SIGKILL')
  }
  const calls = createCalls<Answer>('process', {
    onError,
    end(why) {
      cause = why
      end()
    },
  })
  // The process replies to this first call, of which it receives no message, when it is ready.
  const ready = calls.call('its start', startMs, () => {})
  ready.catch(() => {})
  /** The number of each model. */
  const models = new Map<string, number>()
  let loaded = 0
  const request = async (
    key: string,
    limitMs: number,
    { head, file }: { head: SessionCall; file?: Uint8Array },
  ): Promise<SessionReply> => {
    const bodies = file === undefined ? [] : [file]
    await ready
    const answer = await calls.call(key, limitMs, (id) => socket.write(encodeMessage({ id, head }, bodies)))
    return answer.head ?? {}
  }
  const messages = createMessages((header, body) => {
    const answer =
      header.head === 0
        ? { output: new Float32Array(body.buffer) }
        : { head: splitMessage<SessionReply>(header, body).head }
    calls.settle(header.id, answer)
  })
  socket.on('data', (chunk: Buffer) => {
    try {
      messages(chunk)
    } catch (error) {
      cause = error as Error
      end()
    }
  })
  // The event `exit` reports the end of the process.
  socket.on('error', () => {})
  // An older Node goes on as a child with a newer one, which outlives it and holds these open until they are closed here.
  child.once('exit', () =>
    setTimeout(() => {
      socket.destroy()
      stderr.destroy()
    }, lastWordsMs).unref(),
  )
  const ended = new Promise<void>((resolve) => {
    child.once('close', (code, signal) => {
      const how = signal === null ? `it ended with ${code}` : `it was ended by ${signal}`
      if (cause.message === 'it has ended') cause = new Error(`${how} ${errorOf(complaint)}`.trim())
      calls.fail(cause, (error, keys) => onDeath(host, error, keys, cause))
      resolve()
    })
  })
  const host: ModelHost<SessionModel> = {
    load(key, { bytes, plan }, limitMs) {
      const model = models.get(key) ?? loaded++
      models.set(key, model)
      return request(key, limitMs, { head: { kind: 'load', model, plan }, file: bytes })
    },
    async run(key, { input, rows, texts }, limitMs) {
      const numbers = new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
      const run = { model: models.get(key), rows, inputs: input.length / rows }
      const { head, output } = await calls.call(key, limitMs, (id) =>
        socket.write(encodeMessage({ id, ...run }, [numbers, texts])),
      )
      return output === undefined ? { error: head?.error } : { output }
    },
    drop(key, limitMs) {
      const model = models.get(key) ?? -1
      models.delete(key)
      return model < 0 ? Promise.resolve({}) : request(key, limitMs, { head: { kind: 'drop', model } })
    },
    async end() {
      end()
      await ended
    },
  }
  // A replica exits when its sockets are closed, even during a computation.
  child.unref()
  socket.unref()
  stderr.unref()
  return host
}
