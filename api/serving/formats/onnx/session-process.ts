/**
 * Computes ONNX graphs with ONNX Runtime in a child process. A run blocks its thread, cannot be interrupted, and may crash or fill the
 * memory of its process. The process reads messages from the socket that it was started with, and replies to each in turn. It waits in the
 * system call `read`, which takes less time than waiting in the event loop.
 */
import { readSync, writeSync } from 'node:fs'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { noText } from '../../../../domain/model/batch-spec.ts'
import type { OnnxInput } from './layout.ts'
import {
  decodeHeader,
  encodeMessage,
  headerBytes,
  splitMessage,
  type SessionHeader,
} from './session-messages.ts'

export interface SessionPlan {
  inputs: readonly OnnxInput[]
  /** The output that is requested. */
  output: string
  /** Whether only the second of two outputs is returned: the probability of the positive class. */
  positiveOfTwo?: boolean
  /** Whether each row is computed separately. */
  isAlone?: boolean
}

/**
 * The head of a call. For `load`, the bytes of the file follow. A run has no head: its inputs follow as doubles, row by row, then the
 * texts. A number identifies each model.
 */
export type SessionCall = { kind: 'load'; model: number; plan: SessionPlan } | { kind: 'drop'; model: number }

/** The head of a reply. The outputs of a run follow without a head, in 32 bits. */
export interface SessionReply {
  error?: string
  outputs?: number
}

interface Loaded {
  session: InferenceSession
  plan: SessionPlan
  /** The index of the only output that is returned; all outputs when absent. */
  column?: number
}

/** The maximum number of outputs of a model. */
const maxOutputs = 1_000
const socketFd = 3

const sessions = new Map<number, Loaded>()

async function load(model: number, plan: SessionPlan, bytes: Uint8Array): Promise<number> {
  const session = await InferenceSession.create(bytes, {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    // Errors are reported where they are thrown, so ONNX Runtime need not log them.
    logSeverityLevel: 4,
  }).catch(({ message }: Error) => {
    throw new Error(reasonOf(message))
  })
  // Only an answer shows the number of outputs, because files do not state it reliably.
  const rows = 2
  const numbers = plan.inputs
    .filter(({ type }) => type !== 'string')
    .reduce((sum, { width }) => sum + width, 0)
  const texts = Array.from({ length: plan.inputs.length }, () => ['', ''])
  const answers = await compute({ session, plan }, rows, new Float64Array(rows * numbers), texts).catch(
    ({ message }: Error) => {
      const advice = message.includes('Unknown Category') ? `: ${trainToIgnore}` : ''
      throw new Error(`a row of zeros and empty texts has no answer${advice} (${message})`)
    },
  )
  if (answers.length === 0 || answers.length > rows * maxOutputs)
    throw new Error(`it gives ${answers.length / rows} numbers a row`)
  const outputs = answers.length / rows
  await expectRowsApart({ session, plan }, answers.subarray(0, outputs), texts)
  const column = plan.positiveOfTwo === true && outputs === 2 ? 1 : undefined
  sessions.set(model, { session, plan, column })
  return column === undefined ? outputs : 1
}

/** Returns the message of ONNX Runtime without the position in its sources, and with advice for a file that is too new. */
function reasonOf(message: string): string {
  const reason = message.replace(/^\/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])/s, '').trim()
  const newest = /max supported IR version: (\d+)/.exec(reason)?.[1]
  return newest === undefined ? reason : `${reason}; set model.ir_version = ${newest} before it is saved`
}

const trainToIgnore = "train its encoders with handle_unknown='ignore'"

/**
 * Checks that the answer to a row does not depend on the other rows, because rows of several callers are computed together. Computes
 * different rows separately, then together in two orders. `zeros` is the answer to a row of zeros in a batch of two.
 */
async function expectRowsApart(
  loaded: Loaded,
  zeros: Float32Array,
  texts: readonly string[][],
): Promise<void> {
  const textsOf = (rows: number) => texts.map(([text = '']) => Array.from({ length: rows }, () => text))
  const answer = (rows: readonly Float64Array[]) =>
    compute(loaded, rows.length, Float64Array.from(rows.flatMap((row) => [...row])), textsOf(rows.length))
  const expectAnswer = async (rows: readonly Float64Array[], what: string): Promise<Float32Array> => {
    try {
      return await answer(rows)
    } catch (error) {
      throw new Error(
        `it answers ${what}: export it for any number of rows, each by itself (${(error as Error).message})`,
      )
    }
  }
  const first = probeOf(loaded.plan, 0)
  await expectAnswer([first, first, first], 'two rows of zeros, but not three')
  const rows = [first]
  const alone = [await expectAnswer([first], 'two rows of zeros, but not one')]
  for (let place = 1; place < probeFactors.length; place++) {
    const row = probeOf(loaded.plan, place)
    // A graph may refuse a row, such as one with an unknown category.
    const found = await answer([row]).catch(() => undefined)
    if (found === undefined) continue
    rows.push(row)
    alone.push(found)
  }
  const forth = await expectAnswer(rows, 'rows alone, but not together')
  const back = await expectAnswer(rows.toReversed(), 'rows alone, but not together')
  const outputs = zeros.length
  // Small answers, such as probabilities of rare events, are compared by their own size.
  const size = Math.max(
    ...alone.flatMap((values) => [...values].map(Math.abs)).filter(Number.isFinite),
    leastSize,
  )
  const isNear = nearBy(Math.min(1, size))
  const isMixed = alone.some((values, row) =>
    values.some(
      (value, at) =>
        !isNear(forth[row * outputs + at]!, value) ||
        !isNear(back[(alone.length - 1 - row) * outputs + at]!, value) ||
        (row === 0 && !isNear(zeros[at]!, value)),
    ),
  )
  if (isMixed)
    throw new Error(
      'its answer to a row depends on the other rows: export it for inference (PyTorch: model.eval())',
    )
}

/** The factors of the probe rows: a row of zeros, a row of ones, and rows whose columns differ. */
const probeFactors = [0, 1, -0.75, 30] as const

function probeOf({ inputs }: SessionPlan, place: number): Float64Array {
  const factor = probeFactors[place]!
  const numbers = inputs.filter(({ type }) => type !== 'string')
  return Float64Array.from(
    numbers.flatMap(({ type, width }) =>
      Array.from({ length: width }, (_, at) => {
        // An integer may be an index into a table of the graph.
        if (type !== 'float32' && type !== 'float64') return place === 0 ? 0 : (place + at) % 2
        return place < 2 ? factor : factor * (1 + (at % 3))
      }),
    ),
  )
}

/** Returns whether two numbers are equal up to rounding, among numbers of this size. NaN equals NaN. */
const nearBy =
  (size: number) =>
  (found: number, wanted: number): boolean =>
    Object.is(found, wanted) || Math.abs(found - wanted) <= mixedBy * Math.max(size, Math.abs(wanted))
const mixedBy = 0.01
/** Smaller answers may be nothing but rounding. */
const leastSize = 1e-4

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
  const feeds: Record<string, Tensor> = {}
  const width = numbers.length / rows
  let [column, text] = [0, 0]
  for (const input of plan.inputs) {
    const shape = [rows, input.width]
    if (input.type === 'string') feeds[input.name] = new Tensor('string', texts[text++]!, shape)
    else {
      feeds[input.name] = tensorOf(
        input,
        partOf(numbers, { rows, width, from: column, count: input.width }),
        shape,
      )
      column += input.width
    }
  }
  const found = (await session.run(feeds, [plan.output]))[plan.output]!
  if (found.dims[0] !== rows) throw new Error(`it gives ${found.dims[0]} rows for ${rows}`)
  const all = found.data as Float32Array | Float64Array
  const outputs = all.length / rows
  if (wanted === undefined) return all instanceof Float32Array ? all : Float32Array.from(all)
  if (wanted >= outputs) throw new Error(`it gives ${outputs} numbers a row, not ${wanted + 1}`)
  return Float32Array.from({ length: rows }, (_, row) => all[row * outputs + wanted]!)
}

/** Returns the columns of an input, row by row. */
function partOf(
  numbers: Float64Array,
  { rows, width, from, count }: { rows: number; width: number; from: number; count: number },
): Float64Array {
  if (count === width) return numbers
  const part = new Float64Array(rows * count)
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < count; at++) part[row * count + at] = numbers[row * width + from + at]!
  return part
}

function tensorOf({ name, type }: OnnxInput, values: Float64Array, shape: number[]): Tensor {
  switch (type) {
    case 'float64':
      return new Tensor('float64', values, shape)
    case 'int64':
      return new Tensor(
        'int64',
        BigInt64Array.from(values, (value) => BigInt(value)),
        shape,
      )
    case 'int32':
      return new Tensor('int32', new Int32Array(values), shape)
    case 'bool':
      return new Tensor(
        'bool',
        Uint8Array.from(values, (value) => (value === 0 ? 0 : 1)),
        shape,
      )
    case 'float32':
      return new Tensor('float32', new Float32Array(values), shape)
    default:
      throw new Error(`the input ${name} is not a number`)
  }
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
  const count = loaded.plan.inputs.filter(({ type }) => type === 'string').length
  const texts = textsOf(Buffer.from(body.buffer, numbers.byteLength), rows, count)
  const { buffer, byteOffset, byteLength } = await compute(loaded, rows, numbers, texts)
  return new Uint8Array(buffer, byteOffset, byteLength)
}

async function obey(call: SessionCall, file: Uint8Array): Promise<SessionReply> {
  if (call.kind === 'load') return { outputs: await load(call.model, call.plan, file) }
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
    return encodeMessage({ id, head: { error: (error as Error).message.slice(0, 1_000) } })
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

const header = Buffer.alloc(headerBytes)
while (readWhole(header)) {
  const call = decodeHeader(header)
  const body = new Uint8Array(call.bytes)
  if (!readWhole(body)) break
  const reply = await answer(call, body)
  for (let sent = 0; sent < reply.byteLength;) sent += writeSync(socketFd, reply, sent)
}
process.exit()
