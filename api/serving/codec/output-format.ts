/**
 * Formats the outputs of a network as JSON and checks that they are valid. Parts that are the same in each response of a version are
 * encoded once, when it is loaded.
 */
import type { Output } from '../../../domain/tasks/output.ts'
import { compileReview } from '../../../domain/review/band.ts'
import { maxFloatBytes, writeText, writeFloat, writeId, reserve, type ByteWriter } from './byte-writer.ts'

/** The prediction of one instance, as it is compared and stored for shadow pairs. */
export type RowPrediction =
  | { probability: number; label: boolean }
  | { label: string; probabilities: number[] }
  | { value: number }
  | { quantiles: number[] }
  | { values: number[] }

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
const closed = Buffer.from('}')
const closedTwice = Buffer.from('}}')

export function compileFormat(output: Output): OutputFormat {
  switch (output.kind) {
    case 'probability':
      return probabilityFormat(output)
    case 'classes':
      return classesFormat(output)
    case 'number':
      return numberFormat(output)
    case 'quantiles':
      return quantilesFormat(output)
    case 'numbers':
      return numbersFormat(output)
  }
}

const reviewed = ',"review":true}'

function probabilityFormat(output: Extract<Output, { kind: 'probability' }>): OutputFormat {
  const { threshold, positive } = output
  const field = Buffer.from('","probability":')
  const endOf = (label: boolean, last: string) =>
    Buffer.from(`,"label":${label},"positive":${JSON.stringify(positive)}${last}`)
  const [yes, no] = [endOf(true, '}'), endOf(false, '}')]
  const [yesReviewed, noReviewed] = [endOf(true, reviewed), endOf(false, reviewed)]
  const isForReview = compileReview(output)
  const most = idBytes + field.byteLength + maxFloatBytes + noReviewed.byteLength
  return {
    width: 1,
    issueOf(outputs, row) {
      const p = outputs[row]!
      return p >= 0 && p <= 1 ? undefined : `the probability of row ${row} is ${p}`
    },
    write(writer, outputs, row, id) {
      const p = outputs[row]!
      reserve(writer, most)
      writeText(writer, idHead)
      writeId(writer, id, row)
      writeText(writer, field)
      writeFloat(writer, p)
      if (isForReview?.(outputs, row) === true) writeText(writer, p >= threshold ? yesReviewed : noReviewed)
      else writeText(writer, p >= threshold ? yes : no)
    },
    answer: (outputs, row) => ({ probability: outputs[row]!, label: outputs[row]! >= threshold }),
    difference: (a, b, row) => Math.abs(a[row]! - b[row]!),
  }
}

function classesFormat(output: Extract<Output, { kind: 'classes' }>): OutputFormat {
  const { classes } = output
  const isForReview = compileReview(output)
  const closedReviewed = Buffer.from(`}${reviewed}`)
  const width = classes.length
  const heads = classes.map((name) => Buffer.from(`","label":${JSON.stringify(name)},"probabilities":{`))
  const keys = classes.map((name, index) => Buffer.from(`${index === 0 ? '' : ','}${JSON.stringify(name)}:`))
  const most =
    idBytes +
    Math.max(...heads.map((head) => head.byteLength)) +
    keys.reduce((sum, key) => sum + key.byteLength + maxFloatBytes, closedReviewed.byteLength)
  return {
    width,
    issueOf(outputs, row) {
      let sum = 0
      for (let i = row * width; i < (row + 1) * width; i++) {
        const p = outputs[i]!
        if (!(p >= 0 && p <= 1)) return `a probability of row ${row} is ${p}`
        sum += p
      }
      return Math.abs(sum - 1) <= sumTolerance ? undefined : `the probabilities of row ${row} sum to ${sum}`
    },
    write(writer, outputs, row, id) {
      const at = row * width
      reserve(writer, most)
      writeText(writer, idHead)
      writeId(writer, id, row)
      writeText(writer, heads[likeliest(outputs, at, width)]!)
      for (let i = 0; i < width; i++) {
        writeText(writer, keys[i]!)
        writeFloat(writer, outputs[at + i]!)
      }
      writeText(writer, isForReview?.(outputs, row) === true ? closedReviewed : closedTwice)
    },
    answer: (outputs, row) => ({
      label: classes[likeliest(outputs, row * width, width)]!,
      probabilities: [...outputs.subarray(row * width, (row + 1) * width)],
    }),
    // The total variation distance: half the sum of the differences; 1 when the two do not overlap.
    difference(a, b, row) {
      let sum = 0
      for (let i = row * width; i < (row + 1) * width; i++) sum += Math.abs(a[i]! - b[i]!)
      return sum / 2
    },
  }
}

/** Returns the index of the largest of `count` numbers, starting at `at`. */
export function likeliest(outputs: Float32Array, at: number, count: number): number {
  let best = 0
  for (let i = 1; i < count; i++) if (outputs[at + i]! > outputs[at + best]!) best = i
  return best
}

const limitsOf = ({ min, max }: { min?: number; max?: number }): string =>
  min === undefined && max === undefined
    ? ''
    : `, and the label allows ${min === undefined ? `at most ${max}` : max === undefined ? `at least ${min}` : `${min} to ${max}`}`

function numberFormat({ min, max }: Extract<Output, { kind: 'number' }>): OutputFormat {
  const [least, most] = [min ?? -Number.MAX_VALUE, max ?? Number.MAX_VALUE]
  const field = Buffer.from('","value":')
  return {
    width: 1,
    issueOf(outputs, row) {
      const value = outputs[row]!
      return value >= least && value <= most
        ? undefined
        : `the value of row ${row} is ${value}${limitsOf({ min, max })}`
    },
    write(writer, outputs, row, id) {
      reserve(writer, idBytes + field.byteLength + maxFloatBytes + closed.byteLength)
      writeText(writer, idHead)
      writeId(writer, id, row)
      writeText(writer, field)
      writeFloat(writer, outputs[row]!)
      writeText(writer, closed)
    },
    answer: (outputs, row) => ({ value: outputs[row]! }),
    difference: (a, b, row) => Math.abs(a[row]! - b[row]!),
  }
}

/** Formats quantiles in rising order, as the predictor of a version sorts them. */
const quantilesFormat = ({ levels, ...range }: Extract<Output, { kind: 'quantiles' }>): OutputFormat => ({
  ...listFormat(levels.map(String), { ...range, field: 'quantiles', one: 'a quantile' }),
  answer: (outputs, row) => ({
    quantiles: [...outputs.subarray(row * levels.length, (row + 1) * levels.length)],
  }),
})

const numbersFormat = ({ names, ...range }: Extract<Output, { kind: 'numbers' }>): OutputFormat => ({
  ...listFormat(names, { ...range, field: 'values', one: 'a number' }),
  answer: (outputs, row) => ({
    values: [...outputs.subarray(row * names.length, (row + 1) * names.length)],
  }),
})

/** Formats an object with a number for each name. */
function listFormat(
  names: readonly string[],
  { field: fieldName, one, min, max }: { field: string; one: string; min?: number; max?: number },
): Omit<OutputFormat, 'answer'> {
  const [least, most] = [min ?? -Number.MAX_VALUE, max ?? Number.MAX_VALUE]
  const width = names.length
  const field = Buffer.from(`","${fieldName}":{`)
  const keys = names.map((name, index) => Buffer.from(`${index === 0 ? '' : ','}${JSON.stringify(name)}:`))
  const bytes =
    idBytes +
    field.byteLength +
    keys.reduce((sum, key) => sum + key.byteLength + maxFloatBytes, closedTwice.byteLength)
  return {
    width,
    issueOf(outputs, row) {
      for (let i = row * width; i < (row + 1) * width; i++) {
        const value = outputs[i]!
        if (!(value >= least && value <= most))
          return `${one} of row ${row} is ${value}${limitsOf({ min, max })}`
      }
      return undefined
    },
    write(writer, outputs, row, id) {
      reserve(writer, bytes)
      writeText(writer, idHead)
      writeId(writer, id, row)
      writeText(writer, field)
      for (let i = 0; i < width; i++) {
        writeText(writer, keys[i]!)
        writeFloat(writer, outputs[row * width + i]!)
      }
      writeText(writer, closedTwice)
    },
    difference(a, b, row) {
      let sum = 0
      for (let i = row * width; i < (row + 1) * width; i++) sum += Math.abs(a[i]! - b[i]!)
      return sum / width
    },
  }
}
