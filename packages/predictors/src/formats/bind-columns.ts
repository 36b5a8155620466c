/**
 * Binds the columns of an artifact to the features of a model: by name when the artifact names its columns, otherwise by the declared
 * order. A vector is bound to as many columns of numbers as it has numbers, and an image to those of an input of its own. Refuses a column that no feature fills, and a category without a vocabulary, with both lists.
 */
import { quoted as quotedText, refuse } from '../errors.ts'
import type { DeclaredColumn, Feature, FeatureFit, UnknownRows } from '../features.ts'
import { numbersOfImage } from '../png.ts'
import type { ArtifactColumn, KnownTexts } from './format.ts'

type Features = Readonly<Record<string, Feature>>

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
  /** The file of the artifact in which its author lists the columns, as `endpoint.json` does. */
  columnsIn?: string
  /** The texts of the training rows by feature, each with the number of its rows. */
  texts?: Readonly<Record<string, readonly TextCount[]>>
  /** How messages show a text of the file or of a row. Default: in quotation marks, cut after 60 characters. */
  quote?: (text: string) => string
}

/** Binds the columns. Throws `artifact_invalid`. */
export function bindColumns({
  columns,
  features,
  order,
  declared,
  columnsIn,
  texts,
  quote = quotedText,
}: ColumnsToBind): BoundColumns {
  const { names, joined, isByPlace } = namesOf({ columns, features, order, declared, columnsIn })
  const settled = resolveCategories(
    joined.map((column, index) => ({ ...column, name: names[index]! })),
    { features, declared },
  )
  const unknown: UnknownRows[] = []
  const fits = settled.map((column, index) => {
    const { name } = column
    refuseOtherCodes(name, column.categories, declared?.[index]?.vocabulary)
    const feature = features[name]!
    const fit = fitOf(name, feature, { ...column, ...vocabularyOf(declared?.[index]), columnsIn })
    const values = feature.kind === 'category' ? feature.values : undefined
    const rows = expectKnownCategories(fit, column.knownTexts, { values, texts: texts?.[name], quote })
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

/** Returns the feature of each column, and the columns with one for each vector and image. */
function namesOf({ columns, features, order, declared, columnsIn }: ColumnsToBind): {
  names: string[]
  joined: readonly ArtifactColumn[]
  isByPlace?: true
} {
  const known = [...(order ?? Object.keys(features))]
  const given = declared?.map(({ name }) => name) ?? ownNames(columns, features)
  const lists = `columns ${listed(given)}; features ${listed(known)}`
  const isUnnamedFile = columns.every(isUnnamed)
  const joined = joinWide(columns, given, features)
  if (declared !== undefined && joined === undefined)
    refuse(
      `columns.json names ${declared.length} columns${widthText(given, features)}, the file has ${columns.length}: ${lists}${isUnnamedFile ? '' : `; the file has ${listed(columns.map(({ name }) => name))}`}`,
    )
  if (!isUnnamedFile && joined !== undefined) refuseOtherOrder(joined, given)
  if (given.every((name) => Object.hasOwn(features, name))) return { names: given, joined: joined ?? columns }
  if (declared === undefined && isUnnamedFile) {
    const byPlace = joinWide(columns, known, features)
    if (byPlace !== undefined) return { names: known, joined: byPlace, isByPlace: true }
    refuse(
      `the file does not name its ${columns.length} columns, and the model has ${known.length} features${widthText(known, features)}: name them in ${columnsIn === undefined ? 'columns.json' : `"columns" of ${columnsIn}`} (${lists})`,
    )
  }
  const strangers = given.filter((name) => !Object.hasOwn(features, name))
  const remedy = `; if features have these columns under other names, name the feature of each column in columns.json, in the order of the file`
  if (columnsIn !== undefined)
    refuse(
      `no feature is called ${listed(strangers)}: ${lists}; name features in "columns" of ${columnsIn}, each with "as" where the server has another name for it`,
    )
  return refuse(
    `no feature is called ${listed(strangers)}: ${lists}${declared === undefined && given.length <= known.length ? remedy : ''}`,
  )
}

/** The names of the columns; those of the inputs where each is a feature, or where other columns have names. */
function ownNames(columns: readonly ArtifactColumn[], features: Features): string[] {
  const inputs = columns.filter(({ input }, at) => input === undefined || input !== columns[at - 1]?.input)
  const names = inputs.map(({ input, name }) => input ?? name)
  const isUnnamedFile = columns.every(isUnnamed)
  for (const name of names) {
    const width = columns.filter(({ input }) => input === name).length
    const { kind = 'number', length = 1 } = features[name] ?? {}
    const isOther =
      kind === 'vector'
        ? length !== width
        : kind === 'image'
          ? columns.find(({ input }) => input === name)?.image === undefined
          : kind === 'text' || (width > 1 && !isUnnamedFile)
    if (width > 0 && Object.hasOwn(features, name) && isOther)
      refuse(
        `the input ${quoted(name)} takes ${width} numbers a row, the feature is ${kind === 'image' ? 'an' : 'a'} ${kind}${kind === 'vector' ? ` of ${length}` : ''}: declare vector(${width}), or name the features of all columns in columns.json${kind === 'image' ? `; ${imageInput}` : ''}`,
      )
  }
  const isOfInputs =
    !isUnnamedFile ||
    (names.every((name) => Object.hasOwn(features, name)) && joinWide(columns, names, features) !== undefined)
  return isOfInputs ? names : columns.map(({ name }) => name)
}

/** Returns one column for each name, where the numbers of a vector or an image are joined; undefined where the file has more or fewer. */
function joinWide(
  columns: readonly ArtifactColumn[],
  names: readonly string[],
  features: Features,
): readonly ArtifactColumn[] | undefined {
  let at = 0
  const joined = names.map((name): ArtifactColumn | undefined => {
    const first = columns[at]
    const feature = features[name]
    const image = feature?.kind === 'image' ? first?.image : undefined
    if ((feature?.kind !== 'vector' && image === undefined) || first === undefined || !isNumber(first))
      return columns[at++]
    const length = image === undefined ? (feature?.length ?? 1) : numbersOfImage(image)
    const part = columns.slice(at, (at += length))
    const isWhole =
      part.length === length && part.every((each) => isNumber(each) && each.input === first.input)
    const joinedAs = image === undefined ? { vector: length } : { image }
    return isWhole ? { name: first.input ?? first.name, ...joinedAs } : undefined
  })
  return at === columns.length && joined.every((column) => column !== undefined) ? joined : undefined
}

const isNumber = ({ isText, vector, categories, possibleCategories }: ArtifactColumn): boolean =>
  isText !== true && (vector ?? categories ?? possibleCategories) === undefined

/** How many columns the features are, for a message; empty without vectors. */
function widthText(names: readonly string[], features: Features): string {
  const widths = names.map((name) => (features[name]?.kind === 'vector' ? (features[name].length ?? 1) : 1))
  if (widths.every((width) => width === 1)) return ''
  return `, which are ${widths.reduce((sum, width) => sum + width, 0)} with each number of the vectors`
}

/** Refuses an order that differs from the names in the file, which are always right. */
function refuseOtherOrder(columns: readonly ArtifactColumn[], given: readonly string[]): void {
  const names = new Set(columns.map(({ name }) => name))
  const at = given.findIndex((name, index) => name !== columns[index]!.name && names.has(name))
  if (at >= 0)
    refuse(
      `columns.json has ${quoted(given[at]!)} where the file has ${quoted(columns[at]!.name)}: list the columns in the order of the file, ${listed([...names])}`,
    )
}

/** Whether a column has only the default name that LightGBM, XGBoost, CatBoost or scikit-learn gives to a plain matrix. */
const isUnnamed = ({ name, input }: ArtifactColumn, index: number): boolean =>
  input !== undefined ||
  [`Column_${index}`, `f${index}`, `x${index}`, `feature_${index}`, String(index)].includes(name)

/** What an input must be to take an image. */
const imageInput =
  'an image needs an input of floats or uint8 of the shape [any, C, H, W] or [any, H, W, C], where C is 1, 3 or 4'

const aKind = { text: 'a text', vector: 'a vector', image: 'an image' } as const
const takersOf = {
  text: 'an object of Python (job.save), an endpoint, or an ONNX graph with an input of texts takes it',
  vector: 'columns of numbers without categories, an object of Python (job.save) or an endpoint take it',
  image: `send its pixels as vector(n), or decode it in an object of Python (job.save) or an endpoint, which take it; ${imageInput}`,
} as const

function fitOf(
  name: string,
  feature: Feature,
  {
    categories,
    isText,
    isOfWords,
    vector,
    image,
    hasCutNames,
    fill,
    columnsIn,
  }: Omit<ArtifactColumn, 'name'> & { fill?: number; columnsIn?: string },
): FeatureFit {
  const length = feature.kind === 'vector' ? (feature.length ?? 0) : 0
  if (vector !== undefined && vector !== length)
    refuse(
      `the column ${quoted(name)} takes ${vector === 0 ? 'no vector' : `a vector of ${vector} numbers`}, but the feature is ${length === 0 ? 'not a vector' : `a vector of ${length}`}: ${length === 0 ? 'leave "vector" out' : `write "vector": ${length} in the column`}`,
    )
  if (columnsIn !== undefined && vector === 0) {
    const wantsText = feature.kind === 'category' || feature.kind === 'text'
    if (wantsText !== (isText === true) && (wantsText || feature.kind === 'number'))
      refuse(
        `the column ${quoted(name)} takes ${wantsText ? 'numbers' : 'texts'}, the feature is a ${feature.kind}: ${wantsText ? `write {"name": ${quoted(name)}, "text": true}` : 'leave "text" out'} in "columns" of ${columnsIn}`,
      )
  }
  if (feature.kind === 'number') {
    if (isText === true) refuse(`the column ${quoted(name)} takes texts, the feature is a number`)
    if (categories !== undefined && !categories.every((value, code) => Number(value) === code))
      refuse(`the column ${quoted(name)} is a category, the feature is a number: declare it as a category`)
    return { name, kind: 'number', mean: 0, std: 1, fill: fill ?? null }
  }
  if (length > 0 && vector === length && isText !== true) {
    if ((fill ?? categories) !== undefined)
      refuse(`columns.json has a "fill" or "vocabulary" of ${quoted(name)}, which is a vector: leave it out`)
    return { name, kind: 'category', vocabulary: [], encoding: 'elements', length }
  }
  if (feature.kind === 'image' && image !== undefined) {
    if ((fill ?? categories) !== undefined)
      refuse(`columns.json has a "fill" or "vocabulary" of ${quoted(name)}, which is an image: leave it out`)
    return { name, kind: 'category', vocabulary: [], encoding: 'pixels', image }
  }
  if (feature.kind !== 'category') {
    if (isText !== true || (isOfWords === true && feature.kind !== 'text'))
      refuse(
        `the column ${quoted(name)} takes ${isText === true ? 'texts' : 'numbers or codes'}, the feature is ${aKind[feature.kind]}: ${takersOf[feature.kind]}`,
      )
    return { name, kind: 'category', vocabulary: [], encoding: 'text' }
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
    : { name, kind: 'category', vocabulary: [], encoding: 'code' }

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

// Counts the training rows whose category a model does not know, and refuses a column of which it knows no value that its feature takes:
// every row would count as unknown there, although a model with its other columns may pass the gate. pandas reads `10115.0` and `True` of a
// CSV as a number and a boolean.

export interface TakenTexts {
  /** The values that the model file declares. */
  values?: readonly string[]
  /** The texts of the training rows, each with the number of its rows. */
  texts?: readonly TextCount[]
  quote: (text: string) => string
}

type TextCount = readonly [text: string, rows: number]

/**
 * Returns the training rows whose category the model does not know; undefined without any. Throws `artifact_invalid` where it knows none.
 * `own`: the texts that a model knows which takes texts itself; a vocabulary of `columns.json` replaces them, for a column whose values are
 * all new to the model.
 */
function expectKnownCategories(
  fit: FeatureFit,
  own: KnownTexts | undefined,
  { values, texts = [], quote }: TakenTexts,
): UnknownRows | undefined {
  if (fit.kind !== 'category') return undefined
  const { name, vocabulary, encoding } = fit
  const [known, listed] = vocabulary.length > 0 ? [new Set(vocabulary), vocabulary] : [own, own?.listed]
  if (known === undefined || listed === undefined) return undefined
  const isForeign = (taken: readonly string[] = []): boolean =>
    taken.length > 0 && !taken.some((text) => known.has(text))
  const examples = `, such as ${shown(listed, quote)}`
  const relist =
    encoding === 'text'
      ? ', or, if they are new to the model on purpose, list them as the "vocabulary" of the column in columns.json'
      : ', or list the columns in columns.json with the "vocabulary" of each, in the order of the file'
  if (isForeign(values))
    refuse(
      `no value of the feature ${quote(name)}, such as ${shown(values!, quote)}, is a category of that column in the file${examples}: correct the values${relist}`,
    )
  const seen = texts.map(([text]) => text)
  if (isForeign(seen))
    refuse(
      `no value of ${quote(name)} in the training rows, such as ${shown(seen, quote)}, is a category that the model knows${examples}: write the values in the source as the model has them${relist}`,
    )
  const unknown = texts
    .filter(([text]) => text !== '' && !known.has(text))
    .toSorted(([, one], [, other]) => other - one)
  if (unknown.length === 0) return undefined
  return {
    feature: name,
    rows: unknown.reduce((sum, [, rows]) => sum + rows, 0),
    examples: unknown.slice(0, maxExamples).map(([text]) => text),
    known: listed.slice(0, maxExamples),
  }
}

const maxExamples = 3

const shown = (texts: readonly string[], quote: (text: string) => string): string =>
  texts.slice(0, 5).map(quote).join(', ')

// Settles which list of categories belongs to which column, where the file leaves it open: by the vocabularies of `columns.json`, or by the
// values of the features. Refuses what stays open, because the categories of another column give other answers.

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
