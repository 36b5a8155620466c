/** Starts a process that computes models and sends calls to it: load, run, drop. Only a process can be ended during a run, crash without the replica, and have a memory limit. */
import type { Socket } from 'node:net'
import type { ChildProcess } from 'node:child_process'
import { predictorError } from '../errors.ts'
import { createCalls } from './pending-calls.ts'
import { createMessages, encodeMessage, errorOf, splitMessage } from './process-messages.ts'
import type { HostOptions, LoadReply, ModelHost } from './runtime.ts'

/** A checked file, and what its process needs to know of it. */
export interface ModelFile<Plan extends object = object> {
  bytes: Uint8Array
  plan: Plan
}

/** The head of a call. For `load`, the bytes of the file follow. A run has no head: its inputs follow as doubles, row by row, then its texts. */
export type ProcessCall<Plan extends object = object> =
  | { kind: 'load'; model: number; plan: Plan }
  | { kind: 'drop' | 'facts'; model: number }

/** How long the process may take until it is ready. On a busy machine this takes longer than loading a graph. */
const startMs = 30_000

/** Reads at most this much of what a process prints in this time, so that one that prints without end waits, and other models do not. */
const complaintBytes = 262_144
const complaintMs = 100

/** How long the complaint of a process that has ended may still arrive. */
const lastWordsMs = 500

interface Answer {
  /** Absent when the reply consists of outputs. */
  head?: LoadReply
  output?: Float32Array
}

/** `library` is what computes in the process, for messages. */
export function startModelProcess(
  library: string,
  { onError, onDeath, isRedacted }: HostOptions<ModelFile>,
  child: ChildProcess,
): ModelHost<ModelFile> {
  let cause = new Error('it has ended')
  child.on('error', (error) => (cause = error))
  // Node.js reports by an event that the system has refused the pipes of a process.
  if ((child.stdio as ChildProcess['stdio'] | undefined) === undefined)
    throw predictorError('overloaded', `the process of ${library} cannot be started: too many files are open`)
  const [socket, stderr] = [child.stdio[3] as Socket, child.stderr as Socket]
  let complaint = ''
  let read = 0
  stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.subarray(-2_000).toString()).slice(-2_000)
    read += chunk.byteLength
    if (read < complaintBytes) return
    read = 0
    stderr.pause()
    setTimeout(() => stderr.resume(), complaintMs).unref()
  })
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
    { head, file }: { head: ProcessCall; file?: Uint8Array },
  ): Promise<LoadReply> => {
    const bodies = file === undefined ? [] : [file]
    await ready
    const answer = await calls.call(key, limitMs, (id) => socket.write(encodeMessage({ id, head }, bodies)))
    return answer.head ?? {}
  }
  const messages = createMessages((header, body) => {
    const answer =
      header.head === 0
        ? { output: new Float32Array(body.buffer) }
        : { head: shortReply(splitMessage<LoadReply>(header, body).head) }
    // Code of a model may write what it likes, and reading it would take the time of other models.
    if (!calls.settle(header.id, answer)) throw new Error('it has sent an answer that nothing has asked for')
  })
  socket.on('data', (chunk: Buffer) => {
    try {
      messages(chunk)
    } catch (error) {
      cause = isRedacted() ? new Error('it has sent what cannot be read') : (error as Error)
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
      const words = isRedacted() ? '' : errorOf(complaint)
      if (cause.message === 'it has ended') cause = new Error(`${how} ${words}`.trim())
      calls.fail(cause, (error, keys) => onDeath(host, error, keys, cause))
      resolve()
    })
  })
  const host: ModelHost<ModelFile> = {
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
    facts(key, limitMs) {
      return request(key, limitMs, { head: { kind: 'facts', model: models.get(key) ?? -1 } })
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

const maxReason = 1_000

/** The code of a model may write any reason. */
function shortReply({ error, refusal, ...reply }: LoadReply): LoadReply {
  return {
    ...reply,
    ...(error === undefined ? {} : { error: String(error).slice(0, maxReason) }),
    ...(refusal === undefined ? {} : { refusal: String(refusal).slice(0, maxReason) }),
  }
}
