/** Searches a snapshot for leaks of the label into the features. */
import { auc } from '@tenure/sequential'
import {
  asDoubles,
  cellOf,
  listCells,
  pickCells,
  requireColumn,
  type CellColumn,
} from '../../domain/model/columns.ts'
import type { Feature } from '../../domain/model/features.ts'
import { snapshotColumns, snapshotLabels, type ModelDefinition } from '../../domain/model-definition.ts'
import {
  areCopied,
  findClassShift,
  rankCorrelation,
  separationByValues,
  separationOfClasses,
  type ClassCounts,
  type ClassShift,
  type EqualRows,
  type LeakageFacts,
} from '../../domain/evaluation/leakage.ts'
import { quotedIdentifier } from '../../domain/sql-text.ts'
import type { Duck } from '../data/duckdb.ts'
import { readTable } from '../data/rows.ts'
import { isOfNumbers } from '../../domain/tasks/output.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'

const { key, part, eventAt, knownAt, label } = snapshotColumns

/** Collects the facts about leaks from the view `snapshot`. */
export async function findLeaks(duck: Duck, definition: ModelDefinition): Promise<LeakageFacts> {
  const [overlap] = await duck.rows<{ share: number | null }>(`
    select avg(cast(${key} in (select ${key} from snapshot where ${part} = 'train') as double)) as share
    from snapshot where ${part} = 'test'`)
  const facts: LeakageFacts = { rowOverlap: overlap?.share ?? 0 }
  const equalRows = await findEqualRows(duck, definition)
  if (equalRows !== undefined) facts.equalRows = equalRows
  const entityOverlap = await findEntityOverlap(duck, definition)
  if (entityOverlap !== undefined) facts.entityOverlap = entityOverlap
  const different = await countDifferentRows(duck, definition)
  if (different !== undefined) facts.differentRows = different
  const shift = await findShift(duck, definition)
  if (shift !== undefined) facts.classShift = shift
  if (definition.label.knownAt !== undefined) {
    const [early] = await duck.rows<{ n: number }>(
      `select count(*) as n from snapshot where ${knownAt} <= ${eventAt}`,
    )
    facts.labelNotAfterFeature = early?.n ?? 0
  }
  return { ...facts, ...(await findLeakingFeatures(duck, definition)) }
}

/** Compares each feature alone with the label. */
export async function findLeakingFeatures(
  duck: Duck,
  definition: ModelDefinition,
): Promise<Pick<LeakageFacts, 'featureAuc' | 'featureCorrelation'>> {
  const { output } = definition.label
  if (isOfNumbers(output)) {
    // For several numbers, keeps the one that the feature predicts best.
    const highest = new Map<string, number | null>()
    const compare = (feature: string, y: ArrayLike<number>, score: ArrayLike<number>) => {
      const correlation = rankCorrelation(y, score)
      const before = highest.get(feature) ?? null
      highest.set(feature, Math.abs(correlation ?? 0) > Math.abs(before ?? 0) ? correlation : before)
    }
    for await (const { feature, y, score } of numbersAndLabels(duck, definition))
      compare(feature, y as ArrayLike<number>, score)
    for await (const { feature, y, score } of categoryMeans(duck, definition)) compare(feature, y, score)
    return { featureCorrelation: Array.from(highest, ([feature, correlation]) => ({ feature, correlation })) }
  }
  const featureAuc: NonNullable<LeakageFacts['featureAuc']> = []
  for await (const { feature, y, score } of numbersAndLabels(duck, definition)) {
    const value =
      taskOf(output).labelKind === 'text' ? separationOfClasses(y, score) : auc(y as ArrayLike<number>, score)
    featureAuc.push({ feature, auc: value === null ? null : Math.max(value, 1 - value) })
  }
  for (const feature of featuresOf('category', definition))
    featureAuc.push({ feature, auc: separationByValues(await countByValue(duck, feature)) })
  for (const [feature, counts] of await countMissing(duck, featuresOf('number', definition)))
    featureAuc.push({ feature, auc: separationByValues(counts), ofMissing: true })
  return { featureAuc }
}

const featuresOf = (kind: Feature['kind'], { features }: ModelDefinition): string[] =>
  Object.keys(features).filter((name) => features[name]?.kind === kind)

/** Numbers that differ by the noise of a conversion are equal in so many digits. */
const roundedDigits = 5

/** Compares the values of test and training rows, exactly and with rounded numbers; undefined where no test row equals one. */
async function findEqualRows(
  duck: Duck,
  { features, split }: ModelDefinition,
): Promise<EqualRows | undefined> {
  const names = Object.keys(features)
  const exact = names.map(quotedIdentifier)
  const rounded = names.map((name) => {
    const column = quotedIdentifier(name)
    if (features[name]!.kind !== 'number') return column
    const digits = `${roundedDigits - 1} - cast(floor(log10(abs(${column}))) as integer)`
    return `case when ${column} is null or ${column} = 0 or not isfinite(${column}) then ${column} else round(${column}, ${digits}) end`
  })
  const found = async (values: readonly string[]): Promise<EqualRows | undefined> => {
    await duck.run(`create or replace temp table _row_hashes as
      select hash(${values.join(', ')}) as h, hash(hash(${values.join(', ')}), ${label}) as l, ${part} as p
      from snapshot where ${part} in ('train', 'test')`)
    const [shares] = await duck.rows<{ features: number | null; withLabel: number | null }>(`
      select avg(cast(h in (select h from _row_hashes where p = 'train') as double)) as features,
        avg(cast(l in (select l from _row_hashes where p = 'train') as double)) as "withLabel"
      from _row_hashes where p = 'test'`)
    if ((shares?.features ?? 0) === 0) return undefined
    const sizes = await duck.rows<{ size: number; groups: number }>(
      'select size, count(*) as groups from (select count(*) as size from _row_hashes group by h) group by size',
    )
    const isCopied = areCopied(new Map(sizes.map(({ size, groups }) => [Number(size), Number(groups)])))
    return {
      features: shares!.features!,
      withLabel: shares!.withLabel!,
      isCopied,
      ...(split.kind === 'time' ? { isByTime: true as const } : {}),
    }
  }
  try {
    const exactly = await found(exact)
    if (exactly?.isCopied === true || !names.some((name) => features[name]!.kind === 'number')) return exactly
    const roughly = await found(rounded)
    return roughly?.isCopied === true ? { ...roughly, isRounded: true } : exactly
  } finally {
    await duck.run('drop table if exists _row_hashes')
  }
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

/** Whether a class has another share in the test rows of a split by time. */
async function findShift(
  duck: Duck,
  { label: { output }, split }: ModelDefinition,
): Promise<ClassShift | undefined> {
  if (split.kind !== 'time' || isOfNumbers(output)) return undefined
  const counted = await duck.rows<Counted & { rows: number }>(`
    select ${label} as label, ${part} = 'test' as "isTest", count(*) as rows
    from snapshot where ${part} in ('train', 'test') and ${label} is not null group by all order by all`)
  const [counts] = countsOf(
    counted,
    () => 'all',
    ({ rows }) => rows,
  )
  return counts && findClassShift(labelsOf(counted), counts)
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
const maxCells = 4_000_000

/**
 * Yields each number with each label. For classes from all rows, because a rare class has few test rows; otherwise from the test rows.
 */
async function* numbersAndLabels(
  duck: Duck,
  definition: ModelDefinition,
): AsyncGenerator<{ feature: string; y: ArrayLike<unknown>; score: ArrayLike<number> }> {
  const { output } = definition.label
  const from = `snapshot where ${taskOf(output).labelKind === 'text' ? 'true' : `${part} = 'test'`}`
  const [counted] = await duck.rows<{ n: number }>(`select count(*) as n from ${from}`)
  const numbers = featuresOf('number', definition)
  const labels = snapshotLabels(output)
  const size = Math.max(1, Math.floor(maxCells / Math.max(1, counted!.n)))
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

/** The rows of each class in which a query counted something. */
interface Counted {
  label: number | string
  isTest: boolean
}

/** The values with the most training rows; the others count as one value. */
const maxValues = 10_000

/** Counts the training and test rows of each class for each value of a category; a missing value is a value too. */
async function countByValue(duck: Duck, feature: string): Promise<ClassCounts[]> {
  const name = quotedIdentifier(feature)
  const counted = await duck.rows<Counted & { place: number | null; rows: number }>(`
    with frequent as (
      select value, row_number() over () as place from (
        select ${name} as value from snapshot where ${part} = 'train'
        group by 1 order by count(*) desc, 1 limit ${maxValues}))
    select f.place as place, s.${label} as label, s.${part} = 'test' as "isTest", count(*) as rows
    from snapshot s left join frequent f on s.${name} is not distinct from f.value
    where s.${part} in ('train', 'test') and s.${label} is not null group by all order by all`)
  return countsOf(
    counted,
    ({ place }) => place,
    ({ rows }) => rows,
  )
}

/** Counts the rows of each class with and without a value, for each of the features that are missing in some rows. */
async function countMissing(duck: Duck, names: readonly string[]): Promise<[string, ClassCounts[]][]> {
  if (names.length === 0) return []
  const missing = names.map((name, at) => `count(*) - count(${quotedIdentifier(name)}) as n${at}`)
  const counted = await duck.rows<Counted & { rows: number } & Record<`n${number}`, number>>(`
    select ${label} as label, ${part} = 'test' as "isTest", count(*) as rows, ${missing.join(', ')}
    from snapshot where ${part} in ('train', 'test') and ${label} is not null group by all order by all`)
  return names.flatMap((name, at) => {
    const absent = countsOf(
      counted,
      () => 'missing',
      (row) => row[`n${at}`]!,
    )
    const present = countsOf(
      counted,
      () => 'present',
      (row) => row.rows - row[`n${at}`]!,
    )
    const isMissing = counted.some((row) => row[`n${at}`]! > 0)
    return isMissing ? [[name, [...absent, ...present]] satisfies [string, ClassCounts[]]] : []
  })
}

const labelsOf = (counted: readonly Counted[]) => [...new Set(counted.map(({ label }) => label))]

/** Adds up counts of rows by value and class. */
function countsOf<T extends Counted>(
  counted: readonly T[],
  valueOf: (row: T) => unknown,
  rowsOf: (row: T) => number,
): ClassCounts[] {
  const labels = labelsOf(counted)
  const values = new Map<unknown, { train: number[]; test: number[] }>()
  for (const row of counted) {
    const value = valueOf(row)
    const counts = values.get(value) ?? { train: labels.map(() => 0), test: labels.map(() => 0) }
    counts[row.isTest ? 'test' : 'train'][labels.indexOf(row.label)]! += rowsOf(row)
    values.set(value, counts)
  }
  return [...values.values()]
}

/** Yields for each category and each label the label of the test rows beside the mean label of their value in the training rows. */
async function* categoryMeans(
  duck: Duck,
  definition: ModelDefinition,
): AsyncGenerator<{ feature: string; y: ArrayLike<number>; score: ArrayLike<number> }> {
  for (const feature of featuresOf('category', definition))
    for (const label of snapshotLabels(definition.label.output)) {
      const name = quotedIdentifier(feature)
      const table = await readTable(
        duck,
        `(select s.${label} as y, coalesce(f.mean, (select favg(${label}) from snapshot where ${part} = 'train')) as score
          from snapshot s left join (
            select ${name} as value, favg(${label}) as mean from snapshot where ${part} = 'train'
            group by 1 order by count(*) desc, 1 limit ${maxValues}) f
          on s.${name} is not distinct from f.value
          where s.${part} = 'test' and s.${label} is not null)`,
        ['y', 'score'],
      )
      yield {
        feature,
        y: asDoubles(requireColumn(table, 'y')),
        score: asDoubles(requireColumn(table, 'score')),
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
