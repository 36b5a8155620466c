/** Opens a model file of any format by its content. All files are parsed as data; a pickle is never read. */
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isError } from '../../../domain/errors.ts'
import { networkLimits } from '../../../domain/model/network-limits.ts'
import { compileDense } from '../network/simd-predictor.ts'
import { networkOf, readModel, refuse, type JsonObject } from '../network/layers-model.ts'
import { isOnnx } from './onnx/graph.ts'
import { openOnnx } from './onnx/open-onnx.ts'
import { hashOfText } from './trees/hashes/city-hash.ts'
import { isCatboost, readCatboost } from './trees/catboost/catboost.ts'
import { forestLimits, type Column, type Forest } from './trees/forest.ts'
import { parseModelJson, textOfFile } from './trees/bounded-json.ts'
import { isLightgbm, readLightgbm } from './trees/lightgbm.ts'
import { predictorOf } from './trees/predictor.ts'
import { readUbjson } from './trees/ubjson.ts'
import { isXgboost, readXgboost } from './trees/xgboost.ts'

export interface OpenedModel {
  format: 'tfjs-layers' | 'trees' | 'onnx'
  /** The library that wrote the file. */
  library: string
  /** The raw columns, in the order of the file. */
  columns: readonly Column[]
  outputs: number
  memoryBytes: number
  /**
   * Computes the row that begins at `at` of `rows`, and writes the outputs into `into` from `to` on. NaN is a missing value, and a text is
   * given by its hash. Allocates nothing.
   */
  predictOne(rows: Float64Array, at: number, into: Float64Array, to: number): void
}

/** Opens a file. Throws `artifact_invalid` with what is wrong with the file. `bytes`: its content, if it has been read before. */
export function openModelFile(path: string, bytes = readBounded(path, forestLimits.fileBytes)): OpenedModel {
  if (isOnnx(bytes)) {
    const { forest } = openOnnx(bytes)
    if (forest === undefined) refuse('the ONNX graph holds more than trees')
    return modelOfForest('onnx', forest)
  }
  const forest = readForest(bytes)
  return forest === undefined ? openLayers(path, bytes) : modelOfForest('trees', forest)
}

export const modelOfForest = (format: 'trees' | 'onnx', forest: Forest): OpenedModel => ({
  format,
  library: forest.library,
  columns: forest.columns,
  ...predictorOf(forest),
})

const unknownFile =
  'the file is not a model of LightGBM (model.txt), XGBoost (.json, .ubj), CatBoost (.json), TensorFlow.js (model.json) or ONNX'

/** Reads the trees of a file; undefined when it is the topology of a network. Throws `artifact_invalid`. */
export function readForest(bytes: Buffer): Forest | undefined {
  const head = bytes.toString('latin1', 0, 64)
  refuseForeign(bytes, head)
  try {
    if (isLightgbm(head)) return readLightgbm(textOfFile(bytes))
    const document = documentOf(bytes, head)
    if (isXgboost(document)) return readXgboost(document)
    if (isCatboost(document)) return readCatboost(document)
    return 'modelTopology' in document ? undefined : refuse(unknownFile)
  } catch (error) {
    if (isError(error)) throw error
    // A value does not have the type that a library writes, such as a text instead of a list.
    return refuse(`the file cannot be read as a model: ${(error as Error).message.slice(0, 200)}`)
  }
}

function documentOf(bytes: Buffer, head: string): JsonObject {
  // In UBJSON, "{" is followed by the type of a length.
  const value = /^\{[iUIlL$#]/.test(head) ? readUbjson(bytes) : jsonOf(bytes, head)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(unknownFile)
  return value as JsonObject
}

function jsonOf(bytes: Buffer, head: string): unknown {
  if (!/^\s*\{/.test(head)) refuse(unknownFile)
  try {
    return parseModelJson(bytes)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    const plain = withoutNaN(bytes)
    if (plain !== undefined) return jsonOf(plain, head)
    return refuse(`the file is not complete JSON: ${error.message.slice(0, 200)}`)
  }
}

/**
 * Replaces NaN by null. XGBoost writes NaN among numbers that no prediction needs, such as base_weights; null where a number is needed is
 * refused. Undefined for a file without NaN.
 */
function withoutNaN(bytes: Buffer): Buffer | undefined {
  // Most damaged files have none, and a text of 64 MiB takes that much again.
  if (!['NaN', 'nan', 'inf', 'Inf'].some((word) => bytes.includes(word))) return undefined
  const text = bytes.toString('utf8')
  const plain = text.replaceAll(/([[,:])-?(?:NaN|nan|Infinity|inf)(?=[,\]}])/g, '$1null')
  return plain === text ? undefined : Buffer.from(plain)
}

const pickle = 'a pickle, which runs code when it is read: save the model as text, JSON or ONNX'

/**
 * Begins a pickle of the protocols 0 and 1, which do not start with a number: an object of a class, or a list or dictionary. The rest of a
 * line tells it from a text.
 */
const textPickle = /^(?:\(?c[\w.]+\n[\w.]+\n(?:p\d+\n|q\0|\()|\([ld]p0\n|[\]}]q\0)/

/** Formats that run code when they are read, or that only their library reads, with their first bytes. */
const foreign: readonly [heads: string[], what: string][] = [
  [['\x80\x02', '\x80\x03', '\x80\x04', '\x80\x05', 'ccopy_reg', 'ccopyreg'], pickle],
  [['PK'], 'a zip archive of PyTorch, Keras or joblib: export the model as ONNX'],
  [['\x89HDF'], 'an HDF5 file: export the model as TensorFlow.js layers or ONNX'],
  [
    // gzip, bzip2, zstd, xz, LZMA, LZ4, and zlib as joblib writes it.
    [
      '\x1f\x8b',
      'BZh',
      '\x28\xb5\x2f\xfd',
      '\xfd7zXZ',
      '\x5d\x00\x00',
      '\x04\x22\x4d\x18',
      '\x78\x01',
      '\x78\x5e',
      '\x78\x9c',
      '\x78\xda',
    ],
    'compressed: unpack it',
  ],
  [['binf', 'bs64'], "in XGBoost's old binary format: save the model as .json or .ubj"],
  [['version https://git-lfs'], 'a pointer of Git LFS: fetch the file itself (git lfs pull)'],
  [['<!DOCTYPE', '<!doctype', '<html'], 'a web page: download the file itself'],
  [['<?xml', '<PMML'], 'XML: export the model as ONNX in place of PMML'],
  [['\xef\xbb\xbf', '\xff\xfe', '\xfe\xff'], 'a text with a byte order mark: save it as UTF-8 without one'],
  [['booster[', '[\n  { "nodeid"'], 'a dump of XGBoost: save the model with save_model'],
  [
    ['{"name": "tree"', '{"name":"tree"', '{\n  "name": "tree"', '{\n    "name": "tree"'],
    'a dump of LightGBM: save the model with save_model',
  ],
  [['CBM1'], "in CatBoost's binary format: save the model with format='json'"],
  [
    ['\x08\x01\x12'],
    'a SavedModel of TensorFlow: export the model as ONNX (tf2onnx) or TensorFlow.js layers',
  ],
]
/** The length of the header in eight bytes, and the beginning of its JSON. */
const safetensors = /^[^]{4}\0{4}\{"/

/** Throws `artifact_invalid`, with the name of the format, for a known format that is not supported. */
export function refuseForeign(bytes: Buffer, head: string): void {
  if (bytes.byteLength === 0) refuse('the file is empty')
  const found = foreign.find(([heads]) => heads.some((each) => head.startsWith(each)))
  if (found !== undefined) refuse(`the file is ${found[1]}`)
  if (safetensors.test(head)) refuse('the file has weights alone (safetensors): export the model as ONNX')
  if (bytes.at(-1) === '.'.charCodeAt(0) && textPickle.test(bytes.toString('latin1', 0, 300)))
    refuse(`the file is ${pickle}`)
}

/** Reads a regular file. Without `O_NONBLOCK` a pipe without a writer would block the opening, and a device never ends. */
export function readBounded(path: string, most: number): Buffer {
  const file = openForReading(path)
  try {
    const stats = fstatSync(file)
    const { size } = stats
    if (!stats.isFile()) refuse(`${basename(path)} is not a regular file`)
    if (size > most) refuse(`${basename(path)} has ${size} bytes, more than ${most}`)
    return readFileSync(file)
  } catch (error) {
    // Some files of the system allow to be opened, but not to be read.
    if (isError(error)) throw error
    return refuse(`${basename(path)} cannot be read: ${(error as Error).message}`)
  } finally {
    closeSync(file)
  }
}

function openForReading(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') refuse(`there is no file ${path}`)
    if (code === 'EACCES') refuse(`${path} may not be read by this user`)
    throw error
  }
}

/** Opens dense layers: `model.json` with the file of weights beside it. */
function openLayers(path: string, topology: Buffer): OpenedModel {
  const weights = join(dirname(path), 'weights.bin')
  if (!existsSync(weights)) refuse(`the layers of ${basename(path)} have no weights.bin beside them`)
  const network = networkOf(readModel(topology, readBounded(weights, networkLimits.weightBytes)))
  const { inputs, outputs, run } = compileDense(network)
  const [input, output] = [new Float32Array(inputs), new Float32Array(outputs)]
  return {
    format: 'tfjs-layers',
    library: 'TensorFlow.js',
    columns: Array.from({ length: inputs }, (_, at) => ({ name: `f${at}` })),
    outputs,
    memoryBytes: network.layers.reduce(
      (sum, { kernel, bias }) => sum + kernel.byteLength + bias.byteLength,
      0,
    ),
    predictOne(rows, at, into, to) {
      for (let i = 0; i < inputs; i++) input[i] = rows[at + i]!
      run(input, 1, output)
      for (let i = 0; i < outputs; i++) into[to + i] = output[i]!
    },
  }
}

const infinite = /^([+-]?)inf(inity)?$/i

/** For pandas, true and 1 are the same category. */
const plainOf = (value: unknown): unknown => (typeof value === 'boolean' ? Number(value) : value)

/**
 * Converts a JSON value to the number of a column: NaN when it is missing or a category that training has not seen; the hash of a text
 * where the model takes texts, of an empty one where it is missing. Undefined for a value that has no number.
 */
export function columnValue({ categories, isText }: Column, value: unknown): number | undefined {
  if (isText === true && (typeof value === 'string' || (value ?? null) === null))
    return hashOfText((value as string | null | undefined) ?? '')
  if (isText === true) return undefined
  if (value === null || value === undefined) return NaN
  if (!['boolean', 'number', 'string'].includes(typeof value)) return undefined
  if (categories !== undefined) {
    const known: readonly unknown[] = categories
    const code = known.findIndex((each) => plainOf(each) === plainOf(value))
    if (code >= 0) return code
    // Requests send the texts of categories, and columns.json lists them as texts.
    const written = known.findIndex((each) => String(each) === String(value))
    return written < 0 ? NaN : written
  }
  if (typeof value !== 'string') return Number(value)
  const [, sign] = infinite.exec(value) ?? []
  if (sign !== undefined) return sign === '-' ? -Infinity : Infinity
  return value.toLowerCase() === 'nan' ? NaN : undefined
}
