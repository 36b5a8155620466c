/**
 * Assigns the lists of `pandas_categorical` to the columns of a LightGBM file. pandas writes one list per category column in the order of
 * the columns, also for ordered categories and for those that LightGBM splits as numbers, and the file does not say which columns these
 * are. By default, LightGBM splits the columns of lists by codes, but for ordered categories, and no others: where that fits
 * `feature_infos`, it is taken. Otherwise a list belongs to a column for certain only where no other assignment fits.
 */
import { refuse } from '../../network/layers-model.ts'
import { parseModelJson } from './bounded-json.ts'
import { expectAtMost, forestLimits, type Column } from './forest.ts'

type CategoryList = NonNullable<Column['categories']>

export interface PandasLists {
  names: readonly string[]
  /** The values of each column: its codes (`-1:0:2`), its range (`[0:2]`), or `none` when it is constant. */
  infos: readonly string[]
  lists: readonly CategoryList[]
}

/** Parses the line of pandas' categories; empty without one. Throws `artifact_invalid` for a line that is cut. */
export function parsePandasLists(line: string | undefined): CategoryList[] {
  const lists = line === undefined ? null : jsonOfLine(line)
  if (lists === null) return []
  const isList = (list: unknown): boolean =>
    Array.isArray(list) && list.every((each) => ['string', 'number', 'boolean'].includes(typeof each))
  if (!Array.isArray(lists) || !lists.every(isList)) refuse('pandas_categorical is not a list of lists')
  return lists as CategoryList[]
}

function jsonOfLine(line: string): unknown {
  try {
    return parseModelJson(Buffer.from(line))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return refuse('the file is truncated or damaged: its last line, pandas_categorical, is not valid JSON')
  }
}

/** Returns the columns, with the categories that are certain, and those that are possible. Throws `artifact_invalid` if a list fits none. */
export function assignPandasLists({ names, infos, lists }: PandasLists): Column[] {
  if (lists.length === 0) return names.map((name) => ({ name }))
  // Reading more codes would take a gigabyte.
  for (const info of infos)
    expectAtMost(
      info.split(':', forestLimits.categories + 1).length,
      forestLimits.categories,
      'codes of a column',
    )
  const ranges = names.map((_, column) => codeRangeOf(infos[column] ?? ''))
  const fits = (column: number, place: number): boolean => {
    const range = ranges[column]
    return range !== undefined && range.low >= 0 && range.high < lists[place]!.length
  }
  const coded = names.flatMap((_, column) => (isOfCodes(infos[column]) ? [column] : []))
  const codedOrConstant = names.flatMap((_, column) =>
    isOfCodes(infos[column]) || infos[column] === 'none' ? [column] : [],
  )
  for (const usual of [coded, codedOrConstant])
    if (usual.length === lists.length && usual.every(fits))
      return names.map((name, column) => {
        const place = usual.indexOf(column)
        return place < 0 ? { name } : { name, categories: lists[place] }
      })
  // The first and the last column that each list can have. Every fitting column between them can have it, too.
  const first: number[] = []
  for (let column = 0; column < names.length && first.length < lists.length; column++)
    if (fits(column, first.length)) first.push(column)
  if (first.length < lists.length)
    refuse(
      `pandas_categorical has ${lists.length} lists, which do not fit the columns: save the model again with the LightGBM that trained it`,
    )
  const last: number[] = Array.from({ length: lists.length }, () => 0)
  for (let column = names.length - 1, open = lists.length - 1; column >= 0 && open >= 0; column--)
    if (fits(column, open)) last[open--] = column
  let from = 0
  return names.map((name, column) => {
    while (from < lists.length && last[from]! < column) from++
    const possible: CategoryList[] = []
    let isCertain = false
    for (let place = from; place < lists.length && first[place]! <= column; place++) {
      if (!fits(column, place)) continue
      possible.push(lists[place]!)
      isCertain = first[place] === last[place]
    }
    if (possible.length === 0) return { name }
    return isCertain ? { name, categories: possible[0] } : { name, possibleCategories: possible }
  })
}

/** A column that is split by codes lists them; a number has a range. */
const isOfCodes = (info = ''): boolean => /^-?\d+(:-?\d+)*$/.test(info)

/** Returns the smallest and the largest code that a column had in training; undefined for a column that cannot hold codes. */
function codeRangeOf(info: string): { low: number; high: number } | undefined {
  // A column that no split can use may have had any code.
  if (info === 'none' || info === '') return { low: 0, high: -1 }
  const values = info
    .replace(/^\[|\]$/g, '')
    .split(':')
    .map(Number)
  if (!values.every(Number.isInteger)) return undefined
  // Among codes, −1 is the missing value.
  const codes = info.startsWith('[') ? values : values.filter((code) => code !== -1)
  return codes.reduce(({ low, high }, code) => ({ low: Math.min(low, code), high: Math.max(high, code) }), {
    low: codes[0] ?? 0,
    high: codes[0] ?? -1,
  })
}
