/**
 * Reads requests of the Open Inference Protocol. The tensors are one matrix with a column per feature, or one tensor per feature. Both
 * become the rows of Tenure's own protocol.
 */
import { DomainError } from '../../domain/errors.ts'
import { readAny, readJson, tooManyRows } from '../serving/codec/json-reader.ts'
import type { FeatureColumns } from '../serving/codec/feature-columns.ts'
import { callerTexts } from '../serving/codec/caller-texts.ts'
import { resetInput, type InputBuffer, type WantedOutput } from '../serving/codec/input-buffer.ts'
import { requestSizeOf, type LoadedVersion } from '../serving/version/loaded-version.ts'
import { allOutputs } from './output-tensors.ts'
import { binaryPart, readTensor, type Tensor, type Value } from './tensors.ts'
import { scaled } from '../../domain/model/preprocessing.ts'

/** The maximum length of a request id. */
export const maxIdLength = 1_000

/** Reads JSON in which the values of a tensor are doubles where all are numbers. */
const readRequest = (): unknown => readAny('data')

/**
 * Reads the body into the buffer. `jsonBytes`: where the JSON ends and the binary part begins; absent when the whole body is JSON.
 */
export function readInfer(
  loaded: LoadedVersion,
  body: Buffer,
  jsonBytes: number | undefined,
  input: InputBuffer,
  maxInstances: number,
): void {
  const { maxRows, width } = requestSizeOf(loaded, maxInstances)
  const json = body.subarray(0, jsonBytes)
  const what =
    jsonBytes === undefined ? 'the body' : `the JSON of ${jsonBytes} bytes (Inference-Header-Content-Length)`
  const request = objectOf(readJson(json, { maxRows, width, what }, readRequest))
  const binary = jsonBytes === undefined ? undefined : binaryPart(body.subarray(jsonBytes), maxRows * width)
  const { inputs } = request
  if (!Array.isArray(inputs) || inputs.length === 0) refuse('"inputs" is not a list of tensors')
  const tensors = inputs.map((entry, place) => readTensor(entry, place, binary))
  if (binary !== undefined && binary.left() > 0)
    refuse(`${binary.left()} bytes of the binary part belong to no input`)
  fillTensors(loaded, tensors, input, maxRows)
  readEnvelope(request, input)
}

/** Fills the buffer with the rows of the tensors, up to a limit. */
export function fillTensors(
  loaded: LoadedVersion,
  tensors: readonly Tensor[],
  input: InputBuffer,
  most: number,
): void {
  const { columns } = loaded
  const matrix = matrixOf(tensors, columns)
  const rows = matrix?.shape[0] ?? rowsOf(tensors, columns)
  if (rows === 0) throw new DomainError('no_instances', 'the inputs have no rows')
  if (rows > most) throw tooManyRows(most)
  resetInput(input, columns, rows)
  if (matrix === undefined || !fillMatrix(matrix.values, columns, rows, input)) {
    const valueAt = matrix === undefined ? columnReader(loaded, tensors) : matrixReader(loaded, matrix)
    for (let row = 0; row < rows; row++) loaded.cells.read((place) => valueAt(row, place), row, input)
  }
}

/**
 * Returns the single tensor that has a column for each feature, in the order of the model file; undefined when the features are separate
 * tensors. Throws for a tensor of another shape.
 */
function matrixOf(tensors: readonly Tensor[], { listed: all }: FeatureColumns): Tensor | undefined {
  const [first] = tensors
  if (tensors.length !== 1 || first === undefined || vectorLength(all, first.name) > 0) return undefined
  if (first.shape.length === 2 && first.shape[1] === all.length) return first
  if (all.some(({ name }) => name === first.name)) return undefined
  return refuse(
    `the input has the shape [${first.shape.join(', ')}]; send [rows, ${all.length}] with the features ` +
      `${all.map(({ name }) => name).join(', ')}, or one tensor for each of them`,
  )
}

/** How many numbers the vector of this name has; 0 for other features. */
function vectorLength(all: FeatureColumns['all'], name: string): number {
  const column = all.find((each) => each.name === name)
  return column?.kind === 'category' ? column.numbers : 0
}

function rowsOf(tensors: readonly Tensor[], { all }: FeatureColumns): number {
  const [first] = tensors
  const rows = first?.shape[0] ?? 0
  for (const { name, shape } of tensors) {
    const fits = shape.length === 1 || (shape.length === 2 && shape[1] === (vectorLength(all, name) || 1))
    if (!fits || shape[0] !== rows)
      refuse(`the input ${JSON.stringify(name)} has the shape [${shape.join(', ')}], not [${rows}]`)
  }
  return rows
}

/** Returns a value of a row by the place of its feature. */
type ValueAt = (row: number, place: number) => Value | number[] | boolean | undefined

/** A category reads true and false as in JSON. In binary, NaN is the only way to send a missing number. */
function valueIn({ values, isFlags }: Tensor, at: number, fillable: boolean): Value | boolean {
  const value = values[at] ?? null
  if (isFlags === true && typeof value === 'number') return value === 1
  return fillable && Number.isNaN(value) ? null : value
}

function matrixReader(
  { cells: { fillable, positions }, columns: { listed } }: LoadedVersion,
  matrix: Tensor,
): ValueAt {
  return (row, place) => {
    const position = positions[place]
    return position === undefined
      ? undefined
      : valueIn(matrix, row * listed.length + position, fillable[place]!)
  }
}

function columnReader(loaded: LoadedVersion, tensors: readonly Tensor[]): ValueAt {
  const { cells, ignores } = loaded
  const features = new Set(cells.names)
  const byName = new Map<string, Tensor>()
  for (const tensor of tensors) {
    const { name } = tensor
    if (!features.has(name) && !ignores(name))
      throw new DomainError(
        'unknown_feature',
        `the input ${JSON.stringify(name)} is not a feature of the model`,
      )
    if (byName.has(name)) refuse(`the input ${JSON.stringify(name)} is sent twice`)
    byName.set(name, tensor)
  }
  const columns = cells.names.map((name) => byName.get(name))
  return (row, place) => {
    const tensor = columns[place]
    const width = tensor?.shape[1] ?? 1
    if (tensor !== undefined && width > 1)
      return Array.from({ length: width }, (_, at) => Number(tensor.values[row * width + at]))
    return tensor && valueIn(tensor, row, cells.fillable[place]!)
  }
}

/** Reads the fields beside the tensors. Some clients send null for absent fields. */
function readEnvelope(request: Record<string, unknown>, input: InputBuffer): void {
  const id = request['id'] ?? undefined
  const outputs = request['outputs'] ?? undefined
  if (id !== undefined && (typeof id !== 'string' || id.length > maxIdLength))
    refuse(`"id" is not a text of at most ${maxIdLength} characters`)
  input.callerId = id
  const { binary_data_output: allBinary, ...parameters } = parametersOf(request, '"parameters"')
  const { routingKey, reference } = callerTexts(parameters)
  input.routingKey = routingKey
  input.reference = reference
  if (outputs !== undefined && !Array.isArray(outputs)) refuse('"outputs" is not a list')
  if (outputs !== undefined && outputs.length > 0)
    input.wanted = outputs.map((output) => wantedOf(output, allBinary === true))
  else if (allBinary === true) input.wanted = [{ name: allOutputs, binary: true }]
}

function wantedOf(output: unknown, allBinary: boolean): WantedOutput {
  if (!isObject(output) || typeof output['name'] !== 'string') refuse('an entry of "outputs" has no name')
  const { name } = output
  const parameters = parametersOf(output, 'the "parameters" of an output')
  if (parameters['classification'] !== undefined)
    refuse('the classification extension is not supported; the output "label" is the likeliest class')
  if (parameters['shared_memory_region'] !== undefined)
    refuse('the shared memory extension is not supported; outputs are sent as JSON or in the binary part')
  const binary = parameters['binary_data']
  return { name: name as string, binary: binary === undefined ? allBinary : binary === true }
}

function parametersOf({ parameters = null }: Record<string, unknown>, what: string): Record<string, unknown> {
  if (parameters !== null && !isObject(parameters)) refuse(`${what} is not an object`)
  return parameters ?? {}
}

function objectOf(parsed: unknown): Record<string, unknown> {
  if (!isObject(parsed)) refuse('the body is not an object')
  return parsed
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function refuse(what: string): never {
  throw new DomainError('invalid_request', what)
}

// Reads rows of numbers directly into the input buffer. This is the most frequent kind of request.

/**
 * Returns false when a value is not finite or the model needs other features. The row reader then imputes the value, or reports which
 * feature is wrong.
 */
function fillMatrix(
  values: ArrayLike<Value>,
  columns: FeatureColumns,
  rows: number,
  input: InputBuffer,
): boolean {
  if (!columns.numeric || columns.guarded) return false
  const count = rows * columns.width
  if (values instanceof Float64Array) return fillFloats(values, count, columns, input)
  const floats = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const value = values[i]
    if (typeof value !== 'number') return false
    floats[i] = value
  }
  return fillFloats(floats, count, columns, input)
}

function fillFloats(
  values: Float64Array,
  count: number,
  { width, places, means, stds }: FeatureColumns,
  { input, numbers }: InputBuffer,
): boolean {
  // A number minus itself is 0 unless it is not finite. Both values are rounded to 32 bits, as the network and the log store them.
  let odd = 0
  for (let i = 0; i < width; i++) {
    const [mean, std] = [means[i]!, stds[i]!]
    // Copies one feature of all rows. The values of a row are in the order of the model file, and `places` maps to it.
    for (let at = i, from = places[i]!; at < count; at += width, from += width) {
      const fed = scaled(values[from]!, mean, std)
      const kept = Math.fround(values[from]!)
      const sum = kept + Math.fround(fed)
      numbers[at] = kept
      input[at] = fed
      odd += sum - sum
    }
  }
  return odd === 0
}
