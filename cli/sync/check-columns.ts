/** Compares a model with the first lines of its CSV. Otherwise a missing column would only be reported by the next retraining. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import { columnsOfExpectation } from '../../domain/validation/columns-of-expectation.ts'
import { issueOfSlices } from '../../activities/data/check-sql.ts'
import { layoutOf, valuesOfLine, type CsvLayout } from '../../domain/validation/csv-scan.ts'
import { neededColumns, noColumn } from '../../domain/validation/needed-columns.ts'
import { isFlag, otherFormat, placeText, valueIssue } from '../../domain/validation/source-issue.ts'
import { projectFolder } from '../../temporal.config.ts'

const headBytes = 65_536

/** Returns undefined if the file does not exist yet or the columns come from a query. */
export async function issueOfColumns(definition: ModelDefinition): Promise<string | undefined> {
  const { source, label } = definition
  const { source: file } = source.files
  if (source.kind !== 'csv' || file === undefined || source.rows !== 'select * from source') return undefined
  if (source.derive !== undefined) return undefined
  const head = await readHead(file)
  if (head === undefined || head.length === 0 || otherFormat(head) !== undefined) return undefined
  const text = new TextDecoder().decode(head)
  const layout = layoutOf(text)
  const names = layout.names.map((name) => name.toLowerCase())
  const { events, rows } = neededColumns(definition)
  for (const [column, use] of Object.entries({ ...events, ...rows }))
    if (!names.includes(column.toLowerCase())) return noColumn({ file, layout }, column, use)
  const issue = await issueOfNamed(definition, { file, layout })
  if (issue !== undefined || label.output.kind !== 'probability') return issue
  return issueOfFlags(text, { file, layout, column: label.column })
}

interface Header {
  file: string
  layout: CsvLayout
}

/** Names a column of an expectation or a slice that the file does not have. */
async function issueOfNamed(
  definition: ModelDefinition,
  { file, layout }: Header,
): Promise<string | undefined> {
  const names = layout.names.map((name) => name.toLowerCase())
  // DuckDB gives other names to columns without a name of their own.
  if (names.includes('') || new Set(names).size < names.length) return undefined
  const added = [...Object.keys(definition.features), ...Object.values(snapshotColumns)]
  const known = new Set([...names, ...added.map((name) => name.toLowerCase())])
  for (const [place, expectation] of definition.expectations.entries()) {
    const column = columnsOfExpectation(expectation, {}).find((name) => !known.has(name.toLowerCase()))
    if (column !== undefined)
      return noColumn({ file, layout }, column, `which expect[${place}] (${expectation.check}) names`)
  }
  return issueOfSlices(definition, layout.names)
}

/** Names the first label of a `yesNo` that is neither true nor false. */
function issueOfFlags(
  text: string,
  { file, layout, column }: Header & { column: string },
): string | undefined {
  const place = layout.names.findIndex((name) => name.toLowerCase() === column.toLowerCase())
  // Drops the last line, which may be cut off. A file with line breaks in quoted values is left to the retraining.
  const lines = text.split(String.fromCharCode(layout.newline)).slice(layout.skippedLines, -1)
  for (const [row, line] of lines.entries()) {
    if (line.includes('"')) return undefined
    const value = valuesOfLine(line.replace(/\r$/, ''), String.fromCharCode(layout.delimiter))[place]?.trim()
    if (row > 0 && value && !isFlag(value))
      return `${placeText({ file, line: layout.skippedLines + row + 1, column })}: ${valueIssue('flag', value)}`
  }
  return undefined
}

async function readHead(file: string): Promise<Uint8Array | undefined> {
  try {
    const handle = await open(join(projectFolder, file))
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0)
      return buffer.subarray(0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch {
    return undefined
  }
}
