/** Reads the categories of XGBoost's models: the sets of its splits, and the texts or numbers of its columns. */
import { isUtf8 } from 'node:buffer'
import { refuse, type JsonObject } from '../../network/layers-model.ts'
import { arrayAt, fieldList } from './document-fields.ts'
import { expectAtMost, forestLimits, type Column, type NodeInput } from './forest.ts'
import type { XgboostVersion } from './xgboost-objectives.ts'

/**
 * Builds a node of categories. Categories of the set go right; other categories and invalid codes go left. A missing value takes its own
 * side.
 */
export function categoryNode(node: {
  column: number
  bits: Uint32Array | undefined
  left: number
  right: number
  missesLeft: boolean
  hasSideBeyond: boolean
  where: string
}): NodeInput {
  const { column, bits, left, right, missesLeft, hasSideBeyond, where } = node
  if (bits === undefined) refuse(`${where} has a category split without categories`)
  // Uses the set of codes that go left, so that codes beyond it go right.
  if (hasSideBeyond && !missesLeft)
    return {
      test: { column, bits: bits.map((word) => ~word), missing: false, truncates: false },
      passed: left,
      failed: right,
    }
  return { test: { column, bits, missing: !missesLeft, truncates: false }, passed: right, failed: left }
}

/** Returns a function that counts the words of sets. A single large code makes a set as long as that code. */
export function countSetWords(): (words: number) => void {
  let total = 0
  return (words) => expectAtMost((total += words), forestLimits.setWords, 'words of category sets')
}

export function categorySetsOf(
  tree: JsonObject,
  { where, countWords }: { where: string; countWords: (words: number) => void },
): Map<number, Uint32Array> {
  if (tree['categories_nodes'] === undefined) return new Map()
  const [nodes, starts] = [arrayAt(tree, 'categories_nodes'), arrayAt(tree, 'categories_segments')]
  const [sizes, codes] = [arrayAt(tree, 'categories_sizes'), arrayAt(tree, 'categories')]
  let end = 0
  return new Map(
    nodes.map((node, at) => {
      // Overlapping parts would be read many times.
      if (!(starts[at]! >= end)) refuse(`${where} has categories that are not in order`)
      const own = codes.slice(starts[at], (end = starts[at]! + sizes[at]!))
      const most = own.reduce((largest, code) => Math.max(largest, code), -1)
      if (
        own.length !== sizes[at] ||
        !own.every((code) => Number.isInteger(code) && code >= 0 && code < 2 ** 24)
      )
        refuse(`${where} has categories that are no codes`)
      expectAtMost(most, forestLimits.categories, 'category codes')
      countWords((most >>> 5) + 1)
      const bits = new Uint32Array((most >>> 5) + 1)
      for (const code of own) bits[code >>> 5]! |= 1 << (code & 31)
      return [node, bits]
    }),
  )
}

export function xgboostColumns(
  learner: JsonObject,
  model: JsonObject,
  { inputs, version }: { inputs: number; version: XgboostVersion },
): Column[] {
  const names = learner['feature_names']
  const known = Array.isArray(names) && names.length > 0 ? names.map(String) : undefined
  if (known !== undefined && known.length !== inputs)
    refuse(`the file names ${known.length} columns and uses ${inputs}`)
  const cats = model['cats'] as JsonObject | undefined
  const encodings = Array.isArray(cats?.['enc']) ? (cats['enc'] as JsonObject[]) : []
  return Array.from({ length: inputs }, (_, column) => ({
    name: known?.[column] ?? `f${column}`,
    ...categoriesOf(encodings[column], version),
  }))
}

/**
 * Reads the texts of a column's codes, given by offsets into bytes, or its numbers. Returns none for texts that are cut at the wrong
 * positions: before 3.4, XGBoost counts characters instead of bytes, so texts are right only when they are ASCII.
 */
function categoriesOf(
  encoding: JsonObject | undefined,
  { major, minor }: XgboostVersion,
): Pick<Column, 'categories' | 'hasCutNames'> {
  const [offsets, values] = [fieldList(encoding?.['offsets']), fieldList(encoding?.['values'])]
  if (values === undefined || values.length === 0) return {}
  if (offsets === undefined) return { categories: values.map(Number) }
  const bytes = Buffer.from(values)
  const parts = offsets.slice(0, -1).map((from, at) => bytes.subarray(from, offsets[at + 1]))
  const countsBytes = major > 3 || (major === 3 && minor >= 4)
  const areWhole = countsBytes && offsets.at(-1) === bytes.length && parts.every((part) => isUtf8(part))
  if (!areWhole && bytes.some((byte) => byte > 127)) return { hasCutNames: true }
  return { categories: parts.map((part) => part.toString('utf8')) }
}
