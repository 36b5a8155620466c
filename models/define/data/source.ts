/** Defines the source of a model's rows, and which of its columns hold times. */
import type { SourceDefinition, SourceProgram } from '../../../domain/model-definition.ts'
import { sourceNamePattern } from '../../../domain/canary/external/external-policy.ts'
import { issueOfSourceFile, programAddress } from '../../../domain/addresses/source-address.ts'
import { renaming, withQuotedAt } from '../../../domain/sql-text.ts'
import { renamedColumns, type Features } from '../../../domain/model/features.ts'
import { durationAt, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { compileTrainer, type CommandTrainerOptions, type PythonOptions } from '../trainer.ts'
import { compileServed, servedColumns, servedTable, type ServedOptions } from './served.ts'

export interface SourceOptions {
  /** A query that returns one row per event; with one file, over the view `source`. Default: all rows of the file. */
  rows?: string
  /** DuckDB SQL over `known`, the rows known at `asOf`, that adds features derived from other rows. */
  derive?: string
  /** The column with the time of the event (UTC). */
  eventTime?: string
  /** How much history `derive` needs before the first row of the split. */
  lookback?: Duration
  /**
   * The columns that identify a row. Default: all columns but those of the label. Name them where rows repeat: a split by hash keeps rows that are
   * equal on one side, so few different rows make the metrics those of few cases; the gate says when most repeat.
   */
  key?: readonly string[]
}

export interface SourceSpec {
  kind: SourceDefinition['kind']
  files: Record<string, string>
  options: SourceOptions
  served?: ServedOptions
  database?: string
  program?: { run: string | readonly string[]; options: ProgramSourceOptions }
}

export interface ProgramSourceOptions extends SourceOptions, PythonOptions, CommandTrainerOptions {
  /** The variables of the worker's environment that the program gets: `['WAREHOUSE_PASSWORD']`. It gets no others. */
  secrets?: readonly string[]
}

/**
 * One file is the view `source`; several files have the given names. Paths are relative to the project. A pattern such as
 * `models/data/*.csv` or `s3://bucket/2026-*.csv` combines up to 1,000 files into one table. A folder `column=value` in place of a wildcard
 * adds a column.
 */
type Files = string | Record<string, string>
const named = (files: Files): Record<string, string> =>
  typeof files === 'string' ? { source: files } : files

/** Reads rows from CSV files: `csv('models/data/iris.csv')`, `csv('s3://bucket/iris.csv')` or `csv('https://example.com/iris.csv')`. */
export function csv(files: Files, options: SourceOptions = {}): SourceSpec {
  return { kind: 'csv', files: named(files), options }
}

/** Reads rows from Parquet files, of the project or at an address as for `csv`. */
export function parquet(files: Files, options: SourceOptions = {}): SourceSpec {
  return { kind: 'parquet', files: named(files), options }
}

/**
 * Runs a query on Tenure's own Postgres as `tenure_reader`, to which [tables are granted](../how-to/projects/tables.md):
 * `postgres({ rows: 'select * from shop.orders' })`. `postgres('warehouse', { rows: … })` reads
 * [another Postgres](../how-to/projects/tables.md#another-postgres).
 */
export function postgres(
  ...given: [options: QueryOptions] | [database: string, options: QueryOptions]
): SourceSpec {
  const [database, options] = given.length === 1 ? [undefined, given[0]] : given
  return { kind: 'postgres', files: {}, options, ...(database !== undefined && { database }) }
}

type QueryOptions = SourceOptions & { rows: string }

/**
 * Reads the Parquet files that a program writes: `program('extract.py', { requirements: 'requirements.txt' })` for a Python script, or
 * `program(['Rscript', 'extract.R'])`. The program gets the moment of the snapshot and writes the rows known then, so that
 * [the client of any warehouse](../how-to/projects/rows-by-program.md) can read them.
 */
export function program(
  run: string | readonly string[],
  { rows, derive, eventTime, lookback, key, ...options }: ProgramSourceOptions = {},
): SourceSpec {
  const file = typeof run === 'string' ? run : run.join(' ')
  return {
    kind: 'parquet',
    files: { source: programAddress(file) },
    options: { rows, derive, eventTime, lookback, key },
    program: { run, options },
  }
}

/**
 * Reads the served requests of this model with their outcomes: `served({ since: '90 d' })`, with `label: yesNo({ column: 'outcome', … })`.
 */
export function served({ derive, ...options }: ServedOptions = {}): SourceSpec {
  const { askedAt: eventTime, predictionId } = servedColumns
  const rows = `select * from ${servedTable}`
  return {
    kind: 'served',
    files: {},
    options: { rows, derive, eventTime, key: [predictionId] },
    served: options,
  }
}

const optionNames = fieldNames<SourceOptions>({
  rows: 0,
  derive: 0,
  eventTime: 0,
  lookback: 0,
  key: 0,
})

/** The name of a column or a view. */
export const identifier = /^[A-Za-z][A-Za-z0-9_]*$/

/** Checks the name of a Postgres of the file of sources. */
export function databaseAt(report: IssueCollector, place: string, name: string): string {
  if (!sourceNamePattern.test(name))
    report(
      place,
      `the name of a source in metric-sources.json is required, such as 'shop', not ${JSON.stringify(name)}`,
    )
  return name
}

/** Variables that only Tenure itself needs. */
const ownVariable = /^(?:TENURE_|TEMPORAL_|DATABASE_URL$)/

function compileSourceProgram(
  report: IssueCollector,
  { run, options: { secrets = [], ...options } }: NonNullable<SourceSpec['program']>,
): SourceProgram | undefined {
  const place = (where: string, message: string) => report(where.replace(/^train/, 'source'), message)
  const compiled = compileTrainer(
    place,
    typeof run === 'string'
      ? { kind: 'python', file: run, options }
      : { kind: 'command', command: run, options },
  )
  if (compiled === undefined || compiled.kind === 'queue') return undefined
  const names: readonly unknown[] = Array.isArray(secrets) ? secrets : [secrets]
  for (const name of names)
    if (typeof name !== 'string' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || ownVariable.test(name))
      report(
        'source.secrets',
        `the name of a variable of the worker is required, such as 'WAREHOUSE_PASSWORD', and none of Tenure itself, not ${JSON.stringify(name)}`,
      )
  return { ...compiled, secrets: names.map(String) }
}

/** The SQL of all rows of the one file of a source, with the names of features. */
export const wholeFile = (features: Features): string =>
  `select *${renaming(renamedColumns(features))} from source`

export function compileSource(
  report: IssueCollector,
  spec: SourceSpec,
  features: Features = {},
): SourceDefinition {
  const { kind, files, options, served: asked, database, program: asProgram } = spec
  reportUnknown(report, 'source', options, optionNames)
  for (const [name, path] of Object.entries(asProgram === undefined ? files : {})) {
    if (!identifier.test(name)) report(`source.${name}`, 'a view name has letters, digits and _ only')
    const issue = issueOfSourceFile(path)
    if (issue !== undefined) report(`source.${name}`, issue)
  }
  if ((kind === 'csv' || kind === 'parquet') && Object.keys(files).length === 0)
    report('source', 'at least one file is required')
  if (options.rows === undefined && !('source' in files))
    report('source.rows', 'a query is required when there is not exactly one file')
  for (const [field, column] of [
    ['eventTime', options.eventTime],
    ...(options.key ?? []).map((name) => ['key', name] as const),
  ] as const)
    if (column !== undefined && (typeof column !== 'string' || column === ''))
      report(`source.${field}`, `the name of a column is required, not ${JSON.stringify(column)}`)
  const sqlOf = (text: string) => text.trim().replace(/;$/, '')
  const rows = sqlOf(options.rows ?? wholeFile(features))
  return {
    kind,
    files,
    rows: kind === 'postgres' ? rows : withQuotedAt(rows),
    derive: options.derive === undefined ? undefined : withQuotedAt(sqlOf(options.derive)),
    eventTime: options.eventTime,
    lookbackMs: options.lookback === undefined ? 0 : durationAt(report, 'source.lookback', options.lookback),
    key: [...(options.key ?? [])],
    served: asked && compileServed(report, asked),
    ...(database !== undefined && { database: databaseAt(report, 'source', database) }),
    ...(asProgram !== undefined && { program: compileSourceProgram(report, asProgram) }),
  }
}
