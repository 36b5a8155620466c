/**
 * Reads the Parquet files of a source as one table. DuckDB alone would read all of them with the types of the first, number the columns
 * that stand twice, and read a decimal or a duration that it does not know as another number, so each footer is read first.
 */
import { resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { quotedIdentifier, replacing, textLiteral } from '../../domain/sql-text.ts'
import { durationColumns } from '../../domain/values/arrow-schema.ts'
import { commonType, maxDigits, nameOfType, nullType, textType } from '../../domain/values/types.ts'
import { placeText, sameNames, sameNamesIssue } from '../../domain/validation/source-issue.ts'
import { refusedColumn, textOfBytes } from '../../domain/values/readings.ts'
import { projectFolder } from '../../temporal.config.ts'
import type { Duck } from './duckdb.ts'

export interface ParquetColumn {
  name: string
  /** The type of DuckDB, or `NULL` for a column without values. */
  type: string
  /** SQL that reads the column, where it is not read as it stands. */
  read?: string
}

export interface ParquetFile {
  file: string
  columns: readonly ParquetColumn[]
}

interface SchemaRow {
  file_name: string
  name: string
  num_children: number | null
  duckdb_type: string | null
  precision: number | null
  scale: number | null
}

/** Reads the columns of each file from its footer. Throws `source_unreadable` for two columns of one name. */
export async function parquetColumns(duck: Duck, files: readonly string[]): Promise<ParquetColumn[][]> {
  const list = `[${files.map(pathOf).join(', ')}]`
  const rows = await duck
    .rows<SchemaRow>(
      `select file_name, name, num_children, duckdb_type, precision, scale from parquet_schema(${list})`,
    )
    .catch((error: unknown) => {
      const file = files.length === 1 ? files[0] : files.find((each) => String(error).includes(each))
      throw isDamaged(error) ? unreadable(`${file ?? 'a file of the source'}: ${damaged}`) : error
    })
  const schemas = await duck.rows<{ file_name: string; schema: string }>(
    `select file_name, decode(value) as schema from parquet_kv_metadata(${list}) where decode(key) = 'ARROW:schema'`,
  )
  const ofFile = new Map<string, SchemaRow[]>(files.map((file) => [resolve(projectFolder, file), []]))
  for (const row of rows) ofFile.get(row.file_name)?.push(row)
  return files.map((file) => {
    const path = resolve(projectFolder, file)
    const arrow = schemas.find((each) => each.file_name === path)?.schema
    const durations = new Set(arrow === undefined ? [] : durationColumns(arrow))
    const columns = topColumns(file, ofFile.get(path)!, durations)
    const same = sameNames(columns.map(({ name }) => name))
    if (same !== undefined) throw unreadable(`${file}: ${sameNamesIssue(same)}`)
    return columns
  })
}

/** The columns of one file; a nested column stands before its parts. */
function topColumns(
  file: string,
  [root, ...rows]: readonly SchemaRow[],
  durations: ReadonlySet<string>,
): ParquetColumn[] {
  let place = 0
  const typeOf = (): { row: SchemaRow; type: string } => {
    const row = rows[place++]!
    if (row.duckdb_type !== null) return { row, type: row.duckdb_type }
    const parts = Array.from({ length: row.num_children ?? 0 }, typeOf)
    return { row, type: `STRUCT(${parts.map((part) => `${part.row.name} ${part.type}`).join(', ')})` }
  }
  return Array.from({ length: root?.num_children ?? 0 }, (): ParquetColumn => {
    const { row, type } = typeOf()
    const { name, precision, scale } = row
    const refused = (what: string): ParquetColumn => ({
      name,
      type: nullType,
      read: refusedColumn(
        name,
        `${placeText({ file, column: name })}: ${what}, or leave the column out in \`rows\` of the source`,
      ),
    })
    if (type === '"NULL"') return { name, type: nullType }
    // Hive, Impala and fastparquet mark no bytes as text.
    if (type === 'BLOB') return { name, type: textType, read: textOfBytes(name) }
    // DuckDB writes a decimal without whole digits as .50.
    if (Number(precision) === Number(scale) && Number(precision) < maxDigits && type.startsWith('DECIMAL')) {
      const wider = `DECIMAL(${Number(precision) + 1},${scale})`
      return { name, type: wider, read: `cast(${quotedIdentifier(name)} as ${wider})` }
    }
    // DuckDB takes the bytes of a longer decimal for a double.
    if (Number(precision) > maxDigits)
      return refused(
        `decimal(${precision}, ${scale}) has more than ${maxDigits} digits: export it with fewer, or as a double`,
      )
    return durations.has(name) || type === 'INTERVAL'
      ? refused('a duration is not a number: export it as the number of its seconds')
      : { name, type }
  })
}

const pathOf = (file: string): string => textLiteral(resolve(projectFolder, file))
const unreadable = (message: string): DomainError => new DomainError('source_unreadable', message)
const damaged =
  'the file is damaged or was cut off, because it has no footer that can be read: export it again'
/** DuckDB says so of a file without a footer, and of a footer that it cannot read. Other errors, such as that of a disk, may pass. */
const isDamaged = (error: unknown): boolean => /^Error: Invalid (Input )?Error/.test(String(error))
const remedy = 'export both with one type, or narrow the pattern'

/**
 * Returns SQL that reads the files, each column in the one type that holds the values of all. `partition` gives SQL for the columns before
 * those of each file; `texts`: columns whose values are read as they are written. Throws `source_unreadable` with both files for a column
 * that has no such type, or a value that would change.
 */
export async function readParquet(
  duck: Duck,
  files: readonly ParquetFile[],
  { partition, texts }: { partition: readonly string[]; texts: ReadonlySet<string> },
): Promise<string> {
  const types = new Map<string, string>()
  for (const { file, columns } of files)
    for (const { name, type } of columns) {
      const key = name.toLowerCase()
      const common = commonType(types.get(key) ?? nullType, type)
      if (common === undefined) {
        const without = await withoutTypes(duck, files, name)
        if (without !== undefined) return readParquet(duck, without, { partition, texts })
        throw otherTypes(files, { file, name, type })
      }
      types.set(key, common)
    }
  const groups: { files: ParquetFile[]; from: number; signature: string }[] = []
  for (const [from, each] of files.entries()) {
    // Files of one type in SQL may be read otherwise: texts with and without a mark.
    const signature = JSON.stringify(
      each.columns
        .map(({ name, type, read }) => `${name.toLowerCase()} ${type} ${read !== undefined}`)
        .sort(),
    )
    if (groups.at(-1)?.signature === signature) groups.at(-1)!.files.push(each)
    else groups.push({ files: [each], from, signature })
  }
  const queries: string[] = []
  for (const group of groups) {
    const columns = group.files[0]!.columns.map((each) => ({
      ...each,
      to: types.get(each.name.toLowerCase())!,
    }))
    const casts = columns.filter(({ type, to }) => type !== to)
    const lost = await lostValue(duck, { files, group: group.files, casts, texts })
    if (lost !== undefined) {
      const without = await withoutTypes(duck, files, lost.name)
      if (without !== undefined) return readParquet(duck, without, { partition, texts })
      throw lost.issue
    }
    const replaced = columns.flatMap(({ name, type, read, to }) => {
      const given = read ?? (type === nullType ? 'null' : quotedIdentifier(name))
      if (type === to) return read === undefined ? [] : [`${read} as ${quotedIdentifier(name)}`]
      return [`cast(${given} as ${to}) as ${quotedIdentifier(name)}`]
    })
    queries.push(
      scan(
        group.files.map(({ file }) => pathOf(file)),
        partition.slice(group.from, group.from + group.files.length),
        replaced,
      ),
    )
  }
  return queries.join(' union all by name ')
}

/** Reads files of one schema in one scan. */
function scan(paths: readonly string[], partition: readonly string[], replaced: readonly string[]): string {
  const read = (more = '') => `read_parquet([${paths.join(', ')}], hive_partitioning = false${more})`
  if (partition.every((columns) => columns === '')) return `select *${replacing(replaced)} from ${read()}`
  const values = paths.map((path, at) => `select ${partition[at]}${path} as "file of row"`)
  return `select parts.* exclude ("file of row"), rows.* exclude ("path of row") from
    (select *${replacing(replaced)} from ${read(`, filename = 'path of row'`)}) rows
    join (${values.join(' union all ')}) parts on parts."file of row" = rows."path of row"`
}

/**
 * The files, without the type of this column where it has no values: some writers give a column of nulls the type of texts. Undefined if every file
 * has values.
 */
async function withoutTypes(
  duck: Duck,
  files: readonly ParquetFile[],
  wanted: string,
): Promise<ParquetFile[] | undefined> {
  let changed = false
  const found: ParquetFile[] = []
  for (const { file, columns } of files) {
    const at = columns.findIndex(
      ({ name, type }) => name.toLowerCase() === wanted.toLowerCase() && type !== nullType,
    )
    const [counts] =
      at < 0
        ? []
        : await duck.rows<{ n: number }>(
            `select count(${quotedIdentifier(columns[at]!.name)}) as n from ${scanOne(file)}`,
          )
    if (counts?.n === 0) {
      changed = true
      found.push({ file, columns: columns.with(at, { name: columns[at]!.name, type: nullType }) })
    } else found.push({ file, columns })
  }
  return changed ? found : undefined
}

/** Names two files whose types of a column have no common type. */
function otherTypes(
  files: readonly ParquetFile[],
  { file, name, type }: ParquetColumn & { file: string },
): DomainError {
  const other = findOther(files, name, (each) => commonType(each, type) === undefined)
  return unreadable(
    `${placeText({ file, column: name })}: has ${nameOfType(type)}, and ${other.file} has ${nameOfType(other.type)}: ${remedy}`,
  )
}

function findOther(
  files: readonly ParquetFile[],
  name: string,
  differs: (type: string) => boolean,
): { file: string; type: string } {
  for (const { file, columns } of files)
    for (const each of columns)
      if (each.name.toLowerCase() === name.toLowerCase() && differs(each.type))
        return { file, type: each.type }
  return { file: files[0]!.file, type: nullType }
}

/** The first value that its common type does not hold, such as 2^53 + 1 beside doubles, or would write otherwise in a text. */
async function lostValue(
  duck: Duck,
  {
    files,
    group,
    casts,
    texts,
  }: {
    files: readonly ParquetFile[]
    group: readonly ParquetFile[]
    casts: readonly { name: string; type: string; to: string }[]
    texts: ReadonlySet<string>
  },
): Promise<{ name: string; issue: DomainError } | undefined> {
  const tests = casts.flatMap(({ name, type, to }) => {
    if (type === nullType || to === textType) return []
    const column = quotedIdentifier(name)
    const wide = `try_cast(${column} as ${to})`
    const changes = texts.has(name)
      ? `cast(${wide} as varchar) is distinct from cast(${column} as varchar)`
      : `try_cast(${wide} as ${type}) is distinct from ${column}`
    return [{ name, type, to, wide, changes: `${column} is not null and ${changes}` }]
  })
  if (tests.length === 0) return undefined
  for (const { file } of group) {
    const [found] = await duck.rows<Record<string, boolean | null>>(
      `select ${tests.map(({ changes }, at) => `bool_or(${changes}) as "${at}"`).join(', ')} from ${scanOne(file)}`,
    )
    const lost = tests.find((_, at) => found?.[at] === true)
    if (lost === undefined) continue
    const { name, type, wide, changes } = lost
    const [first] = await duck.rows<{ row: number; value: string; becomes: string | null }>(
      `select file_row_number + 1 as row, cast(${quotedIdentifier(name)} as varchar) as value, cast(${wide} as varchar) as becomes
       from ${scanOne(file, ', file_row_number = true')} where ${changes} order by row limit 1`,
    )
    const other = findOther(files, name, (each) => ![type, undefined].includes(commonType(each, type)))
    const issue = unreadable(
      `${placeText({ file, row: first!.row, column: name })}: \`${first!.value}\` would become \`${first!.becomes ?? 'nothing'}\`, because ${other.file} has ${nameOfType(other.type)}: ${remedy}`,
    )
    return { name, issue }
  }
  return undefined
}

const scanOne = (file: string, more = ''): string =>
  `read_parquet(${pathOf(file)}, hive_partitioning = false${more})`
