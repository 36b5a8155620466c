/** Compiles the combinations of categories over which CatBoost keeps statistics. */
import { refuse } from '../../../errors.ts'
import { objectsOf, writtenAs } from '../document-fields.ts'
import { expectAtMost } from '../forest.ts'
import type { HashedFeature } from './hashed-features.ts'
import type { CategoryCodes } from './category-splits.ts'
import type { CtrFeature } from './category-tables.ts'
import { foldedHigh, foldedLow, foldHash, foldTest, startFolding } from '../hashes/folded-hash.ts'

/** A number of the file, as combinations read it. */
export interface FloatColumn {
  column: number
  hasBorder(border: unknown): boolean
  /** Whether a missing value counts as the largest one. */
  above: boolean
}

/** The maximum number of elements of all combinations, which each row folds into hashes. */
const maxElements = 100_000
/** The maximum length of the text that names a table. */
const maxIdentifier = 100_000

/** Returns the positions of the CTRs of each combination. */
export function groupsOf(ctrs: readonly CtrFeature[]): Map<string, number[]> {
  const groups = new Map<string, number[]>()
  let count = 0
  for (const [place, { identifier, elements, ctr_type: type }] of ctrs.entries()) {
    if (!Array.isArray(elements) || elements.length === 0) refuse('a CTR has no list of elements')
    expectAtMost((count += elements.length), maxElements, 'elements of combinations')
    if (JSON.stringify(parsed(identifier)) !== JSON.stringify({ identifier: elements, type }))
      refuse(`the CTR ${writtenAs(identifier)} has other elements or another type than its identifier says`)
    const key = JSON.stringify(elements)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [place])
    else group.push(place)
  }
  return groups
}

function parsed(text: unknown): unknown {
  if (typeof text !== 'string' || text.length > maxIdentifier) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The tests of all combinations, side by side, because a row computes thousands of them. */
export interface CombinationTests {
  columns: number[]
  /** The border, or the hash of the category. */
  values: number[]
  kinds: number[]
}
const [isAbove, isAboveOrMissing, isCategory] = [0, 1, 2] as const

export interface Combination {
  /** The columns that it reads. */
  sources: number[]
  /** Folds the categories of a row into a hash. */
  fold(row: Float64Array): void
}

/** Compiles a combination: its categories, then whether numbers are above borders, then whether categories are certain ones. */
export function combinationOf(
  given: unknown,
  {
    byIndex,
    codes,
    floats,
    prefixes,
    tests,
  }: {
    byIndex: ReadonlyMap<number, HashedFeature>
    codes: CategoryCodes
    floats: ReadonlyMap<number, FloatColumn>
    prefixes: ReturnType<typeof sharedPrefixes>
    tests: CombinationTests
  },
): Combination {
  const elements = objectsOf(given, 'the elements of a CTR')
  const categories: number[] = []
  const bounds: { column: number; border: number; above: boolean }[] = []
  const named: { column: number; hash: number }[] = []
  for (const element of elements) {
    const { combination_element: kind, border, value } = element
    if (kind === 'float_feature') {
      const feature = floats.get(element['float_feature_index'] as number)
      if (feature === undefined || !feature.hasBorder(border))
        return refuse(`a CTR reads the border ${writtenAs(border)}, which its float feature lacks`)
      bounds.push({ column: feature.column, border: Math.fround(border as number), above: feature.above })
      continue
    }
    const feature = byIndex.get(element['cat_feature_index'] as number)
    if (feature === undefined) return refuse('a CTR reads a category that does not exist')
    const column = feature.flat_feature_index
    if (kind === 'cat_feature_value') categories.push(column)
    else if (kind !== 'cat_feature_exact_value') refuse(`a CTR has the element ${writtenAs(kind)}`)
    else if (codes.get(feature.feature_index)?.codeOf.has(value as number) !== true)
      refuse(`a CTR reads the category ${writtenAs(value)}, which its feature lacks`)
    else named.push({ column, hash: value as number })
  }
  const sources = [
    ...new Set([...categories, ...bounds.map(({ column }) => column), ...named.map(({ column }) => column)]),
  ]
  const foldCategories = prefixes(categories)
  const { columns, values, kinds } = tests
  const from = columns.length
  for (const { column, border, above } of bounds) {
    columns.push(column)
    values.push(border)
    kinds.push(above ? isAboveOrMissing : isAbove)
  }
  for (const { column, hash } of named) {
    columns.push(column)
    values.push(hash)
    kinds.push(isCategory)
  }
  const to = columns.length
  return {
    sources,
    fold(row) {
      foldCategories(row)
      for (let k = from; k < to; k++) {
        const value = row[columns[k]!]!
        if (kinds[k] === isCategory) foldTest(value === values[k])
        else if (value !== value) foldTest(kinds[k] === isAboveOrMissing)
        else foldTest(Math.fround(value) > values[k]!)
      }
    },
  }
}

/**
 * Returns a function that compiles lists of categories. Most combinations of a model begin with the same few lists, so each list keeps
 * the hash of the last categories.
 */
export function sharedPrefixes(): (columns: readonly number[]) => (row: Float64Array) => void {
  const known = new Map<string, (row: Float64Array) => void>()
  return (columns) => {
    const key = columns.join()
    const fold = known.get(key) ?? prefixOf(columns)
    known.set(key, fold)
    return fold
  }
}

function prefixOf(columns: readonly number[]): (row: Float64Array) => void {
  const last = new Float64Array(columns.length).fill(NaN)
  let [high, low] = [0, 0]
  return (row) => {
    let isSame = true
    for (let k = 0; k < columns.length; k++) {
      if (last[k] === row[columns[k]!]!) continue
      last[k] = row[columns[k]!]!
      isSame = false
    }
    if (isSame) return startFolding(high, low)
    startFolding()
    for (let k = 0; k < columns.length; k++) foldHash(last[k]!)
    high = foldedHigh()
    low = foldedLow()
  }
}
