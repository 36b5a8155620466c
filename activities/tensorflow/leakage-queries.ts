/** Searches a snapshot for leaks of the label into the features. */
import { auc } from '../../domain/metrics/auc.ts'
import {
  asDoubles,
  cellOf,
  listCells,
  pickCells,
  requireColumn,
  type CellColumn,
} from '../../domain/model/columns.ts'
import { isOfNumbers } from '../../domain/model/features.ts'
import { snapshotColumns, snapshotLabels, type ModelDefinition } from '../../domain/model-definition.ts'
import { rankCorrelation, separationOfClasses, type LeakageFacts } from '../../domain/evaluation/leakage.ts'
import { quotedIdentifier } from '../../domain/sql-text.ts'
import type { Duck } from '../data/duckdb.ts'
import { readTable } from '../data/rows.ts'

const { key, part, eventAt, knownAt } = snapshotColumns

/** Collects the facts about leaks from the view `snapshot`. */
export async function findLeaks(duck: Duck, definition: ModelDefinition): Promise<LeakageFacts> {
  const [overlap] = await duck.rows<{ share: number | null }>(`
    select avg(cast(${key} in (select ${key} from snapshot where ${part} = 'train') as double)) as share
    from snapshot where ${part} = 'test'`)
  const facts: LeakageFacts = { rowOverlap: overlap?.share ?? 0 }
  const entityOverlap = await findEntityOverlap(duck, definition)
  if (entityOverlap !== undefined) facts.entityOverlap = entityOverlap
  const different = await countDifferentRows(duck, definition)
  if (different !== undefined) facts.differentRows = different
  if (definition.label.knownAt !== undefined) {
    const [early] = await duck.rows<{ n: number }>(
      `select count(*) as n from snapshot where ${knownAt} <= ${eventAt}`,
    )
    facts.labelNotAfterFeature = early?.n ?? 0
  }
  const numbers = numbersAndLabels(duck, definition)
  const { output } = definition.label
  if (isOfNumbers(output)) {
    // For several numbers, keeps the one that the feature predicts best.
    const highest = new Map<string, number | null>()
    for await (const { feature, y, score } of numbers) {
      const correlation = rankCorrelation(y as ArrayLike<number>, score)
      const before = highest.get(feature) ?? null
      highest.set(feature, Math.abs(correlation ?? 0) > Math.abs(before ?? 0) ? correlation : before)
    }
    facts.featureCorrelation = Array.from(highest, ([feature, correlation]) => ({ feature, correlation }))
  } else {
    facts.featureAuc = []
    for await (const { feature, y, score } of numbers) {
      const value =
        output.kind === 'classes' ? separationOfClasses(y, score) : auc(y as ArrayLike<number>, score)
      facts.featureAuc.push({ feature, auc: value === null ? null : Math.max(value, 1 - value) })
    }
  }
  return facts
}

/** The number of different test rows, when the split keeps equal rows together and most rows have an equal one. */
async function countDifferentRows(
  duck: Duck,
  { source, split }: ModelDefinition,
): Promise<number | undefined> {
  if (split.kind !== 'hash' || source.key.length > 0) return undefined
  const [counted] = await duck.rows<{ rows: number; keys: number }>(
    `select count(*) as rows, count(distinct ${key}) as keys from snapshot where ${part} = 'test'`,
  )
  const { rows, keys } = counted!
  return keys < rows / 2 ? keys : undefined
}

/**
 * The share of test entities that are also in the training rows. A time split shares entities as production does; a hash split must keep
 * all rows of an entity on one side, or the model memorises them.
 */
async function findEntityOverlap(
  duck: Duck,
  { evaluation: { entity }, split }: ModelDefinition,
): Promise<number | undefined> {
  if (entity === undefined || split.kind !== 'hash') return undefined
  const name = quotedIdentifier(entity)
  const [row] = await duck.rows<{ share: number | null }>(`
    select avg(cast(${name} in (select ${name} from snapshot where ${part} = 'train') as double)) as share
    from (select distinct ${name} from snapshot where ${part} = 'test' and ${name} is not null)`)
  return row?.share ?? 0
}

/** Cells per query. For wide tables that is many columns, because one query costs as much as thousands of cells. */
const mostCells = 4_000_000

/**
 * Yields each number with each label. For classes from all rows, because a rare class has few test rows; otherwise from the test rows.
 */
async function* numbersAndLabels(
  duck: Duck,
  { features, label: { output } }: ModelDefinition,
): AsyncGenerator<{ feature: string; y: ArrayLike<unknown>; score: ArrayLike<number> }> {
  const from = `snapshot where ${output.kind === 'classes' ? 'true' : `${part} = 'test'`}`
  const [counted] = await duck.rows<{ n: number }>(`select count(*) as n from ${from}`)
  const numbers = Object.keys(features).filter((name) => features[name]?.kind === 'number')
  const labels = snapshotLabels(output)
  const size = Math.max(1, Math.floor(mostCells / Math.max(1, counted!.n)))
  for (let first = 0; first < numbers.length; first += size) {
    const some = numbers.slice(first, first + size)
    const table = await readTable(duck, from, [...some, ...labels])
    for (const feature of some)
      for (const label of labels) {
        const [score, truths] = complete(
          requireColumn(table, feature),
          requireColumn(table, label),
          table.rows,
        )
        const y = truths.kind === 'number' ? truths.values : listCells(truths)
        yield { feature, y, score: asDoubles(score) }
      }
  }
}

/** Two columns without the rows in which either value is missing. */
function complete(a: CellColumn, b: CellColumn, rows: number): readonly [CellColumn, CellColumn] {
  const isHere = (row: number) => cellOf(a, row) !== null && cellOf(b, row) !== null
  const places = new Uint32Array(rows)
  let count = 0
  for (let row = 0; row < rows; row++) if (isHere(row)) places[count++] = row
  if (count === rows) return [a, b]
  const here = places.subarray(0, count)
  return [pickCells(a, here), pickCells(b, here)]
}
