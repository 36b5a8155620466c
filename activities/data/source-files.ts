/**
 * Opens the files of a source as DuckDB views. A CSV is scanned first and then read with a known format and the declared types,
 * because a guess from its first rows changes values ("yes" becomes true, 1.10 becomes 1.1) and loses the header of a broken file.
 */
import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import type { SourceDefinition } from '../../domain/model-definition.ts'
import {
  layoutOf,
  maxRowBytes,
  scanCsv,
  valuesOfLine,
  type CsvLayout,
  type CsvScan,
} from '../../domain/validation/csv-scan.ts'
import {
  csvIssueText,
  formatIssue,
  looksLikeValues,
  otherFormat,
  placeText,
  type DeclaredKind,
} from '../../domain/validation/source-issue.ts'
import { breaks, readAs, type BadValue } from '../../models/define/data/read-values.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import { projectFolder } from '../../temporal.config.ts'
import type { Duck } from './duckdb.ts'

type Source = Pick<SourceDefinition, 'kind' | 'files' | 'rows'>

export interface SourceFile {
  /** The name of its view. */
  name: string
  /** Relative to the project, or the copy of a remote file. */
  file: string
  /** Absent for Parquet. */
  layout?: CsvLayout
  /** Of a CSV that has been scanned. */
  rows?: number
}

const headBytes = 65_536
const chunkBytes = 1_048_576

export const unreadable = (message: string): DomainError => new DomainError('source_unreadable', message)

/** Reads the first bytes of every file. Throws `source_unreadable` for one that is missing, empty or of another format. */
export async function inspectFiles({ kind, files }: Source): Promise<SourceFile[]> {
  return Promise.all(
    Object.entries(files).map(async ([name, file]) => {
      const head = await readHead(file)
      if (head.length === 0)
        throw unreadable(
          `${file}: the file is empty: export it again, with the names of the columns in line 1`,
        )
      const format = otherFormat(head)
      if (kind === 'parquet') {
        if (format === 'parquet') return { name, file }
        throw unreadable(
          `${file}: the file is no Parquet file: declare it with csv(…), or export it as Parquet`,
        )
      }
      if (format !== undefined) throw unreadable(`${file}: ${formatIssue(format)}`)
      const layout = layoutOf(new TextDecoder().decode(head))
      const names = layout.names.map((each) => each.toLowerCase()).filter((each) => each !== '')
      const twice = names.find((each, place) => names.indexOf(each) < place)
      if (twice !== undefined && !looksLikeValues(layout.names))
        throw unreadable(
          `${placeText({ file, line: layout.skippedLines + 1 })}: two columns are named "${twice}": rename one of them`,
        )
      return { name, file, layout }
    }),
  )
}

async function readHead(file: string): Promise<Uint8Array> {
  try {
    const handle = await open(resolve(projectFolder, file))
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0)
      return buffer.subarray(0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw fileIssue(file, error) ?? error
  }
}

/** For a path that can never be read as it is. */
function fileIssue(file: string, error: unknown): DomainError | undefined {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return unreadable(`${file}: there is no such file: put it there, or correct the path in the model file`)
    case 'EISDIR':
      return unreadable(`${file}: the path is a directory: write the path of one file`)
    case 'EACCES':
    case 'EPERM':
      return unreadable(`${file}: the file may not be read: give Tenure's user the right to read it`)
    default:
      return undefined
  }
}

/** Creates one view a file. Columns without a declared kind have the type that their values share. */
export async function openSourceFiles(
  duck: Duck,
  source: Source,
  declared: Readonly<Record<string, DeclaredKind>>,
): Promise<SourceFile[]> {
  const files = await inspectFiles(source)
  for (const each of files) {
    if (each.layout !== undefined) each.rows = await checkRows(each.file, each.layout, declared)
    await createView(duck, each, kindsIn(each, source, declared))
  }
  return files
}

/**
 * Opens the files again with numbers as texts, so that the first bad one can be named, and with the types that all rows of an undeclared
 * column share. It is slower, so only for files that could not be read before.
 */
export async function reopenSourceFiles(
  duck: Duck,
  files: readonly SourceFile[],
  source: Source,
  declared: Readonly<Record<string, DeclaredKind>>,
): Promise<void> {
  for (const each of files) await createView(duck, each, kindsIn(each, source, declared), { careful: true })
}

async function createView(
  duck: Duck,
  { name, file, layout }: SourceFile,
  kinds: ReadonlyMap<string, DeclaredKind>,
  { careful }: { careful: boolean } = { careful: false },
): Promise<void> {
  const view = `create or replace temp view ${quotedIdentifier(name)} as`
  if (layout === undefined)
    return duck.run(`${view} select * from read_parquet(${textLiteral(resolve(projectFolder, file))})`)
  const typeOf = (kind: DeclaredKind) => (kind === 'number' && !careful ? 'DOUBLE' : 'VARCHAR')
  const texts = [...kinds].map(([column, kind]) => `${textLiteral(column)}: '${typeOf(kind)}'`)
  const types = texts.length === 0 ? '' : `, types={${texts.join(', ')}}`
  const read = `select * from ${readCsv(file, layout, `${types}${careful ? ', sample_size=-1' : ''}`)}`
  const typed = [...kinds].flatMap(([column, kind]) =>
    kind === 'time' || (kind === 'number' && careful)
      ? [`${readAs(kind, column)} as ${quotedIdentifier(column)}`]
      : [],
  )
  const replaced = typed.length === 0 ? read : read.replace('*', `* replace (${typed.join(', ')})`)
  await duck.run(`${view} ${replaced}`)
}

const readCsv = (file: string, { delimiter, skippedLines }: CsvLayout, more: string): string =>
  `read_csv(${textLiteral(resolve(projectFolder, file))}, delim=${textLiteral(String.fromCharCode(delimiter))}, quote='"', escape='"', header=true, comment='', skip=${skippedLines}${more})`

/** The columns of a file that are declared, by the file's own spelling; also those that `rows` only renames. */
function kindsIn(
  { layout }: SourceFile,
  { rows }: Source,
  declared: Readonly<Record<string, DeclaredKind>>,
): Map<string, DeclaredKind> {
  const kinds = new Map<string, DeclaredKind>()
  for (const [column, kind] of Object.entries(declared))
    for (const name of layout?.names ?? []) {
      const renamed = new RegExp(
        `(^|[\\s,.])"?${escaped(name)}"?\\s+as\\s+"?${column}"?(?![A-Za-z0-9_])`,
        'i',
      )
      if (name.toLowerCase() === column.toLowerCase() || (name !== '' && renamed.test(rows)))
        kinds.set(name, kind)
    }
  return kinds
}

const escaped = (text: string): string => text.replace(/[^A-Za-z0-9_]/g, '\\$&')

async function scan(file: string, layout: CsvLayout, rowNumber?: number): Promise<CsvScan> {
  const scanned = scanCsv(layout, rowNumber)
  let lines = 0
  let rest: Buffer = Buffer.alloc(0)
  const check = (bytes: Buffer): void => {
    if (isUtf8(bytes)) return scanned.push(bytes)
    let from = 0
    for (;;) {
      const end = bytes.indexOf(layout.newline, from)
      const line = bytes.subarray(from, end < 0 ? undefined : end)
      lines++
      if (!isUtf8(line)) throw notUtf8(file, lines, line)
      from = end + 1
    }
  }
  const count = (bytes: Buffer): void => {
    for (let at = bytes.indexOf(layout.newline); at >= 0; at = bytes.indexOf(layout.newline, at + 1)) lines++
  }
  for await (const chunk of createReadStream(resolve(projectFolder, file), { highWaterMark: chunkBytes })) {
    const bytes = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer])
    const end = bytes.lastIndexOf(layout.newline) + 1
    if (end === 0 && bytes.length > maxRowBytes)
      throw unreadable(
        `${placeText({ file, line: lines + 1 })}: ${csvIssueText({ kind: 'too_long', line: lines + 1 }, 0, '')}`,
      )
    check(bytes.subarray(0, end))
    count(bytes.subarray(0, end))
    rest = bytes.subarray(end)
    if (scanned.issue !== undefined || scanned.lineOfRow !== undefined) return scanned
  }
  check(rest)
  scanned.end()
  return scanned
}

function notUtf8(file: string, line: number, bytes: Buffer): DomainError {
  const text = bytes.toString('latin1')
  const place = text.search(/[\u0080-\u00ff]/)
  const word = /\S*$/.exec(text.slice(0, place))![0] + /^\S*/.exec(text.slice(place))![0]
  const value = word.split(/[,;\t|"]/).find((each) => /[\u0080-\u00ff]/.test(each))
  return unreadable(
    `${placeText({ file, line })}: the text \`${(value ?? word).slice(0, 60)}\` is not encoded as UTF-8 (it seems to be Latin-1 or Windows-1252): save the file as UTF-8`,
  )
}

/** The number of rows. Throws `source_unreadable` for the first broken one. */
async function checkRows(
  file: string,
  layout: CsvLayout,
  declared: Readonly<Record<string, DeclaredKind>>,
): Promise<number> {
  const { issue, suspects, rows: found } = await scan(file, layout)
  const delimiter = String.fromCharCode(layout.delimiter)
  if (issue !== undefined)
    throw unreadable(
      `${placeText({ file, line: issue.line })}: ${csvIssueText(issue, layout.names.length, delimiter)}`,
    )
  const numbers = layout.names.flatMap((name, place) => (declared[name] === 'number' ? [place] : []))
  for (const { line, from, to } of suspects) {
    const text = await readRange(file, from, to)
    const lines = text.replaceAll('"', '').split(String.fromCharCode(layout.newline))
    const rows = lines.map((each) => valuesOfLine(each.replace(/\r$/, ''), delimiter))
    const swallowed =
      numbers.length === 0
        ? rows.length > 3
        : rows.every((row) => numbers.every((place) => Number.isFinite(Number(row[place] ?? 'none'))))
    if (swallowed)
      throw unreadable(
        `${placeText({ file, line })}: ${csvIssueText({ kind: 'open_quote', line }, layout.names.length, delimiter)} (it swallows ${rows.length - 1} ${rows.length === 2 ? 'row' : 'rows'})`,
      )
  }
  return found
}

async function readRange(file: string, from: number, to: number): Promise<string> {
  const parts: Buffer[] = []
  for await (const chunk of createReadStream(resolve(projectFolder, file), { start: from, end: to - 1 }))
    parts.push(chunk as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

/** Where in the files a value stands, and how many like it follow; undefined for a computed value. */
export async function findValue(
  duck: Duck,
  files: readonly SourceFile[],
  source: Source,
  { column, kind, value }: BadValue,
): Promise<
  { file: string; line: number | undefined; column: string; value: string; more: number } | undefined
> {
  for (const { name, file, layout } of files) {
    if (layout === undefined) continue
    const direct = [...kindsIn({ name, file, layout }, source, { [column]: kind }).keys()]
    for (const [place, each] of layout.names.entries()) {
      if (direct.length > 0 && !direct.includes(each)) continue
      const bad = direct.length > 0 ? breaks(kind, 'v') : `v = ${textLiteral(value)}`
      const types =
        ', all_varchar=true, names=[' + layout.names.map((_, at) => textLiteral(`c${at}`)).join(', ') + ']'
      const [found] = await duck.rows<{ row: number | null; rows: number; value: string }>(
        `select min(n) as row, count(*) as rows, arg_min(v, n) as value from (select row_number() over () as n, c${place} as v from ${readCsv(file, layout, types)}) where ${bad}`,
      )
      if (!found?.row) continue
      const { lineOfRow: line } = await scan(file, layout, found.row)
      return { file, line, column: each, value: found.value, more: found.rows - 1 }
    }
  }
  return undefined
}
