/**
 * Generates the seeded streams with known drift: SEA (Street and Kim 2001), whose concept changes abruptly, and a rotating hyperplane
 * (Hulten, Spencer and Domingos 2001), which changes a little each week. Both have columns of operations besides: a region and an hour.
 */
import { dayMs } from '../half-year/clock.ts'
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import { seededRandom } from '@tenure/sequential'

export interface StreamRow {
  id: string
  atMs: number
  /** When its label reaches the table. */
  knownAtMs: number
  features: FeatureRow
  /** The true outcome. */
  label: number
  /** The label in the table. */
  told: number
}

export interface YearStream {
  name: string
  about: string
  features: Features
  /** The probability from which the answer is "yes". */
  threshold: number
  weekMs: number
  weeks: number
  /** Factor between the number and the same number in another unit. */
  unitFactor: number
  /** The columns that incidents touch. */
  columns: { unit: string; emptied: string; frozen: string; joined: string; region: string; hour: string }
  /** The regions whose labels or rows incidents touch, the most frequent of them first. */
  regions: string[]
  slices: { name: string; holds: (row: FeatureRow) => boolean }[]
  network: { units: number; epochs: number; batchSize: number; learningRate: number }
  /** Weeks of rows for training and testing a version, and the weeks before the training that are left out. */
  split: { train: number; test: number; matured: number }
  /** Maximum number of rows for training and for testing. */
  mostRows: { train: number; test: number }
  /**
   * Returns the rows of a week in time order; weeks before the first have negative numbers. `level` makes "yes" more frequent among the same
   * rows, where a stream can.
   */
  week(index: number, level?: number): StreamRow[]
}

/** Weeks before the first one, for the first training. */
export const leadWeeks = 4

const regions = ['north', 'east', 'south', 'west', 'coast', 'hills', 'lakes', 'isles']
const regionShares = [0.28, 0.2, 0.14, 0.12, 0.1, 0.07, 0.05, 0.04]
const hours = Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, '0'))

interface Size {
  weeks: number
  rowsAWeek: number
  seed: number
}

/** Computes the sum of a concept from the numbers of a row; region and hour are added to it. */
type Concept = (x: readonly number[]) => number

interface Synthetic extends Size {
  name: string
  about: string
  /** The names of the numbers, their upper limit, and the share of labels that are noise. */
  numbers: { count: number; max: number; noise: number }
  /** Maximum contribution of region and hour to the sum. */
  reach: number
  conceptOf(week: number): Concept
}

function synthetic(options: Synthetic): YearStream {
  const { name, about, weeks, rowsAWeek, seed, numbers, reach, conceptOf } = options
  const names = Array.from({ length: numbers.count }, (_, i) => `x${i + 1}`)
  const number = { kind: 'number', min: 0, max: numbers.max, missing: 'fill' } as const
  const weekMs = 7 * dayMs
  return {
    name,
    about,
    features: {
      ...Object.fromEntries(names.map((each) => [each, number])),
      region: { kind: 'category', missing: 'fill' },
      hour: { kind: 'category', missing: 'fill' },
    },
    threshold: 0.5,
    weekMs,
    weeks,
    unitFactor: 1_000,
    columns: { unit: 'x1', emptied: 'x2', frozen: 'x1', joined: 'x2', region: 'region', hour: 'hour' },
    regions,
    slices: regions.map((region) => ({ name: region, holds: (row) => row['region'] === region })),
    network: { units: 16, epochs: 4, batchSize: 256, learningRate: 0.01 },
    split: { train: 3, test: 3 / 7, matured: 0.5 / 7 },
    mostRows: { train: 6_000, test: 3_000 },
    week(index, level = 0) {
      const uniform = seededRandom(seed * 1_000 + index + leadWeeks)
      const concept = conceptOf(index)
      return Array.from({ length: rowsAWeek }, (_, place): StreamRow => {
        const atMs = Math.floor(index * weekMs + ((place + uniform()) * weekMs) / rowsAWeek)
        const x = names.map(() => uniform() * numbers.max)
        const region = pick(uniform(), regionShares)
        const hour = Math.floor((((atMs % dayMs) + dayMs) % dayMs) / 3_600_000)
        const moved = reach * (region / 7 - 0.5 + 0.5 * Math.sin((hour / 12) * Math.PI))
        const isNoise = uniform() < numbers.noise
        const label = Number(concept(x) + moved + level >= 0 !== isNoise)
        const features: FeatureRow = { region: regions[region]!, hour: hours[hour]! }
        names.forEach((each, i) => (features[each] = x[i]!))
        const knownAtMs = atMs + Math.floor((0.1 + 0.4 * uniform()) * dayMs)
        return { id: `${index}/${place}`, atMs, knownAtMs, features, label, told: label }
      })
    },
  }
}

function pick(drawn: number, shares: readonly number[]): number {
  let left = drawn
  for (const [place, share] of shares.entries()) if ((left -= share) < 0) return place
  return shares.length - 1
}

/**
 * The four thresholds of SEA; one row in ten has the wrong label. Each concept uses another pair of numbers, because AUC does not detect a
 * threshold that moves.
 */
const seaConcepts = [
  { limit: 8, pair: [0, 1] },
  { limit: 9, pair: [1, 2] },
  { limit: 7, pair: [0, 2] },
  { limit: 9.5, pair: [0, 1] },
] as const

export function seaStream(size: Size): YearStream {
  return synthetic({
    ...size,
    name: 'sea',
    about:
      'SEA: two of three numbers count, up to a limit; pair and limit change abruptly three times a year',
    numbers: { count: 3, max: 10, noise: 0.1 },
    reach: 2,
    conceptOf: (week) => {
      const place = Math.floor((Math.max(0, week) * seaConcepts.length) / size.weeks)
      const { limit, pair } = seaConcepts[Math.min(seaConcepts.length - 1, place)]!
      return (x) => limit - x[pair[0]]! - x[pair[1]]!
    },
  })
}

const planeNumbers = 8
/** Weekly change of each moving weight, and how often it changes direction. */
const step = 0.06
const turning = 0.1

export function hyperplaneStream({
  noise = 0.05,
  reach = 0.2,
  ...size
}: Size & { noise?: number; reach?: number }): YearStream {
  const uniform = seededRandom(size.seed * 7 + 1)
  const weights = Array.from({ length: planeNumbers }, () => uniform())
  const directions = weights.map((_, i) => (i < planeNumbers / 2 ? (uniform() < 0.5 ? -1 : 1) : 0))
  const byWeek = Array.from({ length: size.weeks + leadWeeks }, () => {
    const now = [...weights]
    for (const i of weights.keys()) {
      if (uniform() < turning) directions[i]! *= -1
      weights[i]! += directions[i]! * step
    }
    return now
  })
  return synthetic({
    ...size,
    name: 'hyperplane',
    about: 'A rotating hyperplane in eight numbers: four of its weights move each week',
    numbers: { count: planeNumbers, max: 1, noise },
    reach,
    conceptOf: (week) => {
      const now = byWeek[week + leadWeeks] ?? byWeek.at(-1)!
      const middle = now.reduce((sum, weight) => sum + weight, 0) / 2
      return (x) => x.reduce((sum, value, i) => sum + now[i]! * value, 0) - middle
    },
  })
}
