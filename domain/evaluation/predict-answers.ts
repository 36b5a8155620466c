/**
 * Compares the answers of champion and challenger to the labelled test rows: how often each answer is given, which rows would be answered otherwise, and
 * which version was right there. A release asks only about what goes beyond that.
 */
import { outputNames } from '@tenure/predictors/features'
import { answeredRows, answerReader, type ModelAnswers } from '../metrics/answers.ts'
import { scoreRanges, type ReferenceProfile } from '../model/reference-profile.ts'
import { distanceSteps } from '../canary/disagreement.ts'
import {
  minPredictingRows,
  type AnswerCell,
  type PredictedAnswers,
  type PredictedDistance,
} from '../canary/predicted-answers.ts'
import { judgedLossOf } from '../tasks/losses.ts'
import { scaledLoss } from '../tasks/numeric.ts'
import type { Output } from '../tasks/output.ts'
import { answerBins, answerCounter, placesIn, sharedBins, taskOf } from '../tasks/tasks.ts'

export interface ComparedAnswers {
  /** The labels as the gate has them, of the numbers that both versions answer. */
  y: readonly number[]
  /** The challenger's answers, and what they are. */
  challenger: { answers: ModelAnswers; output: Output }
  /** The champion's answers in the form of `shared`, and what it answers itself. */
  champion: {
    answers: ModelAnswers
    output: Output
    profile: ReferenceProfile | undefined
  }
  /** What both versions answer, in the order of the challenger. */
  shared: Output
  /** The day of each row; absent where the rows have no time. */
  days?: ArrayLike<number>
  slices: readonly { name: string; rows: ArrayLike<number> }[]
}

/** Parts of rows without days. */
const parts = 10

/** Undefined for answers without bins, and for too few rows. */
export function predictAnswers(compared: ComparedAnswers): PredictedAnswers | undefined {
  const { challenger, champion, shared, slices } = compared
  const rows = answeredRows(challenger.answers)
  const bins = answerBins(champion.output, champion.profile)
  if (bins === undefined || rows < minPredictingRows) return undefined
  // A version without named outputs decides by its own threshold.
  const form = outputNames(champion.output).length === 0 ? champion.output : shared
  const readers = [
    binReader(answerCounter(bins, form), champion.answers, bins.names.length),
    binReader(answerCounter(bins, challenger.output), challenger.answers, bins.names.length),
  ] as const
  const [binsOfChampion, binsOfChallenger] = readers
  if (binsOfChampion === undefined || binsOfChallenger === undefined) return undefined
  const { places } = sharedBins(bins, challenger.output)
  const placeOf = new Map(places.map((bin, place) => [bin, place]))
  const names = places.map((bin) => bins.names[bin]!)
  const compare = comparison(compared, form)
  const blocks = blocksOf(compared.days, rows)
  const counted = Array.from({ length: blocks.count }, () => ({
    rows: 0,
    champion: names.map(() => 0),
    challenger: names.map(() => 0),
  }))
  const cells = new Map<number, AnswerCell>()
  const distances = new Float64Array(rows)
  for (let row = 0; row < rows; row++) {
    const block = counted[blocks.of(row)]!
    block.rows++
    const { distance, championRight, challengerRight } = compare(row)
    distances[row] = distance
    const others = binsOfChallenger(row).flatMap((bin) => placeOf.get(bin) ?? [])
    const own = binsOfChampion(row).flatMap((bin) => placeOf.get(bin) ?? [])
    for (const [number, a] of own.entries()) {
      const b = others[number]
      if (b === undefined) continue
      block.champion[a]!++
      block.challenger[b]!++
      const key = a * names.length + b
      let cell = cells.get(key)
      if (cell === undefined)
        cells.set(key, (cell = { champion: a, candidate: b, rows: 0, championRight: 0, candidateRight: 0 }))
      cell.rows++
      cell.championRight += championRight
      cell.candidateRight += challengerRight
    }
  }
  const whole = { name: 'all requests', rows: Uint32Array.from({ length: rows }, (_, row) => row) }
  return {
    names,
    rows,
    cells: [...cells.values()].sort((a, b) => b.rows - a.rows),
    sd: names.map((_, i) =>
      spread(
        counted.map((block) => [
          block.rows,
          Math.log((block.challenger[i]! + 0.5) / (block.champion[i]! + 0.5)),
        ]),
      ),
    ),
    distances: [whole, ...slices].flatMap((part) => distanceOf(part, distances, blocks) ?? []),
    blocks: { count: blocks.count, of: blocks.by },
  }
}

/** The bins of an answer, in the order of its numbers. Undefined without a counter. */
function binReader(counter: ReturnType<typeof answerCounter>, answers: ModelAnswers, bins: number) {
  if (counter === undefined) return undefined
  const rowAt = answerReader(answers)
  const counts = Array.from({ length: bins }, () => 0)
  return (row: number): number[] => {
    // Serving compares 32-bit numbers.
    counter(counts, Float32Array.from(rowAt(row)), 0)
    const found: number[] = []
    for (let bin = 0; bin < bins; bin++) {
      if (counts[bin] === 0) continue
      found.push(bin)
      counts[bin] = 0
    }
    return found
  }
}

/** What the shadow compares of one row, and which version was right or, for numbers, nearer to the truth. */
function comparison({ y, challenger, champion, shared }: ComparedAnswers, form: Output) {
  const [ownAt, givenAt] = [answerReader(challenger.answers), answerReader(champion.answers)]
  const own = taskOf(challenger.output).decides
  const given = taskOf(form).decides
  if (own !== undefined && given !== undefined)
    return (row: number) => {
      const [a, b] = [given.of(form, givenAt(row)), own.of(challenger.output, ownAt(row))]
      return {
        distance: Number(a !== b),
        championRight: Number(a === y[row]),
        challengerRight: Number(b === y[row]),
      }
    }
  const ranges = scoreRanges(champion.profile)
  // The order of the champion's profile, in that of the shared numbers.
  const scales = placesIn(champion.output, shared).map((place) => ranges[place] ?? 0)
  const places = placesIn(challenger.output, shared)
  const lossBy = taskOf(shared).losses[judgedLossOf(shared).loss]
  const width = y.length / answeredRows(champion.answers)
  return (row: number) => {
    const a = [...givenAt(row)]
    const b = places.map((place) => ownAt(row)[place] ?? NaN)
    const truths = y.slice(row * width, (row + 1) * width)
    const lossOf = (answer: readonly number[]) => lossBy?.(shared, answer, truths, { scales }) ?? 0
    const [lost, loss] = [lossOf(a), lossOf(b)]
    const differences = a.map((value, k) => Math.abs(value - b[k]!))
    return {
      distance: Math.round((scaledLoss(differences, scales) ?? NaN) * distanceSteps) / distanceSteps,
      championRight: Number(lost < loss),
      challengerRight: Number(loss < lost),
    }
  }
}

interface Blocks {
  count: number
  by: 'days' | 'rows'
  of: (row: number) => number
}

function blocksOf(days: ArrayLike<number> | undefined, rows: number): Blocks {
  const places = new Map<number, number>()
  for (let row = 0; row < (days?.length ?? 0); row++)
    if (!places.has(days![row]!)) places.set(days![row]!, places.size)
  if (days !== undefined && places.size > 1)
    return { count: places.size, by: 'days', of: (row) => places.get(days[row]!)! }
  return { count: parts, by: 'rows', of: (row) => Math.floor((row * parts) / rows) }
}

function distanceOf(
  { name, rows }: { name: string; rows: ArrayLike<number> },
  distances: Float64Array,
  blocks: Blocks,
): PredictedDistance | undefined {
  const sums = Array.from({ length: blocks.count }, () => [0, 0] as [number, number])
  for (let i = 0; i < rows.length; i++) {
    const distance = distances[rows[i]!]!
    if (Number.isNaN(distance)) continue
    const sum = sums[blocks.of(rows[i]!)]!
    sum[0]++
    sum[1] += distance
  }
  const [count, total] = sums.reduce(([n, of], [m, sum]) => [n + m, of + sum], [0, 0])
  if (count === 0) return undefined
  return { name, mean: total / count, sd: spread(sums.map(([n, sum]) => [n, n === 0 ? 0 : sum / n])) }
}

/** The standard deviation of values, each with its weight. */
function spread(values: readonly (readonly [number, number])[]): number {
  const total = values.reduce((sum, [weight]) => sum + weight, 0)
  const mean = values.reduce((sum, [weight, value]) => sum + (weight * value) / total, 0)
  return Math.sqrt(values.reduce((sum, [weight, value]) => sum + (weight * (value - mean) ** 2) / total, 0))
}
