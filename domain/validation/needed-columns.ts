/** Names the columns that a model needs from its source, with the message for a file that lacks one. */
import { sentFeatures } from '../model/features.ts'
import { labelColumns, type ModelDefinition } from '../model-definition.ts'
import { shown } from '../postgres-text.ts'
import type { CsvLayout } from './csv-scan.ts'
import { looksLikeValues, missingColumn, placeText } from './source-issue.ts'

/** The columns with what for: of the events, before `derive`, and of the rows. */
export function neededColumns({ features, label, source, weights, subject, evaluation }: ModelDefinition): {
  events: Record<string, string>
  rows: Record<string, string>
} {
  const events: Record<string, string> = {}
  if (source.eventTime !== undefined) events[source.eventTime] = 'which eventTime names'
  if (label.knownAt !== undefined) events[label.knownAt] = 'which knownAt names'
  const labels = Object.fromEntries(labelColumns(label).map((column) => [column, 'the label']))
  if (source.derive === undefined) Object.assign(events, labels)
  const rows: Record<string, string> = { ...events, ...labels }
  // Erased persons are left out before `derive`, which may drop the column.
  if (subject !== undefined) events[subject] ??= 'which subject names'
  for (const [name, { from, column }] of Object.entries(sentFeatures(features)))
    if (from === undefined)
      rows[name] = column === undefined ? 'a feature' : `a feature whose column in files is "${column}"`
  for (const name of source.key) rows[name] ??= 'which key names'
  if (weights?.column !== undefined) rows[weights.column] ??= 'which weights names'
  const { groups, entity, baseline } = evaluation
  const named = [
    ...groups.map((name) => [name, 'groups'] as const),
    [entity, 'entity'] as const,
    [baseline, 'baseline'] as const,
  ]
  // Looked-up features are joined later, and computed ones added.
  for (const [name, field] of named)
    if (name !== undefined && features[name]?.from === undefined && features[name]?.sql === undefined)
      rows[name] ??= `which evaluation.${field} names`
  return { events, rows }
}

/** The header of a CSV lacks a column. */
export function noColumn(
  { file, layout }: { file: string; layout: CsvLayout },
  column: string,
  use: string,
): string {
  const place = placeText({ file, line: layout.skippedLines + 1 })
  if (!looksLikeValues(layout.names)) return `${place}: ${missingColumn(column, use, layout.names)}`
  const values = layout.names.slice(0, 5).map((name) => `\`${shown(name)}\``)
  return `${place}: the first line holds values (${values.join(', ')}) and no names: write the names of the columns above it, "${column}" among them`
}
