/**
 * Builds the SQL for the rows of a model: the rows known at a moment, with derived features. Training and the replay of live traffic use
 * the same statements, so that a feature is never computed in two ways.
 */
import type { RefitRows } from '../../../domain/training/rounds.ts'
import {
  labelColumns,
  snapshotColumns,
  snapshotLabels,
  type ModelDefinition,
  type SplitDefinition,
} from '../../../domain/model-definition.ts'
import { withLookups } from './as-of-join.ts'
import { isAfter, isUntil, readLabels } from './declared-kinds.ts'
import { sentFeatures, type Features } from '../../../domain/model/features.ts'
import { computedColumns, withComputed } from '../../../domain/model/prepare.ts'
import { readAs } from '../../../domain/values/readings.ts'
import { quotedIdentifier, textLiteral, timestampLiteral } from '../../../domain/sql-text.ts'

export interface RowsPlan {
  /** All columns of the source for the rows known at `asOf`, in the SQL of the source. */
  known: string
  /** DuckDB SQL over `known`: the features, the label and the columns of every snapshot but `_part`, then the rest. */
  rows: string
}

const { label, eventAt, knownAt, key, part } = snapshotColumns

/** The queries that read the rows of a model as of a time. `sinceMs` omits earlier events to save time. */
export function planRows(
  definition: ModelDefinition,
  options: { asOfMs: number; sinceMs?: number },
): RowsPlan {
  const {
    source,
    label: { knownAt: labelKnownAt },
  } = definition
  const { eventTime } = source
  const at = timestampLiteral(options.asOfMs)
  // Only a CSV stores times as text. In other sources, an unconverted column lets the reader skip older rows.
  const time = (column: string) => (source.kind === 'csv' ? readAs('time', column) : quotedIdentifier(column))
  const times = [eventTime, labelKnownAt].filter((column) => column !== undefined)
  const conditions = times.map((column) => isUntil(source.kind, time(column), at))
  if (eventTime !== undefined && options.sinceMs !== undefined)
    conditions.push(
      isAfter(source.kind, time(eventTime), timestampLiteral(options.sinceMs - source.lookbackMs)),
    )
  const where = conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`
  return { known: `select * from (${source.rows}) as events${where}`, rows: shapedRows(definition) }
}

/** Selects the columns of a snapshot: features in their order and kind, then label, times and key. */
function shapedRows(definition: ModelDefinition): string {
  const { source, features } = definition
  const sent = sentFeatures(features)
  const typed = Object.entries(sent).map(
    ([name, feature]) =>
      `${readAs(feature.kind === 'number' ? 'number' : 'text', name)} as ${quotedIdentifier(name)}`,
  )
  const time = (column: string | undefined) =>
    column === undefined ? 'cast(null as timestamp)' : readAs('time', column)
  // Without a key, a row is known by what is not of its label. Rows that differ in the label alone are one row to the split: on different
  // sides of it, they would teach a model the opposite of what the test rows ask.
  const { knownAt: labelKnownAt } = definition.label
  const ofLabel = [...labelColumns(definition.label), ...(labelKnownAt === undefined ? [] : [labelKnownAt])]
  const identity =
    source.key.length === 0
      ? `*COLUMNS(derived.* exclude (${ofLabel.filter((column) => column !== source.eventTime).map(quotedIdentifier)}))`
      : source.key.map(quotedIdentifier).join(', ')
  const columns = [
    ...typed,
    ...readLabels(definition.label),
    `${time(source.eventTime)} as ${eventAt}`,
    `${time(definition.label.knownAt ?? source.eventTime)} as ${knownAt}`,
    `md5(cast(row(${identity}) as varchar)) as ${key}`,
    otherColumns(features),
  ]
  const rows = `select ${columns.join(', ')} from (${lookups(definition, source.derive ?? 'select * from known')}) as derived`
  return withComputed(features, rows, { isStrict: true })
}

/** Selects the columns of a source that are no features. A column with the name of a computed one is left out. */
function otherColumns(features: Features): string {
  const names = Object.keys(features)
  return computedColumns(features).length === 0
    ? `derived.* exclude (${names.map(quotedIdentifier)})`
    : `columns(lambda name: lower(name) not in (${names.map((name) => textLiteral(name.toLowerCase())).join(', ')}))`
}

/** Joins looked-up features. A served row keeps the values of its request; a later look-up might find different ones. */
const lookups = (definition: ModelDefinition, rows: string): string =>
  definition.source.kind === 'served' ? rows : withLookups(definition, rows)

/** Returns SQL that counts the rows of a source that are in no snapshot as of `asOfMs`; undefined without times. */
export function excludedRowsQuery(definition: ModelDefinition, asOfMs: number): string | undefined {
  const {
    source,
    label: { knownAt: labelKnownAt },
  } = definition
  const { eventTime } = source
  const inPostgres = source.kind === 'postgres'
  const time = (name: string) => (source.kind === 'csv' ? readAs('time', name) : quotedIdentifier(name))
  const at = timestampLiteral(asOfMs)
  if (eventTime === undefined && labelKnownAt === undefined) return undefined
  const event = eventTime === undefined ? 'true' : `${quotedIdentifier(eventTime)} is not null`
  const early = eventTime === undefined ? 'true' : `${time(eventTime)} <= ${at}`
  const known = labelKnownAt === undefined ? 'true' : `${quotedIdentifier(labelKnownAt)} is not null`
  const learned = labelKnownAt === undefined ? 'true' : `${time(labelKnownAt)} <= ${at}`
  // A derived label does not exist in the source.
  const isThere = labelColumns(definition.label).map((column) => `${quotedIdentifier(column)} is not null`)
  const labelled = source.derive === undefined ? isThere.join(' and ') : 'false'
  const count = (condition: string, name: string) => `count(*) filter (where ${condition}) as ${name}`
  // A table may hold years of rows, so only those of the window are counted.
  const sinceMs = firstNeededMs(definition, asOfMs)
  const window =
    inPostgres && eventTime !== undefined && sinceMs !== undefined
      ? ` where ${quotedIdentifier(eventTime)} > ${timestampLiteral(sinceMs)}`
      : ''
  return `select count(*) as rows, ${[
    count(`not (${event})`, 'no_event'),
    count(`${event} and not (${known}) and ${labelled}`, 'no_known'),
    count(`${event} and not (${known}) and not (${labelled})`, 'pending'),
    count(`${event} and ${known} and not (${early} and ${learned})`, 'later'),
  ].join(', ')} from (${source.rows}) as events${window}`
}

/** Returns SQL for the moment at which the last row of files became known, as ISO 8601; undefined for other sources and without times. */
export function lastKnownQuery({ source, label: labelled }: ModelDefinition): string | undefined {
  const times = [source.eventTime, labelled.knownAt].filter((column) => column !== undefined)
  if (times.length === 0 || (source.kind !== 'csv' && source.kind !== 'parquet')) return undefined
  const last = `max(greatest(${times.map((column) => readAs('time', column)).join(', ')}))`
  return `select strftime(${last}, '%Y-%m-%dT%H:%M:%SZ') as last from (${source.rows}) as events`
}

/** Returns the first moment whose events a snapshot as of `asOfMs` needs; undefined if it needs all. */
export function firstNeededMs({ split }: ModelDefinition, asOfMs: number): number | undefined {
  return split.kind === 'time' ? periodsOf(split, asOfMs).train.fromMs : undefined
}

/**
 * Returns the periods of the parts, one before the other. Without `maturedMs` a label must be known where the next period begins. With it the
 * newest period ends at that age, from which on the labels are complete, and all labels count that are known at the snapshot: those known
 * early would be a biased sample of the last events of a period.
 */
export function periodsOf(
  {
    trainMs,
    validationMs,
    testMs,
    maturedMs,
  }: Pick<Extract<SplitDefinition, { kind: 'time' }>, 'trainMs' | 'validationMs' | 'testMs' | 'maturedMs'>,
  asOfMs: number,
) {
  const period = (toMs: number, lengthMs: number) => ({
    fromMs: toMs - lengthMs,
    toMs,
    knownByMs: maturedMs === 0 ? toMs : asOfMs,
  })
  const test = period(asOfMs - maturedMs, testMs)
  const validation = validationMs === undefined ? undefined : period(test.fromMs, validationMs)
  const train = period((validation ?? test).fromMs, trainMs - (validationMs ?? 0))
  return { test, validation, train }
}

/** Returns SQL for the first and the last event of the rows of a plan. */
export const reachQuery = (): string =>
  `select ${['min', 'max'].map((end) => `strftime(${end}(${eventAt}), '%Y-%m-%dT%H:%M:%SZ')`).join(' as first, ')} as last from shaped`

/**
 * Returns the periods of a refit: all rows that are matured as of now, from the start of the training period on. Held, the newest are the
 * validation rows, by which a training program stops early.
 */
function refitPeriodsOf(
  split: Extract<SplitDefinition, { kind: 'time' }>,
  asOfMs: number,
  rows: RefitRows,
): Partial<ReturnType<typeof periodsOf>> {
  const toMs = asOfMs - split.maturedMs
  const validationMs = rows === 'held' ? split.validationMs : undefined
  const heldMs = toMs - (validationMs ?? 0)
  return {
    train: { fromMs: periodsOf(split, asOfMs).train.fromMs, toMs: heldMs, knownByMs: asOfMs },
    validation: validationMs === undefined ? undefined : { fromMs: heldMs, toMs, knownByMs: asOfMs },
  }
}

/** Returns SQL that counts the rows of a plan that are in no part because of `matured`; undefined without it. */
export function immatureQuery({ split }: ModelDefinition, asOfMs: number): string | undefined {
  if (split.kind !== 'time' || split.maturedMs === 0) return undefined
  const { toMs } = periodsOf(split, asOfMs).test
  return `select count(*) as rows from shaped where ${eventAt} > ${timestampLiteral(toMs)} and ${eventAt} <= ${timestampLiteral(asOfMs)}`
}

/** Builds the rows of a snapshot, or of a refit, from the rows of a plan: split, sampled by the hash of their key, in a total order. */
export function snapshotQuery(
  { split, label: { output } }: ModelDefinition,
  asOfMs: number,
  { refit }: { refit?: RefitRows | undefined } = {},
): string {
  if (split.kind === 'hash')
    // Rows with one key are on one side. The sides are a table of their own, whose names meet none of the source.
    return `select shaped.*, sides.side as ${part} from shaped join (${sidesOf(split)}) as sides using (${key}) order by all`
  const periods = refit ? refitPeriodsOf(split, asOfMs, refit) : periodsOf(split, asOfMs)
  const sides = Object.entries(periods).map(([name, period]) => {
    if (period === undefined) return ''
    const happened = `${eventAt} > ${timestampLiteral(period.fromMs)} and ${eventAt} <= ${timestampLiteral(period.toMs)}`
    return `when ${happened} and ${knownAt} <= ${timestampLiteral(period.knownByMs)} then '${name}'`
  })
  const side = `case ${sides.join(' ')} end`
  const sampled = `select *, row_number() over (partition by ${part} order by ${[key, eventAt, ...snapshotLabels(output)]}) as _place
    from (select *, ${side} as ${part} from shaped) where ${part} is not null`
  const limits = [
    split.maxTrain === undefined ? '' : ` and (${part} <> 'train' or _place <= ${split.maxTrain})`,
    split.maxTest === undefined
      ? ''
      : ` and (${part} not in ('test', 'validation') or _place <= ${split.maxTest})`,
  ]
  return `select * exclude (_place) from (${sampled}) where true${limits.join('')} order by all`
}

/** Selects the side of each key. With classes, a key with rows of several counts for its rarest one, so that each has its share of test keys. */
function sidesOf({ test, validation = 0, stratified }: Extract<SplitDefinition, { kind: 'hash' }>): string {
  const classes = `select ${key}, ${label}, count(*) over (partition by ${label}) as n from shaped`
  const keys = stratified
    ? `select ${key}, min(struct_pack(n := n, class := ${label})).class as class from (${classes}) group by ${key}`
    : `select ${key}, 0 as class from shaped group by ${key}`
  const placed = `select ${key}, row_number() over (partition by class order by md5(${key} || 'split')) as place,
    count(*) over (partition by class) as keys from (${keys})`
  // A test part of few keys is never empty.
  const tested = stratified ? `round(${test} * keys)` : `greatest(round(${test} * keys), least(keys - 1, 1))`
  const validated = `${tested} + round(${validation} * keys)`
  return `select ${key}, case when place <= ${tested} then 'test' when place <= ${validated} then 'validation' else 'train' end as side
    from (${placed})`
}
