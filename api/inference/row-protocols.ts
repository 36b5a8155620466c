/**
 * Serves KServe version 1 (`:predict`) and MLflow (`/invocations`): one plain value per row, as their clients expect. The version, the arm
 * and the prediction ids are additional fields.
 */
import { writeFloat, writeId, writeText, reserve, maxFloatBytes } from '../serving/codec/byte-writer.ts'
import { likeliest } from '../serving/codec/output-format.ts'
import { unknownCategories } from '../serving/codec/unknown-categories.ts'
import { outputWidth, type Output } from '../../domain/model/features.ts'
import type { ByteWriter } from '../serving/codec/byte-writer.ts'
import type { Answered, Protocol } from '../serving/request/protocol.ts'
import type { LiveArm } from '../serving/routing/route-table.ts'
import { fillInstances, readInstances, type InstancesForm } from '../serving/codec/instances.ts'
import { fillRows, mlflowRows } from './row-requests.ts'

const kserveForm: InstancesForm = { takesLists: true, none: 'the request has no rows', rows: 'rows' }

export function createRowProtocols(maxInstances: number): Record<'kserve' | 'mlflow', Protocol> {
  const mlflow = mlflowRows(maxInstances)
  const sizeOf = (width: number) => ({ maxRows: maxInstances, width })
  return {
    mlflow: {
      rows: mlflow,
      read: (loaded, body, input) => fillRows(loaded, mlflow(body, loaded.maxFields()), input),
      write,
    },
    kserve: {
      rows: (body, width) => readInstances(body, sizeOf(width), kserveForm),
      read: (loaded, body, input) =>
        fillInstances(loaded, { body, size: sizeOf(loaded.maxFields()), form: kserveForm }, input),
      write,
    },
  }
}

type WriteValue = (writer: ByteWriter, outputs: Float32Array, row: number) => void

interface PlainFrame {
  value: WriteValue
  /** The text between the values and the list of ids. */
  origin: Buffer
}

const frames = new WeakMap<LiveArm, PlainFrame>()

function frameOf(arm: LiveArm): PlainFrame {
  const known = frames.get(arm)
  if (known !== undefined) return known
  const { loaded, generation, fallback } = arm
  const origin = {
    model_name: loaded.model,
    model_version: loaded.version,
    arm: arm.arm,
    generation,
    fallback: fallback || undefined,
  }
  const frame: PlainFrame = {
    value: valueOf(loaded.manifest.output),
    origin: Buffer.from(`],${JSON.stringify(origin).slice(1, -1)},"prediction_ids":[`),
  }
  frames.set(arm, frame)
  return frame
}

function valueOf(output: Output): WriteValue {
  switch (output.kind) {
    case 'probability':
    case 'number':
      return (writer, outputs, row) => {
        reserve(writer, maxFloatBytes)
        writeFloat(writer, outputs[row]!)
      }
    case 'quantiles':
    case 'numbers': {
      const width = outputWidth(output)
      return (writer, outputs, row) => writeList(writer, outputs, row, width)
    }
    case 'classes': {
      const labels = output.classes.map((name) => Buffer.from(JSON.stringify(name)))
      return (writer, outputs, row) =>
        writePiece(writer, labels[likeliest(outputs, row * labels.length, labels.length)]!)
    }
  }
}

function writeList(writer: ByteWriter, outputs: Float32Array, row: number, width: number): void {
  reserve(writer, 2 + width * (maxFloatBytes + 1))
  writeText(writer, piece.open)
  for (let i = 0; i < width; i++) {
    if (i > 0) writeText(writer, piece.comma)
    writeFloat(writer, outputs[row * width + i]!)
  }
  writeText(writer, piece.close)
}

const piece = {
  head: Buffer.from('{"predictions":['),
  open: Buffer.from('['),
  close: Buffer.from(']'),
  comma: Buffer.from(','),
  quote: Buffer.from('"'),
}

/** The length of a UUID, two quotes and a comma. */
const idBytes = 39

function write(writer: ByteWriter, { arm, input, outputs, id, stale }: Answered): void {
  const { value, origin } = frameOf(arm)
  writePiece(writer, piece.head)
  for (let row = 0; row < input.rows; row++) {
    if (row > 0) writePiece(writer, piece.comma)
    value(writer, outputs, row)
  }
  writePiece(writer, origin)
  reserve(writer, input.rows * idBytes)
  for (let row = 0; row < input.rows; row++) {
    if (row > 0) writeText(writer, piece.comma)
    writeText(writer, piece.quote)
    writeId(writer, id, row)
    writeText(writer, piece.quote)
  }
  const unknown =
    input.unknownTexts > 0 ? `,"unknown_categories":${unknownCategories(arm.loaded.columns, input)}` : ''
  writePiece(writer, Buffer.from(`]${unknown}${stale ? ',"stale":true' : ''}}`))
}

function writePiece(writer: ByteWriter, text: Buffer): void {
  reserve(writer, text.byteLength)
  writeText(writer, text)
}
