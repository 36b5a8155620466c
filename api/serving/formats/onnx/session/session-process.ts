/**
 * Computes ONNX graphs with ONNX Runtime in a child process. A run blocks its thread, cannot be interrupted, and may crash or fill the
 * memory of its process. The process reads messages from the socket that it was started with, and replies to each in turn. It waits in the
 * system call `read`, which takes less time than waiting in the event loop.
 */
import { readSync, writeSync } from 'node:fs'
import { noText } from '../../../../../domain/model/batch-spec.ts'
import type { OnnxInput } from '../layout.ts'
import { computeRows, createGraphSession, type GraphEnds, type GraphSession } from './graph-session.ts'
import { countApart, type AnswerRows, type TriedInputs } from './rows-apart.ts'
import {
  decodeHeader,
  encodeMessage,
  headerBytes,
  splitMessage,
  type SessionHeader,
} from './session-messages.ts'

export interface SessionPlan extends TriedInputs, GraphEnds {
  /** Whether only the second of two outputs is returned: the probability of the positive class. */
  positiveOfTwo?: boolean
}

/**
 * The head of a call. For `load`, the bytes of the file follow. A run has no head: its inputs follow as doubles, row by row, then the
 * texts. A number identifies each model.
 */
export type SessionCall = { kind: 'load'; model: number; plan: SessionPlan } | { kind: 'drop'; model: number }

/** The head of a reply. The outputs of a run follow without a head, in 32 bits. */
export interface SessionReply {
  error?: string
  /** Why the answers of a model that has been loaded are refused. */
  refusal?: string
  outputs?: number
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

async function load(model: number, plan: SessionPlan, bytes: Uint8Array): Promise<SessionReply> {
  const session = await createGraphSession(bytes).catch(({ message }: Error) => {
    throw new Error(reasonOf(message))
  })
  const tried = { session, plan: plan.isTriedTogether === true ? { ...plan, isAlone: false } : plan }
  const answer: AnswerRows = (rows) =>
    compute(
      tried,
      rows.length,
      Float64Array.from(rows.flatMap(({ numbers }) => [...numbers])),
      textInputsOf(plan).map((_, at) => rows.map(({ texts }) => texts[at]!)),
    )
  let outputs: number
  try {
    outputs = await countApart(plan, answer)
  } catch (error) {
    await session.release()
    return { refusal: shortMessage(error) }
  }
  const column = plan.positiveOfTwo === true && outputs === 2 ? 1 : undefined
  sessions.set(model, { session, plan, column })
  return { outputs: column === undefined ? outputs : 1 }
}

const shortMessage = (error: unknown): string => (error as Error).message.slice(0, 1_000)

/** Returns the message of ONNX Runtime without the position in its sources, and with advice for a file that is too new. */
function reasonOf(message: string): string {
  const reason = message.replace(/^\/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])/s, '').trim()
  const newest = /max supported IR version: (\d+)/.exec(reason)?.[1]
  return newest === undefined ? reason : `${reason}; set model.ir_version = ${newest} before it is saved`
}

/** Computes rows. `texts` has a list for each text input, in order. */
async function compute(
  loaded: Loaded,
  rows: number,
  numbers: Float64Array,
  texts: readonly string[][],
): Promise<Float32Array> {
  if (loaded.plan.isAlone !== true || rows === 1) return computeTogether(loaded, rows, numbers, texts)
  const width = numbers.length / rows
  const answers: Float32Array[] = []
  for (let row = 0; row < rows; row++)
    answers.push(
      await computeTogether(
        loaded,
        1,
        numbers.slice(row * width, (row + 1) * width),
        texts.map((column) => [column[row]!]),
      ),
    )
  const all = new Float32Array(answers.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const answer of answers) {
    all.set(answer, at)
    at += answer.length
  }
  return all
}

async function computeTogether(
  { session, plan, column: wanted }: Loaded,
  rows: number,
  numbers: Float64Array,
  texts: readonly string[][],
): Promise<Float32Array> {
  const all = await computeRows(session, plan, { rows, numbers, texts })
  const outputs = all.length / rows
  if (wanted === undefined) return all instanceof Float32Array ? all : Float32Array.from(all)
  if (wanted >= outputs) throw new Error(`it gives ${outputs} numbers a row, not ${wanted + 1}`)
  return Float32Array.from({ length: rows }, (_, row) => all[row * outputs + wanted]!)
}

/** Returns the texts of a batch by input. Null becomes the empty text. */
function textsOf(body: Buffer, rows: number, count: number): string[][] {
  const texts: string[][] = Array.from({ length: count }, () => [])
  let at = 0
  for (let row = 0; row < rows; row++)
    for (const column of texts) {
      const length = body.readUInt32LE(at)
      at += 4
      const to = length === noText ? at : at + length
      column.push(body.toString('utf8', at, to))
      at = to
    }
  return texts
}

async function run(
  { model, rows, inputs }: SessionHeader,
  body: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const loaded = sessions.get(model)
  if (loaded === undefined) throw new Error(`model ${model} is not loaded`)
  const numbers = new Float64Array(body.buffer, 0, rows * inputs)
  const count = textInputsOf(loaded.plan).length
  const texts = textsOf(Buffer.from(body.buffer, numbers.byteLength), rows, count)
  const { buffer, byteOffset, byteLength } = await compute(loaded, rows, numbers, texts)
  return new Uint8Array(buffer, byteOffset, byteLength)
}

async function obey(call: SessionCall, file: Uint8Array): Promise<SessionReply> {
  if (call.kind === 'load') return load(call.model, call.plan, file)
  await sessions.get(call.model)?.session.release()
  sessions.delete(call.model)
  return {}
}

async function answer(header: SessionHeader, body: Uint8Array<ArrayBuffer>): Promise<Buffer> {
  const { id } = header
  try {
    if (header.head === 0) return encodeMessage({ id }, [await run(header, body)])
    const { head, rest } = splitMessage<SessionCall>(header, body)
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
