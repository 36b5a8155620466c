/** Lists the hyperparameters that a sweep tries: every combination of a grid, or a number of random draws. */
import { seededRandom } from '@tenure/sequential'
import { issuesOfOverrides, type HyperparameterValue, type HyperparameterValues } from './overrides.ts'

/** The values of one hyperparameter, or the range of random draws. */
export type SweepDimension = readonly HyperparameterValue[] | { low: number; high: number }
export type SweepSpace = Readonly<Record<string, SweepDimension>>

export const maxSweepTrials = 200
export const maxSweepParallel = 16
/** When the ratio of the ends of a range reaches this value, draws are uniform in the logarithm. */
const logarithmicRatio = 10

const isRange = (dimension: SweepDimension): dimension is { low: number; high: number } =>
  !Array.isArray(dimension)

/** A value that is listed twice is tried once. */
const valuesOf = (values: readonly HyperparameterValue[]): HyperparameterValue[] => [...new Set(values)]

type Declared = Parameters<typeof issuesOfOverrides>[0]

/** Why the space cannot be searched, one sentence per issue. */
export function issuesOfSweep(model: Declared, space: SweepSpace, random: number | undefined): string[] {
  const dimensions = Object.entries(space)
  if (dimensions.length === 0) return ['no hyperparameter to try: name at least one with its values']
  const issues = dimensions.flatMap(([name, dimension]) => {
    const ends = isRange(dimension) ? [dimension.low, dimension.high] : dimension
    if (ends.length === 0) return [`${name} has no value to try`]
    if (isRange(dimension) && !(dimension.low < dimension.high))
      return [`the range of ${name} must rise, not ${dimension.low} to ${dimension.high}`]
    if (isRange(dimension) && random === undefined)
      return [`${name} is a range, which needs a number of random draws: --random 20, or "random": 20`]
    return [...new Set(ends.flatMap((value) => issuesOfOverrides(model, { [name]: value })))]
  })
  const trials =
    random ?? dimensions.reduce((count, [, each]) => count * (isRange(each) ? 1 : valuesOf(each).length), 1)
  if (trials > maxSweepTrials) issues.push(`${trials} trials are more than ${maxSweepTrials}`)
  return issues
}

/** The overrides of each trial, in a fixed order and without duplicates. A grid is the product of its lists. */
export function candidatesOf(
  { hyperparameters }: Declared,
  space: SweepSpace,
  { random, seed }: { random?: number; seed: number },
): HyperparameterValues[] {
  const dimensions = Object.entries(space)
  if (random === undefined) {
    return dimensions.reduce<HyperparameterValues[]>(
      (before, [name, values]) =>
        before.flatMap((each) =>
          valuesOf(values as readonly HyperparameterValue[]).map((value) => ({ ...each, [name]: value })),
        ),
      [{}],
    )
  }
  const uniform = seededRandom(seed)
  const found = new Map<string, HyperparameterValues>()
  // A small space has fewer combinations than requested draws.
  for (let draw = 0; draw < random * 20 && found.size < random; draw++) {
    const candidate = Object.fromEntries(
      dimensions.map(([name, dimension]) => [name, drawOf(dimension, hyperparameters[name], uniform())]),
    )
    found.set(JSON.stringify(candidate), candidate)
  }
  return [...found.values()]
}

function drawOf(
  dimension: SweepDimension,
  declared: HyperparameterValue | undefined,
  uniform: number,
): HyperparameterValue {
  if (!isRange(dimension)) {
    const values = valuesOf(dimension)
    return values[Math.floor(uniform * values.length)]!
  }
  const { low, high } = dimension
  // A number that is whole in the model file, with whole ends, stays whole.
  const isWhole = [low, high, declared].every(Number.isSafeInteger)
  const isLogarithmic = low > 0 && high / low >= logarithmicRatio
  const end = isWhole ? high + 1 : high
  const value = isLogarithmic ? low * (end / low) ** uniform : low + (end - low) * uniform
  if (isWhole) return Math.min(high, Math.floor(value))
  // Four digits of the range: the digits that all of its values share do not count.
  const shared = Math.max(0, Math.floor(Math.log10(Math.max(-low, high) / (high - low))))
  return Math.min(high, Math.max(low, Number(value.toPrecision(Math.min(16, 4 + shared)))))
}

export interface ScoredTrial {
  overrides: HyperparameterValues
  /** The primary metric on the validation rows; absent for a trial that failed or was stopped. */
  score?: number
}

/** The trial with the best score, the first of equal ones; undefined when none has a score. */
export function bestTrial<T extends ScoredTrial>(
  trials: readonly T[],
  higherIsBetter: boolean,
): T | undefined {
  const sign = higherIsBetter ? 1 : -1
  return trials.reduce<T | undefined>((best, each) => {
    if (each.score === undefined || !Number.isFinite(each.score)) return best
    return best === undefined || sign * each.score > sign * best.score! ? each : best
  }, undefined)
}
