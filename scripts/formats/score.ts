/**
 * Answers rows by a model file, without servers: `npm run score -- --artifact FILE --rows ROWS.json`. The rows are a JSON list; each row is a
 * list in the order of the columns, or an object by their names. `null` is missing; `"inf"` and `"-inf"` are infinite. Prints one JSON answer a
 * line: a number, or a list for several outputs.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { columnValue, openModelFile, type OpenedModel } from '../../api/serving/formats/model-file.ts'
import { DomainError } from '../../domain/errors.ts'

const usage = 'usage: npm run score -- --artifact FILE --rows ROWS.json'

function rowsOf(path: string): unknown[] {
  const rows: unknown = JSON.parse(readFileSync(path, 'utf8'))
  if (!Array.isArray(rows)) throw new DomainError('invalid_request', `${path} is no JSON list of rows`)
  return rows
}

function readInto(input: Float64Array, row: unknown, index: number, { columns }: OpenedModel): void {
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
  for (const [at, column] of columns.entries()) {
    const given: unknown = Array.isArray(row) ? row[at] : (row as Record<string, unknown>)[column.name]
    const value = columnValue(column, given)
    if (value === undefined)
      throw new DomainError(
        'invalid_request',
        `${where}: ${JSON.stringify(given)} is no number for ${column.name}`,
      )
    input[at] = value
  }
}

try {
  const { values } = parseArgs({ options: { artifact: { type: 'string' }, rows: { type: 'string' } } })
  if (values.artifact === undefined || values.rows === undefined) throw new Error(usage)
  const model = openModelFile(values.artifact)
  const input = new Float64Array(model.columns.length)
  const output = new Float64Array(model.outputs)
  for (const [index, row] of rowsOf(values.rows).entries()) {
    readInto(input, row, index, model)
    model.predictOne(input, 0, output, 0)
    process.stdout.write(`${JSON.stringify(model.outputs === 1 ? output[0] : [...output])}\n`)
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
}
