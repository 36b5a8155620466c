/**
 * Scores rows with a model file, without servers: `npm run score -- --artifact FILE --rows ROWS.json`. The rows are a JSON list; each row
 * is a list in the order of the columns, or an object by their names. `null` is a missing value; `"inf"` and `"-inf"` are infinite.
 * `--columns columns.json` names the columns and lists their categories, as at a registration. Prints one JSON value per line: a number, or a
 * list for several outputs.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import {
  artifactFormats,
  formatOf,
  open,
  type ArtifactFormatName,
  type Model,
  type Row,
} from '@tenure/predictors'
import { parseDeclaredColumns } from '@tenure/predictors/features'
import { findRepeated } from '@tenure/predictors/json'

const usage = 'usage: npm run score -- --artifact FILE --rows ROWS.json [--columns columns.json]'
const form = 'give a JSON list of rows, with null for a missing value and "inf" for an infinite one'
/** The limit of the rows, which stay in memory. */
const maxRowBytes = 512 * 1_048_576
const formats = Object.keys(artifactFormats) as ArtifactFormatName[]
const maxModelBytes = Math.max(...formats.flatMap((artifact) => Object.values(formatOf({ artifact }).limits)))

/** Reads a regular file. Without `O_NONBLOCK` a pipe without a writer would block the opening, and a device never ends. */
function readBounded(path: string, most: number): Buffer {
  const file = openForReading(path)
  try {
    const stats = fstatSync(file)
    const { size } = stats
    if (!stats.isFile()) throw new Error(`${basename(path)} is not a regular file`)
    if (size > most) throw new Error(`${basename(path)} has ${size} bytes, more than ${most}`)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

function openForReading(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw new Error(`there is no file ${path}`)
    if (code === 'EACCES') throw new Error(`${path} may not be read by this user`)
    throw error
  }
}

/** Parses a file. A key twice in a row or bytes that are not UTF-8 would change an answer silently. */
function parseFile(path: string): unknown {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(readBounded(path, maxRowBytes))
  const value: unknown = JSON.parse(text)
  const repeated = findRepeated(text)
  if (repeated !== undefined)
    throw new Error(`${path} has the key ${JSON.stringify(repeated)} twice in one object`)
  return value
}

function rowsOf(path: string): Row[] {
  let rows: unknown
  try {
    rows = parseFile(path)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new Error(`${path} does not parse: ${error.message}: ${form}`)
  }
  if (!Array.isArray(rows)) throw new Error(`${path} is not a list of rows: ${form}`)
  const odd = rows.findIndex((row) => typeof row !== 'object' || row === null)
  if (odd >= 0) throw new Error(`row ${odd} is neither a list nor an object by the names of the columns`)
  return rows as Row[]
}

/** Computes a row. Models count rows within a call, so the number of the row is told here. */
async function answerTo(model: Model, row: Row, index: number): Promise<number[]> {
  try {
    return (await model.predict([row]))[0]!
  } catch (error) {
    throw new Error(`row ${index}: ${(error as Error).message.replace(/^(?:row|instance) 0: /, '')}`)
  }
}

/** JSON has no non-finite numbers and would print null. */
const printed = (value: number): number | string =>
  Number.isFinite(value) ? value : String(value).toLowerCase().replace('infinity', 'inf')

// A reader such as `head` closes the pipe when it has enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

let model: Model | undefined
try {
  const { values } = parseArgs({
    options: { artifact: { type: 'string' }, rows: { type: 'string' }, columns: { type: 'string' } },
  })
  if (values.artifact === undefined || values.rows === undefined) throw new Error(usage)
  model = await open(readBounded(values.artifact, maxModelBytes), {
    columns: values.columns === undefined ? undefined : parseDeclaredColumns(parseFile(values.columns)),
    onError: (message) => process.stderr.write(`${message}\n`),
  })
  for (const [index, row] of rowsOf(values.rows).entries()) {
    const all = (await answerTo(model, row, index)).map(printed)
    process.stdout.write(`${JSON.stringify(all.length === 1 ? all[0] : all)}\n`)
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  await model?.close()
}
