/** Judges and summarises the rows of a snapshot. */
import { op, table as tableOf } from 'arquero'
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
  ExcludedRows,
  ValidationVerdict,
  BatchTable,
} from '../../domain/validation/expectations.ts'
import { columnsOfExpectation } from '../../domain/validation/columns-of-expectation.ts'
import { impliedExpectations, judgeValidation } from '../../domain/validation/validate.ts'
import { expectedOfFloods } from '../../domain/validation/floods.ts'
import { expectedOfExcludedRows } from '../../domain/validation/excluded-rows.ts'
import { expectedOfChampion } from '../../domain/validation/champion-expectations.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { withDuck } from '../data/duckdb.ts'
import { readCells } from '../data/rows.ts'
import { shown } from '../../domain/postgres-text.ts'

export interface SnapshotToJudge {
  definition: ModelDefinition
  /** The path of the snapshot file. */
  path: string
  /** ISO 8601. */
  asOf: string
  champion?: Manifest
  /** The row counts of earlier snapshots. */
  earlierRows: number[]
  excludedRows?: ExcludedRows
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
  const { definition, path, asOf, champion, earlierRows, excludedRows, kept = [] } = options
  const expectations = [
    ...impliedExpectations(definition),
    ...(champion === undefined ? [] : expectedOfChampion(definition, champion)),
    ...definition.expectations,
    ...expectedOfExcludedRows(definition, excludedRows),
    ...expectedOfFloods(excludedRows?.floods),
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

// Summarises the columns of a table for users who inspect a blocked batch.

const maxFrequent = 10

/** One entry per column, in the given order. Columns missing from the table are left out. */
export function summarize({ columns }: BatchTable, names: readonly string[]): ColumnSummary[] {
  return names.flatMap((name) => {
    const cells = columns[name]
    if (cells === undefined) return []
    const list = [...cells]
    const values = tableOf({ value: list })
    const isText = list.some((cell) => typeof cell === 'string')
    const [counts] = values
      .rollup({ rows: op.count(), present: op.valid('value'), distinct: op.distinct('value') })
      .objects() as { rows: number; present: number; distinct: number }[]
    const summary = {
      column: name,
      rows: counts?.rows ?? 0,
      missing: (counts?.rows ?? 0) - (counts?.present ?? 0),
    }
    if (isText) {
      const frequent = values
        .filter((row: { value: unknown }) => row.value !== null)
        .groupby('value')
        .count()
        .orderby('value')
        .objects() as { value: string; count: number }[]
      frequent.sort((a, b) => b.count - a.count)
      return [
        {
          ...summary,
          distinct: frequent.length,
          min: null,
          max: null,
          mean: null,
          deviation: null,
          frequent: frequent
            .slice(0, maxFrequent)
            .map(({ value, count }): [string, number] => [shown(value), count]),
        },
      ]
    }
    const [moments] = values
      .rollup({
        min: op.min('value'),
        max: op.max('value'),
        mean: op.mean('value'),
        deviation: op.stdev('value'),
      })
      .objects() as Record<'min' | 'max' | 'mean' | 'deviation', number | undefined>[]
    return [
      {
        ...summary,
        // Missing values count as one distinct value.
        distinct: (counts?.distinct ?? 0) - (summary.missing > 0 ? 1 : 0),
        min: finite(moments?.min),
        max: finite(moments?.max),
        mean: finite(moments?.mean),
        deviation: finite(moments?.deviation),
      },
    ]
  })
}

const finite = (value: number | undefined): number | null => (Number.isFinite(value) ? Number(value) : null)
