/**
 * Reads the tables of `ctr_data`: for each combination of categories, how often training has seen it, or with which targets. A statistic
 * of a category (CTR) is computed from the row of its combination: `((good + prior) / (total + weight) + shift) × scale`, in 32 bits.
 */
import { refuse } from '../../../errors.ts'
import type { JsonObject } from '../../../network/layers-model.ts'
import { objectAt, wholeOf, writtenAs } from '../document-fields.ts'
import { expectAtMost } from '../forest.ts'
import { hashesOf, placesOf, type HashPlaces } from './hash-places.ts'

/** An entry of `features_info.ctrs`. */
export interface CtrFeature {
  identifier: string
  elements: unknown
  ctr_type: string
  prior_numerator: number
  prior_denomerator: number
  shift: number
  scale: number
  target_border_idx: number
  borders: number[]
}

/** Computes a statistic for the place of a combination. */
type StatisticOf = (place: number) => number

interface CategoryTable {
  hashes: BigUint64Array
  /** The numbers of each hash: the sums of the classes from each class on; or a sum and a count; or a count. */
  numbers: Float64Array
  width: number
  /** The sum of all counts, where it is not among the numbers. */
  denominator: number
}

/** The maximum number of statistics of all combinations and CTRs. */
const maxStatistics = 20_000_000

/** Returns a function that counts the statistics computed so far, so that a reader stops before it allocates their memory. */
export function countStatistics(): (statistics: number) => void {
  let total = 0
  return (statistics) => expectAtMost((total += statistics), maxStatistics, 'statistics of categories')
}

/** Reads the tables of one combination, and returns the places of its hashes and the statistics of each CTR by place. */
export function statisticsOf(
  data: JsonObject,
  features: readonly CtrFeature[],
  count: (statistics: number) => void,
): { places: HashPlaces; statistics: Float32Array[]; memoryBytes: number } {
  const tables = new Map<string, CategoryTable>()
  for (const { identifier, ctr_type: type } of features)
    if (!tables.has(identifier)) tables.set(identifier, tableOf(data, identifier, type))
  const places = placesOf([...tables.values()].map(({ hashes }) => hashes))
  const placed = new Map([...tables].map(([name, table]) => [name, numbersByPlace(table, places, name)]))
  count(features.length * (places.count + 1))
  const statistics = features.map((feature) => {
    const valueOf = statisticOf(feature, tables.get(feature.identifier)!, placed.get(feature.identifier)!)
    return Float32Array.from({ length: places.count + 1 }, (_, place) => valueOf(place))
  })
  const bytes = statistics.reduce((sum, { byteLength }) => sum + byteLength, 0)
  return { places, statistics, memoryBytes: places.memoryBytes + bytes }
}

const isMean = (type: string): boolean =>
  type === 'BinarizedTargetMeanValue' || type === 'FloatTargetMeanValue'
export const isCount = (type: string): boolean => type === 'Counter' || type === 'FeatureFreq'
const isOfClasses = (type: string): boolean => type === 'Borders' || type === 'Buckets'

function tableOf(data: JsonObject, identifier: string, type: string): CategoryTable {
  const where = `the table ${writtenAs(identifier)} of ctr_data`
  if (!Object.hasOwn(data, identifier)) refuse(`ctr_data lacks the table ${writtenAs(identifier)}`)
  const table = objectAt(data, identifier)
  const { hash_map: map, hash_stride: given } = table
  const stride = wholeOf(given, `hash_stride of ${where}`)
  const fits = isMean(type) ? stride === 3 : isCount(type) ? stride === 2 : isOfClasses(type) && stride >= 3
  if (!fits) refuse(`${where} has ${stride} values a category, which ${type} does not have`)
  if (!Array.isArray(map) || map.length === 0 || map.length % stride !== 0)
    refuse(`hash_map of ${where} is not a list of ${stride} values a category`)
  const hashes = hashesOf(map, stride, where)
  const width = stride - 1
  const numbers = new Float64Array(hashes.length * width)
  for (let entry = 0; entry < hashes.length; entry++)
    for (let k = 0; k < width; k++) {
      const number: unknown = map[entry * stride + 1 + k]
      const isNumber = isMean(type) && k === 0 ? Number.isFinite(number) : Number.isInteger(number)
      if (!isNumber) refuse(`${where} has the value ${writtenAs(number)}, which is not a count`)
      numbers[entry * width + k] = number as number
    }
  if (isOfClasses(type))
    for (let entry = 0; entry < hashes.length; entry++)
      for (let k = width - 2; k >= 0; k--) numbers[entry * width + k]! += numbers[entry * width + k + 1]!
  const denominator = isCount(type)
    ? wholeOf(table['counter_denominator'], `counter_denominator of ${where}`)
    : 0
  return { hashes, numbers, width, denominator }
}

/** Orders the numbers by place. A place that the table lacks has zeros, and so has the one for unknown hashes. */
function numbersByPlace(
  { hashes, numbers, width }: CategoryTable,
  { count, find }: HashPlaces,
  identifier: string,
): Float64Array {
  // Another table of the combination may have many more hashes.
  expectAtMost(
    (count + 1) * width,
    maxStatistics,
    `numbers in the table ${writtenAs(identifier)} of ctr_data`,
  )
  const placed = new Float64Array((count + 1) * width)
  const isFilled = new Uint8Array(count)
  const words = new Uint32Array(hashes.buffer)
  for (let entry = 0; entry < hashes.length; entry++) {
    const place = find(words[2 * entry + 1]!, words[2 * entry]!)
    if (isFilled[place] === 1)
      refuse(`the table ${writtenAs(identifier)} of ctr_data has the hash ${hashes[entry]} twice`)
    isFilled[place] = 1
    for (let k = 0; k < width; k++) placed[place * width + k] = numbers[entry * width + k]!
  }
  return placed
}

function statisticOf(
  feature: CtrFeature,
  { width, denominator }: Pick<CategoryTable, 'width' | 'denominator'>,
  numbers: Float64Array,
): StatisticOf {
  const { ctr_type: type, target_border_idx: border } = feature
  const [prior, weight, shift, scale] = (
    ['prior_numerator', 'prior_denomerator', 'shift', 'scale'] as const
  ).map((name) => {
    if (!Number.isFinite(feature[name])) refuse(`${name} of a CTR is ${writtenAs(feature[name])}`)
    return Math.fround(feature[name])
  }) as [number, number, number, number]
  const valueOf = (good: number, total: number): number => {
    const share = Math.fround(
      Math.fround(Math.fround(good) + prior) / Math.fround(Math.fround(total) + weight),
    )
    return Math.fround(Math.fround(share + shift) * scale)
  }
  if (isMean(type)) return (place) => valueOf(numbers[place * 2]!, numbers[place * 2 + 1]!)
  if (isCount(type)) return (place) => valueOf(numbers[place]!, denominator)
  const classes = type === 'Buckets' ? width : width - 1
  if (!(Number.isInteger(border) && border >= 0 && border < classes))
    refuse(`a CTR has the target_border_idx ${writtenAs(border)} of ${classes}`)
  if (type === 'Borders')
    return (place) => valueOf(numbers[place * width + border + 1]!, numbers[place * width]!)
  const isLast = border === width - 1
  return (place) => {
    const at = place * width + border
    return valueOf(numbers[at]! - (isLast ? 0 : numbers[at + 1]!), numbers[place * width]!)
  }
}
