/** Explains in one sentence why the rows of a source cannot be read, with the file, line, column and value. */
import type { SourceDefinition } from '../../domain/model-definition.ts'
import { noColumn } from '../../domain/validation/needed-columns.ts'
import { missingColumn, placeText } from '../../domain/validation/source-issue.ts'
import { badValueOf, refusedColumnIssue, type BadValue } from '../../domain/values/readings.ts'
import { valueIssue } from '../../domain/values/sentences.ts'
import type { Duck } from './duckdb.ts'
import { firstLineOf } from './source-errors.ts'
import { findValue } from './source-files.ts'
import { columnNames, unreadable, type SourceFile } from './source-views.ts'

interface Rows {
  duck: Duck
  source: Pick<SourceDefinition, 'kind' | 'files' | 'rows'>
  files: readonly SourceFile[]
}

/** Converts the error of a statement over the rows to `source_unreadable`; returns other errors unchanged. */
export async function explainRows({ duck, source, files }: Rows, error: unknown): Promise<unknown> {
  if (!(error instanceof Error)) return error
  const refusal = refusedColumnIssue(error.message)
  if (refusal !== undefined) return unreadable(refusal)
  const value = badValueOf(error.message) ?? converted(error.message)
  if (value !== undefined) {
    const found = await findValue(duck, files, source, value)
    const where =
      found === undefined
        ? value.column === ''
          ? 'the rows of the source'
          : `the rows of the source, column "${value.column}"`
        : placeText(found)
    const more = found?.more ? ` (${found.more} more such ${found.more === 1 ? 'row' : 'rows'})` : ''
    return unreadable(`${where}: ${valueIssue(value.kind, found?.value ?? value.value)}${more}`)
  }
  if (files.length === 0) return error
  const [, path, what] =
    /(?:Failed to read|Error while reading) file "([^"]+)": (.*)/.exec(error.message) ??
    // The column of such an error is not named.
    /^Invalid Error: ()(.*)/.exec(error.message) ??
    []
  if (what !== undefined) {
    const damaged = files.find(({ file }) => path?.endsWith(file)) ?? files[0]!
    return unreadable(
      `${damaged.file}: the file cannot be read (${what.slice(0, 200)}): it is damaged or of an unusual encoding: export it again`,
    )
  }
  const column = /Referenced column "([^"]+)" not found/.exec(error.message)?.[1]
  if (column !== undefined)
    return unreadable(lacking({ source, files }, column, 'which the SQL of the source reads'))
  const table = /Table with name (\S+) does not exist/.exec(error.message)?.[1]
  if (table !== undefined) {
    const names = files.map(({ name }) => name).join(', ')
    return unreadable(`the SQL of the source reads the table "${table}": its files are named ${names}`)
  }
  const sign = /syntax error at (?:or near "([^"]*)"|end of input)/.exec(error.message)
  if (sign !== null) {
    const word = await findReservedWord({ duck, source, files }, error.message)
    if (word !== undefined)
      return unreadable(
        `the SQL of the source names the column "${word}", a word of SQL: write it in double quotes`,
      )
    return unreadable(
      `the SQL of the source has a syntax error at ${sign[1] === undefined ? 'its end' : `"${sign[1]}"`}: correct rows or derive in the model file`,
    )
  }
  return /^(binder|catalog|conversion|invalid input|mismatch type|out of range|parser) error/i.test(
    error.message,
  )
    ? unreadable(
        `the SQL of the source cannot be run: ${firstLineOf(error)
          .replace(/^[A-Za-z ]+ Error: /, '')
          .slice(0, 300)}`,
      )
    : error
}

/** A column that is named as a word of SQL, at the place of a syntax error or before it; a mark below the line shows the place. */
async function findReservedWord({ duck, files }: Rows, message: string): Promise<string | undefined> {
  const [, line = '', mark = ''] = /\n(LINE \d+: .*)\n( *)\^/.exec(message) ?? []
  const words = [/^\w+/.exec(line.slice(mark.length)), /\w+(?=\W*$)/.exec(line.slice(0, mark.length))]
  const found = words.flatMap((word) => {
    const name = word?.[0].toLowerCase()
    return files.flatMap(columnNames).filter((each) => each.toLowerCase() === name)
  })
  const reserved = await duck.rows<{ word: string }>(
    `select keyword_name as word from duckdb_keywords() where keyword_category <> 'unreserved'`,
  )
  return found.find((name) => reserved.some(({ word }) => word === name.toLowerCase()))
}

/** A cast in the SQL of the source that failed. */
function converted(message: string): BadValue | undefined {
  const [, value] = /(?:string|format:|range:) ['"](.*?)['"](?: to|,|$| when)/m.exec(message) ?? []
  if (value === undefined || !message.startsWith('Conversion Error')) return undefined
  const kind = /timestamp|date|time/i.test(message) ? 'time' : /BOOL/.test(message) ? 'flag' : 'number'
  return { column: '', kind, value }
}

/** The names of the columns of the rows. Throws `source_unreadable` for a declared column that they lack. */
export async function requireColumns(
  rows: Rows,
  query: string,
  uses: Readonly<Record<string, string>>,
): Promise<string[]> {
  const described = await rows.duck.rows<{ column_name: string }>(`describe ${query}`)
  const names = described.map(({ column_name }) => column_name)
  const lower = new Set(names.map((name) => name.toLowerCase()))
  for (const [column, use] of Object.entries(uses))
    if (!lower.has(column.toLowerCase())) throw unreadable(lacking(rows, column, use, names))
  return names
}

function lacking(
  { source, files }: Pick<Rows, 'source' | 'files'>,
  column: string,
  use: string,
  names?: readonly string[],
): string {
  const [first] = files
  const isWhole = files.length === 1 && (names === undefined || source.rows === 'select * from source')
  if (first === undefined || !isWhole)
    return `the rows of the source: ${missingColumn(column, use, names ?? files.flatMap(({ layout }) => layout?.names ?? []), source.kind)}`
  const { file, layout } = first
  if (layout === undefined) return `${file}: ${missingColumn(column, use, names ?? [])}`
  return noColumn({ file, layout }, column, use)
}
