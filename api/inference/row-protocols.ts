/**
 * Serves KServe version 1 (`:predict`) and MLflow (`/invocations`): one plain value per row, as their clients expect. The version, the arm
 * and the prediction ids are additional fields.
 */
import { outputWidth } from '@tenure/predictors/features'
import {
  writeFloat,
  writeId,
  writeText,
  reserve,
  maxFloatBytes,
  type ByteWriter,
} from '../serving/codec/byte-writer.ts'
import { likeliest, type Output } from '../../domain/tasks/output.ts'
import { unknownCategories } from '../serving/codec/unknown-categories.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import type { Answered, Protocol } from '../serving/request/protocol.ts'
import type { LiveArm } from '../serving/routing/route-table.ts'
import {
  fillInstances,
  otherLength,
  readInstances,
  type InstancesForm,
  type PredictRequest,
} from '../serving/codec/instances.ts'
import { DomainError, quotedName } from '../../domain/errors.ts'
import { parseJson, tooManyRows } from '../serving/codec/json-reader.ts'
import { resetInput, type InputBuffer } from '../serving/codec/input-buffer.ts'
import { callerTexts } from '../serving/codec/caller-texts.ts'
import { kindOf } from '../serving/codec/row-reader.ts'
import { readRow, requestSizeOf, type LoadedVersion } from '../serving/version/loaded-version.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'

const kserveForm: InstancesForm = { takesLists: true, none: 'the request has no rows', rows: 'rows' }

export function createRowProtocols(maxInstances: number): Record<'kserve' | 'mlflow', Protocol> {
  const mlflow = mlflowRows(maxInstances)
  const sizeOf = (loaded: LoadedVersion) => requestSizeOf(loaded, maxInstances)
  return {
    mlflow: {
      rows: mlflow,
      read: (loaded, body, input) => fillRows(loaded, mlflow(body, loaded), input),
      write,
    },
    kserve: {
      rows: (body, loaded) => readInstances(body, sizeOf(loaded), kserveForm),
      read: (loaded, body, input) =>
        fillInstances(loaded, { body, size: sizeOf(loaded), form: kserveForm }, input),
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

/** Writes the field that stands for an answer. */
function valueOf(output: Output): WriteValue {
  const [field] = taskOf(output).fields(output)
  const width = outputWidth(output)
  if (field?.is === 'name') {
    const labels = field.names.map((name) => Buffer.from(JSON.stringify(name)))
    return (writer, outputs, row) => writePiece(writer, labels[likeliest(outputs, row * width, width)]!)
  }
  if (field?.is === 'numbers') return (writer, outputs, row) => writeList(writer, outputs, row, width)
  return (writer, outputs, row) => {
    reserve(writer, maxFloatBytes)
    writeFloat(writer, outputs[row]!)
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

// Reads requests of MLflow's scoring server. It also accepts rows without names, in the order of the model file. A row of another length is
// refused, because its values would be read as other features.

/** Parses a body that this version reads. */
export type ParseRows = (body: Buffer, loaded: LoadedVersion) => PredictRequest

const textFields = ['routing_key', 'reference']

const mlflowForms = {
  dataframe_split: rowsOfSplit,
  dataframe_records: (given: unknown) => listOf(given, '"dataframe_records"'),
  instances: (given: unknown) => listOf(given, '"instances"'),
  inputs: rowsOfInputs,
}
const formNames = Object.keys(mlflowForms) as (keyof typeof mlflowForms)[]

/** Parses one of the four formats of MLflow, and `"params": {"routing_key", "reference"}`. */
const mlflowRows =
  (maxInstances: number): ParseRows =>
  (body, loaded) => {
    const size = requestSizeOf(loaded, maxInstances)
    const request = objectOf(parseJson(body, size), 'the body')
    const forms = formNames.filter((name) => Object.hasOwn(request, name))
    const [form] = forms
    if (form === undefined || forms.length > 1)
      refuse(`the body has ${forms.length} of ${formNames.join(', ')}, not one of them`)
    for (const name in request)
      if (name !== form && name !== 'params') refuse(`the body has an unknown field ${quotedName(name)}`)
    const instances = requireCount(mlflowForms[form](request[form]), size.maxRows)
    const params = objectOf(request['params'] ?? {}, '"params"')
    for (const name in params)
      if (!textFields.includes(name)) refuse(`"params" has an unknown field ${quotedName(name)}`)
    return { instances, ...callerTexts(params) }
  }

/** Fills the buffer with parsed rows. */
export function fillRows(
  loaded: LoadedVersion,
  { instances, routingKey, reference }: PredictRequest,
  input: InputBuffer,
): void {
  const { cells, columns } = loaded
  resetInput(input, columns, instances.length)
  for (let i = 0; i < instances.length; i++) {
    const row: unknown = instances[i]
    if (!Array.isArray(row)) readRow(loaded, row, i, input)
    else if (row.length === columns.listed.length)
      cells.read(
        (place) => {
          const position = cells.positions[place]
          return position === undefined ? undefined : row[position]
        },
        i,
        input,
      )
    else throw otherLength(i, row.length, columns)
  }
  input.routingKey = routingKey
  input.reference = reference
}

/** Reads the output of `DataFrame.to_dict(orient="split")`, and ignores its index. */
function rowsOfSplit(given: unknown): unknown[] {
  const { columns, data, ...rest } = objectOf(given, '"dataframe_split"')
  for (const name in rest)
    if (name !== 'index' && name !== 'index_names' && name !== 'column_names')
      refuse(`"dataframe_split" has an unknown field ${quotedName(name)}`)
  const rows = listOf(data, '"data" of "dataframe_split"')
  if (columns === undefined) return rows
  const names = listOf(columns, '"columns" of "dataframe_split"')
  if (!names.every((name) => typeof name === 'string')) refuse('a name in "columns" is not a text')
  if (new Set(names).size < names.length) refuse('"columns" names a column twice')
  return rows.map((row, index) => {
    if (!Array.isArray(row) || row.length !== names.length)
      refuse(`row ${index} of "data" is ${kindOf(row)} and not a list of ${names.length} values`)
    return Object.fromEntries(names.map((name, place) => [name, (row as unknown[])[place]]))
  })
}

/** Reads a list of rows, or a list of values per feature. */
function rowsOfInputs(given: unknown): unknown[] {
  if (Array.isArray(given)) return given
  const columns = Object.entries(objectOf(given, '"inputs"'))
  const lists = columns.map(([name, values]) => [name, listOf(values, `input ${quotedName(name)}`)] as const)
  const rows = lists[0]?.[1].length ?? 0
  for (const [name, { length }] of lists)
    if (length !== rows) refuse(`the input ${quotedName(name)} has ${length} values, not ${rows}`)
  return Array.from({ length: rows }, (_, row) =>
    Object.fromEntries(lists.map(([name, values]) => [name, values[row]])),
  )
}

function requireCount(rows: unknown[], maxRows: number): FeatureRow[] {
  if (rows.length === 0) throw new DomainError('no_instances', 'the request has no rows')
  if (rows.length > maxRows) throw tooManyRows(maxRows)
  return rows as FeatureRow[]
}

function objectOf(given: unknown, what: string): Record<string, unknown> {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    refuse(`${what} is ${kindOf(given)}, not an object`)
  return given as Record<string, unknown>
}

function listOf(given: unknown, what: string): unknown[] {
  if (!Array.isArray(given)) refuse(`${what} is ${kindOf(given)}, not a list`)
  return given
}

function refuse(what: string): never {
  throw new DomainError('invalid_request', what)
}
