/** Makes one DuckDB view per source file or pattern, with the partition columns that folder names give. */
import { resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import type { SourceDefinition } from '../../domain/model-definition.ts'
import { quotedIdentifier, replacing, textLiteral } from '../../domain/sql-text.ts'
import type { CsvLayout } from '../../domain/validation/csv-scan.ts'
import { partitionColumnsOf } from '../../domain/addresses/source-address.ts'
import { sameNames } from '../../domain/validation/source-issue.ts'
import {
  readAs,
  refusedColumnIssue,
  readNumber,
  readTime,
  type DeclaredKind,
} from '../../domain/values/readings.ts'
import { familyOf } from '../../domain/values/types.ts'
import { projectFolder } from '../../temporal.config.ts'
import type { Duck } from './duckdb.ts'
import { readParquet, type ParquetColumn } from './parquet-files.ts'

export type FileSource = Pick<SourceDefinition, 'kind' | 'files' | 'rows'>

export interface SourceFile {
  /** The name of the view; the files of a pattern share one view. */
  name: string
  /** The path relative to the project, or the path of the copy of a remote file. */
  file: string
  /** The part of the path that the pattern matches; without a pattern, the file itself. */
  place: string
  /** Absent for Parquet. */
  layout?: CsvLayout
  /** Set for a CSV that has been scanned. */
  rows?: number
  /** Whether a CSV has signs that DuckDB passes over where it reads numbers itself: 1_000 and +-5. */
  isOdd?: boolean
  /** Set for a Parquet file whose footer has been read. */
  columns?: readonly ParquetColumn[]
}

/** The names of the columns of a file, as it writes them. */
export const columnNames = ({ layout, columns }: Pick<SourceFile, 'layout' | 'columns'>): readonly string[] =>
  layout?.names ?? columns?.map(({ name }) => name) ?? []

export const unreadable = (message: string): DomainError => new DomainError('source_unreadable', message)

/** Creates one view per name; the files of a pattern are read together. */
export async function createViews(
  duck: Duck,
  files: readonly SourceFile[],
  source: FileSource,
  declared: Readonly<Record<string, DeclaredKind>>,
  { names = [], careful = false }: { names?: readonly string[]; careful?: boolean } = {},
): Promise<void> {
  const asTexts = Object.fromEntries(names.map((name) => [name, 'text' as const]))
  for (const name of Object.keys(source.files)) {
    const own = files.filter((each) => each.name === name)
    const partition = partitionColumns(own, declared)
    const rows =
      source.kind === 'parquet'
        ? await withTimes(
            duck,
            await readParquet(
              duck,
              own.map(({ file, columns = [] }) => ({ file, columns })),
              { partition, texts: textsIn(own, source, { ...declared, ...asTexts }) },
            ),
            source,
            declared,
          )
        : own
            .map(
              (each, at) =>
                `select ${partition[at]}rows.* from (${readRows(each, kindsIn(columnNames(each), source, declared), careful)}) rows`,
            )
            .join(' union all by name ')
    await duck.run(`create or replace temp view ${quotedIdentifier(name)} as ${rows}`)
  }
}

/** The values that the folder names of each file give, as columns before the file's own. Declared columns have their declared type. */
function partitionColumns(
  files: readonly SourceFile[],
  declared: Readonly<Record<string, DeclaredKind>>,
): string[] {
  const all = files.map(({ file, place }) => ({
    file,
    values: place === file ? {} : partitionColumnsOf(place),
  }))
  const names = Object.keys(all[0]?.values ?? {}).join('/')
  return all.map(({ file, values }) => {
    if (Object.keys(values).join('/') !== names)
      throw unreadable(
        `${file}: its folders name other columns than those of ${files[0]!.file}: narrow the pattern`,
      )
    const columns = Object.entries(values).map(
      ([column, value]) =>
        `${partitionValue(file, column, value, declared[column])} as ${quotedIdentifier(column)}, `,
    )
    return columns.join('')
  })
}

function partitionValue(
  file: string,
  column: string,
  value: string | null,
  kind: DeclaredKind | undefined,
): string {
  if (value === null) return 'null'
  const refuse = (what: string): never => {
    throw unreadable(`${file}: ${column} is declared as a ${what}, and its folder says "${value}"`)
  }
  if (kind === 'number') {
    const number = readNumber(value)
    return Number.isFinite(number) ? `${number}::double` : refuse('number')
  }
  if (kind !== 'time') return textLiteral(value)
  // A folder may name a year or a month.
  const ms = readTime(/^\d{4}(-\d\d)?$/.test(value) ? `${value}-01-01`.slice(0, 10) : value)
  return ms === undefined ? refuse('time, as in 2026-03-01') : `make_timestamp(${ms}000)`
}

/** The columns of the files whose values are read as they are written. */
function textsIn(
  files: readonly SourceFile[],
  source: FileSource,
  declared: Readonly<Record<string, DeclaredKind>>,
): Set<string> {
  const names = [...new Set(files.flatMap(columnNames))]
  const kinds = kindsIn(names, source, declared)
  return new Set(names.filter((name) => kinds.get(name) === 'text'))
}

/**
 * Reads the declared times that a Parquet file holds as texts or numbers as those of a CSV are read. Its own times stay as they are, so
 * that older rows are skipped, unless one is infinite: reading it raises an error then.
 */
async function withTimes(
  duck: Duck,
  rows: string,
  source: FileSource,
  declared: Readonly<Record<string, DeclaredKind>>,
): Promise<string> {
  const described = await duck.rows<{ column_name: string; column_type: string }>(`describe ${rows}`)
  const typeOf = new Map(described.map((each) => [each.column_name, each.column_type]))
  const times = [...kindsIn([...typeOf.keys()], source, declared)].flatMap(([column, kind]) =>
    kind === 'time' ? [column] : [],
  )
  const own = times.filter((column) => ['date', 'moment', 'zoned'].includes(familyOf(typeOf.get(column)!)))
  const infinite = own.map((column) => `not isfinite(${quotedIdentifier(column)})`)
  const [found] =
    own.length === 0
      ? []
      : await duck
          .rows(`select 1 as one from (${rows}) where ${infinite.join(' or ')} limit 1`)
          .catch((error: unknown) => {
            const refusal = refusedColumnIssue(String(error))
            throw refusal === undefined ? error : unreadable(refusal)
          })
  const read = found === undefined ? times.filter((column) => !own.includes(column)) : times
  const replaced = read.map((column) => `${readAs('time', column)} as ${quotedIdentifier(column)}`)
  return replaced.length === 0 ? rows : `select *${replacing(replaced)} from (${rows})`
}

/** Types whose values are distinct however they are written. */
const temporal = /^(DATE|TIME|BOOLEAN)/

/**
 * Returns the columns of CSV files, of those that name something, whose values their view writes otherwise than the file: 007 would become 7,
 * 1.50 become 1.5, and numbers of 20 digits would become equal. Dates, times and truth values are left as they are.
 */
export async function namesWrittenOtherwise(
  duck: Duck,
  files: readonly SourceFile[],
  source: FileSource,
  names: readonly string[],
): Promise<Record<string, 'text'>> {
  const found: Record<string, 'text'> = {}
  const types = new Map<string, Map<string, string>>()
  for (const { name: view, file, layout } of files) {
    if (layout === undefined || names.length === 0) continue
    if (!types.has(view)) {
      const described = await duck.rows<{ column_name: string; column_type: string }>(
        `describe ${quotedIdentifier(view)}`,
      )
      types.set(view, new Map(described.map((each) => [each.column_name, each.column_type])))
    }
    const columns = names.flatMap((name) =>
      [...kindsIn(layout.names, source, { [name]: 'text' }).keys()].flatMap((column) => {
        const type = types.get(view)!.get(column) ?? 'VARCHAR'
        return type === 'VARCHAR' || temporal.test(type) ? [] : [{ name, column, type }]
      }),
    )
    if (columns.length === 0) continue
    const asTexts = columns.map(({ column }) => `${textLiteral(column)}: 'VARCHAR'`)
    const tests = columns.map(({ column, type }, at) => {
      const text = quotedIdentifier(column)
      return `bool_or(${text} is not null and cast(try_cast(${text} as ${type}) as varchar) is distinct from ${text}) as "${at}"`
    })
    const [other] = await duck.rows<Record<string, boolean | null>>(
      `select ${tests.join(', ')} from ${readCsv(file, layout, `, types={${asTexts.join(', ')}}`)}`,
    )
    for (const [at, { name }] of columns.entries()) if (other?.[at] === true) found[name] = 'text'
  }
  return found
}

/** Reads the rows of CSV files. */
function readRows(
  { file, layout, isOdd = false }: SourceFile,
  kinds: ReadonlyMap<string, DeclaredKind>,
  careful: boolean,
): string {
  const asTexts = careful || isOdd
  const typeOf = (kind: DeclaredKind) => (kind === 'number' && !asTexts ? 'DOUBLE' : 'VARCHAR')
  const texts = [...kinds].map(([column, kind]) => `${textLiteral(column)}: '${typeOf(kind)}'`)
  const types = texts.length === 0 ? '' : `, types={${texts.join(', ')}}`
  const read = `select * from ${readCsv(file, layout!, `${types}${careful ? ', sample_size=-1' : ''}`)}`
  const typed = [...kinds].flatMap(([column, kind]) =>
    kind === 'time' || (kind === 'number' && asTexts)
      ? [`${readAs(kind, column)} as ${quotedIdentifier(column)}`]
      : [],
  )
  return read.replace('*', `*${replacing(typed)}`)
}

/** Reads a CSV with the names of its layout, because DuckDB trims them otherwise than JavaScript: a byte order mark, a line break. */
export const readCsv = (
  file: string,
  { delimiter, skippedLines, names }: CsvLayout,
  more: string,
  given: readonly string[] = distinctNames(names),
): string =>
  `read_csv(${textLiteral(resolve(projectFolder, file))}, delim=${textLiteral(String.fromCharCode(delimiter))}, quote='"', escape='"', header=true, names=[${given.map(textLiteral).join(', ')}], comment='', hive_partitioning=false, skip=${skippedLines}${more})`

/** A file without a header may have equal values in its first line. */
function distinctNames(names: readonly string[]): string[] {
  const areDistinct = sameNames(names) === undefined
  return names.map((name, at) => (areDistinct && name !== '' ? name : `column${at}`))
}

/** The declared columns of a file, in the spelling of the file, including columns that `rows` only renames. */
export function kindsIn(
  names: readonly string[],
  { rows }: FileSource,
  declared: Readonly<Record<string, DeclaredKind>>,
): Map<string, DeclaredKind> {
  // Collected in one pass: one regular expression per column and name would take minutes for a thousand columns.
  const namesOf = new Map<string, string[]>()
  for (const name of names) {
    if (name === '') continue
    const key = name.toLowerCase()
    namesOf.set(key, [...(namesOf.get(key) ?? []), name])
  }
  const becoming = new Map([...namesOf].map(([key, own]) => [key, [...own]]))
  for (const [, quoted, bare, column] of rows.matchAll(renames)) {
    const renamed = namesOf.get((quoted ?? bare!).toLowerCase()) ?? []
    const key = column!.toLowerCase()
    if (renamed.length > 0) becoming.set(key, [...(becoming.get(key) ?? []), ...renamed])
  }
  const kinds = new Map<string, DeclaredKind>()
  for (const [column, kind] of Object.entries(declared))
    for (const name of becoming.get(column.toLowerCase()) ?? []) kinds.set(name, kind)
  return kinds
}

/** `"name" as column` or `name as column`. */
const renames = /(?<=^|[\s,.])(?:"([^"]*)"|([^\s,."]+))\s+as\s+"?([A-Za-z0-9_]+)"?(?![A-Za-z0-9_])/gi
