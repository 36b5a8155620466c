/**
 * Settles which list of categories belongs to which column, where the file leaves it open: by the vocabularies of `columns.json`, or by the
 * values of the features. Refuses what stays open, because the categories of another column give other answers.
 */
import type { DeclaredColumn } from '../../../domain/model/declared-columns.ts'
import type { Features } from '../../../domain/model/features.ts'
import { refuse } from '../network/layers-model.ts'
import type { ArtifactColumn } from './format.ts'

type CategoryList = NonNullable<ArtifactColumn['categories']>

/**
 * Returns the columns with the categories that are settled. Throws `artifact_invalid` for two columns of one name, whose values a row cannot
 * tell apart, and for a column whose categories stay open.
 */
export function resolveCategories(
  columns: readonly ArtifactColumn[],
  { features, declared }: { features: Features; declared?: readonly DeclaredColumn[] },
): readonly ArtifactColumn[] {
  requireOwnNames(columns)
  if (columns.every(({ possibleCategories }) => possibleCategories === undefined)) return columns
  const settled = columns.map((column, index): ArtifactColumn => {
    const { name, possibleCategories } = column
    const feature = features[name]
    if (possibleCategories === undefined || feature?.kind !== 'category') return column
    const given = declared?.[index]?.vocabulary ?? listWith(possibleCategories, feature.values)
    if (given === undefined) return refuseOpen(columns)
    const other = possibleCategories.find((list) => textOf(list) !== textOf(given) && hasSame(list, given))
    if (other !== undefined)
      refuse(
        `columns.json has the categories of ${JSON.stringify(name)} in another order than the file: list them as ${textOf(other).slice(0, 300)}`,
      )
    return { name, categories: given }
  })
  const lists = new Set(columns.flatMap(({ possibleCategories }) => possibleCategories ?? []))
  const counts = countTexts([...lists])
  const claims = countTexts(
    settled.flatMap(({ categories }, at) =>
      columns[at]!.possibleCategories === undefined || categories === undefined ? [] : [categories],
    ),
  )
  // A number is one for certain where each list that it might have belongs to another column, or holds the numbers themselves.
  for (const { possibleCategories = [] } of settled)
    for (const list of possibleCategories)
      if (!list.every((value, code) => Number(value) === code))
        if ((claims.get(textOf(list)) ?? 0) < counts.get(textOf(list))!) refuseOpen(columns)
  return settled
}

function requireOwnNames(columns: readonly ArtifactColumn[]): void {
  const names = new Set<string>()
  for (const { name } of columns) {
    if (names.has(name))
      refuse(
        `two columns have the name ${JSON.stringify(name.slice(0, 80))}: give each column a name of its own in columns.json, in the order of the file`,
      )
    names.add(name)
  }
}

/** Finds the one list that has all values which the feature takes. */
function listWith(lists: readonly CategoryList[], values: readonly string[] = []): CategoryList | undefined {
  const found = lists.filter((list) => {
    const known = new Set(list.map(String))
    return values.length > 0 && values.every((value) => known.has(value))
  })
  return countTexts(found).size === 1 ? found[0] : undefined
}

function countTexts(lists: readonly CategoryList[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const list of lists) counts.set(textOf(list), (counts.get(textOf(list)) ?? 0) + 1)
  return counts
}

const textOf = (list: CategoryList): string => JSON.stringify(list.map(String))

const hasSame = (one: CategoryList, other: CategoryList): boolean =>
  textOf([...one].map(String).toSorted()) === textOf([...other].map(String).toSorted())

function refuseOpen(columns: readonly ArtifactColumn[]): never {
  const open = columns.filter(({ possibleCategories }) => possibleCategories !== undefined)
  const lists = [...new Set(open.flatMap(({ possibleCategories }) => possibleCategories!))].map(textOf)
  const names = open.map(({ name }) => JSON.stringify(name.slice(0, 80)))
  return refuse(
    `the file does not say to which of the columns ${shortened(names)} its pandas categories ${shortened(lists)} belong: list the columns in columns.json, and give each column of categories its "vocabulary", in the order of the file`,
  )
}

const mostNamed = 10
const shortened = (texts: readonly string[]): string =>
  `${texts
    .slice(0, mostNamed)
    .map((text) => text.slice(0, 200))
    .join(', ')}${texts.length > mostNamed ? ` and ${texts.length - mostNamed} more` : ''}`
