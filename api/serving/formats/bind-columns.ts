/**
 * Binds the columns of an artifact to the features of a model: by name when the artifact names its columns, otherwise by the declared
 * order. Refuses a column that no feature fills, and a category without a vocabulary, with both lists.
 */
import type { UnknownRows } from '../../../domain/model/brought-artifact.ts'
import type { DeclaredColumn } from '../../../domain/model/declared-columns.ts'
import type { Feature, FeatureFit, Features } from '../../../domain/model/features.ts'
import { refuse } from '../network/layers-model.ts'
import { expectKnownCategories, type TextCount } from './expect-categories.ts'
import type { ArtifactColumn } from './format.ts'
import { resolveCategories } from './resolve-categories.ts'

export interface BoundColumns {
  /** The columns of the artifact in their order, then the features that it does not use. */
  fits: FeatureFit[]
  /** Features that the artifact does not use. */
  unused: string[]
  /** The features that were bound to columns only by position; absent when the columns have names. */
  byPlace?: string[]
  /** By feature; empty for a model that takes numbers only, and without `texts`. */
  unknown: UnknownRows[]
}

export interface ColumnsToBind {
  columns: readonly ArtifactColumn[]
  features: Features
  /** The features in the order of the model file, for an artifact that does not name its columns. Default: the order of `features`. */
  order?: readonly string[]
  /** The names and vocabularies of `columns.json`, in the order of the artifact's columns. */
  declared?: readonly DeclaredColumn[]
  /** The texts of the training rows by feature, each with the number of its rows. */
  texts?: Readonly<Record<string, readonly TextCount[]>>
}

/** Binds the columns. Throws `artifact_invalid`. */
export function bindColumns({ columns, features, order, declared, texts }: ColumnsToBind): BoundColumns {
  const { names, isByPlace } = namesOf({ columns, features, order, declared })
  const settled = resolveCategories(
    columns.map((column, index) => ({ ...column, name: names[index]! })),
    { features, declared },
  )
  const unknown: UnknownRows[] = []
  const fits = settled.map((column, index) => {
    const { name } = column
    refuseOtherCodes(name, column.categories, declared?.[index]?.vocabulary)
    const feature = features[name]!
    const fit = fitOf(name, feature, { ...column, ...vocabularyOf(declared?.[index]) })
    const values = feature.kind === 'category' ? feature.values : undefined
    const rows = expectKnownCategories(fit, column.knownTexts, { values, texts: texts?.[name] })
    if (rows !== undefined) unknown.push(rows)
    return fit
  })
  const unused = Object.keys(features).filter((name) => !names.includes(name))
  return {
    fits: [...fits, ...unused.map((name) => unusedFit(name, features[name]!))],
    unused,
    unknown,
    ...(isByPlace ? { byPlace: names } : {}),
  }
}

/** Returns the feature of each column. */
function namesOf({ columns, features, order, declared }: ColumnsToBind): {
  names: string[]
  isByPlace?: true
} {
  const known = [...(order ?? Object.keys(features))]
  const given = (declared ?? columns).map(({ name }) => name)
  const lists = `columns ${listed(given)}; features ${listed(known)}`
  if (declared !== undefined && declared.length !== columns.length)
    refuse(
      `columns.json names ${declared.length} columns, the file has ${columns.length}: ${lists}${columns.every(isUnnamed) ? '' : `; the file has ${listed(columns.map(({ name }) => name))}`}`,
    )
  refuseOtherOrder(columns, given)
  if (given.every((name) => Object.hasOwn(features, name))) return { names: given }
  if (declared === undefined && columns.every(isUnnamed)) {
    if (columns.length === known.length) return { names: known, isByPlace: true }
    refuse(
      `the file does not name its ${columns.length} columns, and the model has ${known.length} features: name them in columns.json (${lists})`,
    )
  }
  const strangers = given.filter((name) => !Object.hasOwn(features, name))
  const remedy = `; if features have these columns under other names, name the feature of each column in columns.json, in the order of the file`
  return refuse(
    `no feature is called ${listed(strangers)}: ${lists}${declared === undefined && columns.length <= known.length ? remedy : ''}`,
  )
}

/** Refuses an order that differs from the names in the file, which are always right. */
function refuseOtherOrder(columns: readonly ArtifactColumn[], given: readonly string[]): void {
  if (columns.every(isUnnamed)) return
  const names = new Set(columns.map(({ name }) => name))
  const at = given.findIndex((name, index) => name !== columns[index]!.name && names.has(name))
  if (at >= 0)
    refuse(
      `columns.json has ${quoted(given[at]!)} where the file has ${quoted(columns[at]!.name)}: list the columns in the order of the file, ${listed([...names])}`,
    )
}

/** Whether a column has only the default name that LightGBM, XGBoost, CatBoost or scikit-learn gives to a plain matrix. */
const isUnnamed = ({ name }: ArtifactColumn, index: number): boolean =>
  [`Column_${index}`, `f${index}`, `x${index}`, `feature_${index}`, String(index)].includes(name)

function fitOf(
  name: string,
  feature: Feature,
  { categories, isText, hasCutNames, fill }: Omit<ArtifactColumn, 'name'> & { fill?: number },
): FeatureFit {
  if (feature.kind === 'number') {
    if (isText === true) refuse(`the column ${quoted(name)} takes texts, the feature is a number`)
    if (categories !== undefined && !categories.every((value, code) => Number(value) === code))
      refuse(`the column ${quoted(name)} is a category, the feature is a number: declare it as a category`)
    return { name, kind: 'number', mean: 0, std: 1, fill: fill ?? null }
  }
  const vocabulary = (categories ?? []).map(String)
  if (isText === true) return { name, kind: 'category', vocabulary, encoding: 'text' }
  if (categories === undefined) {
    const how = `give them in columns.json, in the order of their codes, as {"name": ${quoted(name)}, "vocabulary": ["…", "…"]}`
    refuse(
      hasCutNames === true
        ? `XGBoost before 3.4 has cut the names of the categories of the column ${quoted(name)}, which are not ASCII: ${how}`
        : `the file holds no categories of the column ${quoted(name)}: ${how}`,
    )
  }
  if (new Set(vocabulary).size < vocabulary.length)
    refuse(`a category of the column ${quoted(name)} stands twice`)
  return { name, kind: 'category', vocabulary, encoding: 'code' }
}

const unusedFit = (name: string, { kind }: Feature): FeatureFit =>
  kind === 'number'
    ? { name, kind, mean: 0, std: 1, fill: null }
    : { name, kind, vocabulary: [], encoding: 'code' }

/**
 * Refuses a vocabulary that has a category of the file at another position, where it would be read as another category. Other names may
 * replace the names of the file, one for one.
 */
function refuseOtherCodes(
  name: string,
  categories: ArtifactColumn['categories'],
  vocabulary: DeclaredColumn['vocabulary'],
): void {
  if (categories === undefined || vocabulary === undefined) return
  const [own, given] = [categories, vocabulary].map((values) => values.map(String)) as [string[], string[]]
  const known = new Set(own)
  const at = given.findIndex((value, code) => value !== own[code] && known.has(value))
  const remedy = 'list them in the order of the file, or leave the vocabulary out'
  if (at >= 0)
    refuse(
      `columns.json has the category ${quoted(given[at]!)} of ${quoted(name)} where the file has ${at < own.length ? quoted(own[at]!) : 'none'}: ${remedy}`,
    )
  if (given.length !== own.length)
    refuse(
      `columns.json has ${given.length} categories of ${quoted(name)}, the file has ${own.length} (${listed(own)}): ${remedy}`,
    )
}

const vocabularyOf = (declared: DeclaredColumn | undefined) => ({
  ...(declared?.vocabulary === undefined ? {} : { categories: declared.vocabulary }),
  ...(declared?.fill === undefined ? {} : { fill: declared.fill }),
})

const mostNames = 40
const quoted = (name: string): string => JSON.stringify(name.slice(0, 80))
const listed = (names: readonly string[]): string =>
  `${names.slice(0, mostNames).map(quoted).join(', ') || 'none'}${names.length > mostNames ? ` and ${names.length - mostNames} more` : ''}`
