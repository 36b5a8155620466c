/** Measures permutation importance: predicts test rows with the values of one column shuffled, within a time limit. */
import { sampleOf } from '../../domain/behaviour/probes.ts'
import { higherIsBetter, rowsOfTruths, score, statisticOf } from '../../domain/evaluation/metrics.ts'
import type { GateReport } from '../../domain/evaluation/gate.ts'
import { builtInPrimary, type GatePolicy } from '../../domain/evaluation/policy.ts'
import { pointValue } from '@tenure/sequential'
import {
  defaultImportance,
  importanceOf,
  permutationOf,
  type ImportancePolicy,
  type ImportanceReport,
} from '../../domain/explanation/importance.ts'
import { answeredRows, answerReader, type ModelAnswers } from '../../domain/metrics/answers.ts'
import { pickCells, requireColumn, type ColumnTable } from '../../domain/model/columns.ts'

export interface Measuring {
  /** The features that the version uses. */
  names: readonly string[]
  answer: (table: ColumnTable) => Promise<ModelAnswers>
  /** The test rows with their labels. */
  rows: ColumnTable
  y: readonly number[]
  policy: GatePolicy
  importance: ImportancePolicy
  /** No prediction is started after this time. */
  limitMs?: number
}

/** The most rows and cells per prediction, to bound its memory. */
const most = { rows: 20_000, cells: 2_000_000 }
const defaultLimitMs = 10_000

/** Adds feature importance to a report. A failure is noted in the report, because importance decides nothing. */
export async function withImportance(
  report: GateReport,
  {
    importance = defaultImportance,
    reported,
    ...question
  }: Omit<Measuring, 'importance'> & {
    importance?: ImportancePolicy | 'off' | undefined
    /** What the report says of an error. */
    reported: (error: unknown) => string
  },
): Promise<GateReport> {
  // Without readable rows or answers, the gate has no metric.
  if (importance === 'off' || report.metrics.length === 0) return report
  try {
    return { ...report, importance: await measureImportance({ ...question, importance }) }
  } catch (error) {
    const message = `the importance of features could not be measured: ${reported(error)}`
    return {
      ...report,
      warnings: [...report.warnings, { code: 'importance_not_measured', message, values: {} }],
    }
  }
}

/** Undefined when the metric of the rows is undefined. */
export async function measureImportance({
  names,
  answer,
  rows,
  y: truths,
  policy,
  importance,
  limitMs = defaultLimitMs,
}: Measuring): Promise<ImportanceReport | undefined> {
  const endMs = performance.now() + limitMs
  const everyRow = Uint32Array.from({ length: rows.rows }, (_, row) => row)
  const places = sampleOf(everyRow, importance.rows, policy.seed)
  const count = places.length
  const width = policy.targets?.length ?? 1
  const y = Array.from(
    { length: count * width },
    (_, at) => truths[places[Math.floor(at / width)]! * width + (at % width)]!,
  )
  const columns = names.map((name) => pickCells(requireColumn(rows, name), places))
  const value = metricOf(y, await answer(tableOf(names, columns, count)), policy)
  const shuffled = new Map(names.map((name) => [name, [] as (number | null)[]]))
  const blocks = Math.max(1, Math.floor(Math.min(most.rows, most.cells / names.length) / count))
  ask: for (let round = 0; round < importance.permutations && value !== null; round++)
    for (let from = 0; from < names.length; from += blocks) {
      if (performance.now() > endMs) break ask
      const some = names.slice(from, from + blocks)
      const orders = some.map((_, at) =>
        permutationOf(count, policy.seed + 1 + round * names.length + from + at),
      )
      const asked = columns.map((column, index) => {
        const cells = new Uint32Array(count * some.length)
        some.forEach((_, block) =>
          cells.set(block === index - from ? orders[block]! : everyRow.subarray(0, count), block * count),
        )
        return pickCells(column, cells)
      })
      const answers = await answer(tableOf(names, asked, count * some.length))
      some.forEach((name, block) =>
        shuffled.get(name)!.push(metricOf(y, blockOf(answers, { block, count }), policy)),
      )
    }
  return importanceOf(Object.fromEntries(shuffled), {
    metric: builtInPrimary(policy),
    isHigherBetter: higherIsBetter(builtInPrimary(policy)),
    value,
    rows: count,
  })
}

/** The primary metric of some rows, or what stands in for it; null when undefined. */
function metricOf(y: readonly number[], answers: ModelAnswers, policy: GatePolicy): number | null {
  return pointValue(
    statisticOf(builtInPrimary(policy), score(policy.task, y, answers, policy)),
    rowsOfTruths(y, policy),
  )
}

const tableOf = (
  names: readonly string[],
  columns: readonly ColumnTable['columns'][string][],
  rows: number,
) => ({
  rows,
  columns: Object.fromEntries(names.map((name, index) => [name, columns[index]!])),
})

/** The answers to one of several blocks of the same rows. */
function blockOf(answers: ModelAnswers, { block, count }: { block: number; count: number }): number[][] {
  const read = answerReader(answers)
  const first = Math.min(block * count, answeredRows(answers))
  return Array.from({ length: Math.min(count, answeredRows(answers) - first) }, (_, row) => [
    ...read(first + row),
  ])
}
