/**
 * Starts the process of ONNX Runtime and carries calls to it. A process and no thread: only a process can be ended while a run is under way,
 * crash alone, and have a limit of memory.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { createFrames, messageParts } from '../../../../domain/message-framing.ts'
import { withMemoryLimit } from '../../../../store/memory-limit.ts'
import { checkout, launcher, systemEnvironment } from '../../../../temporal.config.ts'
import { createCalls } from '../../runtime/pending-calls.ts'
import {
  createRuntime,
  type HostOptions,
  type ModelHost,
  type Runtime,
  type RuntimeOptions,
} from '../../runtime/runtime.ts'
import { onnxLimits } from './graph.ts'
import type { SessionCall, SessionPlan, SessionReply } from './session-process.ts'

/** A checked file and what is asked of it. */
export interface SessionModel {
  bytes: Uint8Array
  plan: SessionPlan
}

export type Sessions = Runtime<SessionModel>

export interface SessionsOptions extends RuntimeOptions {
  /** Of the process with all its models. */
  memoryMb?: number
}

export const createSessions = ({ memoryMb = 2_048, batches, ...options }: SessionsOptions): Sessions =>
  createRuntime<SessionModel>(
    { name: 'ONNX Runtime', where: 'process', start: (host) => startProcess(host, memoryMb) },
    // A run is short, and a call to the process costs more than a row: no batch waits for requests, and those that arrive meanwhile are combined.
    { ...options, batches: { waitMs: 0, maxRows: 2_048, ...batches } },
  )

/** Ends the process with the replica, even while it computes. */
const tie = '/usr/bin/setpriv'

interface Answer {
  head: SessionReply
  bytes: Uint8Array<ArrayBuffer>
}

function startProcess(
  { onError, onDeath }: HostOptions<SessionModel>,
  memoryMb: number,
): ModelHost<SessionModel> {
  const { execPath = process.execPath, execArgv } = withMemoryLimit(memoryMb)
  const command = [execPath, ...execArgv, launcher, 'api/serving/formats/onnx/session-process.ts']
  const [file = '', ...args] = existsSync(tie) ? [tie, '--pdeathsig', 'KILL', '--', ...command] : command
  const child = spawn(file, args, {
    cwd: checkout,
    env: systemEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  let cause = new Error('it has ended')
  let complaint = ''
  child.stderr!.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2_000)))
  const socket = child.stdio[3] as Socket
  const end = (): void => void child.kill('SIGKILL')
  const calls = createCalls<Answer>('process', { onError, end })
  const call = (message: SessionCall, limitMs: number, bodies: readonly Uint8Array[] = []): Promise<Answer> =>
    calls.call(message.key, limitMs, (id) => {
      socket.cork()
      for (const part of messageParts({ id, ...message }, bodies)) socket.write(part)
      socket.uncork()
    })
  const frames = createFrames(onnxLimits.messageBytes)
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const { line, bytes } of frames(chunk)) {
        const head = JSON.parse(line) as SessionReply
        calls.settle(head.id, { head, bytes })
      }
    } catch (error) {
      cause = error as Error
      end()
    }
  })
  // Its exit is told by `exit`.
  socket.on('error', () => {})
  child.on('error', (error) => (cause = error))
  const ended = new Promise<void>((resolve) => {
    child.once('close', (code, signal) => {
      const how = signal === null ? `it ended with ${code}` : `it was ended by ${signal}`
      if (cause.message === 'it has ended') cause = new Error(`${how} ${lastLine(complaint)}`.trim())
      calls.fail(cause, (error, keys) => onDeath(host, error, keys, cause))
      resolve()
    })
  })
  const host: ModelHost<SessionModel> = {
    async load(key, { bytes, plan }, limitMs) {
      const { head } = await call({ kind: 'load', key, plan }, limitMs, [bytes])
      return head
    },
    async run(key, { input, rows, texts }, limitMs) {
      const inputs = input.length / rows
      const numbers = new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
      const { head, bytes } = await call({ kind: 'run', key, rows, inputs }, limitMs, [numbers, texts])
      return head.answers === true ? { output: new Float32Array(bytes.buffer) } : { error: head.error }
    },
    drop: (key, limitMs) => call({ kind: 'drop', key }, limitMs),
    async end() {
      end()
      await ended
    },
  }
  // A replica ends when its sockets are closed, also during a computation.
  child.unref()
  socket.unref()
  ;(child.stderr as Socket).unref()
  return host
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? ''
