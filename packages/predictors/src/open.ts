/** Opens a model file of any format, and computes rows with it. */
import { predictorError, quoted, refuse } from './errors.ts'
import { noText, type DeclaredColumn, type FeatureFit } from './features.ts'
import { formatOfFiles, type ArtifactFormatName } from './format-names.ts'
import { fileNameOf, formatOf, maxBytesOf } from './formats/all-formats.ts'
import { bindColumns, resolveCategories } from './formats/bind-columns.ts'
import type { ArtifactColumn, ArtifactFiles, ExactExplainer, OpenedArtifact } from './formats/format.ts'
import { createRuntimes } from './formats/runtimes.ts'
import { columnValue } from './formats/trees/column-value.ts'
import type { RowTexts } from './predictor.ts'
import type { Hosts } from './runtime/hosts.ts'

export interface OpenLimits {
  /** The bytes of each file. Default, and the most: the limit of the format, 64 MiB for a model. */
  fileBytes?: number
  /** The memory of the process of ONNX Runtime in MiB. Default: 2,048. */
  memoryMb?: number
  /** How long loading a graph may take in milliseconds. Default: 30,000. */
  loadMs?: number
  /** How long computing rows of a graph may take in milliseconds. Beyond it, the process is ended. Default: 10,000. */
  runMs?: number
  /** The names, categories and fills of the columns in the order of the file, where the file lacks them. */
  columns?: readonly DeclaredColumn[]
  /** Receives what happens to the process of ONNX Runtime beside a call. Default: nothing is told. */
  onError?: (message: string, error?: unknown) => void
  /** How processes and threads are started. Default: from the files of this package. */
  hosts?: Hosts
}

/** A value of a row; null is missing. */
export type Value = number | string | boolean | null | undefined
/** The values in the order of the columns, or by their names. A name that is absent is missing. */
export type Row = readonly Value[] | Readonly<Record<string, Value>>

export interface Explanation {
  method: ExactExplainer['method']
  scale: ExactExplainer['scale']
  /** The mean of the background rows. */
  base: number
  /** Of the row: `base` and all attributions sum to it. */
  score: number
  /** What each column adds. */
  attributions: Record<string, number>
}

export interface Model {
  format: ArtifactFormatName
  /** The library that wrote the file, with its version if the file names it. */
  library: string
  columns: readonly ArtifactColumn[]
  /** The numbers of an answer. */
  outputs: number
  /** The bytes of memory that the model holds, besides its code. */
  memoryBytes: number
  /** Computes rows: a list of `outputs` numbers of 32 bits for each. Throws `wrong_type` with the number of the row. */
  predict(rows: readonly Row[]): Promise<number[][]>
  /**
   * Attributes one output of a row to its columns, against background rows. Undefined for a model that has no exact attribution: networks
   * of several layers, and graphs that are not trees.
   */
  explain(row: Row, background: readonly Row[], output?: number): Explanation | undefined
  /** Ends the process of ONNX Runtime. */
  close(): Promise<void>
}

/**
 * Opens the file of a model, or its files by their names in `artifactFormats`. A single file needs no particular name: it is recognised by
 * its first bytes. Throws `artifact_invalid` with what is wrong with the file.
 */
export async function open(given: Uint8Array | ArtifactFiles, limits: OpenLimits = {}): Promise<Model> {
  const files = given instanceof Uint8Array ? { [fileNameOf(given)]: given } : given
  const format = formatOfFiles(Object.keys(files))
  for (const [name, { byteLength }] of Object.entries(files)) {
    const most = Math.min(limits.fileBytes ?? Infinity, maxBytesOf({ artifact: format, files }, name))
    if (byteLength > most) refuse(`${name} has ${byteLength} bytes, more than ${most}`)
  }
  const { memoryMb, loadMs, runMs, hosts, onError = () => {} } = limits
  const reader = formatOf({ artifact: format })
  const found = await reader.inspect(files, { kind: 'number' }, hosts)
  const columns = columnsOf(found.columns, limits.columns)
  const preprocessing = columns.map(fitOf)
  const names = Array.from({ length: found.outputs }, (_, at) => String(at))
  const output = { kind: 'numbers' as const, names }
  const description = { artifact: format, output, preprocessing }
  const runtimes = createRuntimes({ onError, memoryMb, loadMs, runMs, hosts })
  let opened: OpenedArtifact
  try {
    opened = await lastOf(reader.open(description, files, { version: 'the model', runtimes }))
  } catch (error) {
    await runtimes.stop()
    throw error
  }
  const { predictor, memoryBytes } = opened
  let explainer: { found: ExactExplainer | undefined } | undefined
  const numbersOf = (row: Row): Float64Array => encode(columns, [row]).input
  return {
    format,
    library: found.library,
    columns,
    outputs: predictor.outputs,
    memoryBytes,
    async predict(rows) {
      const { input, texts } = encode(columns, rows)
      const outputs = new Float32Array(rows.length * predictor.outputs)
      if (rows.length > 0) await predictor.run(input, rows.length, outputs, undefined, texts)
      return rows.map((_, row) => [
        ...outputs.subarray(row * predictor.outputs, (row + 1) * predictor.outputs),
      ])
    },
    explain(row, background, output = 0) {
      explainer ??= { found: reader.explain?.(description, files) }
      const exact = explainer.found
      if (exact === undefined) return undefined
      const players = Int32Array.from(columns, (_, at) => at)
      const question = { players, count: columns.length, output: output + (exact.firstOutput ?? 0) }
      const others = background.map((each) => numbersOf(each))
      const { base, score, attributions } = exact.explain(numbersOf(row), others, question)
      const named = columns.map(({ name }, at) => [name, attributions[at]!] as const)
      return {
        method: exact.method,
        scale: exact.scale,
        base,
        score,
        attributions: Object.fromEntries(named),
      }
    },
    close: () => runtimes.stop(),
  }
}

interface OpenedColumn extends ArtifactColumn {
  /** The value in place of a missing number. */
  fill?: number
}

/** Returns the columns as they are declared. Throws `artifact_invalid` where the two do not fit, or a column stays open. */
function columnsOf(
  columns: readonly ArtifactColumn[],
  declared: readonly DeclaredColumn[] | undefined,
): readonly OpenedColumn[] {
  if (declared === undefined) return resolveCategories(columns, { features: {} })
  const kinds = declared.map(({ name, vocabulary }, at) => {
    const isCategory = (vocabulary ?? columns[at]?.categories) !== undefined || columns[at]?.isText === true
    return [name, { kind: isCategory ? ('category' as const) : ('number' as const) }] as const
  })
  bindColumns({ columns, features: Object.fromEntries(kinds), declared })
  return columns.map((column, at) => {
    const { name, vocabulary, fill } = declared[at]!
    return { ...column, name, categories: vocabulary ?? column.categories, fill }
  })
}

const isCategory = ({ categories, isText }: OpenedColumn): boolean =>
  categories !== undefined || isText === true

const fitOf = (column: OpenedColumn): FeatureFit =>
  isCategory(column)
    ? {
        name: column.name,
        kind: 'category',
        vocabulary: (column.categories ?? []).map(String),
        encoding: column.isText === true ? 'text' : 'code',
      }
    : { name: column.name, kind: 'number', mean: 0, std: 1, fill: null }

/** Encodes rows as a predictor takes them. Throws `wrong_type` with the number of a row that does not fit. */
function encode(
  columns: readonly OpenedColumn[],
  rows: readonly Row[],
): { input: Float64Array; texts: RowTexts } {
  const input: number[] = []
  const parts: Uint8Array[] = []
  const known = new Set(columns.map(({ name }) => name))
  for (const [index, row] of rows.entries()) {
    const wrong = (why: string): never => {
      throw predictorError('wrong_type', `row ${index}: ${why}`)
    }
    const isList = Array.isArray(row)
    if (isList && row.length !== columns.length)
      wrong(`it has ${row.length} values, the model ${columns.length} columns`)
    const stranger = isList ? undefined : Object.keys(row).find((name) => !known.has(name))
    if (stranger !== undefined)
      wrong(`the model has no column ${quoted(stranger)}; it has ${firstNames([...known])}`)
    for (const [at, column] of columns.entries()) {
      const value = isList
        ? (row as readonly Value[])[at]
        : valueOf(row as Readonly<Record<string, Value>>, column.name)
      if (column.isText === true) {
        if (typeof value !== 'string' && (value ?? null) !== null)
          wrong(`${quoted(String(value))} is not a text for ${quoted(column.name)}`)
        parts.push(...textBytes(value as string | null | undefined))
        continue
      }
      const number = columnValue(column, value)
      if (number === undefined)
        wrong(
          `${quoted(String(value))} is not a number for ${quoted(column.name)}${typeof value === 'string' ? categoriesMissing(column) : ''}`,
        )
      input.push(Number.isNaN(number) ? (column.fill ?? NaN) : number!)
      // Each category column has a text, also one of which the model takes the code.
      if (column.categories !== undefined) parts.push(...textBytes(null))
    }
  }
  const texts = Buffer.concat(parts)
  return { input: Float64Array.from(input), texts: { texts, textBytes: texts.byteLength } }
}

/** What to do about a text for a column whose categories are not known. */
const categoriesMissing = ({ hasCutNames }: OpenedColumn): string =>
  `: ${hasCutNames === true ? 'XGBoost before 3.4 has cut the names of its categories, which are not ASCII' : 'the file holds no categories of this column'}; if it is a category, list them as the "vocabulary" of a declared column`

/** The first names for a message, and how many more there are. */
const firstNames = (names: readonly string[], most = 10): string =>
  names.length <= most
    ? names.join(', ')
    : `${names.slice(0, most).join(', ')} and ${names.length - most} more`

/** Each object inherits others, such as `constructor`. */
const valueOf = (row: Readonly<Record<string, Value>>, name: string): Value =>
  Object.hasOwn(row, name) ? row[name] : undefined

function textBytes(text: string | null | undefined): Uint8Array[] {
  const bytes = Buffer.from(text ?? '')
  const length = Buffer.alloc(4)
  length.writeUInt32LE((text ?? null) === null ? noText : bytes.byteLength)
  return [length, bytes]
}

async function lastOf(
  stages: Generator<void, OpenedArtifact> | Promise<OpenedArtifact>,
): Promise<OpenedArtifact> {
  if (stages instanceof Promise) return stages
  for (;;) {
    const { done, value } = stages.next()
    if (done === true) return value
  }
}
