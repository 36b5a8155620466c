/** Summarises the columns of a table for users who inspect a blocked batch. */
import { op, table as tableOf } from 'arquero'
import type { ColumnSummary, BatchTable } from '../../domain/validation/expectations.ts'
import { shown } from '../../domain/postgres-text.ts'

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
