/**
 * Scores rows with a model file, without servers: `npm run score -- --artifact FILE --rows ROWS.json`. The rows are a JSON list; each row
 * is a list in the order of the columns, or an object by their names. `null` is a missing value; `"inf"` and `"-inf"` are infinite. Prints
 * one JSON value per line: a number, or a list for several outputs.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { ArtifactColumn } from '../../api/serving/formats/format.ts'
import {
  columnValue,
  modelOfForest,
  openModelFile,
  readBounded,
} from '../../api/serving/formats/model-file.ts'
import { countOutputs, openRowsOf, openSessionOf } from '../../api/serving/formats/onnx/format.ts'
import { isOnnx, onnxLimits } from '../../api/serving/formats/onnx/graph.ts'
import { openOnnx, type OnnxFile } from '../../api/serving/formats/onnx/open-onnx.ts'
import { createSessions } from '../../api/serving/formats/onnx/session-host.ts'
import { noText } from '../../domain/model/batch-spec.ts'
import { DomainError } from '../../domain/errors.ts'

const usage = 'usage: npm run score -- --artifact FILE --rows ROWS.json'

function rowsOf(path: string): unknown[] {
  const rows: unknown = JSON.parse(readFileSync(path, 'utf8'))
  if (!Array.isArray(rows)) throw new DomainError('invalid_request', `${path} is no JSON list of rows`)
  return rows
}

type Cell = number | string | null

/** Returns the values of a row by column: numbers (NaN if missing) and texts. */
function cellsOf(row: unknown, index: number, columns: readonly ArtifactColumn[]): Cell[] {
  const where = `row ${index}`
  if (typeof row !== 'object' || row === null)
    throw new DomainError('invalid_request', `${where} is neither a list nor an object`)
  if (Array.isArray(row) && row.length !== columns.length)
    throw new DomainError(
      'invalid_request',
      `${where} has ${row.length} values, the model ${columns.length} columns`,
    )
  const named = new Set(columns.map(({ name }) => name))
  const unknown = Array.isArray(row) ? undefined : Object.keys(row).find((name) => !named.has(name))
  if (unknown !== undefined)
    throw new DomainError('invalid_request', `${where}: the model has no column ${JSON.stringify(unknown)}`)
  return columns.map((column, at) => {
    const given: unknown = Array.isArray(row) ? row[at] : (row as Record<string, unknown>)[column.name]
    if (column.isText === true && (typeof given === 'string' || (given ?? null) === null))
      return (given as string | undefined) ?? null
    const value = column.isText === true ? undefined : columnValue(column, given)
    if (value === undefined)
      throw new DomainError(
        'invalid_request',
        `${where}: ${JSON.stringify(given)} is no ${column.isText === true ? 'text' : 'number'} for ${column.name}`,
      )
    return value
  })
}

interface Answering {
  columns: readonly ArtifactColumn[]
  answer(cells: readonly Cell[]): Promise<ArrayLike<number>> | ArrayLike<number>
  stop(): Promise<void>
}

/** Opens a model file. Throws `artifact_invalid` with the fault of the file. */
async function openArtifact(path: string): Promise<Answering> {
  const bytes = readBounded(path, onnxLimits.fileBytes)
  const file = isOnnx(bytes) ? openOnnx(bytes) : undefined
  if (file !== undefined) await countOutputs(bytes, file)
  if (file !== undefined && file.forest === undefined) return openGraph(bytes, file)
  const { columns, outputs, predictOne } =
    file?.forest === undefined ? openModelFile(path) : modelOfForest('onnx', file.forest)
  const [input, output] = [new Float64Array(columns.length), new Float64Array(outputs)]
  return {
    columns,
    answer(cells) {
      input.set(cells as number[])
      predictOne(input, 0, output, 0)
      return output
    },
    stop: async () => {},
  }
}

async function openGraph(bytes: Buffer, { layout, rows }: OnnxFile): Promise<Answering> {
  const { columns } = layout
  const sessions = createSessions({ onError: (message) => process.stderr.write(`${message}\n`) })
  try {
    const predictor =
      rows === undefined
        ? await openSessionOf(sessions, { name: 'the artifact', bytes, layout })
        : openRowsOf(rows, layout).predictor
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

/** JSON has no non-finite numbers and would print null. */
const printed = (value: number): number | string =>
  Number.isFinite(value) ? value : String(value).toLowerCase().replace('infinity', 'inf')

let opened: Answering | undefined
// Keeps this process alive during a call to the process of ONNX Runtime; otherwise it would exit before the error is known.
const waiting = setInterval(() => {}, 60_000)
try {
  const { values } = parseArgs({ options: { artifact: { type: 'string' }, rows: { type: 'string' } } })
  if (values.artifact === undefined || values.rows === undefined) throw new Error(usage)
  opened = await openArtifact(values.artifact)
  for (const [index, row] of rowsOf(values.rows).entries()) {
    const answer = await opened.answer(cellsOf(row, index, opened.columns))
    const all = Array.from(answer, printed)
    process.stdout.write(`${JSON.stringify(all.length === 1 ? all[0] : all)}\n`)
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  clearInterval(waiting)
  await opened?.stop()
}
