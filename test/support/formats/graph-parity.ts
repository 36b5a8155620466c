/** Compares the outputs of random ONNX graphs with the outputs of ONNX Runtime that `scripts/formats/graphs.py` recorded. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { isError } from '../../../domain/errors.ts'
import { countOutputs, openRowsOf, openSessionOf } from '../../../api/serving/formats/onnx/format.ts'
import { openOnnx } from '../../../api/serving/formats/onnx/open-onnx.ts'
import type { Sessions } from '../../../api/serving/formats/onnx/session/session-host.ts'
import { neededPart } from '../../../api/serving/formats/onnx/session/needed-part.ts'
import { predictorOf } from '../../../api/serving/formats/trees/predictor.ts'
import type { Predictor } from '../../../api/serving/predictor.ts'
import { bareAnswers, rowTexts, type AskedRows } from './onnx-answers.ts'

type Cell = number | string | boolean | null

/** One line of the script's output. A graph that ONNX Runtime refuses has an error instead of answers. */
export interface GraphCase {
  name: string
  operators: string[]
  opset: number
  model: string
  rows: Cell[][]
  answers?: Cell[][]
  spread?: Cell[][]
  error?: string
}

export interface GraphVerdict {
  /** What computes the answers. `refused`: reading the file failed. `registration`: loading it in ONNX Runtime failed. */
  by: 'forest' | 'rows' | 'session' | 'refused' | 'registration'
  /** The first answer that differs, or why the graph should have been refused. */
  wrong?: string
}

/** Reads the graphs that need no ONNX Runtime, as `npm run test:parity -- --only graphs --pack` wrote them. */
export const readGraphCases = (): GraphCase[] =>
  JSON.parse(
    gunzipSync(readFileSync(new URL('random-graphs.json.gz', import.meta.url))).toString('utf8'),
  ) as GraphCase[]

/** Tolerance between two answers: absolute up to 1, relative above; and behind operators that magnify what their inputs were rounded by. */
const [limit, magnifiedLimit, coarseLimit] = [1e-6, 5e-6, 5e-5]
const magnifying = ['Pow', 'Gelu', 'Erf', 'Selu']
/** Sums of numbers that cancel, which ONNX Runtime rounds to 32 bits, and waves, which keep the last bits of large numbers. */
const coarse = ['LayerNormalization', 'SVMRegressor', 'SVMClassifier', 'ReduceLogSumExp', 'Sin', 'Cos']
/** Operators that keep or drop NaN by the place of its row in the batch; Tenure computes such rows alone. */
const placingNaN = ['ReduceMax', 'ReduceMin', 'Hardmax']
/** Factor on `spread`, the change of an answer when inputs or constants change in their last bit. */
const spreadFactor = 16

/** Compares one graph. Compares graphs that are not lowered only when `sessions` are given. */
export async function judgeGraph(given: GraphCase, sessions?: Sessions): Promise<GraphVerdict> {
  const bytes = Buffer.from(given.model, 'base64')
  let opened: { by: 'forest' | 'rows' | 'session'; predictor?: Predictor; isText: boolean[] }
  try {
    opened = await openGraph(bytes, given.name, sessions)
  } catch (error) {
    if (!isError(error)) throw error
    // In these cases ONNX Runtime returns uninitialised memory or processes the rows of a batch in sequence.
    const isRight = ['is not defined', 'rows for 2'].some((text) => error.message.includes(text))
    if (given.error !== undefined || isRight) return { by: 'refused' }
    return { by: 'refused', wrong: `refused: ${(error as Error).message}` }
  }
  const { by, predictor, isText } = opened
  if (predictor === undefined) return { by }
  if (given.error !== undefined) {
    if (sessions !== undefined && !(await isRegistered(bytes))) return { by: 'registration' }
    return { by, wrong: `answered, and ONNX Runtime says: ${given.error}` }
  }
  const { rows } = given
  const numbers = rows.map((row) => row.filter((_, at) => !isText[at]).map(numberOf))
  const texts = rows.map((row) => row.filter((_, at) => isText[at]) as string[])
  if (by === 'rows' && !(await isPartEqual(bytes, { count: rows.length, numbers: numbers.flat(), texts })))
    return { by, wrong: 'the part that the output needs has other answers than the file' }
  const output = new Float32Array(rows.length * predictor.outputs)
  try {
    await predictor.run(Float64Array.from(numbers.flat()), rows.length, output, undefined, rowTexts(texts))
  } finally {
    predictor.close?.()
  }
  const has = (ops: readonly string[]): boolean => ops.some((op) => given.operators.includes(op))
  const isAttention = has(['Softmax']) && has(['Transpose', 'Einsum'])
  const tolerance = has(coarse) ? coarseLimit : has(magnifying) || isAttention ? magnifiedLimit : limit
  const skipsNaN = has(placingNaN)
  for (const [row, wanted] of given.answers!.entries()) {
    if (skipsNaN && rows[row]!.includes(null)) continue
    if (wanted.length !== predictor.outputs)
      return { by, wrong: `${predictor.outputs} outputs instead of ${wanted.length}` }
    for (const [k, cell] of wanted.entries()) {
      const found = output[row * predictor.outputs + k]!
      const value = Math.fround(numberOf(cell))
      if (isSame(found, value, { tolerance, spread: numberOf(given.spread![row]![k]!) })) continue
      if (mayOverflow(given, row) && (isBeyond(found) || isBeyond(value))) continue
      return {
        by,
        wrong: `row ${row} ${JSON.stringify(rows[row])}: output ${k} is ${found} instead of ${value}`,
      }
    }
  }
  return { by }
}

/**
 * Whether ONNX Runtime answers the part of a file that large requests use as the file. It joins a product and a normalization when no other
 * node reads the product, which changes the last bits, and which numbers overflow.
 */
async function isPartEqual(bytes: Buffer, rows: AskedRows): Promise<boolean> {
  const { layout } = openOnnx(bytes)
  const answersOf = (file: Uint8Array): Promise<number[] | undefined> =>
    bareAnswers(file, layout, rows).catch(() => undefined)
  const [whole, part] = [await answersOf(bytes), await answersOf(neededPart(bytes, layout.output))]
  // ONNX Runtime refuses some rows for an output that is not needed.
  if (whole === undefined) return true
  return part?.length === whole.length && whole.every((value, at) => isClose(value, part[at]!))
}

const isClose = (a: number, b: number): boolean =>
  isSame(a, b, { tolerance: limit, spread: 0 }) || isBeyond(a) || isBeyond(b)

async function isRegistered(bytes: Buffer): Promise<boolean> {
  try {
    await countOutputs(bytes, openOnnx(bytes))
    return true
  } catch (error) {
    if (isError(error)) return false
    throw error
  }
}

async function openGraph(bytes: Buffer, name: string, sessions: Sessions | undefined) {
  const { layout, forest, rows } = openOnnx(bytes)
  const isText = layout.columns.map((column) => column.isText === true)
  if (forest !== undefined) {
    const { inputs, outputs, predictOne } = predictorOf(forest)
    const answer = new Float64Array(outputs)
    const run: Predictor['run'] = (input, count, output) => {
      for (let row = 0; row < count; row++) {
        predictOne(input, row * inputs, answer, 0)
        output.set(answer, row * outputs)
      }
      return undefined
    }
    return { by: 'forest' as const, predictor: { inputs, outputs, run }, isText }
  }
  if (rows !== undefined)
    return { by: 'rows' as const, predictor: openRowsOf(rows, layout).predictor, isText }
  const predictor = sessions && (await openSessionOf(sessions, { name, bytes, layout }))
  return { by: 'session' as const, predictor, isText }
}

/** Returns whether a sum of very large numbers may overflow; the order of summation decides it. */
const mayOverflow = ({ operators, rows }: GraphCase, row: number): boolean =>
  operators.some((op) => sums.has(op)) && rows[row]!.some((cell) => Math.abs(numberOf(cell)) > 1e37)
const sums = new Set(
  'MatMul Gemm ReduceSum ReduceMean ReduceL2 Sum LinearRegressor LinearClassifier BatchNormalization Mean ReduceL1 ReduceSumSquare LayerNormalization SVMRegressor'.split(
    ' ',
  ),
)

/** Returns whether a value has overflowed, also when a Clip without bounds has replaced it by the largest float. */
const isBeyond = (value: number): boolean => !(Math.abs(value) < 3.4028234663852886e38)

const numberOf = (cell: Cell): number =>
  cell === null ? NaN : cell === 'inf' ? Infinity : cell === '-inf' ? -Infinity : Number(cell)

function isSame(
  found: number,
  wanted: number,
  { tolerance, spread }: { tolerance: number; spread: number },
): boolean {
  if (Object.is(found, wanted) || found === wanted) return true
  if (!Number.isFinite(wanted) || !Number.isFinite(found)) return false
  const allowed =
    tolerance * Math.max(1, Math.abs(wanted)) + spreadFactor * (Number.isFinite(spread) ? spread : 0)
  return Math.abs(found - wanted) <= allowed
}
