/**
 * Opens the files of a source as DuckDB views. A CSV is scanned first and then read with a known format and the declared types. DuckDB's
 * guess from the first rows would change values ("yes" becomes true, 1.10 becomes 1.1) and lose the header of a broken file.
 */
import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { DomainError } from '../../domain/errors.ts'
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
  sameNames,
  sameNamesIssue,
  type SourcePlace,
} from '../../domain/validation/source-issue.ts'
import { breaks, type BadValue, type DeclaredKind } from '../../domain/values/readings.ts'
import { isPattern, splitPattern } from '../../domain/addresses/source-address.ts'
import { textType } from '../../domain/values/types.ts'
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import { projectFolder } from '../../temporal.config.ts'
import type { Duck } from './duckdb.ts'
import { listMatching, type MatchingFile } from './matching-files.ts'
import { parquetColumns } from './parquet-files.ts'
import {
  createViews,
  columnNames,
  kindsIn,
  namesWrittenOtherwise,
  readCsv,
  unreadable,
  type FileSource,
  type SourceFile,
} from './source-views.ts'

/** The most files that one pattern may match. */
export const maxSourceFiles = 1_000

const headBytes = 65_536
const chunkBytes = 1_048_576

/** Reads the first bytes of every file. Throws `source_unreadable` for a file that is missing, empty or of another format. */
export async function inspectFiles({ kind, files }: FileSource): Promise<SourceFile[]> {
  const listed = await Promise.all(
    Object.entries(files).map(async ([name, file]) =>
      isPattern(file)
        ? (await listFiles(file)).map(({ path, place }) => ({ name, file: path, place }))
        : [{ name, file, place: file }],
    ),
  )
  const inspected = await Promise.all(
    listed.flat().map(async (each): Promise<SourceFile> => {
      const { file } = each
      const head = await readHead(file)
      if (head.length === 0)
        throw unreadable(
          `${file}: the file is empty: export it again, with the names of the columns in line 1`,
        )
      const format = otherFormat(head)
      if (kind === 'parquet') {
        if (format === 'parquet') return each
        throw unreadable(
          `${file}: the file is not a Parquet file: declare it with csv(…), or export it as Parquet`,
        )
      }
      if (format !== undefined) throw unreadable(`${file}: ${formatIssue(format)}`)
      const layout = layoutOf(new TextDecoder().decode(head))
      const same = sameNames(layout.names)
      if (same !== undefined && !looksLikeValues(layout.names))
        throw unreadable(`${placeText({ file, line: layout.skippedLines + 1 })}: ${sameNamesIssue(same)}`)
      return { ...each, layout }
    }),
  )
  for (const name of Object.keys(files)) requireSameColumns(inspected.filter((each) => each.name === name))
  return inspected
}

async function listFiles(pattern: string): Promise<MatchingFile[]> {
  const found = await listMatching(pattern, maxSourceFiles).catch((error: unknown) => {
    throw fileIssue(splitPattern(pattern).folder, error) ?? error
  })
  if (found.length > 0) return found
  throw unreadable(
    `${pattern}: no file matches: put the files there, or correct the pattern in the model file`,
  )
}

/** A column that one file lacks would be missing in all of its rows. */
function requireSameColumns([first, ...others]: readonly SourceFile[]): void {
  if (others.length === 0) return
  const has = (file: SourceFile, name: string) =>
    columnNames(file).some((each) => each.toLowerCase() === name.toLowerCase())
  for (const each of others) {
    const lacks = (a: SourceFile, b: SourceFile): void => {
      const name = columnNames(b).find((column) => !has(a, column))
      if (name !== undefined)
        throw unreadable(
          `${a.file}: has no column "${name}", which ${b.file} has: export it again, or narrow the pattern`,
        )
    }
    lacks(each, first!)
    lacks(first!, each)
  }
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

/** Returns the issue of a path that can never be read; undefined for other errors. */
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

/**
 * Creates one view per file. An undeclared column gets the type that all of its values share; one of `names`, which name something, only if
 * its values are written as in the file then.
 */
export async function openSourceFiles(
  duck: Duck,
  source: FileSource,
  { declared, names = [] }: { declared: Readonly<Record<string, DeclaredKind>>; names?: readonly string[] },
): Promise<{ files: SourceFile[]; declared: Readonly<Record<string, DeclaredKind>> }> {
  const files = await inspectFiles(source)
  for (const each of files)
    if (each.layout !== undefined) Object.assign(each, await checkRows(each.file, each.layout, declared))
  if (source.kind === 'parquet') await readFooters(duck, files, Object.keys(source.files))
  await createViews(duck, files, source, declared, { names })
  const texts = await namesWrittenOtherwise(duck, files, source, names)
  if (Object.keys(texts).length === 0) return { files, declared }
  const all = { ...declared, ...texts }
  await createViews(duck, files, source, all)
  return { files, declared: all }
}

async function readFooters(duck: Duck, files: SourceFile[], views: readonly string[]): Promise<void> {
  const columns = await parquetColumns(
    duck,
    files.map(({ file }) => file),
  )
  for (const [at, each] of files.entries()) each.columns = columns[at]!
  for (const name of views) requireSameColumns(files.filter((each) => each.name === name))
}

/** Scans one CSV. Throws `source_unreadable` for the first line that breaks its form, and for a file without rows. */
export async function scanFile(
  file: string,
  declared: Readonly<Record<string, DeclaredKind>>,
): Promise<SourceFile & { layout: CsvLayout }> {
  const [found] = await inspectFiles({ kind: 'csv', files: { file }, rows: '' })
  const { layout } = found!
  const checked = await checkRows(file, layout!, declared)
  if (checked.rows === 0) throw unreadable(withoutRows(file))
  return { ...found!, layout: layout!, ...checked }
}

export const withoutRows = (file: string): string =>
  `${file}: the file has a line with the names of its columns and no rows: export it again`

/**
 * Opens the files again with numbers as texts, so that the first invalid value can be named. Slower, so only for files that could not be
 * read.
 */
export async function reopenSourceFiles(
  duck: Duck,
  files: readonly SourceFile[],
  source: FileSource,
  declared: Readonly<Record<string, DeclaredKind>>,
): Promise<void> {
  await createViews(duck, files, source, declared, { careful: true })
}

interface ScannedFile extends CsvScan {
  isOdd?: boolean
}

async function scan(file: string, layout: CsvLayout, rowNumber?: number): Promise<ScannedFile> {
  const scanned: ScannedFile = scanCsv(layout, rowNumber)
  let lines = 0
  let rest: Buffer = Buffer.alloc(0)
  const check = (bytes: Buffer): void => {
    // The names of columns often have an underscore.
    const header = lines <= layout.skippedLines ? bytes.indexOf(layout.newline) : 0
    scanned.isOdd ||= bytes.includes('_', header) || bytes.includes('+-', header)
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

/** Throws `source_unreadable` for the first malformed row. */
async function checkRows(
  file: string,
  layout: CsvLayout,
  declared: Readonly<Record<string, DeclaredKind>>,
): Promise<Required<Pick<SourceFile, 'rows' | 'isOdd'>>> {
  const { issue, suspects, rows, isOdd = false } = await scan(file, layout)
  const delimiter = String.fromCharCode(layout.delimiter)
  if (issue !== undefined)
    throw unreadable(
      `${placeText({ file, line: issue.line })}: ${csvIssueText(issue, layout.names.length, delimiter)}`,
    )
  const numbers = layout.names.flatMap((name, place) => (declared[name] === 'number' ? [place] : []))
  for (const { line, from, to } of suspects) {
    const text = await readRange(file, from, to)
    const lines = text.replaceAll('"', '').split(String.fromCharCode(layout.newline))
    const within = lines.map((each) => valuesOfLine(each.replace(/\r$/, ''), delimiter))
    const swallowed =
      numbers.length === 0
        ? within.length > 3
        : within.every((row) => numbers.every((place) => Number.isFinite(Number(row[place] ?? 'none'))))
    if (swallowed)
      throw unreadable(
        `${placeText({ file, line })}: ${csvIssueText({ kind: 'open_quote', line }, layout.names.length, delimiter)} (it swallows ${within.length - 1} ${within.length === 2 ? 'row' : 'rows'})`,
      )
  }
  return { rows, isOdd }
}

async function readRange(file: string, from: number, to: number): Promise<string> {
  const parts: Buffer[] = []
  for await (const chunk of createReadStream(resolve(projectFolder, file), { start: from, end: to - 1 }))
    parts.push(chunk as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

/** Finds where in the files a value occurs and how many similar ones follow; undefined for a computed value. */
export async function findValue(
  duck: Duck,
  files: readonly SourceFile[],
  source: FileSource,
  { column, kind, value }: BadValue,
): Promise<(SourcePlace & { column: string; value: string; more: number }) | undefined> {
  for (const each of files) {
    const { file, layout } = each
    const names = columnNames(each)
    const direct = [...kindsIn(names, source, { [column]: kind }).keys()]
    for (const [at, name] of names.entries()) {
      if (direct.length > 0 && !direct.includes(name)) continue
      // Only bytes can be no text.
      if (kind === 'text' && each.columns?.[at]?.read === undefined) continue
      const bad = direct.length > 0 ? breaks(kind, 'v') : `cast(v as varchar) = ${textLiteral(value)}`
      const [found] = await duck.rows<{ row: number | null; rows: number; value: string }>(
        `select min(n) as row, count(*) as rows, arg_min(cast(v as varchar), n) as value from (${numbered(each, at, kind)}) where ${bad}`,
      )
      if (!found?.row) continue
      const place = layout === undefined ? { row: found.row } : await lineOf(file, layout, found.row)
      return { file, ...place, column: name, value: found.value, more: found.rows - 1 }
    }
  }
  return undefined
}

async function lineOf(file: string, layout: CsvLayout, row: number): Promise<{ line?: number }> {
  const { lineOfRow: line } = await scan(file, layout, row)
  return line === undefined ? {} : { line }
}

/** Selects the values of one column of a file as they stand, with the number of their row. */
function numbered({ file, layout, columns = [] }: SourceFile, place: number, kind: DeclaredKind): string {
  const { name, type, read } = columns[place] ?? { name: '' }
  const column = quotedIdentifier(name)
  const isBytes = read !== undefined && type === textType
  const value = isBytes && kind !== 'text' ? `try(decode(${column}))` : column
  if (layout === undefined)
    return `select file_row_number + 1 as n, ${value} as v from read_parquet(${textLiteral(resolve(projectFolder, file))}, file_row_number = true)`
  const names = layout.names.map((_, at) => `c${at}`)
  return `select row_number() over () as n, c${place} as v from ${readCsv(file, layout, ', all_varchar=true', names)}`
}
