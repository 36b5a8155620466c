/** Says in one sentence what is wrong with the rows of a source, where, and what to write instead. */
import type { SourceDefinition } from '../model-definition.ts'
import { shown } from '../postgres-text.ts'
import { maxRowBytes, type CsvIssue } from './csv-scan.ts'

/** A place in a file of the source; its path is relative to the project. */
export interface SourcePlace {
  file: string
  line?: number
  /** Counted from 1; a Parquet file has no lines. */
  row?: number
  column?: string
}

/** `models/data/roses.csv, line 7, column "size"` */
export const placeText = ({ file, line, row, column }: SourcePlace): string =>
  [
    file,
    ...(line === undefined ? [] : [`line ${line}`]),
    ...(row === undefined ? [] : [`row ${row}`]),
    ...(column === undefined ? [] : [`column "${shown(column)}"`]),
  ].join(', ')

/** Two names of columns that differ at most in case, which SQL does not tell apart. */
export function sameNames(names: readonly string[]): [string, string] | undefined {
  const first = new Map<string, string>()
  for (const name of names) {
    const one = first.get(name.toLowerCase())
    if (one !== undefined && name !== '') return [one, name]
    first.set(name.toLowerCase(), name)
  }
  return undefined
}

export const sameNamesIssue = ([one, other]: readonly [string, string]): string =>
  one === other
    ? `two columns are named "${shown(one)}": rename one of them`
    : `two columns are named "${shown(one)}" and "${shown(other)}", which SQL does not tell apart: rename one of them`

/** What is wrong with the rows of a CSV whose header has `width` names. */
export function csvIssueText(issue: CsvIssue, width: number, delimiter: string): string {
  const count = (n: number) => `${n} ${n === 1 ? 'value' : 'values'}`
  switch (issue.kind) {
    case 'width': {
      const counts = `the row has ${count(issue.found)}, the header has ${width === 1 ? '1 name' : `${width} names`}`
      if (issue.found > width)
        return `${counts}: put a value that contains "${delimiter}" in double quotes, and write decimals with a point`
      return issue.last
        ? `the file ends within a row (${count(issue.found)} of ${width}): export it again completely`
        : `${counts}: write every value, and nothing between two delimiters for a missing one`
    }
    case 'open_quote':
      return `a double quote is opened and not closed before the end of its value: close it, or write "" for a quote within a quoted value`
    case 'line_end':
      return `the line ends with ${issue.isCrlf ? 'CRLF' : 'LF'}, those above it with ${issue.isCrlf ? 'LF' : 'CRLF'}: save the file with one kind of line end`
    case 'stray_break':
      return `a line break of another kind stands within the row: put the value in double quotes, or save the file with one kind of line end`
    case 'mark':
      return 'a byte order mark stands within the file, as where two files are joined: remove it'
    case 'too_long':
      return `the row is longer than ${maxRowBytes} bytes: shorten its text, or close the double quote that swallows the rows after it`
  }
}

const formatIssues = {
  gzip: 'is compressed with gzip: unpack it with gunzip',
  zip: 'is a zip or Excel file and not a CSV: export the table as CSV (UTF-8)',
  parquet: 'is a Parquet file and not a CSV: declare it with parquet(…)',
  utf16: 'is encoded as UTF-16: save it as UTF-8',
  json: 'holds JSON and not CSV: export it as CSV, with the names of the columns in line 1 and one row a line',
  html: 'is an HTML page and not a CSV: download the file itself; the page may be a sign-in or an error',
  marks: 'begins with two byte order marks: save it with one, or with none',
  binary: 'is a binary file and not a CSV: export it as CSV (UTF-8)',
} as const
export type OtherFormat = keyof typeof formatIssues

/** What a file is that is no CSV. */
export const formatIssue = (format: OtherFormat): string => `the file ${formatIssues[format]}`

/** The format of a file by its first bytes; undefined for text that may be CSV. */
export function otherFormat(head: Uint8Array): OtherFormat | undefined {
  const starts = (...bytes: number[]) => bytes.every((byte, place) => head[place] === byte)
  if (starts(0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf)) return 'marks'
  if (starts(0x1f, 0x8b)) return 'gzip'
  if (starts(0x50, 0x41, 0x52, 0x31)) return 'parquet'
  if (starts(0x50, 0x4b, 3, 4)) return 'zip'
  if (starts(0xff, 0xfe) || starts(0xfe, 0xff)) return 'utf16'
  const zeros = head.subarray(0, 1_000).filter((byte) => byte === 0).length
  if (zeros > 0.3 * Math.min(head.length, 1_000)) return 'utf16'
  if (zeros > 20) return 'binary'
  const text = new TextDecoder('latin1').decode(head.subarray(0, 500)).replace(/^ï»¿/, '').trimStart()
  if (/^[[{]\s*("|\{|\[|\]|\})/.test(text)) return 'json'
  if (/^<(!doctype|html|\?xml|head|body)/i.test(text)) return 'html'
  return undefined
}

/** The names that are missing, each with the present name that differs in spelling only. */
export function missingColumn(
  missing: string,
  uses: string,
  found: readonly string[],
  kind?: SourceDefinition['kind'],
): string {
  const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '')
  const alike = found.find((name) => plain(name) === plain(missing))
  const listed =
    found
      .slice(0, 20)
      .map((name) => shown(name))
      .join(', ') + (found.length > 20 ? ', …' : '')
  const where = found.length === 0 ? 'and there are no columns at all' : `among ${listed}`
  const advice =
    kind === 'served'
      ? 'served requests have these columns and no others of a former source: name one of them, or make the column of them with derive'
      : alike === undefined
        ? 'rename the column, or correct the name in the model file'
        : `rename "${shown(alike)}", or correct the name in the model file`
  return `there is no column "${shown(missing)}", ${uses}, ${where}: ${advice}`
}

/** Whether the first line of a file seems to hold values in place of names. */
export const looksLikeValues = (names: readonly string[]): boolean =>
  names.some((name) => name !== '' && (Number.isFinite(Number(name)) || /^\d{4}-\d\d-\d\d/.test(name)))
