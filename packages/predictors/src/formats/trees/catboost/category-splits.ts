/** Reads the splits of trees on categories: whether a category is a certain one (one-hot), and whether a statistic is above a border. */
import { refuse } from '../../../errors.ts'
import { writtenAs } from '../document-fields.ts'
import {
  expectAtMost,
  forestLimits,
  nextDown,
  type CategorySet,
  type NodeInput,
  type Slot,
} from '../forest.ts'
import type { HashedFeature } from './hashed-features.ts'
import type { CtrFeature } from './category-tables.ts'

export interface CategorySplit {
  split_type: string
  cat_feature_index?: number
  border?: number
  value?: number
}

export interface CategorySplits {
  /** The fields that the file repeats in each split, in the order of `split_index`. */
  listed: readonly object[]
  /** Returns the test of a split, which a row passes to the right. `place`: the index in `listed`. */
  testOf(split: CategorySplit, place: number | undefined, where: string): NodeInput['test']
}

/** The derived column with the codes of each category feature that has them, and the code of each hash. */
export type CategoryCodes = ReadonlyMap<number, { column: number; codeOf: ReadonlyMap<number, number> }>

export function categorySplitsOf(
  features: readonly HashedFeature[],
  ctrs: readonly CtrFeature[],
  { codes, firstCtr }: { codes: CategoryCodes; firstCtr: number },
): CategorySplits {
  const oneHot = features.flatMap(({ feature_index: index, values }) =>
    values.map((value) => ({ cat_feature_index: index, value })),
  )
  const ctrOf: number[] = []
  const ofCtrs = ctrs.flatMap(({ borders, target_border_idx: target }, ctr) => {
    if (!Array.isArray(borders)) refuse(`borders of a CTR is ${writtenAs(borders)}, not a list`)
    expectAtMost(ctrOf.length + borders.length, forestLimits.categories, 'borders of CTRs')
    return borders.map((border) => {
      ctrOf.push(ctr)
      return { border, ctr_target_border_idx: target }
    })
  })
  const sets = new Map<string, CategorySet>()
  let words = 0
  const setOf = (column: number, code: number): CategorySet => {
    const key = `${column} ${code}`
    const known = sets.get(key)
    if (known !== undefined) return known
    expectAtMost((words += (code >>> 5) + 1), forestLimits.setWords, 'words of category sets')
    const bits = new Uint32Array((code >>> 5) + 1)
    bits[code >>> 5] = 1 << (code & 31)
    const set = { column, bits, missing: false, truncates: true }
    sets.set(key, set)
    return set
  }
  return {
    listed: [...oneHot, ...ofCtrs],
    testOf({ split_type: type, cat_feature_index: index, value, border }, place, where) {
      if (type === 'OneHotFeature') {
        const { column, codeOf } = codes.get(index!) ?? {}
        const code = codeOf?.get(value!)
        if (column === undefined || code === undefined)
          return refuse(`${where} splits by a category ${writtenAs(value)} that its feature lacks`)
        return setOf(column, code)
      }
      if (type !== 'OnlineCtr') refuse(`${where} splits by ${type}`)
      const ctr = place === undefined ? undefined : ctrOf[place - oneHot.length]
      if (ctr === undefined || !Number.isFinite(border))
        return refuse(`${where} splits by a CTR that does not exist`)
      // A statistic that is not a number counts as the smallest, and has 32 bits, so that no value lies between a border and the next one.
      const slot: Slot = { column: firstCtr + ctr, missing: 'nan', negated: true, single: false }
      return { slot, threshold: nextDown(-Math.fround(border!)) }
    },
  }
}
