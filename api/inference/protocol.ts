/**
 * Implements the Open Inference Protocol (version 2). The arm, the generation and the prediction id are parameters of the response.
 */
import { writeText, writeId, writeInteger, reserve, type ByteWriter } from '../serving/codec/byte-writer.ts'
import { unknownCategories } from '../serving/codec/unknown-categories.ts'
import type { Answered, Protocol } from '../serving/request/protocol.ts'
import type { LiveArm } from '../serving/routing/route-table.ts'
import { chosenOutputs, outputTensors, type ChosenOutput } from './output-tensors.ts'
import { readInfer } from './request-reader.ts'

/** Creates the protocol. `jsonBytes`: the start of the binary part of the body, if it has one. */
export const createInferProtocol = (maxInstances: number, jsonBytes?: number): Protocol => ({
  read(loaded, body, input) {
    readInfer(loaded, body, jsonBytes, input, maxInstances)
    // Checked before the network runs, so that a request with a wrong name is not counted as served.
    if (input.wanted !== undefined) chosenOutputs(outputTensors(loaded.manifest.output), input.wanted)
  },
  write,
})

const frames = new WeakMap<LiveArm, Frame>()

function frameOf(arm: LiveArm): Frame {
  const known = frames.get(arm)
  if (known !== undefined) return known
  const frame = compileFrame(arm)
  frames.set(arm, frame)
  return frame
}

type Frame = ReturnType<typeof compileFrame>

/** Prepares the parts that are the same in all responses of an arm. */
function compileFrame(arm: LiveArm) {
  const { loaded, generation } = arm
  const tensors = outputTensors(loaded.manifest.output)
  const head = Buffer.from(
    `{"model_name":${JSON.stringify(loaded.model)},"model_version":${JSON.stringify(loaded.version)}`,
  )
  // The text between the caller's id and the prediction id.
  const parameters = Buffer.from(
    `,"parameters":{"arm":"${arm.arm}","generation":${generation},` +
      `${arm.fallback ? '"fallback":true,' : ''}"prediction_id":"`,
  )
  // The text of each tensor before the number of rows; `shapes` has the text from there to the end of the shape.
  const openings = tensors.map(({ name, datatype }) =>
    Buffer.from(`{"name":"${name}","datatype":"${datatype}","shape":[`),
  )
  const shapes = tensors.map(({ shape }) => Buffer.from(`${shape.map((size) => `,${size}`).join('')}]`))
  const pieces = [head, parameters, ...openings, ...shapes]
  // The maximum size with the text between these parts and the numbers, so that space is reserved once.
  const bytes = pieces.reduce((sum, each) => sum + each.byteLength, 200 * (1 + tensors.length))
  const all = chosenOutputs(tensors, undefined)
  return { head, parameters, tensors, all, openings, shapes, bytes }
}

const piece = {
  id: Buffer.from(',"id":'),
  stale: Buffer.from('","stale":true},"outputs":['),
  unknown: '","unknown_categories":',
  outputs: Buffer.from('"},"outputs":['),
  comma: Buffer.from(','),
  values: Buffer.from(',"data":['),
  valuesEnd: Buffer.from(']}'),
  binary: Buffer.from(',"parameters":{"binary_data_size":'),
  binaryEnd: Buffer.from('}}'),
  end: Buffer.from(']}'),
}

function write(writer: ByteWriter, answered: Answered): void {
  const { arm, input, outputs, id, stale } = answered
  const frame = frameOf(arm)
  const chosen = input.wanted === undefined ? frame.all : chosenOutputs(frame.tensors, input.wanted)
  reserve(writer, frame.bytes)
  writeText(writer, frame.head)
  if (input.callerId !== undefined) putCallerId(writer, input.callerId, frame.bytes)
  writeText(writer, frame.parameters)
  writeId(writer, id, 0)
  if (input.unknownTexts > 0) putUnknown(writer, answered, frame.bytes)
  else writeText(writer, stale ? piece.stale : piece.outputs)
  let binary = false
  for (let i = 0; i < chosen.length; i++) {
    reserve(writer, frame.bytes)
    if (i > 0) writeText(writer, piece.comma)
    putTensor(writer, frame, chosen[i]!, outputs, input.rows)
    binary ||= chosen[i]!.binary
  }
  reserve(writer, piece.end.byteLength)
  writeText(writer, piece.end)
  if (!binary) return
  writer.jsonBytes = writer.at
  for (const { place, binary } of chosen)
    if (binary) frame.tensors[place]!.writeBinary(writer, outputs, input.rows)
}

function putTensor(
  writer: ByteWriter,
  { tensors, openings, shapes }: Frame,
  { place, binary }: ChosenOutput,
  outputs: Float32Array,
  rows: number,
): void {
  const tensor = tensors[place]!
  writeText(writer, openings[place]!)
  writeInteger(writer, rows)
  writeText(writer, shapes[place]!)
  if (binary) {
    writeText(writer, piece.binary)
    writeInteger(writer, tensor.binaryBytes(outputs, rows))
    writeText(writer, piece.binaryEnd)
    return
  }
  writeText(writer, piece.values)
  tensor.writeJson(writer, outputs, rows)
  reserve(writer, piece.valuesEnd.byteLength)
  writeText(writer, piece.valuesEnd)
}

/** Writes unknown categories as JSON in a text, because parameters of the protocol are texts, numbers or booleans. */
function putUnknown(writer: ByteWriter, { arm, input, stale }: Answered, following: number): void {
  const categories = JSON.stringify(unknownCategories(arm.loaded.columns, input))
  const text = Buffer.from(`${piece.unknown}${categories}${stale ? ',"stale":true' : ''}},"outputs":[`)
  reserve(writer, text.byteLength + following)
  writeText(writer, text)
}

/** Writes the caller's id, and reserves space again for the parts that follow it. */
function putCallerId(writer: ByteWriter, callerId: string, following: number): void {
  const text = JSON.stringify(callerId)
  const bytes = Buffer.byteLength(text)
  reserve(writer, piece.id.byteLength + bytes + following)
  writeText(writer, piece.id)
  writer.at += writer.bytes.write(text, writer.at)
}
