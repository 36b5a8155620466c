/**
 * `tenure score`: computes the answers of a model file to rows, without servers. The rows are a JSON list; each row is a list in the order of the
 * columns, or an object by their names. `null` is a missing value; `"inf"` and `"-inf"` are infinite.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import type { Model, Row } from '@tenure/predictors'
import { failure, usageError } from '../../client/client.ts'
import type { CommandSpec } from '../../program.ts'

const form = 'give a JSON list of rows, with null for a missing value and "inf" for an infinite one'
/** The limit of the rows, which stay in memory. */
const maxRowBytes = 512 * 1_048_576

export const scoreCommand: CommandSpec = {
  name: 'score',
  summary:
    'Print the answers of a model file to rows, without a server; a file that cannot be registered is refused',
  options: [
    ['--artifact <file>', 'A file of LightGBM, XGBoost, CatBoost or ONNX'],
    ['--rows <file>', 'A JSON list of rows: lists in the order of the columns, or objects by their names'],
    ['--columns <file>', 'columns.json: names the columns and lists their categories, as at a registration'],
  ],
  examples: ['score --artifact model.txt --rows rows.json'],
  async run({ terminal }, { options }) {
    const { artifact, rows, columns } = options as Record<string, string | undefined>
    if (artifact === undefined || rows === undefined) throw usageError('--artifact and --rows are required')
    try {
      const answers = await score({ artifact, rows, columns })
      terminal.answer(answers, answers.map((answer) => JSON.stringify(answer)).join('\n'))
    } catch (error) {
      throw failure({
        code: 'refused',
        detail: (error as Error).message,
        remedy: 'Correct the file, or name another one.',
      })
    }
  },
}

type Printed = number | string
/** The answer to one row: a number, or a list for several outputs. */
type Answer = Printed | Printed[]

async function score(files: { artifact: string; rows: string; columns?: string }): Promise<Answer[]> {
  const { artifactFormats, formatOf, open } = await import('@tenure/predictors')
  const { parseDeclaredColumns } = await import('@tenure/predictors/features')
  const formats = Object.keys(artifactFormats) as (keyof typeof artifactFormats)[]
  const maxModelBytes = Math.max(
    ...formats.flatMap((artifact) => Object.values(formatOf({ artifact }).limits)),
  )
  const model = await open(readBounded(files.artifact, maxModelBytes), {
    columns: files.columns === undefined ? undefined : parseDeclaredColumns(await parseFile(files.columns)),
    onError: (message) => process.stderr.write(`${message}\n`),
  })
  try {
    const answers: Answer[] = []
    for (const [index, row] of (await rowsOf(files.rows)).entries()) {
      const all = (await answerTo(model, row, index)).map(printed)
      answers.push(all.length === 1 ? all[0]! : all)
    }
    return answers
  } finally {
    await model.close()
  }
}

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
async function parseFile(path: string): Promise<unknown> {
  const { findRepeated } = await import('@tenure/predictors/json')
  const text = new TextDecoder('utf-8', { fatal: true }).decode(readBounded(path, maxRowBytes))
  const value: unknown = JSON.parse(text)
  const repeated = findRepeated(text)
  if (repeated !== undefined)
    throw new Error(`${path} has the key ${JSON.stringify(repeated)} twice in one object`)
  return value
}

async function rowsOf(path: string): Promise<Row[]> {
  let rows: unknown
  try {
    rows = await parseFile(path)
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
const printed = (value: number): Printed =>
  Number.isFinite(value) ? value : String(value).toLowerCase().replace('infinity', 'inf')
