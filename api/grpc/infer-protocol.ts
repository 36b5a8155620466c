/**
 * Serves `ModelInfer`: decodes a message to the rows of a model, and encodes its outputs. Outputs are raw contents, as Triton sends them.
 */
import { writeId, writeText, reserve, type ByteWriter } from '../serving/codec/byte-writer.ts'
import { unknownCategories } from '../serving/codec/unknown-categories.ts'
import { chosenOutputs, outputTensors, type OutputTensor } from '../inference/output-tensors.ts'
import { fillTensors } from '../inference/request-reader.ts'
import { callerTexts } from '../serving/codec/caller-texts.ts'
import type { Answered, Protocol } from '../serving/request/protocol.ts'
import type { LiveArm } from '../serving/routing/route-table.ts'
import { requestSizeOf } from '../serving/version/loaded-version.ts'
import { decodeInfer, tensorsOf, type InferMessage } from './infer-request.ts'
import {
  protoMessage,
  protoNumber,
  protoPacked,
  protoText,
  wireType,
  writeBytes,
  writeTag,
  writeVarint,
} from './wire.ts'

/** Creates the protocol of one request. The message is decoded once, even when several versions read it. */
export function createGrpcProtocol(maxInstances: number): Protocol {
  let decoded: InferMessage | undefined
  return {
    read(loaded, body, input) {
      const { maxRows, width } = requestSizeOf(loaded, maxInstances)
      const message = (decoded ??= decodeInfer(body, width))
      const tensors = tensorsOf(message, maxRows * width)
      fillTensors(loaded, tensors, input, maxRows)
      const { id, wanted } = message
      const { routingKey, reference } = callerTexts(message.texts)
      input.callerId = id
      input.routingKey = routingKey
      input.reference = reference
      if (wanted.length > 0) {
        input.wanted = wanted.map((name) => ({ name, binary: true }))
        chosenOutputs(outputTensors(loaded.manifest.output), input.wanted)
      }
    },
    write,
  }
}

interface GrpcFrame {
  tensors: OutputTensor[]
  /** The model, the version and the parameters of the arm. */
  head: Buffer
  /** Each output without its values, for the row count of the last request. Most requests have the same row count as the one before. */
  described: { rows: number; outputs: Buffer[] }
}

const frames = new WeakMap<LiveArm, GrpcFrame>()

const parameter = (key: string, value: Buffer): Buffer =>
  protoMessage(4, protoText(1, key), protoMessage(2, value))

function frameOf(arm: LiveArm): GrpcFrame {
  const known = frames.get(arm)
  if (known !== undefined) return known
  const { loaded, generation, fallback } = arm
  const head = Buffer.concat([
    protoText(1, loaded.model),
    protoText(2, loaded.version),
    parameter('arm', protoText(3, arm.arm)),
    parameter('generation', protoNumber(2, generation)),
    ...(fallback ? [parameter('fallback', protoNumber(1, 1))] : []),
  ])
  const frame = { tensors: outputTensors(loaded.manifest.output), head, described: { rows: 0, outputs: [] } }
  frames.set(arm, frame)
  return frame
}

function describedOutputs(frame: GrpcFrame, rows: number): Buffer[] {
  if (frame.described.rows !== rows) {
    const outputs = frame.tensors.map(({ name, datatype, shape }) =>
      protoMessage(5, protoText(1, name), protoText(2, datatype), protoPacked(3, [rows, ...shape])),
    )
    frame.described = { rows, outputs }
  }
  return frame.described.outputs
}

/** The length of a UUID as text. */
const uuidBytes = 36
/** The encoded parameter with the prediction id, up to the id itself. */
const idHead = ((): Buffer => {
  const entry = parameter('prediction_id', protoText(3, 'x'.repeat(uuidBytes)))
  return entry.subarray(0, entry.byteLength - uuidBytes)
})()
const isStale = parameter('stale', protoNumber(1, 1))

function write(writer: ByteWriter, answered: Answered): void {
  const { arm, input, outputs, id, stale } = answered
  const frame = frameOf(arm)
  const { tensors } = frame
  put(writer, frame.head)
  if (input.callerId !== undefined && input.callerId !== '')
    writeBytes(writer, 3, Buffer.from(input.callerId))
  put(writer, idHead)
  reserve(writer, uuidBytes)
  writeId(writer, id, 0)
  if (stale) put(writer, isStale)
  if (input.unknownTexts > 0)
    put(writer, parameter('unknown_categories', protoText(3, unknownCategories(arm.loaded.columns, input))))
  const chosen = chosenOutputs(tensors, input.wanted)
  const { rows } = input
  const described = describedOutputs(frame, rows)
  for (const { place } of chosen) put(writer, described[place]!)
  for (const { place } of chosen) {
    const tensor = tensors[place]!
    writeTag(writer, 6, wireType.bytes)
    writeVarint(writer, tensor.binaryBytes(outputs, rows))
    tensor.writeBinary(writer, outputs, rows)
  }
}

function put(writer: ByteWriter, bytes: Buffer): void {
  reserve(writer, bytes.byteLength)
  writeText(writer, bytes)
}
