/**
 * Compares a model with the first lines of its CSV, or with what served requests have. Otherwise a missing column would only be reported by the
 * next retraining.
 */
import { join } from 'node:path'
import { open } from 'node:fs/promises'
import { snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import { columnsOfExpectation } from '../../domain/validation/columns-of-expectation.ts'
import { readFlag } from '../../domain/values/readings.ts'
import { projectFolder } from '../../temporal.config.ts'
import { valueIssue } from '../../domain/values/sentences.ts'
import { neededColumns, noColumn } from '../../domain/validation/needed-columns.ts'
import { layoutOf, valuesOfLine, type CsvLayout } from '../../domain/validation/csv-scan.ts'
import { missingColumn, otherFormat, placeText } from '../../domain/validation/source-issue.ts'
import { renamedColumns } from '../../domain/model/features.ts'
import { wholeFile } from '../../models/define/data/source.ts'
import { hasRoutingKey, routingKeyColumn, servedColumns } from '../../models/define/data/served.ts'
import { issueOfSlices } from '../../activities/data/check-sql.ts'
import { numbersOf, taskOf } from '../../domain/tasks/tasks.ts'

const headBytes = 65_536

/** Returns undefined if the file does not exist yet or the columns come from a query. */
export async function issueOfColumns(
  definition: ModelDefinition,
  { showsCells = true }: { showsCells?: boolean } = {},
): Promise<string | undefined> {
  const { source, label, features } = definition
  if (source.kind === 'served' && source.derive === undefined) return issueOfServed(definition)
  const { source: file } = source.files
  if (source.kind !== 'csv' || file === undefined || source.rows !== wholeFile(features)) return undefined
  if (source.derive !== undefined) return undefined
  const head = await readHead(file)
  if (head === undefined || head.length === 0 || otherFormat(head) !== undefined) return undefined
  const text = new TextDecoder().decode(head)
  const layout = layoutOf(text)
  const nameOf = new Map(renamedColumns(features).map(([column, name]) => [column.toLowerCase(), name]))
  const names = layout.names.map((column) => nameOf.get(column.toLowerCase()) ?? column)
  const issue = await issueOfNames(definition, names, (column, use) =>
    noColumn({ file, layout }, column, use),
  )
  if (issue !== undefined || !showsCells || taskOf(label.output).labelKind !== 'flag') return issue
  return issueOfFlags(text, { file, layout, column: label.column })
}

interface Header {
  file: string
  layout: CsvLayout
}

/** Names a column that served requests do not have, such as a column of the source from which the first version was trained. */
function issueOfServed(definition: ModelDefinition): Promise<string | undefined> {
  const { features, label, source } = definition
  const names = [...Object.keys(features), ...numbersOf(label.output), ...Object.values(servedColumns)]
  if (hasRoutingKey(definition)) names.push(routingKeyColumn)
  return issueOfNames(
    definition,
    names,
    (column, use) => `source: ${missingColumn(column, use, names, source.kind)}`,
  )
}

/** Names a needed column, or one of an expectation or a slice, that the source does not have. */
async function issueOfNames(
  definition: ModelDefinition,
  ofSource: readonly string[],
  lacking: (column: string, use: string) => string,
): Promise<string | undefined> {
  const names = ofSource.map((name) => name.toLowerCase())
  const { events, rows } = neededColumns(definition)
  for (const [column, use] of Object.entries({ ...events, ...rows }))
    if (!names.includes(column.toLowerCase())) return lacking(column, use)
  // DuckDB gives other names to columns without a name of their own.
  if (names.includes('') || new Set(names).size < names.length) return undefined
  const added = [...Object.keys(definition.features), ...Object.values(snapshotColumns)]
  const known = new Set([...names, ...added.map((name) => name.toLowerCase())])
  for (const [place, expectation] of definition.expectations.entries()) {
    const column = columnsOfExpectation(expectation, {}).find((name) => !known.has(name.toLowerCase()))
    if (column !== undefined) return lacking(column, `which expect[${place}] (${expectation.check}) names`)
  }
  return issueOfSlices(definition, ofSource)
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
    if (row > 0 && value && readFlag(value) === undefined)
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
