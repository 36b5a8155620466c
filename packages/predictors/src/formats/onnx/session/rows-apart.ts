/**
 * Checks that the answer of a graph to a row does not depend on the other rows, because rows of several callers are computed together. Tries
 * rows of various numbers and texts. A graph may refuse some of them, such as a text that is not a number.
 */
import type { OnnxInput } from '../layout.ts'
import type { RunCost } from '../../../runtime/runtime.ts'

export interface TriedRow {
  numbers: Float64Array
  /** One text for each text input. */
  texts: readonly string[]
}

/** Computes rows together. Rejects when the graph refuses one of them. */
export type AnswerRows = (rows: readonly TriedRow[]) => Promise<Float32Array>

export interface TriedInputs {
  inputs: readonly OnnxInput[]
  /** The texts that the graph knows, as lists. */
  knownTexts?: readonly (readonly string[])[]
  /** For each column of numbers, some that its encoders know. */
  knownNumbers?: readonly (readonly number[])[]
  /** Whether each row is computed separately when it is served. */
  isAlone?: boolean
  /** Whether rows are tried together nevertheless. Those with NaN are not tried then. */
  isTriedTogether?: boolean
}

/** Returns the rows that the graph answers, and its number of outputs, which files do not state reliably. */
export async function countApart(
  tried: TriedInputs,
  answer: AnswerRows,
): Promise<{ outputs: number; rows: readonly TriedRow[] }> {
  const first = await findAnswered(tried, answer)
  const { outputs } = first
  if (outputs === 0 || outputs > maxOutputs)
    throw new Error(`it gives ${outputs} numbers a row, not 1 to ${maxOutputs}`)
  return { outputs, rows: await expectRowsApart(tried, answer, first) }
}

/** How long a text is with which the time of a byte is measured. */
const longBytes = 4_096
/** How often a time is measured, of which the shortest counts, because other work on the machine only adds to it. */
const measurements = 5
/** A slower call is measured once. */
const slowMs = 20

/** Measures the time of a call of one row, of each further row, and of each byte of texts. */
export function costOf(
  { inputs, knownTexts = [] }: TriedInputs,
  rows: readonly TriedRow[],
  /** Returns a function that computes the rows. */
  prepare: (rows: readonly TriedRow[]) => () => unknown,
): Pick<RunCost, 'callMs' | 'rowMs' | 'byteMs'> {
  /** Returns undefined if the graph refuses the rows, or has too little memory for them. */
  const timeOf = (some: readonly TriedRow[]): number | undefined => {
    const compute = prepare(some)
    let best = Infinity
    try {
      for (let at = 0; at < measurements && !(at > 0 && best > slowMs); at++) {
        const beganMs = performance.now()
        compute()
        best = Math.min(best, performance.now() - beganMs)
      }
    } catch {
      return undefined
    }
    return best
  }
  const callMs = Math.max(...rows.map((row) => timeOf([row]) ?? Infinity))
  if (callMs > slowMs) return { callMs, rowMs: callMs, byteMs: 0 }
  const together = Array.from({ length: mostTogether }, (_, at) => rows[at % rows.length]!)
  const rowMs = (timeOf(together) ?? Infinity) / mostTogether
  if (!inputs.some(({ type }) => type === 'string')) return { callMs, rowMs, byteMs: 0 }
  const words = [...knownTexts.flat(), 'a', 'the'].join(' ')
  const long = words.repeat(Math.ceil(longBytes / words.length)).slice(0, longBytes)
  const { numbers, texts } = rows[0]!
  // A graph that refuses the text does so quickly.
  const longMs = timeOf([{ numbers, texts: texts.map(() => long) }]) ?? 0
  return { callMs, rowMs, byteMs: Math.max(0, longMs - callMs) / (longBytes * texts.length) }
}

/** The maximum number of outputs of a model. */
const maxOutputs = 1_000

interface FirstRow {
  row: TriedRow
  /** The answer to the row in a batch of two. */
  answer: Float32Array
  outputs: number
}

/** How long rows are tried beyond the least, because a graph may answer or refuse them slowly. */
const tryMs = 1_000
/** How many rows of numbers are tried of a slow graph, too. */
const leastNumbers = 4
/** How many rows are tried together, unless the graph is slow. */
const mostTogether = 64
const notTogether = 'rows alone, but not together'

async function findAnswered(tried: TriedInputs, answer: AnswerRows): Promise<FirstRow> {
  const until = performance.now() + tryMs
  const rowsOfTexts = textsOf(tried)
  let refusal: Error | undefined
  for (const numbers of numbersOf(tried))
    for (const texts of rowsOfTexts) {
      if (refusal !== undefined && performance.now() > until) break
      const row = { numbers, texts }
      try {
        const both = await answer([row, row])
        const outputs = both.length / 2
        return { row, answer: both.subarray(0, outputs), outputs }
      } catch (error) {
        refusal ??= error as Error
      }
    }
  const { message = '' } = refusal ?? {}
  const advice = message.includes('Unknown Category') ? `: ${trainToIgnore}` : ''
  throw new Error(`it answers no row that was tried, such as zeros and empty texts${advice} (${message})`)
}

const trainToIgnore = "train its encoders with handle_unknown='ignore'"

/** Computes different rows separately, then together in two orders. Returns them. */
async function expectRowsApart(
  tried: TriedInputs,
  answer: AnswerRows,
  { row: first, answer: inPair, outputs }: FirstRow,
): Promise<readonly TriedRow[]> {
  const expectAnswer = async (rows: readonly TriedRow[], what: string): Promise<Float32Array> => {
    try {
      return await answer(rows)
    } catch (error) {
      throw new Error(
        `it answers ${what}: export it for any number of rows, each by itself (${(error as Error).message})`,
      )
    }
  }
  await expectAnswer([first, first, first], 'two equal rows, but not three')
  const rows = [first]
  const alone = [await expectAnswer([first], 'two equal rows, but not one')]
  const add = async (row: TriedRow): Promise<boolean> => {
    const found = await answer([row]).catch(() => undefined)
    if (found === undefined) return false
    rows.push(row)
    alone.push(found)
    return true
  }
  const beganMs = performance.now()
  const until = beganMs + tryMs
  for (const texts of textsOf(tried)) {
    if (rows.length > maxTexts || performance.now() > until) break
    if (texts.join('\n') !== first.texts.join('\n')) await add({ ...first, texts })
  }
  const answered = rows.map(({ texts }) => texts)
  for (const [place, numbers] of numbersOf(tried).entries()) {
    if (place >= leastNumbers && performance.now() > until) break
    if (numbers.every((value, at) => Object.is(value, first.numbers[at]))) continue
    const texts = answered[place % answered.length]!
    if (!(await add({ numbers, texts }))) await add({ ...first, numbers })
  }
  const rowMs = (performance.now() - beganMs) / rows.length
  const most = Math.max(rows.length, Math.min(mostTogether, Math.floor(tryMs / rowMs)))
  const { count, forth } = await answerMost([most, rows.length, Math.ceil(rows.length / 2), 2], (together) =>
    expectAnswer(
      Array.from({ length: together }, (_, at) => rows[at % rows.length]!),
      notTogether,
    ),
  )
  const compared = rows.slice(0, count)
  const back = await expectAnswer(compared.toReversed(), notTogether)
  // Small answers, such as probabilities of rare events, are compared by their own size.
  const size = Math.max(
    ...alone.flatMap((values) => [...values].map(Math.abs)).filter(Number.isFinite),
    leastSize,
  )
  const isNear = nearBy(Math.min(1, size))
  const isMixed = compared.some((_, row) =>
    alone[row]!.some(
      (value, at) =>
        !isNear(forth[row * outputs + at]!, value) ||
        !isNear(back[(compared.length - 1 - row) * outputs + at]!, value) ||
        (row === 0 && !isNear(inPair[at]!, value)),
    ),
  )
  if (isMixed)
    throw new Error(
      'its answer to a row depends on the other rows: export it for inference (PyTorch: model.eval())',
    )
  return rows
}

/** Computes the first number of rows for which there is memory. */
async function answerMost(
  [count = 2, ...smaller]: readonly number[],
  answer: (count: number) => Promise<Float32Array>,
): Promise<{ count: number; forth: Float32Array }> {
  try {
    return { count, forth: await answer(count) }
  } catch (error) {
    const rest = smaller.filter((each) => each < count)
    if (rest.length === 0 || !lacksMemory.test((error as Error).message)) throw error
    return answerMost(rest, answer)
  }
}
const lacksMemory = /alloc/i

/** Returns whether two numbers are equal up to rounding, among numbers of this size. NaN equals NaN. */
const nearBy =
  (size: number) =>
  (found: number, wanted: number): boolean =>
    Object.is(found, wanted) || Math.abs(found - wanted) <= mixedBy * Math.max(size, Math.abs(wanted))
const mixedBy = 0.01
/** Smaller answers may be nothing but rounding. */
const leastSize = 1e-4

/** The rows of numbers by column, and their whole numbers, which may be places in a table of the graph. */
const numberRows: readonly [number: (at: number) => number, whole: (at: number) => number][] = [
  [() => 0, () => 0],
  [() => 1, (at) => (1 + at) % 2],
  [(at) => -0.75 * (1 + (at % 3)), (at) => at % 3],
  [(at) => 30 * (1 + (at % 3)), (at) => 2 + (at % 5)],
  [(at) => (at % 2 === 0 ? NaN : 2.5), (at) => 9 - (at % 4)],
  [(at) => 0.04 * ((at % 5) - 1.7), (at) => 20 + 7 * (at % 9)],
  [(at) => -400 + 500 * (at % 3), (at) => -1 - (at % 4)],
  [(at) => 5.5 - (at % 11), (at) => 1_000 * (1 + (at % 5))],
]

function numbersOf(tried: TriedInputs): Float64Array[] {
  const all = allNumbersOf(tried)
  if (!(tried.isAlone === true && tried.isTriedTogether === true)) return all
  return all.filter((numbers) => !numbers.includes(NaN))
}

function allNumbersOf({ inputs, knownNumbers = [] }: TriedInputs): Float64Array[] {
  const numbers = inputs.filter(({ type }) => type !== 'string')
  if (numbers.length === 0) return [new Float64Array(0)]
  const plain = plainNumbersOf(numbers)
  if (!knownNumbers.some(({ length }) => length > 0)) return plain
  // An encoder that is told to refuses other numbers.
  const next = seededRandom(2)
  const known = Array.from({ length: mixedNumbers }, (_, place) =>
    plain[place % plain.length]!.map((number, column) => {
      const list = knownNumbers[column]!
      return list.length === 0 ? number : list[Math.floor(next() * list.length)]!
    }),
  )
  return [...known, ...plain]
}

function plainNumbersOf(numbers: readonly OnnxInput[]): Float64Array[] {
  return numberRows.map(([number, whole], place) =>
    Float64Array.from(
      numbers.flatMap(({ type, width }, input) =>
        Array.from({ length: width }, (_, column) => {
          const at = input + column
          if (type === 'bool') return place === 0 ? 0 : (place + at) % 2
          if (type === 'uint8') return whole(at) & 255
          return type === 'float32' || type === 'float64' ? number(at) : whole(at)
        }),
      ),
    ),
  )
}

const mixedNumbers = 16

/** Texts that most graphs answer: a missing one, and numbers. */
const plainTexts = ['', '1', '-2.5']
const mixedTexts = 100
/** The maximum number of further texts that are compared. */
const maxTexts = 5

/** Returns rows of texts: equal texts, then a list of the graph for each column in order, then mixtures. */
function textsOf({ inputs, knownTexts = [] }: TriedInputs): string[][] {
  const columns = inputs.filter(({ type }) => type === 'string').map((_, at) => at)
  if (columns.length === 0) return [[]]
  const lists = knownTexts.length === 0 ? [plainTexts] : knownTexts
  const listOf = (column: number): readonly string[] => lists[column % lists.length]!
  const longest = Math.max(...lists.map((list) => list.length))
  const next = seededRandom(1)
  const sources = [...plainTexts.map((text) => [text]), ...lists]
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)]!
  return [
    columns.map(() => ''),
    ...Array.from({ length: longest }, (_, place) =>
      columns.map((column) => listOf(column)[place % listOf(column).length]!),
    ),
    ...plainTexts.slice(1).map((text) => columns.map(() => text)),
    ...Array.from({ length: mixedTexts }, () => columns.map(() => pick(pick(sources)))),
  ]
}

/** Numbers from 0 to 1, the same on each machine: a 32-bit mixer of a counter. */
function seededRandom(seed: number): () => number {
  let counter = seed | 0
  return () => {
    counter = (counter + 0x9e3779b9) | 0
    let mixed = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32
  }
}
