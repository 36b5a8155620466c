/**
 * Derives the columns on which the trees of a CatBoost model split from the hashes of categories: the code of a category among those that
 * splits name, and statistics of combinations of categories.
 */
import type { JsonObject } from '../../../network/layers-model.ts'
import type { DerivedColumns, DerivingStep } from '../derived/derived-columns.ts'
import { objectAt, objectsOf } from '../document-fields.ts'
import { expectAtMost, forestLimits } from '../forest.ts'
import type { HashedFeature } from './hashed-features.ts'
import type { HashPlaces } from './hash-places.ts'
import { categorySplitsOf, type CategoryCodes, type CategorySplits } from './category-splits.ts'
import { countStatistics, statisticsOf, type CtrFeature } from './category-tables.ts'
import {
  combinationOf,
  groupsOf,
  sharedPrefixes,
  type CombinationTests,
  type FloatColumn,
} from './combinations.ts'
import { foldHash, foldedHigh, foldedLow, startFolding } from '../hashes/folded-hash.ts'

export interface CategoryInfo {
  categories: readonly HashedFeature[]
  ctrs: readonly CtrFeature[]
  /** The number of columns of the file, behind which the derived columns come. */
  columns: number
  /** By index. */
  floats: ReadonlyMap<number, FloatColumn>
  /** The maximum number of categories of a column with one-hot splits, if the file tells it. */
  oneHotSize: number | undefined
}

/** Plans the derived columns, which a model without splits on categories lacks. Throws `artifact_invalid`. */
export function deriveCategories(
  document: JsonObject,
  { categories, ctrs, columns, floats, oneHotSize }: CategoryInfo,
): { derived: DerivedColumns | undefined; splits: CategorySplits; known: KnownHashes } {
  const byIndex = new Map(categories.map((feature) => [feature.feature_index, feature]))
  const coded = categories.filter(({ values }) => values.length > 0)
  const firstCtr = columns + coded.length
  const count = coded.length + ctrs.length
  expectAtMost(columns + count, forestLimits.columns, 'columns and CTRs')
  const codes: CategoryCodes = new Map(
    coded.map(({ feature_index: index, values }, at) => [
      index,
      { column: columns + at, codeOf: new Map(values.map((value, code) => [value, code])) },
    ]),
  )
  const steps = coded.map(({ feature_index: index, flat_feature_index: from }): DerivingStep => {
    const { column, codeOf } = codes.get(index)!
    return {
      sources: [from],
      columns: [column],
      derive: (row) => void (row[column] = codeOf.get(row[from]!) ?? NaN),
    }
  })
  let memoryBytes = 0
  const prefixes = sharedPrefixes()
  const counted = countStatistics()
  const tests: CombinationTests = { columns: [], values: [], kinds: [] }
  const data = ctrs.length === 0 ? {} : objectAt(document, 'ctr_data')
  const alone: Map<number, HashPlaces> = new Map()
  for (const places of groupsOf(ctrs).values()) {
    const group = places.map((place) => ctrs[place]!)
    const { sources, fold } = combinationOf(group[0]!.elements, { byIndex, codes, floats, prefixes, tests })
    const { places: known, statistics, memoryBytes: bytes } = statisticsOf(data, group, counted)
    memoryBytes += bytes
    const category = onlyCategoryOf(group[0]!.elements)
    if (category !== undefined) alone.set(category, known)
    const into = places.map((place) => firstCtr + place)
    const derive = (row: Float64Array): void => {
      fold(row)
      const place = known.find(foldedHigh(), foldedLow())
      for (let k = 0; k < statistics.length; k++) row[into[k]!] = statistics[k]![place]!
    }
    steps.push({ sources, columns: into, derive })
  }
  return {
    derived: steps.length === 0 ? undefined : { count, steps, memoryBytes },
    splits: categorySplitsOf(categories, ctrs, { codes, firstCtr }),
    known: knownHashesOf(alone, { codes, oneHotSize }),
  }
}

/** Returns the feature of a combination of one category and nothing else, whose table has all categories of the training. */
function onlyCategoryOf(elements: unknown): number | undefined {
  const [element, ...others] = objectsOf(elements, 'the elements of a CTR')
  if (element?.['combination_element'] !== 'cat_feature_value' || others.length > 0) return undefined
  return element['cat_feature_index'] as number
}

interface KnownCategories {
  /** Whether training has seen the category of a hash. */
  has(hash: number): boolean
  /** The maximum number of categories that training may have seen beside those. */
  maxUnlisted: number
}

/**
 * By the index of a feature. A feature without a table of its own has one-hot splits, which name some of its few categories; it is left out
 * where the file does not tell how few they are.
 */
type KnownHashes = ReadonlyMap<number, KnownCategories>

function knownHashesOf(
  alone: ReadonlyMap<number, HashPlaces>,
  { codes, oneHotSize }: { codes: CategoryCodes; oneHotSize: number | undefined },
): KnownHashes {
  const known = new Map<number, KnownCategories>()
  if (oneHotSize !== undefined)
    for (const [index, { codeOf }] of codes)
      known.set(index, { has: (hash) => codeOf.has(hash), maxUnlisted: oneHotSize - codeOf.size })
  for (const [index, places] of alone) {
    const has = (hash: number): boolean => {
      startFolding()
      foldHash(hash)
      const isSeen = places.find(foldedHigh(), foldedLow()) < places.count
      return isSeen || codes.get(index)?.codeOf.has(hash) === true
    }
    known.set(index, { has, maxUnlisted: 0 })
  }
  return known
}
