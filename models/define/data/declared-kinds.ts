/** Says how each column of a model's source and of a feature view is read: its declared kind. */
import type { FeatureView } from '../../../domain/model/feature-view.ts'
import { sentFeatures } from '../../../domain/model/features.ts'
import {
  labelColumns,
  snapshotLabels,
  type ModelDefinition,
  type SourceDefinition,
} from '../../../domain/model-definition.ts'
import { readAs, type DeclaredKind } from '../../../domain/values/readings.ts'
import { taskOf } from '../../../domain/tasks/tasks.ts'

/**
 * Returns SQL for the rows whose time is not after a moment, in the SQL of the source. Infinite times of Postgres are read too, so that they
 * are refused by name; those of files are refused when the file is opened.
 */
export const isUntil = (kind: SourceDefinition['kind'], time: string, moment: string): string =>
  kind === 'postgres' ? `(${time} <= ${moment} or ${time} = 'infinity')` : `${time} <= ${moment}`

/** The same for the rows whose time is after a moment. */
export const isAfter = (kind: SourceDefinition['kind'], time: string, moment: string): string =>
  kind === 'postgres' ? `(${time} > ${moment} or ${time} = '-infinity')` : `${time} > ${moment}`

/** Returns the kind of each source column of a model, from its declaration and never guessed from the file. */
export function declaredKinds(definition: ModelDefinition): Record<string, DeclaredKind> {
  const { features, label, source, weights } = definition
  const kinds: Record<string, DeclaredKind> = {}
  if (weights?.column !== undefined) kinds[weights.column] = 'number'
  for (const [name, { kind, from }] of Object.entries(sentFeatures(features)))
    if (from === undefined) kinds[name] = kind === 'number' ? 'number' : 'text'
  for (const column of labelColumns(label)) kinds[column] = taskOf(label.output).labelKind
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

/** Returns SQL that reads the label columns of a snapshot. */
export const readLabels = (label: ModelDefinition['label']): string[] => {
  const { labelKind } = taskOf(label.output)
  const names = snapshotLabels(label.output)
  return labelColumns(label).map((column, k) => `${readAs(labelKind, column)} as ${names[k]}`)
}
