/**
 * Builds DuckDB SQL that reads a column as its declared kind, whatever type it has. An invalid value raises an error that names column,
 * kind and value.
 */
import { maxNumber, type DeclaredKind } from '../../../domain/validation/source-issue.ts'
import type { FeatureView } from '../../../domain/model/feature-view.ts'
import {
  labelColumns,
  snapshotLabels,
  type ModelDefinition,
  type SourceDefinition,
} from '../../../domain/model-definition.ts'
import { quotedIdentifier, textLiteral } from '../../../domain/sql-text.ts'

const mark = 'tenure_value'
const separator = 'chr(31)'
const maxValueLength = 300

/** Returns SQL that reads the column as a double, a timestamp in UTC, a text, or 1 and 0. */
export function readAs(kind: DeclaredKind, column: string): string {
  const name = quotedIdentifier(column)
  return kind === 'text'
    ? `cast(${name} as varchar)`
    : `coalesce(${converted(kind, name)}, ${conversionError(kind, column)})`
}

/** Returns SQL that raises an error with column, kind and value; null for null. */
export function conversionError(kind: DeclaredKind, column: string): string {
  const name = quotedIdentifier(column)
  return `case when ${name} is not null then error(concat(${textLiteral(mark)}, ${[textLiteral(column), textLiteral(kind), `left(cast(${name} as varchar), ${maxValueLength})`].map((part) => `${separator}, ${part}`).join(', ')})) end`
}

/** Returns SQL that reads bytes as the text that they are in UTF-8. */
export const textOfBytes = (column: string): string =>
  `coalesce(try(decode(${quotedIdentifier(column)})), ${conversionError('text', column)})`

const refusal = 'tenure_refusal'

/** Returns SQL for a column of which no value can be read. Reading one raises an error with the message. */
export const refusedColumn = (column: string, message: string): string =>
  // Without a part of the row, DuckDB would raise the error for a query that does not read the column.
  `cast(case when ${quotedIdentifier(column)} is not null then error(concat(${textLiteral(refusal)}, ${separator}, ${textLiteral(message)}, left(cast(${quotedIdentifier(column)} as varchar), 0))) end as double)`

/** Returns the message of a refused column; undefined for other errors. */
export const refusedColumnIssue = (message: string): string | undefined =>
  message.includes(refusal) ? message.slice(message.indexOf(refusal) + refusal.length + 1) : undefined

/** DuckDB also reads a zone's name, which may be that of another zone (BST) or leave an hour that is twice open, and words such as epoch. */
const timePattern = String.raw`\d{4}[-/]\d{1,2}[-/]\d{1,2}([ T]\d{1,2}:\d\d(:\d\d(\.\d+)?(Z| UTC|[+-](0\d|1[0-5])(:?[0-5]\d)?)?)?)?`

/** Returns SQL that is null for an invalid value. */
function converted(kind: Exclude<DeclaredKind, 'text'>, name: string): string {
  const text = `lower(trim(cast(${name} as varchar)))`
  const double = `try_cast(${name} as double)`
  switch (kind) {
    case 'number':
      return `case when abs(${double}) <= ${maxNumber} or not isfinite(${double}) then ${double} when ${text} = 'true' then 1 when ${text} = 'false' then 0 end`
    // Cast through a type with a time zone: a cast to a timestamp without one ignores the offset in a text.
    case 'time': {
      const time = `cast(try_cast(${name} as timestamptz) as timestamp)`
      const isWritten = `typeof(${name}) <> 'VARCHAR' or regexp_full_match(cast(${name} as varchar), '${timePattern}')`
      return `case when isfinite(${time}) and (${isWritten}) then ${time} end`
    }
    case 'flag':
      return `cast(case when ${text} in ('true', 't', 'yes', 'y') or try_cast(${text} as double) = 1 then 1 when ${text} in ('false', 'f', 'no', 'n') or try_cast(${text} as double) = 0 then 0 end as double)`
  }
}

/**
 * Returns SQL for the rows whose time is not after a moment, in the SQL of the source. Infinite times of Postgres are read too, so that they
 * are refused by name; those of files are refused when the file is opened.
 */
export const isUntil = (kind: SourceDefinition['kind'], time: string, moment: string): string =>
  kind === 'postgres' ? `(${time} <= ${moment} or ${time} = 'infinity')` : `${time} <= ${moment}`

/** Returns SQL for whether the column holds an invalid value; of a text, bytes that are not UTF-8. */
export const breaks = (kind: DeclaredKind, column: string): string => {
  const name = quotedIdentifier(column)
  return `(${name} is not null and ${kind === 'text' ? `try(decode(${name}))` : converted(kind, name)} is null)`
}

export interface BadValue {
  column: string
  kind: DeclaredKind
  value: string
}

/** Returns the value that an error of `readAs` names; undefined for other errors. */
export function badValueOf(message: string): BadValue | undefined {
  const [, column, kind, value] = message.slice(message.indexOf(mark)).split('\u001f')
  return !message.includes(mark) || column === undefined || value === undefined
    ? undefined
    : { column, kind: kind as BadValue['kind'], value }
}

/** Returns the kind of each source column of a model, from its declaration and never guessed from the file. */
export function declaredKinds(definition: ModelDefinition): Record<string, DeclaredKind> {
  const { features, label, source, weights } = definition
  const kinds: Record<string, DeclaredKind> = {}
  if (weights?.column !== undefined) kinds[weights.column] = 'number'
  for (const [name, { kind, from }] of Object.entries(features))
    if (from === undefined) kinds[name] = kind === 'number' ? 'number' : 'text'
  for (const column of labelColumns(label)) kinds[column] = labelKind(label.output)
  for (const column of [source.eventTime, label.knownAt]) if (column !== undefined) kinds[column] = 'time'
  // As in the feature view.
  for (const { from } of Object.values(features))
    for (const column of from?.by ?? []) kinds[column] ??= 'text'
  return kinds
}

/** Returns the columns of a model's source that name a row, an entity or a person, and are no numbers or times of the model. */
export function namingColumns(definition: ModelDefinition): string[] {
  const { features, source, subject, evaluation } = definition
  const declared = declaredKinds(definition)
  const names = [
    ...source.key,
    subject,
    evaluation.entity,
    ...Object.values(features).flatMap(({ from }) => from?.by ?? []),
  ]
  return [...new Set(names)].filter(
    (name): name is string => name !== undefined && [undefined, 'text'].includes(declared[name]),
  )
}

/** Returns the columns of a model's source whose values are texts: those that name something, categories, texts and classes. */
export const textColumns = (definition: ModelDefinition): string[] => [
  ...new Set([
    ...namingColumns(definition),
    ...Object.entries(declaredKinds(definition)).flatMap(([name, kind]) => (kind === 'text' ? [name] : [])),
  ]),
]

/** Returns the same for a feature view, with the use of each column. An entity is read as text: `007` differs from `7`. */
export function columnsOfView({ source, entity, eventTime, knownAt, values }: FeatureView): {
  declared: Record<string, DeclaredKind>
  needed: Record<string, string>
  /** The columns whose values are texts. */
  texts: string[]
} {
  const columns: [string, DeclaredKind, string][] = [
    ...Object.entries(values).map(([name, kind]): [string, DeclaredKind, string] => [
      name,
      kind === 'number' ? 'number' : 'text',
      'a value',
    ]),
    ...entity.map((name): [string, DeclaredKind, string] => [name, 'text', 'which entity names']),
    [eventTime, 'time', 'which eventTime names'],
    [knownAt, 'time', 'which knownAt names'],
  ]
  return {
    // Postgres has types of its own.
    declared:
      source.kind === 'postgres' ? {} : Object.fromEntries(columns.map(([name, kind]) => [name, kind])),
    needed: Object.fromEntries(columns.map(([name, , use]) => [name, use])),
    texts: columns.flatMap(([name, kind]) => (kind === 'text' ? [name] : [])),
  }
}

const labelKind = ({ kind }: ModelDefinition['label']['output']): DeclaredKind =>
  kind === 'classes' ? 'text' : kind === 'probability' ? 'flag' : 'number'

/** Returns SQL that reads the label columns of a snapshot. */
export const readLabels = (label: ModelDefinition['label']): string[] => {
  const kind = labelKind(label.output)
  const names = snapshotLabels(label.output)
  return labelColumns(label).map((column, k) => `${readAs(kind, column)} as ${names[k]}`)
}
