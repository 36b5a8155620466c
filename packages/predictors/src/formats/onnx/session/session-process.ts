/**
 * Computes ONNX graphs with ONNX Runtime in a child process. A run blocks its thread, cannot be interrupted, and may crash or fill the
 * memory of its process. The process reads messages from the socket that it was started with, and replies to each in turn. It waits in the
 * system call `read`, which takes less time than waiting in the event loop.
 */
import { readSync, writeSync } from 'node:fs'
import type { OnnxInput } from '../layout.ts'
import type { GraphPlan, GraphRows } from './feeds.ts'
import { openGraphSession, textsByColumn, type GraphSession } from './graph-session.ts'
import { costOf, countApart, type TriedInputs, type TriedRow } from './rows-apart.ts'
import type { ProcessCall } from '../../../runtime/process-host.ts'
import type { LoadReply, RunCost } from '../../../runtime/runtime.ts'
import {
  decodeHeader,
  encodeMessage,
  headerBytes,
  splitMessage,
  type MessageHeader,
} from '../../../runtime/process-messages.ts'

export interface SessionPlan extends TriedInputs, GraphPlan {
  /** Whether only the second of two outputs is returned: the probability of the positive class. */
  positiveOfTwo?: boolean
}

interface Loaded {
  session: GraphSession
  plan: SessionPlan
  /** The index of the only output that is returned; all outputs when absent. */
  column?: number
}

const socketFd = 3

const sessions = new Map<number, Loaded>()

const textInputsOf = ({ inputs }: SessionPlan): OnnxInput[] => inputs.filter(({ type }) => type === 'string')

async function load(model: number, plan: SessionPlan, bytes: Uint8Array): Promise<LoadReply> {
  // Processor time, because other work on the machine delays a single measurement.
  const before = process.cpuUsage()
  const session = openSession(bytes, plan)
  const { user, system } = process.cpuUsage(before)
  const loadMs = (user + system) / 1_000
  const rowsOf = (rows: readonly TriedRow[]): GraphRows => ({
    rows: rows.length,
    numbers: Float64Array.from(rows.flatMap(({ numbers }) => [...numbers])),
    texts: textInputsOf(plan).map((_, at) => rows.map(({ texts }) => texts[at]!)),
  })
  let outputs: number
  let cost: RunCost
  try {
    const compute = plan.isTriedTogether === true ? session.computeTogether : session.compute
    // The promise lets `countApart` see each refusal as a rejection.
    const answered = await countApart(plan, async (rows) => Float32Array.from(compute(rowsOf(rows))))
    outputs = answered.outputs
    cost = {
      loadMs,
      ...costOf(plan, answered.rows, (rows) => {
        const given = rowsOf(rows)
        return () => session.compute(given)
      }),
    }
  } catch (error) {
    session.release()
    return { refusal: shortMessage(error) }
  }
  const column = plan.positiveOfTwo === true && outputs === 2 ? 1 : undefined
  sessions.set(model, { session, plan, column })
  return { outputs: column === undefined ? outputs : 1, cost }
}

function openSession(bytes: Uint8Array, plan: SessionPlan): GraphSession {
  try {
    return openGraphSession(bytes, plan)
  } catch (error) {
    throw new Error(reasonOf((error as Error).message))
  }
}

const shortMessage = (error: unknown): string => (error as Error).message.slice(0, 1_000)

/** Returns the message of ONNX Runtime without the position in its sources, and with advice for a file that is too new. */
function reasonOf(message: string): string {
  const reason = message.replace(/^\/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])/s, '').trim()
  const newest = /max supported IR version: (\d+)/.exec(reason)?.[1]
  return newest === undefined ? reason : `${reason}; set model.ir_version = ${newest} before it is saved`
}

function run({ model, rows, inputs }: MessageHeader, body: Uint8Array<ArrayBuffer>): Uint8Array {
  const loaded = sessions.get(model)
  if (loaded === undefined) throw new Error(`model ${model} is not loaded`)
  const { session, plan, column } = loaded
  const numbers = new Float64Array(body.buffer, 0, rows * inputs)
  const count = textInputsOf(plan).length
  const texts = textsByColumn(Buffer.from(body.buffer, numbers.byteLength), rows, count)
  const all = session.compute({ rows, numbers, texts })
  const outputs = all.length / rows
  const answer =
    column === undefined
      ? Float32Array.from(all)
      : Float32Array.from({ length: rows }, (_, row) => all[row * outputs + column]!)
  return new Uint8Array(answer.buffer)
}

async function obey(call: ProcessCall<SessionPlan>, file: Uint8Array): Promise<LoadReply> {
  if (call.kind === 'load') return load(call.model, call.plan, file)
  sessions.get(call.model)?.session.release()
  sessions.delete(call.model)
  return {}
}

async function answer(header: MessageHeader, body: Uint8Array<ArrayBuffer>): Promise<Buffer> {
  const { id } = header
  try {
    if (header.head === 0) return encodeMessage({ id }, [run(header, body)])
    const { head, rest } = splitMessage<ProcessCall<SessionPlan>>(header, body)
    return encodeMessage({ id, head: await obey(head, rest) })
  } catch (error) {
    return encodeMessage({ id, head: { error: shortMessage(error) } })
  }
}

/** Fills the buffer from the socket. Returns false when the replica has ended. */
function readWhole(into: Uint8Array): boolean {
  for (let filled = 0; filled < into.byteLength;) {
    const count = readSync(socketFd, into, filled, into.byteLength - filled, null)
    if (count === 0) return false
    filled += count
  }
  return true
}

function reply(message: Buffer): void {
  for (let sent = 0; sent < message.byteLength;) sent += writeSync(socketFd, message, sent)
}

// The first call waits until the process is ready.
reply(encodeMessage({ id: 0, head: {} }))
const header = Buffer.alloc(headerBytes)
while (readWhole(header)) {
  const call = decodeHeader(header)
  const body = new Uint8Array(call.bytes)
  if (!readWhole(body)) break
  reply(await answer(call, body))
}
process.exit()
