/**
 * Computes the paired bootstrap: how much the difference of two models varies over resampled test rows. Rows of one entity are drawn
 * together, because ten rows of one customer are not ten customers. One resample weights the rows for all metrics (Efron, Annals of
 * Statistics, 1979).
 */
import { quantileOfSorted } from './quantiles.ts'
import { seededDraws, type SeededDraws } from './random.ts'
import { binomial } from './random-variates.ts'

/** One value a row. */
export type StatisticColumn = Float64Array | Uint8Array

/** A metric that is a function of sums over rows. */
export interface SumStatistic {
  kind: 'sums'
  /** One value per row in each column; a column of bytes when values are 0 or 1. */
  columns: StatisticColumn[]
  /** Computes the metric from the weighted sums of the columns and the sum of the weights. */
  value: (sums: ArrayLike<number>, weight: number) => number | null
}

/** A metric that needs the weight of each row, such as a rank statistic. */
export interface WeightStatistic {
  kind: 'weights'
  value: (weights: ArrayLike<number>) => number | null
}

/** A metric of rows, as a function of their weights: in a resample, how often each row is drawn. */
export type Statistic = SumStatistic | WeightStatistic

/** How rows are resampled. */
export interface BootstrapOptions {
  resamples: number
  seed: number
  /** The entity of each row; rows of one entity are drawn together. */
  entities?: readonly (string | number)[]
}

/** The statistic on the original rows; null without rows. */
export function pointValue(statistic: Statistic, rows: number): number | null {
  if (rows === 0) return null
  if (statistic.kind === 'weights') return statistic.value(new Float64Array(rows).fill(1))
  return statistic.value(statistic.columns.map(columnSum), rows)
}

/**
 * With more rows, this many random groups of rows are drawn instead, so that a resample has a fixed cost. The sums of random groups vary
 * as the rows do; their number adds 1 / √(2 · groups) to the relative error of an interval's width.
 */
export const maxDrawnRows = 100_000

/**
 * The values of each statistic over the resamples; undefined values are omitted.
 * @param statistics metrics of the same rows; one resample weights the rows for all of them, so that their differences are paired
 * @param rows the number of rows
 */
export function bootstrap(
  statistics: readonly Statistic[],
  rows: number,
  options: BootstrapOptions,
): Float64Array[] {
  const { resamples, seed, entities } = options
  // A column that several metrics use is summed once.
  const columns = [...new Set(statistics.flatMap((each) => (each.kind === 'sums' ? each.columns : [])))]
  const places = statistics.map((each) =>
    each.kind === 'sums' ? each.columns.map((column) => columns.indexOf(column)) : [],
  )
  const inputs = places.map((place) => new Float64Array(place.length))
  const areSums = statistics.every((each) => each.kind === 'sums')
  const cells = entities === undefined && areSums ? cellsOf(columns, rows) : null
  const random = seededDraws(seed)
  const owner =
    entities !== undefined
      ? ownersOf(entities)
      : areSums && cells === null && rows > maxDrawnRows
        ? randomGroups(rows, random)
        : null
  const draw = cells === null ? rowDraws(statistics, columns, rows, owner) : cellDraws(cells, rows)
  const values = statistics.map(() => new Float64Array(resamples))
  const found = statistics.map(() => 0)

  for (let r = 0; r < resamples && rows > 0; r++) {
    const { sums, weight, weights } = draw(random)
    statistics.forEach((statistic, s) => {
      const input = inputs[s]!
      for (let j = 0; j < input.length; j++) input[j] = sums[places[s]![j]!]!
      const value = statistic.kind === 'sums' ? statistic.value(input, weight) : statistic.value(weights)
      if (value !== null && Number.isFinite(value)) values[s]![found[s]!++] = value
    })
  }
  return values.map((list, s) => list.subarray(0, found[s]))
}

function randomGroups(rows: number, { uniform }: SeededDraws): Uint32Array {
  const groups = new Uint32Array(rows)
  for (let row = 0; row < rows; row++) groups[row] = Math.floor(uniform() * maxDrawnRows)
  return groups
}

/** One resample: the weighted sums of the columns, the sum of the weights, and each row's weight. */
type Draw = (random: SeededDraws) => { sums: Float64Array; weight: number; weights: Float64Array }

function rowDraws(
  statistics: readonly Statistic[],
  columns: readonly StatisticColumn[],
  rows: number,
  owner: Uint32Array | null,
): Draw {
  const byUnit = (column: StatisticColumn): Float64Array =>
    owner !== null
      ? sumByUnit(column, owner)
      : column instanceof Float64Array
        ? column
        : new Float64Array(column)
  const tables = columns.map(byUnit)
  const sizes = byUnit(new Uint8Array(rows).fill(1))
  const units = sizes.length
  const counts = new Uint32Array(units)
  const drawn = new Float64Array(units)
  const weights =
    owner === null || statistics.every((each) => each.kind === 'sums') ? drawn : new Float64Array(rows)
  const sums = new Float64Array(columns.length)
  return ({ countPlaces }) => {
    counts.fill(0)
    countPlaces(counts)
    drawn.set(counts)
    for (let j = 0; j < tables.length; j++) sums[j] = dot(drawn, tables[j]!)
    if (weights !== drawn) for (let i = 0; i < rows; i++) weights[i] = drawn[owner![i]!]!
    return { sums, weight: owner === null ? rows : dot(drawn, sizes), weights }
  }
}

interface Cell {
  rows: number
  values: number[]
}

const maxCells = 200

/** The distinct rows with their frequency, such as those of 0/1 columns; null when there are too many. */
function cellsOf(columns: readonly StatisticColumn[], rows: number): Cell[] | null {
  const cells = new Map<string | number, Cell>()
  const valuesOf = (row: number) => columns.map((column) => column[row]!)
  // A number as key allocates no memory for each of ten million rows.
  const areBits = columns.length <= 30 && columns.every((column) => column instanceof Uint8Array)
  const bitsOf = (row: number) => columns.reduce((bits, column) => bits * 2 + column[row]!, 0)
  for (let row = 0; row < rows; row++) {
    const key = areBits ? bitsOf(row) : valuesOf(row).join()
    let cell = cells.get(key)
    if (cell === undefined) {
      cell = { rows: 0, values: valuesOf(row) }
      cells.set(key, cell)
      if (cells.size > maxCells || cells.size * 10 > rows) return null
    }
    cell.rows++
  }
  return [...cells.values()]
}

/** Draws the frequency of each distinct row (multinomial), so that a resample costs one draw per distinct row. */
function cellDraws(cells: readonly Cell[], rows: number): Draw {
  const sums = new Float64Array(cells[0]?.values.length ?? 0)
  const weights = new Float64Array(0)
  return ({ uniform }) => {
    sums.fill(0)
    let open = rows
    let left = rows
    for (const cell of cells) {
      const drawn = cell.rows === left ? open : binomial(uniform, open, cell.rows / left)
      open -= drawn
      left -= cell.rows
      for (let j = 0; j < sums.length; j++) sums[j]! += drawn * cell.values[j]!
    }
    return { sums, weight: rows, weights }
  }
}

/** Four independent sums, so that an addition need not wait for the previous one. */
function dot(a: Float64Array, b: Float64Array): number {
  const n = a.length
  let [s0, s1, s2, s3] = [0, 0, 0, 0]
  let i = 0
  for (; i + 3 < n; i += 4) {
    s0 += a[i]! * b[i]!
    s1 += a[i + 1]! * b[i + 1]!
    s2 += a[i + 2]! * b[i + 2]!
    s3 += a[i + 3]! * b[i + 3]!
  }
  for (; i < n; i++) s0 += a[i]! * b[i]!
  return s0 + s1 + (s2 + s3)
}

/** The sum of a column over the rows of each unit; units are numbered from 0. */
export function sumByUnit(column: StatisticColumn, owner: Uint32Array): Float64Array {
  let units = 0
  for (let row = 0; row < owner.length; row++) if (owner[row]! >= units) units = owner[row]! + 1
  const sums = new Float64Array(units)
  for (let row = 0; row < column.length; row++) sums[owner[row]!]! += column[row]!
  return sums
}

function columnSum(column: StatisticColumn): number {
  let sum = 0
  for (let row = 0; row < column.length; row++) sum += column[row]!
  return sum
}

/** Numbers the entities from 0, in order of appearance. */
export function ownersOf(entities: readonly (string | number)[]): Uint32Array {
  const numbers = new Map<string | number, number>()
  return Uint32Array.from(entities, (entity) => {
    const known = numbers.get(entity)
    if (known !== undefined) return known
    numbers.set(entity, numbers.size)
    return numbers.size - 1
  })
}

/** Percentile bounds of a statistic, in its unit; null where they are undefined. */
export interface Interval {
  low: number | null
  high: number | null
  /** The one-sided lower bound at `confidence`. */
  oneSidedLow: number | null
}

/** Percentile bounds; null when the statistic is undefined in more than 5 % of the resamples. */
export function percentileInterval(values: Float64Array, resamples: number, confidence: number): Interval {
  if (values.length < 0.95 * resamples || values.length === 0)
    return { low: null, high: null, oneSidedLow: null }
  const sorted = values.slice().sort()
  const tail = (1 - confidence) / 2
  return {
    low: quantileOfSorted(sorted, tail),
    high: quantileOfSorted(sorted, 1 - tail),
    oneSidedLow: quantileOfSorted(sorted, 1 - confidence),
  }
}
