/** Compiles the `batches` of a model file: rows that the champion scores daily, or when a trigger fires. */
import { issueOfPath, issuesOfBatch, type BatchSpec } from '../../../domain/model/batch-spec.ts'
import {
  batchTriggerName,
  batchWith,
  isDay,
  isFired,
  placeholdersOf,
  textsOfBatch,
  type BatchDefinition,
  type DailyPartition,
} from '../../../domain/triggers/partitions.ts'
import { databaseAt, type SourceSpec } from '../data/source.ts'
import { durationAt, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { compileStarts, type RetrainSpec } from './retrain.ts'
import type { TriggerSpec } from './triggers.ts'

export interface ScheduledBatchSpec {
  /**
   * The rows: `parquet('in/{date}.parquet')` or `csv(…)`, a file below the directory for batches, or `postgres({ rows: "select … where day
   * = '{date}'" })`. Without `partition`, `{date}` is the day of the firing, and parameters of the webhook can be used in braces:
   * `{region}`.
   */
  rows: SourceSpec
  /** The days: `daily({ from: '2026-11-01' })`. Default: each firing of `when` scores all rows. */
  partition?: DailySpec
  /**
   * The triggers, as for `retrain`: `[cron('0 3 * * *'), whenFile(…), whenWatermark(…), afterWorkflow(…), onWebhook(…)]`. With triggers, a
   * complete day is scored at the next firing. Default: days are scored as soon as they are complete.
   */
  when?: RetrainSpec | TriggerSpec | readonly (RetrainSpec | TriggerSpec)[]
  /** A Parquet file below the directory for batches, such as `out/{date}.parquet`. Default: the table `batch_predictions`. */
  to?: string
  /** The columns to copy to the predictions, to identify the rows. */
  key?: readonly string[]
  /**
   * About how many rows of each partition enter the prediction log, chosen at random: `log: 10_000`, at most 100,000. Their answers have a
   * `prediction_id`, by which [outcomes](../how-to/projects/batches.md#measure-the-quality) are sent. Default: none.
   */
  log?: number
}

export interface DailyOptions {
  /** The first day, in UTC: `'2026-11-01'`. */
  from: string
  /**
   * How long after the end of a day its rows are complete. Default: 0 s. Before its end for what is scored ahead: with `'-30 h'` the rows of
   * a day are complete at 18:00 UTC of the day before.
   */
  after?: Duration
  /** A file below the directory for batches that marks a day as complete, such as `in/{date}.done`. Default: the file of the rows. */
  ready?: string
}

export type DailySpec = { kind: 'daily' } & DailyOptions

/** Defines one partition per day, each scored once: `daily({ from: '2026-11-01', after: '2 h' })`. */
export const daily = (options: DailyOptions): DailySpec => ({ ...options, kind: 'daily' })

const fields = fieldNames<ScheduledBatchSpec>({ rows: 0, partition: 0, when: 0, to: 0, key: 0, log: 0 })
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
    const { partition, when } = spec
    const batch: BatchDefinition = {
      name,
      input: compileRows(report, place, spec.rows),
      output: spec.to === undefined ? { kind: 'table' } : { kind: 'file', path: spec.to },
      key: [...(spec.key ?? [])],
      ...(spec.log !== undefined && { log: spec.log }),
      partition: partition === undefined ? undefined : compileDaily(report, place, partition),
      ...(when === undefined ? {} : compileWhen(report, place, name, [when].flat())),
    }
    if (partition === undefined && !isFired(batch))
      report(place, `needs partition: daily({ from: '${anyDay}' }), or when: [cron('0 3 * * *')]`)
    const sample = partition === undefined ? checkParameters(report, place, batch) : {}
    for (const issue of issuesOfBatch(batchWith(name, batch, { ...sample, date: anyDay })))
      report(place, issue)
    if (partition !== undefined) checkDaily(report, place, batch)
    return batch
  })
}

function compileWhen(
  report: IssueCollector,
  place: string,
  batch: string,
  spec: readonly (RetrainSpec | TriggerSpec)[],
): Pick<BatchDefinition, 'schedule' | 'triggers'> {
  const { schedule, triggers } = compileStarts(report, `${place}.when`, spec)
  if (triggers?.some(({ name }) => name === 'schedule'))
    report(`${place}.when`, 'a trigger is not named schedule: that is the name of the cron(…)')
  return {
    schedule,
    triggers: triggers?.map((each) => ({ ...each, name: batchTriggerName(batch, each.name) })),
  }
}

function checkDaily(report: IssueCollector, place: string, batch: BatchDefinition): void {
  for (const text of textsOfBatch(batch))
    if (!text.includes('{date}'))
      report(
        place,
        `${JSON.stringify(text.slice(0, 80))} needs {date}: every day would read or write the same`,
      )
  if (batch.triggers?.some((each) => each.kind === 'webhook' && Object.keys(each.parameters).length > 0))
    report(`${place}.when`, 'a webhook of a batch with days has no parameters: the days are its partitions')
}

/** A value that is safe between quotes in a query and in a path. */
const plainValue = /^[\w.-]{1,100}$/

/** Checks that every firing can fill each name in braces. Returns example values. */
function checkParameters(
  report: IssueCollector,
  place: string,
  batch: BatchDefinition,
): Record<string, string> {
  const { schedule, triggers = [] } = batch
  const names = placeholdersOf(batch).filter((name) => name !== 'date')
  const sample: Record<string, string> = {}
  for (const trigger of triggers)
    if (trigger.kind === 'webhook' && 'date' in trigger.parameters)
      report(`${place}.when`, 'date is the day of the firing: give the parameter another name')
  for (const name of names) {
    const without = triggers.find((each) => each.kind !== 'webhook' || !(name in each.parameters))
    if (schedule !== undefined || without !== undefined) {
      const which = schedule === undefined ? without?.name : 'the schedule'
      report(place, `{${name}} needs a parameter ${name} of every trigger in when: ${which} has none`)
    }
    for (const { parameters } of triggers.filter((each) => each.kind === 'webhook')) {
      const parameter = parameters[name]
      if (parameter === undefined) continue
      const values = parameter.kind === 'category' ? (parameter.values ?? []) : ['1']
      sample[name] ??= values[0] ?? '1'
      if (
        parameter.missing === 'fill' ||
        values.length === 0 ||
        !values.every((each) => plainValue.test(each))
      )
        report(
          place,
          `{${name}} needs a number, or a category of letters, digits, "_", "." and "-", that is always sent`,
        )
    }
  }
  return sample
}

function compileRows(report: IssueCollector, place: string, rows: SourceSpec): BatchSpec['input'] {
  const { kind, files, options, program, database } = rows
  const [path = '', ...more] = Object.values(files)
  if (kind === 'postgres') {
    const query = { kind: 'sql', query: options.rows ?? '' } as const
    return database === undefined
      ? query
      : { ...query, database: databaseAt(report, `${place}.rows`, database) }
  }
  if (kind === 'served' || program !== undefined || more.length > 0 || Object.keys(options).length > 0)
    report(`${place}.rows`, 'one file without options, or postgres({ rows }), is required')
  return { kind: 'file', path }
}

const signedDurationAt = (report: IssueCollector, place: string, text: Duration): number =>
  String(text).startsWith('-')
    ? -durationAt(report, place, text.slice(1) as Duration)
    : durationAt(report, place, text)

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
    afterMs: after === undefined ? 0 : signedDurationAt(report, `${place}.partition.after`, after),
    ready,
  }
}
