/** Compares a model with the first lines of its CSV. Otherwise a missing column would only be reported by the next retraining. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import { columnsOfExpectation } from '../../domain/validation/columns-of-expectation.ts'
import { issueOfSlices } from '../../activities/data/check-sql.ts'
import { layoutOf, valuesOfLine } from '../../domain/validation/csv-scan.ts'
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
  const known = [...layout.names, ...Object.keys(definition.features), ...Object.values(snapshotColumns)]
  for (const [place, expectation] of definition.expectations.entries())
    for (const column of columnsOfExpectation(expectation, {}))
      if (!known.some((name) => name.toLowerCase() === column.toLowerCase()))
        return noColumn({ file, layout }, column, `which expect[${place}] (${expectation.check}) names`)
  const slice = await issueOfSlices(definition, layout.names)
  if (slice !== undefined) return slice
  if (label.output.kind !== 'probability') return undefined
  // Drops the last line, which may be cut off. A file with line breaks in quoted values is left to the retraining.
  const lines = text.split(String.fromCharCode(layout.newline)).slice(layout.skippedLines, -1)
  for (const [row, line] of lines.entries()) {
    if (line.includes('"')) return undefined
    const value = valuesOfLine(line.replace(/\r$/, ''), String.fromCharCode(layout.delimiter))[
      names.indexOf(label.column.toLowerCase())
    ]?.trim()
    if (row > 0 && value && !isFlag(value))
      return `${placeText({ file, line: layout.skippedLines + row + 1, column: label.column })}: ${valueIssue('flag', value)}`
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
