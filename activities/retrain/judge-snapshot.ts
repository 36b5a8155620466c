/** Judges and summarises the rows of a snapshot. */
import { textLiteral } from '../../domain/sql-text.ts'
import {
  labelColumns,
  snapshotColumns,
  snapshotLabels,
  type ModelDefinition,
} from '../../domain/model-definition.ts'
import type {
  ColumnSummary,
  Expectation,
  ExpectationResult,
  KeptValues,
  LeftOut,
  ValidationVerdict,
} from '../../domain/validation/expectations.ts'
import { columnsOfExpectation } from '../../domain/validation/columns-of-expectation.ts'
import { impliedExpectations, judgeValidation } from '../../domain/validation/validate.ts'
import { expectedOfFloods } from '../../domain/validation/floods.ts'
import { expectedOfLeftOut } from '../../domain/validation/left-out.ts'
import { expectedOfChampion } from '../../domain/validation/champion-expectations.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { withDuck } from '../data/duckdb.ts'
import { readCells } from '../data/rows.ts'
import { summarize } from './column-summary.ts'

export interface SnapshotToJudge {
  definition: ModelDefinition
  /** The path of the snapshot file. */
  path: string
  /** ISO 8601. */
  asOf: string
  champion?: Manifest
  /** The row counts of earlier snapshots. */
  earlierRows: number[]
  leftOut?: LeftOut
  /** Of the views that the rows are joined to. */
  kept?: KeptValues[]
}

export interface JudgedSnapshot {
  rows: number
  verdict: ValidationVerdict
  results: ExpectationResult[]
  columns: ColumnSummary[]
}

export async function judgeSnapshot(options: SnapshotToJudge): Promise<JudgedSnapshot> {
  const { definition, path, asOf, champion, earlierRows, leftOut, kept = [] } = options
  const expectations = [
    ...impliedExpectations(definition),
    ...(champion === undefined ? [] : expectedOfChampion(definition, champion)),
    ...definition.expectations,
    ...expectedOfLeftOut(definition, leftOut),
    ...expectedOfFloods(leftOut?.floods),
    ...kept.map((each): Expectation => ({ check: 'values_kept', ...each, severity: 'warn' })),
  ]
  const context = { asOfMs: Date.parse(asOf), eventAt: snapshotColumns.eventAt, earlierRows }
  const summarised = [...Object.keys(definition.features), ...snapshotLabels(definition.label.output)]
  const named = expectations.flatMap((each) => columnsOfExpectation(each, context))
  const table = await withDuck((duck) =>
    readCells(duck, textLiteral(path), [...new Set([...named, ...summarised])]),
  )
  const { verdict, results: judged } = judgeValidation(expectations, table, context)
  const translate = (text: string) => inTheirWords(text, definition)
  const results = judged.map(({ byColumn, ...each }) => ({
    ...each,
    subject: translate(each.subject),
    message: translate(each.message),
    found: translate(each.found),
    ...(byColumn && { byColumn: byColumn.map((one) => ({ ...one, column: translate(one.column) })) }),
  }))
  const columns = summarize(table, summarised)
  return { rows: table.rows, verdict, results, columns }
}

/** Replaces the internal column names of a snapshot by those of the source. */
function inTheirWords(text: string, { label, source }: ModelDefinition): string {
  const names: Record<string, string | undefined> = {
    ...Object.fromEntries(snapshotLabels(label.output).map((name, k) => [name, labelColumns(label)[k]])),
    [snapshotColumns.eventAt]: source.eventTime,
    [snapshotColumns.knownAt]: label.knownAt ?? source.eventTime,
    [snapshotColumns.key]: source.key.length === 0 ? undefined : source.key.join(' + '),
  }
  return text.replaceAll(/\b_[a-z_]+\d*\b/g, (name) =>
    Object.hasOwn(names, name) ? (names[name] ?? name) : name,
  )
}
