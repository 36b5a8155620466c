/** Defines the features of a model, which requests send. The builders determine the types of rows. */
import { featureNameIssue, isFeatureName } from '../../../domain/project/feature-name.ts'
import { readVector, textIssue, vectorIssue } from '../../../domain/values/media.ts'
import type {
  CategoryFeature,
  FeatureRow,
  Features,
  ImageFeature,
  NumberFeature,
  TextFeature,
  VectorFeature,
} from '../../../domain/model/features.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import { reportDistinct, reportRange, type IssueCollector } from '../issues.ts'

type NumberOptions = Omit<NumberFeature, 'kind' | 'sql' | 'use'>
type TextOptions = Omit<TextFeature, 'kind' | 'sql' | 'use'>
type VectorOptions = Omit<VectorFeature, 'kind' | 'length' | 'sql' | 'use'>
type ImageOptions = Omit<ImageFeature, 'kind' | 'sql' | 'use'>
type CategoryOptions<V extends string> = Omit<CategoryFeature, 'kind' | 'values' | 'sql' | 'use'> & {
  values?: readonly V[]
}

/** Defines a numeric feature with its expected range: `number({ unit: 'cm', min: 3, max: 9 })`. */
export function number<const O extends NumberOptions>(options: O = {} as O): { kind: 'number' } & O {
  return { kind: 'number', ...options }
}

/** Defines a text feature with given values: `category(['red', 'green'])`. Without values, any text is accepted. */
export function category<const V extends string>(
  values: readonly V[],
): { kind: 'category'; values: readonly V[] }
export function category<const V extends string, const O extends CategoryOptions<V>>(
  options?: O,
): { kind: 'category' } & O
export function category(given: readonly string[] | CategoryOptions<string> = {}): CategoryFeature {
  return isList(given) ? { kind: 'category', values: given } : { kind: 'category', ...given }
}

/** Defines a feature of free text: `text({ maxLength: 2_000 })`. Taken by objects of Python, endpoints, and graphs with an input of texts. */
export function text<const O extends TextOptions>(options: O = {} as O): { kind: 'text' } & O {
  return { kind: 'text', ...options }
}

/** Defines a feature of several numbers, such as an embedding or pixels: `vector(384)`. Taken by objects of Python, endpoints, graphs and trees. */
export function vector<const O extends VectorOptions>(
  length: number,
  options: O = {} as O,
): { kind: 'vector'; length: number } & O {
  return { kind: 'vector', length, ...options }
}

/**
 * Defines a feature of an image, as base64 of PNG, JPEG, GIF or WebP: `image({ maxBytes: 200_000 })`. Taken by objects of Python and endpoints, and as PNG by ONNX graphs.
 */
export function image<const O extends ImageOptions>(options: O = {} as O): { kind: 'image' } & O {
  return { kind: 'image', ...options }
}

const isList = (given: object): given is readonly string[] => Array.isArray(given)

type Filled<F, T> = F extends { missing: 'fill' } ? T | null : T
/** A row of these features: numbers and texts; null only where a missing value is imputed. */
export type RowOf<F extends Features> = {
  [K in keyof F]: F[K] extends { kind: 'number' }
    ? Filled<F[K], number>
    : F[K] extends { kind: 'vector' }
      ? Filled<F[K], readonly number[]>
      : F[K] extends { values: readonly (infer V)[] }
        ? Filled<F[K], V>
        : Filled<F[K], string>
}

const shared = { kind: 0, missing: 0, column: 0, about: 0, from: 0, sql: 0, use: 0 } as const
const fields = {
  number: fieldNames<NumberFeature>({ ...shared, unit: 0, min: 0, max: 0, outside: 0 }),
  category: fieldNames<CategoryFeature>({ ...shared, values: 0 }),
  text: fieldNames<TextFeature>({ ...shared, maxLength: 0, log: 0 }),
  vector: fieldNames<VectorFeature>({ ...shared, length: 0, log: 0 }),
  image: fieldNames<ImageFeature>({ ...shared, maxBytes: 0, log: 0 }),
}
/** What builders and `prepare` set. */
const own = ['kind', 'from', 'sql', 'use']
const options = (kind: keyof typeof fields) => fields[kind].filter((field) => !own.includes(field))

function reportOptions(report: IssueCollector, place: string, feature: Features[string]): void {
  const example = {
    number: 'number({ min: 0 })',
    category: "category(['red', 'white'])",
    text: 'text({ maxLength: 2_000 })',
    vector: "vector(384, { missing: 'fill' })",
    image: 'image({ maxBytes: 200_000 })',
  }[feature.kind]
  // A text was passed instead of options: spreading it yields its letters by index.
  if ('0' in feature) return report(place, `options are required, as in ${example}, not a text`)
  const { kind: _kind, from: _from, ...given } = feature
  reportUnknown(report, place, given, options(feature.kind))
}

function reportOutside(report: IssueCollector, place: string, feature: NumberFeature): void {
  const { outside, missing, min, max } = feature
  if (outside === undefined) return
  if (outside !== 'missing') report(place, `'missing' or nothing is required, not ${JSON.stringify(outside)}`)
  else if (missing !== 'fill' || (min === undefined && max === undefined))
    report(place, "min or max, and missing: 'fill', are required with it, because a value outside is imputed")
}

/** A replica refuses larger requests. */
const [mostLength, mostBytes, mostNumbers] = [100_000, 2_000_000, 10_000]

function reportCount(report: IssueCollector, place: string, given: unknown, most: number): void {
  if (given !== undefined && !(Number.isInteger(given) && Number(given) >= 1 && Number(given) <= most))
    report(place, `a whole number from 1 to ${most} is required, not ${JSON.stringify(given)}`)
}

/** Whether the word is another library's kind for free text. */
export const isTextWord = (word: string): boolean => /^(texts|string|sentence|embedding)$/i.test(word)

export const textAdvice =
  'text() is a feature of free text, category() one of a few values, and vector(n) one of the numbers of an embedding'

export function checkFeatures(report: IssueCollector, features: Features, where = 'features'): void {
  if (Object.keys(features).length === 0) report(where, 'at least one is required')
  const taken = new Set<string>()
  for (const [column, name] of Object.entries(features).map(([name, each]) => [each?.column ?? name, name])) {
    const key = String(column).toLowerCase()
    if (taken.has(key))
      report(`${where}.${name}`, `the column ${JSON.stringify(column)} is another feature already`)
    taken.add(key)
  }
  for (const [name, feature] of Object.entries(features)) {
    const place = `${where}.${name}`
    if (!isFeatureName(name)) report(place, featureNameIssue(name))
    if (feature !== undefined && feature !== null && Object.hasOwn(fields, feature.kind))
      reportOptions(report, place, feature)
    const column: unknown = feature?.column
    if (column !== undefined && (typeof column !== 'string' || column === ''))
      report(`${place}.column`, `the name of a column in files is required, not ${JSON.stringify(column)}`)
    if (feature?.kind === 'number') {
      reportRange(report, place, feature)
      reportOutside(report, `${place}.outside`, feature)
    } else if (feature?.kind === 'category') {
      if (feature.values !== undefined) {
        reportDistinct(report, `${place}.values`, feature.values)
        if (feature.values.some((value) => typeof value !== 'string'))
          report(`${place}.values`, 'every value is a text')
      }
    } else if (feature?.kind === 'text')
      reportCount(report, `${place}.maxLength`, feature.maxLength, mostLength)
    else if (feature?.kind === 'image') reportCount(report, `${place}.maxBytes`, feature.maxBytes, mostBytes)
    else if (feature?.kind === 'vector')
      reportCount(report, `${place}.length`, feature.length ?? null, mostNumbers)
    else {
      const kind = String((feature as { kind?: unknown } | null | undefined)?.kind)
      report(
        place,
        `made with number(), category(), text(), vector() or image()${isTextWord(kind) ? `: ${textAdvice}` : ''}`,
      )
    }
    const log: unknown = (feature as Partial<TextFeature> | null | undefined)?.log
    if (log !== undefined && log !== 'value' && log !== 'digest')
      report(`${place}.log`, `'value' or 'digest' is required, not ${JSON.stringify(log)}`)
    if (feature?.missing !== undefined && feature.missing !== 'fill')
      report(`${place}.missing`, `'fill' or nothing is required, not ${JSON.stringify(feature.missing)}`)
  }
}

/** Returns the issues of a row of these features, as the API reports them. */
export function issuesOfRow(features: Features, row: Record<string, unknown>): string[] {
  const extra = Object.keys(row).filter((name) => !(name in features))
  return [
    ...extra.map((name) => `${name} is not a feature`),
    ...Object.entries(features).flatMap(([name, feature]) => {
      const value = row[name]
      if (value === null && feature.missing === 'fill') return []
      if (feature.kind === 'number') return Number.isFinite(value) ? [] : [`${name} is a finite number`]
      if (feature.kind === 'vector')
        return readVector(value, feature.length) === undefined ? [`${name} ${vectorIssue(feature)}`] : []
      if (typeof value !== 'string') return [`${name} is a text`]
      const issue = textIssue(feature, value)
      if (feature.kind !== 'category') return issue === undefined ? [] : [`${name} ${issue}`]
      return feature.values === undefined || feature.values.includes(value)
        ? []
        : [`${name} is one of its declared values, not "${value}"`]
    }),
  ]
}

/** The row with its vectors as JSON, as rows are stored. */
export const storedRow = (row: object): FeatureRow =>
  Object.fromEntries(
    Object.entries(row ?? {}).map(([name, value]) => [
      name,
      Array.isArray(value) ? JSON.stringify(value) : value,
    ]),
  )
