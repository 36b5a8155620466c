/**
 * Searches the test rows for undeclared slices in which the challenger is worse than the champion. One half of the entities
 * proposes slices, by a greedy tree of depth 2 on the difference of the losses; the other half proves them, each by an e-value for H0 "the
 * mean difference is at most 0" (Waudby-Smith and Ramdas, JRSS-B 2024), all together by e-BH (Wang and Ramdas, JRSS-B 2022). A finding is
 * advice: it blocks nothing.
 */
import {
  eBenjaminiHochberg,
  meanAboveZero,
  pointValue,
  quantileOfSorted,
  seededRandom,
} from '@tenure/sequential'
import { counted } from '../figures.ts'
import { cellOf, type CellColumn, type ColumnTable } from '../model/columns.ts'
import { higherIsBetter, pick, rowLosses, statisticOf } from './metrics.ts'
import type { GatePolicy } from './policy.ts'
import type { ScoredRows } from './scored-rows.ts'
import type { SliceMetric } from './gate-metrics.ts'

export interface SliceSearch {
  /** The metric by which slices are compared: that of the declared slices, or the loss of a row where that has none. */
  metric: SliceMetric
  /** The rows that proposed, and those that proved. */
  rows: { proposing: number; proving: number }
  /** The number of slices that were proposed. */
  proposed: number
  /** Those in which the challenger is worse, the most certain first. */
  found: FoundSlice[]
}

export interface FoundSlice {
  /** What its rows have in common: `age < 30 and country = DE`. */
  name: string
  /** Its rows in the half that proposed, and in the half that proved. */
  rows: { proposing: number; proving: number }
  /** The metric in the half that proved, where nobody has looked for it. */
  champion: number | null
  challenger: number | null
}

/** The result of the search, in a sentence without the slices. */
export function searchText({ rows: { proposing, proving }, proposed, found }: SliceSearch): string {
  const searched = `${counted(proposing, 'test row')} proposed ${counted(proposed, 'slice')} in which the challenger may be worse`
  if (proposed === 0)
    return `${counted(proposing, 'test row')} show no slice in which the challenger may be worse.`
  return found.length === 0
    ? `${searched}; ${counted(proving, 'other row')} prove none of them.`
    : `${searched}; ${counted(proving, 'other row')} prove ${found.length} of them (false discovery rate 5 %). They block nothing: declare one in evaluation.slices to have it judged.`
}

const maxProposals = 50
/** Larger test sets are sampled, by entity. */
const maxRows = 200_000
/** The share of false findings. */
const falseDiscoveries = 0.05
/** A number is cut at these quantiles of the half that proposes. */
const cuts = [0.1, 0.25, 0.5, 0.75, 0.9]
/** The most frequent texts of a column; others are not proposed. */
const maxTexts = 20
/** A longer text is shown by its beginning. */
const maxCharacters = 60
/** The slices of one condition that get a second one. */
const maxParents = 10
/** A larger difference of losses counts as one of this share of the differences, so that single rows decide nothing. */
const clippedAt = 0.99

export interface SearchedRows {
  columns: ColumnTable['columns']
  challenger: ScoredRows
  champion: ScoredRows
  /** The entity of each row, when an entity has several rows. */
  entities?: readonly (string | number)[] | undefined
}

/** Undefined where no metric has a loss for each row, and when a half has too few rows for a slice. */
export function searchSlices(
  { columns, challenger, champion, entities }: SearchedRows,
  policy: Pick<GatePolicy, 'slices' | 'evidence' | 'seed'>,
): SliceSearch | undefined {
  const metric = [policy.slices.metric, 'brier' as const, 'mae' as const].find(
    (each) => rowLosses(each, challenger) !== null,
  )
  const [own, old] = [metric && rowLosses(metric, challenger), metric && rowLosses(metric, champion)]
  if (metric === undefined || !own || !old) return undefined
  const halves = halvesOf(own.length, entities, policy.seed)
  const [proposing, proving] = halves
  const least = policy.evidence.sliceRows
  if (Math.min(proposing.length, proving.length) < least) return undefined
  const sign = higherIsBetter(metric) ? -1 : 1
  const harms = Float64Array.from(own, (loss, row) => sign * (loss - old[row]!))
  const proposals = propose(columns, harms, proposing, least)
  const scale = scaleOf(harms, proposing)
  const proved = proposals.map((proposal) => {
    const rows = proving.filter((row) => proposal.conditions.every(({ holds }) => holds(row)))
    return { proposal, rows, logE: evidenceOf(rows, harms, scale, entities) }
  })
  const isFound = eBenjaminiHochberg(
    proved.map(({ logE }) => logE),
    falseDiscoveries,
  )
  const found = proved
    .filter((_, at) => isFound[at])
    .toSorted((one, other) => other.logE - one.logE)
    .map(({ proposal, rows }): FoundSlice => {
      const value = (scored: ScoredRows) => pointValue(statisticOf(metric, pick(scored, rows)), rows.length)
      return {
        name: proposal.conditions.map(({ name }) => name).join(' and '),
        rows: { proposing: proposal.rows.length, proving: rows.length },
        champion: value(champion),
        challenger: value(challenger),
      }
    })
  return {
    metric,
    rows: { proposing: proposing.length, proving: proving.length },
    proposed: proposals.length,
    found,
  }
}

/** Two random halves of the rows; all rows of an entity are in the same one, or in neither. */
function halvesOf(
  rows: number,
  entities: readonly (string | number)[] | undefined,
  seed: number,
): [proposing: Uint32Array, proving: Uint32Array] {
  const random = seededRandom(seed)
  const share = Math.min(1, maxRows / rows)
  const drawn = new Map<string | number, number>()
  const halves: [number[], number[]] = [[], []]
  for (let row = 0; row < rows; row++) {
    const entity = entities?.[row]
    const draw = (entity === undefined ? undefined : drawn.get(entity)) ?? random() / share
    if (entity !== undefined) drawn.set(entity, draw)
    if (draw < 1) halves[draw < 0.5 ? 0 : 1].push(row)
  }
  return [Uint32Array.from(halves[0]), Uint32Array.from(halves[1])]
}

interface Condition {
  column: string
  name: string
  holds: (row: number) => boolean
}

interface Proposal {
  conditions: Condition[]
  rows: Uint32Array
  /** The mean harm in its standard errors. */
  z: number
}

/** Of each column the worst condition; of the worst of these, with each other column, where the two together are more certain. */
function propose(
  columns: ColumnTable['columns'],
  harms: Float64Array,
  rows: Uint32Array,
  least: number,
): Proposal[] {
  const conditions = Object.entries(columns).map(([name, column]) => conditionsOf(name, column, rows, least))
  const within = (parent: Uint32Array, before: Condition[]): Proposal[] =>
    conditions.flatMap((list) =>
      before.some(({ column }) => column === list[0]?.column)
        ? []
        : worstOf(
            list.map((condition) => {
              const kept = parent.filter((row) => condition.holds(row))
              return { conditions: [...before, condition], rows: kept, z: certaintyOf(kept, harms, least) }
            }),
          ),
    )
  const singles = within(rows, []).toSorted((one, other) => other.z - one.z)
  const pairs = singles
    .slice(0, maxParents)
    .flatMap((single) => within(single.rows, single.conditions).filter(({ z }) => z > single.z))
  const isNew = new Set<string>()
  return [...singles, ...pairs]
    .filter(({ z }) => z > 0)
    .toSorted((one, other) => other.z - one.z)
    .filter((proposal) => {
      const key = JSON.stringify(proposal.conditions.map(({ name }) => name).toSorted())
      return !isNew.has(key) && isNew.add(key)
    })
    .slice(0, maxProposals)
}

const worstOf = (proposals: Proposal[]): Proposal[] =>
  proposals.toSorted((one, other) => other.z - one.z).slice(0, 1)

/** The mean harm over its standard error; −Infinity for fewer rows than a slice has. */
function certaintyOf(rows: Uint32Array, harms: Float64Array, least: number): number {
  if (rows.length < least) return -Infinity
  let [sum, squares] = [0, 0]
  for (const row of rows) {
    sum += harms[row]!
    squares += harms[row]! ** 2
  }
  const mean = sum / rows.length
  const variance = Math.max(0, squares / rows.length - mean * mean)
  if (variance === 0) return mean > 0 ? Number.MAX_VALUE : -Infinity
  return mean / Math.sqrt(variance / rows.length)
}

function conditionsOf(name: string, column: CellColumn, rows: Uint32Array, least: number): Condition[] {
  const missing = {
    column: name,
    name: `${name} is missing`,
    holds: (row: number) => cellOf(column, row) === null,
  }
  if (column.kind === 'text') {
    const counts = new Map<number, number>()
    for (const row of rows) counts.set(column.codes[row]!, (counts.get(column.codes[row]!) ?? 0) + 1)
    counts.delete(column.texts.length)
    const frequent = [...counts]
      .filter(([, count]) => count >= least)
      .toSorted(([, one], [, other]) => other - one)
      .slice(0, maxTexts)
    return [
      ...frequent.map(([code]) => ({
        column: name,
        name: `${name} = ${column.texts[code]!.slice(0, maxCharacters)}`,
        holds: (row: number) => column.codes[row] === code,
      })),
      missing,
    ]
  }
  const { values, nulls } = column
  const known = Float64Array.from(
    rows.filter((row) => nulls?.[row] !== 1),
    (row) => values[row]!,
  ).sort()
  const places = new Set(cuts.map((cut) => Number(quantileOfSorted(known, cut)?.toPrecision(4))))
  return [
    ...[...places].flatMap((cut) => [
      {
        column: name,
        name: `${name} < ${cut}`,
        holds: (row: number) => nulls?.[row] !== 1 && values[row]! < cut,
      },
      {
        column: name,
        name: `${name} ≥ ${cut}`,
        holds: (row: number) => nulls?.[row] !== 1 && values[row]! >= cut,
      },
    ]),
    missing,
  ]
}

/** The difference that counts as 1: that of few rows is larger. */
function scaleOf(harms: Float64Array, rows: Uint32Array): number {
  const sizes = Float64Array.from(rows, (row) => Math.abs(harms[row]!)).filter((size) => size > 0)
  return quantileOfSorted(sizes.sort(), clippedAt) ?? 1
}

/** The evidence, in nats, that the mean harm of the entities is above 0. */
function evidenceOf(
  rows: Uint32Array,
  harms: Float64Array,
  scale: number,
  entities: readonly (string | number)[] | undefined,
): number {
  const means = new Map<string | number, { sum: number; rows: number }>()
  for (const row of rows) {
    const entity = entities?.[row] ?? row
    const mean = means.get(entity) ?? { sum: 0, rows: 0 }
    mean.sum += Math.max(-1, Math.min(1, harms[row]! / scale))
    mean.rows++
    means.set(entity, mean)
  }
  const evidence = meanAboveZero()
  for (const mean of means.values()) evidence.add(mean.sum / mean.rows)
  return evidence.logE()
}
