/** Compiles the `batches` of a model file: rows that the champion scores day by day. */
import { issueOfPath, issuesOfBatch, type BatchSpec } from '../../../domain/model/batch-spec.ts'
import {
  batchOfDay,
  isDay,
  type BatchDefinition,
  type DailyPartition,
} from '../../../domain/triggers/partitions.ts'
import type { SourceSpec } from '../data/source.ts'
import { durationAt, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'

export interface ScheduledBatchSpec {
  /**
   * The rows of one day: `parquet('in/{date}.parquet')` or `csv(…)`, a file below the directory for batches, or
   * `postgres({ rows: "select … where day = '{date}'" })`.
   */
  rows: SourceSpec
  /** The days: `daily({ from: '2026-11-01' })`. */
  partition: DailySpec
  /** A Parquet file below the directory for batches, such as `out/{date}.parquet`; the table `batch_predictions` when absent. */
  to?: string
  /** The columns that are copied to the answers, to identify the rows. */
  key?: readonly string[]
}

export interface DailyOptions {
  /** The first day, in UTC: `'2026-11-01'`. */
  from: string
  /** How long after the end of a day its rows are complete: 0 s when absent. */
  after?: Duration
  /** A file below the directory for batches whose presence says that a day is complete, such as `in/{date}.done`; the file of the rows when absent. */
  ready?: string
}

export type DailySpec = { kind: 'daily' } & DailyOptions

/** One partition a day, each scored once: `daily({ from: '2026-11-01', after: '2 h' })`. */
export const daily = (options: DailyOptions): DailySpec => ({ ...options, kind: 'daily' })

const fields = fieldNames<ScheduledBatchSpec>({ rows: 0, partition: 0, to: 0, key: 0 })
const dailyFields = fieldNames<DailySpec>({ kind: 0, from: 0, after: 0, ready: 0 })
const anyDay = '2026-11-01'

export function compileBatches(
  report: IssueCollector,
  batches: Readonly<Record<string, ScheduledBatchSpec>>,
): BatchDefinition[] {
  return Object.entries(batches).map(([name, spec]) => {
    const place = `batches.${name}`
    if (!/^[a-z][a-z0-9-]{0,62}$/.test(name))
      report(
        'batches',
        `a name has up to 63 lower-case letters, digits and hyphens, not ${JSON.stringify(name)}`,
      )
    reportUnknown(report, place, spec, fields)
    const batch: BatchDefinition = {
      name,
      input: compileRows(report, place, spec.rows),
      output: spec.to === undefined ? { kind: 'table' } : { kind: 'file', path: spec.to },
      key: [...(spec.key ?? [])],
      partition: compileDaily(report, place, spec.partition),
    }
    for (const issue of issuesOfBatch(batchOfDay(name, batch, anyDay))) report(place, issue)
    const { input, output } = batch
    for (const text of [
      input.kind === 'file' ? input.path : input.query,
      ...(output.kind === 'file' ? [output.path] : []),
    ])
      if (!text.includes('{date}'))
        report(
          place,
          `${JSON.stringify(text.slice(0, 80))} needs {date}: every day would read or write the same`,
        )
    return batch
  })
}

function compileRows(report: IssueCollector, place: string, rows: SourceSpec): BatchSpec['input'] {
  const { kind, files, options } = rows
  const [path = '', ...more] = Object.values(files)
  if (kind === 'postgres') return { kind: 'sql', query: options.rows ?? '' }
  if (kind === 'served' || more.length > 0 || Object.keys(options).length > 0)
    report(`${place}.rows`, 'one file without options, or postgres({ rows }), is required')
  return { kind: 'file', path }
}

function compileDaily(report: IssueCollector, place: string, spec: DailySpec): DailyPartition {
  const { from, after, ready } = spec
  reportUnknown(report, `${place}.partition`, spec, dailyFields)
  if (spec.kind !== 'daily') report(`${place}.partition`, `daily({ from: '${anyDay}' }) is required`)
  if (!isDay(from))
    report(`${place}.partition.from`, `a day such as '${anyDay}' is required, not ${JSON.stringify(from)}`)
  if (ready !== undefined) {
    const issue = ready.includes('{date}')
      ? issueOfPath(ready.replaceAll('{date}', anyDay), [''])
      : `${JSON.stringify(ready)} needs {date}`
    if (issue !== undefined) report(`${place}.partition.ready`, issue)
  }
  return {
    from,
    afterMs: after === undefined ? 0 : durationAt(report, `${place}.partition.after`, after),
    ready,
  }
}
