/**
 * Scores rows with a model file, without servers: `npm run score -- --artifact FILE --rows ROWS.json`. The rows are a JSON list; each row
 * is a list in the order of the columns, or an object by their names. `null` is a missing value; `"inf"` and `"-inf"` are infinite.
 * `--columns columns.json` names the columns and lists their categories, as at a registration. Prints one JSON value per line: a number, or a
 * list for several outputs.
 */
import { noText } from '@tenure/predictors/features'
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import type { ArtifactColumn } from '../../packages/predictors/src/formats/format.ts'
import { bindColumns, resolveCategories } from '../../packages/predictors/src/formats/bind-columns.ts'
import { refuse } from '../../packages/predictors/src/errors.ts'
import { columnValue } from '../../packages/predictors/src/formats/trees/column-value.ts'
import { predictorOf } from '../../packages/predictors/src/formats/trees/predictor.ts'
import { readForest } from '../../packages/predictors/src/formats/trees/read-forest.ts'
import { countOutputs, openSessionOf } from '../../packages/predictors/src/formats/onnx/format.ts'
import { isOnnx, onnxLimits } from '../../packages/predictors/src/formats/onnx/graph.ts'
import { openOnnx, type OnnxFile } from '../../packages/predictors/src/formats/onnx/open-onnx.ts'
import { createSessions } from '../../packages/predictors/src/formats/onnx/session/session-host.ts'
import { parseDeclaredColumns } from '../../domain/model/declared-columns.ts'
import { DomainError, firstNames, isError, quotedName } from '../../domain/errors.ts'
import { parseJsonBody } from '../../domain/json-body.ts'

/** Reads a regular file. Without `O_NONBLOCK` a pipe without a writer would block the opening, and a device never ends. */
function readBounded(path: string, most: number): Buffer {
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

const usage = 'usage: npm run score -- --artifact FILE --rows ROWS.json [--columns columns.json]'

/** The limit of the rows, which stay in memory. */
const maxRowBytes = 512 * 1_048_576
const form = 'give a JSON list of rows, with null for a missing value and "inf" for an infinite one'

/** Parses a file as the API parses a request: a key twice in a row or bytes that are not UTF-8 would change an answer silently. */
const parseFile = (path: string): unknown =>
  parseJsonBody(readBounded(path, maxRowBytes), { maxValues: Infinity, what: path })

function rowsOf(path: string): unknown[] {
  try {
    const rows = parseFile(path)
    if (Array.isArray(rows)) return rows
  } catch (error) {
    if (!isError(error, 'body_not_json')) throw error
    throw new DomainError('invalid_request', `${error.message}: ${form}`)
  }
  throw new DomainError('invalid_request', `${path} is not a list of rows: ${form}`)
}

interface ScoredColumn extends ArtifactColumn {
  /** The value in place of a missing number. */
  fill?: number
}

/** Returns the columns as `columns.json` declares them. Throws `artifact_invalid` where the two do not fit. */
function columnsOf(columns: readonly ArtifactColumn[], path: string | undefined): readonly ScoredColumn[] {
  if (path === undefined) return resolveCategories(columns, { features: {} })
  const declared = parseDeclaredColumns(parseFile(path))
  const features = Object.fromEntries(
    declared.map(({ name, vocabulary }, at) => {
      const isCategory = vocabulary !== undefined || columns[at]?.categories !== undefined
      return [name, { kind: isCategory || columns[at]?.isText === true ? 'category' : 'number' }] as const
    }),
  )
  bindColumns({ columns, features, declared })
  return columns.map((column, at) => {
    const { name, vocabulary, fill } = declared[at]!
    const categories = vocabulary ?? column.categories
    return { ...column, name, categories, fill: categories === undefined ? fill : undefined }
  })
}

/** Tells what to do about a text for a column whose categories are not known. */
const categoriesMissing = ({ hasCutNames }: ScoredColumn): string =>
  `: ${hasCutNames === true ? 'XGBoost before 3.4 has cut the names of its categories, which are not ASCII' : 'the file holds no categories of this column'}; if it is a category, list them in --columns columns.json as its "vocabulary"`

type Cell = number | string | null

/** Returns the value of a row by its name; every object inherits others, such as `constructor`. */
const ownValue = (row: object, name: string): unknown =>
  Object.hasOwn(row, name) ? (row as Record<string, unknown>)[name] : undefined

/** Returns the values of a row by column: numbers (NaN if missing) and texts. */
function cellsOf(row: unknown, index: number, columns: readonly ScoredColumn[]): Cell[] {
  const where = `row ${index}`
  if (typeof row !== 'object' || row === null)
    throw new DomainError(
      'invalid_request',
      `${where} is neither a list nor an object: write each row as a list of ${columns.length} values, or as an object by the names of the columns`,
    )
  if (Array.isArray(row) && row.length !== columns.length)
    throw new DomainError(
      'invalid_request',
      `${where} has ${row.length} values, the model ${columns.length} columns`,
    )
  const named = new Set(columns.map(({ name }) => name))
  const unknown = Array.isArray(row) ? undefined : Object.keys(row).find((name) => !named.has(name))
  if (unknown !== undefined)
    throw new DomainError(
      'invalid_request',
      `${where}: the model has no column ${quotedName(unknown)}; it has ${firstNames([...named], 10)}`,
    )
  return columns.map((column, at) => {
    const given = Array.isArray(row) ? (row[at] as unknown) : ownValue(row, column.name)
    if (column.isText === true && (typeof given === 'string' || (given ?? null) === null))
      return (given as string | undefined) ?? null
    const value = column.isText === true ? undefined : columnValue(column, given)
    if (value === undefined)
      throw new DomainError(
        'invalid_request',
        `${where}: ${JSON.stringify(given).slice(0, 80)} is not a ${column.isText === true ? 'text' : 'number'} for ${column.name}${typeof given === 'string' ? categoriesMissing(column) : ''}`,
      )
    return Number.isNaN(value) ? (column.fill ?? NaN) : value
  })
}

interface Answering {
  columns: readonly ArtifactColumn[]
  answer(cells: readonly Cell[]): Promise<ArrayLike<number>> | ArrayLike<number>
  stop(): Promise<void>
}

/** Opens a model file. Throws `artifact_invalid` with the fault of the file, also for a graph that a registration refuses as too slow. */
async function openArtifact(path: string): Promise<Answering> {
  const bytes = readBounded(path, onnxLimits.fileBytes)
  const file = isOnnx(bytes) ? openOnnx(bytes) : undefined
  if (file !== undefined) await countOutputs(bytes, file)
  if (file !== undefined && file.forest === undefined) return openGraph(bytes, file)
  const forest = file?.forest ?? readForest(bytes)
  const { columns } = forest
  const { outputs, predictOne } = predictorOf(forest)
  const [input, output] = [new Float64Array(columns.length), new Float64Array(outputs)]
  return {
    columns,
    answer(cells) {
      for (const [at, column] of columns.entries())
        input[at] = column.isText === true ? columnValue(column, cells[at])! : (cells[at] as number)
      predictOne(input, 0, output, 0)
      return output
    },
    stop: async () => {},
  }
}

async function openGraph(bytes: Buffer, { layout }: OnnxFile): Promise<Answering> {
  const { columns } = layout
  const sessions = createSessions({ onError: (message) => process.stderr.write(`${message}\n`) })
  try {
    const predictor = await openSessionOf(sessions, { name: 'the artifact', bytes, layout })
    const output = new Float32Array(predictor.outputs)
    return {
      columns,
      async answer(cells) {
        const numbers = cells.filter((_, at) => columns[at]!.isText !== true) as number[]
        const texts = Buffer.concat(
          cells.flatMap((cell, at) => (columns[at]!.isText === true ? textBytes(cell as string | null) : [])),
        )
        const rowTexts = { texts, textBytes: texts.byteLength }
        await predictor.run(Float64Array.from(numbers), 1, output, undefined, rowTexts)
        return output
      },
      stop: () => sessions.stop(),
    }
  } catch (error) {
    await sessions.stop()
    throw error
  }
}

/** Encodes a text as it is stored in an input buffer. */
function textBytes(text: string | null): Buffer[] {
  const bytes = Buffer.from(text ?? '')
  const length = Buffer.alloc(4)
  length.writeUInt32LE(text === null ? noText : bytes.byteLength)
  return [length, bytes]
}

/** Computes a row. Predictors count rows within a call, so the number of the row is told here. */
async function answerTo(
  { answer }: Answering,
  cells: readonly Cell[],
  index: number,
): Promise<ArrayLike<number>> {
  try {
    return await answer(cells)
  } catch (error) {
    const message = (error as Error).message.replace(/^instance 0: /, '')
    throw new DomainError('invalid_request', `row ${index}: ${message}`)
  }
}

/** JSON has no non-finite numbers and would print null. */
const printed = (value: number): number | string =>
  Number.isFinite(value) ? value : String(value).toLowerCase().replace('infinity', 'inf')

// A reader such as `head` closes the pipe when it has enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

let opened: Answering | undefined
try {
  const { values } = parseArgs({
    options: { artifact: { type: 'string' }, rows: { type: 'string' }, columns: { type: 'string' } },
  })
  if (values.artifact === undefined || values.rows === undefined) throw new Error(usage)
  opened = await openArtifact(values.artifact)
  const columns = columnsOf(opened.columns, values.columns)
  for (const [index, row] of rowsOf(values.rows).entries()) {
    const answer = await answerTo(opened, cellsOf(row, index, columns), index)
    const all = Array.from(answer, printed)
    process.stdout.write(`${JSON.stringify(all.length === 1 ? all[0] : all)}\n`)
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  await opened?.stop()
}
