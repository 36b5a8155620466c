/**
 * Formats the outputs of a network as JSON and checks that they are valid. Parts that are the same in each response of a version are
 * encoded once, when it is loaded.
 */
import {
  answerLimits,
  type Output,
  isOfNumbers,
  likeliest,
  type AnswerField,
  type NumberRange,
} from '../../../domain/tasks/output.ts'
import { compileReview } from '../../../domain/review/band.ts'
import { maxFloatBytes, writeText, writeFloat, writeId, reserve, type ByteWriter } from './byte-writer.ts'
import { outputWidth } from '@tenure/predictors/features'
import { taskOf } from '../../../domain/tasks/tasks.ts'

/** The prediction of one instance, as it is compared and stored for shadow pairs. */
export type RowPrediction = Readonly<Record<string, number | boolean | string | number[]>>

export interface OutputFormat {
  /** The number of outputs of a row. */
  width: number
  /** Returns why the outputs of a row are invalid; undefined when they are valid. Allocates memory only for invalid ones. */
  issueOf(outputs: Float32Array, row: number): string | undefined
  /** Writes the prediction of a row as JSON. `id` is the id of the request. */
  write(writer: ByteWriter, outputs: Float32Array, row: number, id: Uint8Array): void
  answer(outputs: Float32Array, row: number): RowPrediction
  /** Returns the distance between two predictions of a row; 0 when they are equal. */
  difference(a: Float32Array, b: Float32Array, row: number): number
}

const sumTolerance = 1e-3
/** The bytes of `{"id":"…` with the UUID. */
const idBytes = 43
const idHead = Buffer.from('{"id":"')

export function compileFormat(output: Output): OutputFormat {
  const task = taskOf(output)
  const width = outputWidth(output)
  const unit = task.distanceUnit(output)
  const fields = task.fields(output)
  return {
    width,
    issueOf: compileIssue(output, width),
    write: compileWrite(output, width),
    answer: (outputs, row) =>
      Object.fromEntries(
        fields.flatMap((each) =>
          each.is === 'text' ? [] : [[each.field, valueOf(each, outputs, row, width)]],
        ),
      ),
    difference(a, b, row) {
      let sum = 0
      for (let i = row * width; i < (row + 1) * width; i++) sum += Math.abs(a[i]! - b[i]!)
      return sum / unit
    },
  }
}

function valueOf(
  field: Exclude<AnswerField, { is: 'text' }>,
  outputs: Float32Array,
  row: number,
  width: number,
): RowPrediction[string] {
  switch (field.is) {
    case 'number':
      return outputs[row]!
    case 'numbers':
      return [...outputs.subarray(row * width, (row + 1) * width)]
    case 'flag':
      return outputs[row]! >= field.threshold
    case 'name':
      return field.names[likeliest(outputs, row * width, width)]!
  }
}

function compileIssue(output: Output, width: number): OutputFormat['issueOf'] {
  const { noun, range, sumsToOne } = taskOf(output)
  const { min: least, max: most } = answerLimits(range(output))
  const limits = isOfNumbers(output) ? limitsOf(output) : ''
  const named = `${width === 1 ? 'the' : 'a'} ${noun}`
  if (width === 1)
    return (outputs, row) => {
      const value = outputs[row]!
      return value >= least && value <= most ? undefined : `${named} of row ${row} is ${value}${limits}`
    }
  return (outputs, row) => {
    let sum = 0
    for (let i = row * width; i < (row + 1) * width; i++) {
      const value = outputs[i]!
      if (!(value >= least && value <= most)) return `${named} of row ${row} is ${value}${limits}`
      sum += value
    }
    return sumsToOne && !(Math.abs(sum - 1) <= sumTolerance)
      ? `the probabilities of row ${row} sum to ${sum}`
      : undefined
  }
}

const limitsOf = ({ min, max }: NumberRange): string =>
  min === undefined && max === undefined
    ? ''
    : `, and the label allows ${min === undefined ? `at most ${max}` : max === undefined ? `at least ${min}` : `${min} to ${max}`}`

/** Texts of which a row has the one at the picked place; one text where nothing is picked. */
interface Texts {
  texts: readonly string[]
  pick?: (outputs: Float32Array, row: number) => number
}

/** Compiles the JSON of a row: its numbers, each behind its key, between a text and another one. */
function compileWrite(output: Output, width: number): OutputFormat['write'] {
  const { head, keys, tail } = piecesOf(output, width)
  const [heads, tails] = [head, tail].map(({ texts }) => texts.map((text) => Buffer.from(text))) as [
    Buffer[],
    Buffer[],
  ]
  const [headOf, tailOf] = [head.pick, tail.pick]
  const bytesOf = (texts: readonly Buffer[]) => Math.max(...texts.map(({ byteLength }) => byteLength))
  const before = keys.map((key) => Buffer.from(key))
  const bytes =
    idBytes +
    bytesOf(heads) +
    before.reduce((sum, key) => sum + key.byteLength + maxFloatBytes, 0) +
    bytesOf(tails)
  const [only] = heads
  const [last] = tails
  // Of one number without a name in front, which is most models, the row is written without a loop.
  if (width === 1 && headOf === undefined)
    return (writer, outputs, row, id) => {
      reserve(writer, bytes)
      writeText(writer, idHead)
      writeId(writer, id, row)
      writeText(writer, only!)
      writeFloat(writer, outputs[row]!)
      writeText(writer, tailOf === undefined ? last! : tails[tailOf(outputs, row)]!)
    }
  return (writer, outputs, row, id) => {
    reserve(writer, bytes)
    writeText(writer, idHead)
    writeId(writer, id, row)
    writeText(writer, heads[headOf === undefined ? 0 : headOf(outputs, row)]!)
    for (let i = 0; i < width; i++) {
      writeText(writer, before[i]!)
      writeFloat(writer, outputs[row * width + i]!)
    }
    writeText(writer, tails[tailOf === undefined ? 0 : tailOf(outputs, row)]!)
  }
}

/** Neighbouring texts are one, so that a row is written in few pieces. One field of a task has the numbers of the row. */
function piecesOf(output: Output, width: number): { head: Texts; keys: readonly string[]; tail: Texts } {
  let head: Texts = { texts: [''] }
  let keys: readonly string[] = []
  // Behind the id.
  let open: Texts = { texts: ['"'] }
  const add = (texts: readonly string[], pick?: Texts['pick']) => (open = joined(open, { texts, pick }))
  for (const field of taskOf(output).fields(output)) {
    add([`,${JSON.stringify(field.field)}:`])
    switch (field.is) {
      case 'number':
        ;[head, keys, open] = [open, [''], { texts: [''] }]
        break
      case 'numbers':
        add(['{'])
        keys = field.names.map((name, at) => `${at === 0 ? '' : ','}${JSON.stringify(name)}:`)
        ;[head, open] = [open, { texts: ['}'] }]
        break
      case 'flag':
        add(['false', 'true'], (outputs, row) => (outputs[row]! >= field.threshold ? 1 : 0))
        break
      case 'name':
        add(
          field.names.map((name) => JSON.stringify(name)),
          (outputs, row) => likeliest(outputs, row * width, width),
        )
        break
      case 'text':
        add([JSON.stringify(field.text)])
    }
  }
  const isForReview = compileReview(output)
  if (isForReview === undefined) add(['}'])
  else add(['}', ',"review":true}'], (outputs, row) => (isForReview(outputs, row) ? 1 : 0))
  return { head, keys, tail: open }
}

function joined(one: Texts, other: Texts): Texts {
  const texts = one.texts.flatMap((first) => other.texts.map((second) => first + second))
  const [pick, then] = [one.pick, other.pick]
  if (pick === undefined || then === undefined) return { texts, pick: pick ?? then }
  const count = other.texts.length
  return { texts, pick: (outputs, row) => pick(outputs, row) * count + then(outputs, row) }
}
