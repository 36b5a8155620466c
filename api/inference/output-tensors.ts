/** Names the outputs of a model as tensors, with the same names in metadata and responses. */
import { DomainError } from '../../domain/errors.ts'
import { type Output, likeliest, type AnswerField } from '../../domain/tasks/output.ts'
import { compileReview } from '../../domain/review/band.ts'
import type { WantedOutput } from '../serving/codec/input-buffer.ts'
import {
  maxFloatBytes,
  writeText,
  writeFloats,
  reserve,
  type ByteWriter,
} from '../serving/codec/byte-writer.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'

export interface OutputTensor {
  name: string
  datatype: 'FP32' | 'BYTES' | 'BOOL'
  /** The dimensions after the number of rows. */
  shape: readonly number[]
  /** Writes the values of all rows as the items of a JSON list, without its brackets. */
  writeJson(writer: ByteWriter, outputs: Float32Array, rows: number): void
  /** Returns the size of the values in binary. */
  binaryBytes(outputs: Float32Array, rows: number): number
  writeBinary(writer: ByteWriter, outputs: Float32Array, rows: number): void
}

/** The name that requests all outputs. */
export const allOutputs = '*'

const comma = Buffer.from(',')

/**
 * Returns the tensors of an output. The first is the one that most clients use; the last marks predictions for review, if the model has a
 * review band.
 */
export function outputTensors(output: Output): OutputTensor[] {
  const isForReview = compileReview(output)
  return [...answerTensors(output), ...(isForReview === undefined ? [] : [flags('review', isForReview)])]
}

/** Numbers first, then what is decided by them. */
function answerTensors(output: Output): OutputTensor[] {
  const tensors = taskOf(output).fields(output).flatMap(tensorOf)
  return tensors.toSorted((a, b) => Number(b.datatype === 'FP32') - Number(a.datatype === 'FP32'))
}

function tensorOf(field: AnswerField): OutputTensor | [] {
  switch (field.is) {
    case 'number':
      return floats(field.field, 1, [])
    case 'numbers':
      return floats(field.field, field.names.length, [field.names.length])
    case 'flag':
      return flags(field.field, (outputs, row) => outputs[row]! >= field.threshold)
    case 'name':
      return labels(field.field, field.names)
    case 'text':
      return []
  }
}

export interface ChosenOutput {
  /** The index among the model's outputs. */
  place: number
  binary: boolean
}

/** Returns the requested outputs in the order of the request; all by default. Throws `invalid_request` for an unknown output. */
export function chosenOutputs(
  tensors: readonly OutputTensor[],
  wanted: readonly WantedOutput[] | undefined,
): ChosenOutput[] {
  if (wanted === undefined) return tensors.map((_, place) => ({ place, binary: false }))
  if (new Set(wanted.map(({ name }) => name)).size < wanted.length)
    throw new DomainError('invalid_request', 'an output is requested twice')
  return wanted.flatMap(({ name, binary }): ChosenOutput[] => {
    if (name === allOutputs) return tensors.map((_, place) => ({ place, binary }))
    const place = tensors.findIndex((each) => each.name === name)
    if (place >= 0) return [{ place, binary }]
    const known = tensors.map((each) => each.name).join(', ')
    throw new DomainError('invalid_request', `there is no output ${JSON.stringify(name)}; there are ${known}`)
  })
}

function floats(name: string, width: number, shape: readonly number[]): OutputTensor {
  return {
    name,
    datatype: 'FP32',
    shape,
    writeJson(writer, outputs, rows) {
      reserve(writer, rows * width * (maxFloatBytes + 1))
      writeFloats(writer, outputs, rows * width)
    },
    binaryBytes: (_outputs, rows) => rows * width * 4,
    writeBinary(writer, outputs, rows) {
      reserve(writer, rows * width * 4)
      for (let i = 0; i < rows * width; i++) writer.at = writer.bytes.writeFloatLE(outputs[i]!, writer.at)
    },
  }
}

function flags(name: string, isSet: (outputs: Float32Array, row: number) => boolean): OutputTensor {
  const yes = Buffer.from('true')
  const no = Buffer.from('false')
  return {
    name,
    datatype: 'BOOL',
    shape: [],
    writeJson(writer, outputs, rows) {
      reserve(writer, rows * (no.byteLength + 1))
      for (let i = 0; i < rows; i++) {
        if (i > 0) writeText(writer, comma)
        writeText(writer, isSet(outputs, i) ? yes : no)
      }
    },
    binaryBytes: (_outputs, rows) => rows,
    writeBinary(writer, outputs, rows) {
      reserve(writer, rows)
      for (let i = 0; i < rows; i++) writer.bytes[writer.at++] = isSet(outputs, i) ? 1 : 0
    },
  }
}

function labels(name: string, classes: readonly string[]): OutputTensor {
  const width = classes.length
  const json = classes.map((each) => Buffer.from(JSON.stringify(each)))
  const plain = classes.map((each) => Buffer.from(each))
  const longest = Math.max(...json.map(({ byteLength }) => byteLength))
  return {
    name,
    datatype: 'BYTES',
    shape: [],
    writeJson(writer, outputs, rows) {
      reserve(writer, rows * (longest + 1))
      for (let row = 0; row < rows; row++) {
        if (row > 0) writeText(writer, comma)
        writeText(writer, json[likeliest(outputs, row * width, width)]!)
      }
    },
    binaryBytes(outputs, rows) {
      let bytes = 0
      for (let row = 0; row < rows; row++)
        bytes += 4 + plain[likeliest(outputs, row * width, width)]!.byteLength
      return bytes
    },
    writeBinary(writer, outputs, rows) {
      for (let row = 0; row < rows; row++) {
        const text = plain[likeliest(outputs, row * width, width)]!
        reserve(writer, 4 + text.byteLength)
        writer.at = writer.bytes.writeUInt32LE(text.byteLength, writer.at)
        writeText(writer, text)
      }
    },
  }
}
