/** Defines what a model is opened for: the features of its rows, how they are encoded, and what its outputs mean. */
import { refuse } from './errors.ts'
import type { ArtifactFormatName } from './format-names.ts'
import { numbersOfImage, writePixels, type ImageShape } from './png.ts'

/** A feature, as `bindColumns` needs it. */
export interface Feature {
  /** A text, a vector and an image have any value, and no model takes its code. The numbers of a vector and the pixels of an image may be columns of a model. */
  kind: 'number' | 'category' | 'text' | 'vector' | 'image'
  /** The values that a category may take; any text when absent. */
  values?: readonly string[]
  /** How many numbers a vector has. */
  length?: number
}

/** How one feature reaches the model, in the order of its inputs. */
export type FeatureFit = NumberFit | CategoryFit

export interface NumberFit {
  name: string
  kind: 'number'
  /** With mean 0 and std 1, a number reaches the model as it is. */
  mean: number
  std: number
  /** The value that replaces a missing one; null when the model takes missing values as NaN. */
  fill: number | null
  /** No input: the model does not take the number. */
  unread?: true
}

export interface CategoryFit {
  name: string
  kind: 'category'
  vocabulary: string[]
  /** Default: one-hot. */
  encoding?: CategoryEncoding
  /** How many numbers a vector has; with the encoding `elements`. */
  length?: number
  /** The image that the model takes; with the encoding `pixels`. */
  image?: ImageShape
}

export type CategoryEncoding =
  /** One input per vocabulary entry, then one for every other value and for null. */
  | 'one-hot'
  /** One input: the index in the vocabulary, NaN for every other value and for null. */
  | 'code'
  /** No input: the model takes the text itself. */
  | 'text'
  /** One input for each number of a vector, which is a text of JSON; NaN for null. */
  | 'elements'
  /** One input for each channel of each pixel of an image, from 0 to 255; NaN for null. */
  | 'pixels'

/** The number of inputs that a fit produces. */
export function widthOfFit(fit: FeatureFit): number {
  if (fit.kind === 'number') return fit.unread === true ? 0 : 1
  switch (fit.encoding ?? 'one-hot') {
    case 'one-hot':
      return fit.vocabulary.length + 1
    case 'code':
      return 1
    case 'text':
      return 0
    case 'elements':
      return fit.length ?? 0
    case 'pixels':
      return fit.image === undefined ? 0 : numbersOfImage(fit.image)
  }
}

/** How a text holds the inputs itself: the numbers of a vector, or the pixels of an image. */
export type HeldInputs = Pick<CategoryFit, 'length' | 'image'>

/** Returns how the text of a feature holds its inputs; undefined for a category and for words. */
export const heldInputsOf = ({ encoding, length, image }: CategoryFit): HeldInputs | undefined =>
  encoding === 'elements' || encoding === 'pixels' ? { length, image } : undefined

/** Writes the inputs that a text holds, NaN for null. Returns why it cannot, as the end of a sentence about the feature. */
export function writeHeld(
  text: string | null,
  { length = 0, image }: HeldInputs,
  into: Float64Array | Float32Array,
  at: number,
): string | undefined {
  if (image !== undefined) return writePixels(text, image, into, at)
  writeVector(text, length, into, at)
  return undefined
}

/** DuckDB writes spaces, and reads signs and points that JSON lacks. */
function writeVector(
  text: string | null,
  length: number,
  into: Float64Array | Float32Array,
  at: number,
): void {
  if (text === null) into.fill(NaN, at, at + length)
  else
    for (const [place, number] of text.trim().slice(1, -1).split(',').entries())
      into[at + place] = Number(number)
}

/** The number of inputs that all fits produce. */
export const inputWidthOf = (fits: readonly FeatureFit[]): number =>
  fits.reduce((sum, fit) => sum + widthOfFit(fit), 0)

export type { ModelFacts } from './predictor.ts'

/** A column as `columns.json` declares it. */
export interface DeclaredColumn {
  name: string
  /** The values of a category, in the order of their codes. */
  vocabulary?: readonly string[]
  /** The value that replaces a missing number. Absent: it stays missing. */
  fill?: number
  /** The type of the column in the training frame of a model that is code of Python, as pandas names it. */
  dtype?: string
}

const dtypes =
  /^(?:[Uu]?[Ii]nt(?:8|16|32|64)|[Ff]loat(?:32|64)|bool|boolean|str|string|object|category|datetime64\[(?:s|ms|us|ns)(?:, [\w/+:-]{1,60})?\])$/
const maxDeclaredColumns = 10_000
const maxVocabulary = 1_000_000

/** Returns the columns of a parsed `columns.json` in the order of the file of the model. Throws `artifact_invalid`, naming the entry. */
export function parseDeclaredColumns(given: unknown): DeclaredColumn[] {
  if (!Array.isArray(given) || given.length === 0 || given.length > maxDeclaredColumns)
    return refuse(`columns.json is not a list of 1 to ${maxDeclaredColumns} columns`)
  return given.map((each: unknown, index) => {
    const where = `column ${index} of columns.json`
    if (typeof each === 'string') return { name: each }
    if (typeof each !== 'object' || each === null || Array.isArray(each))
      return refuse(`${where} is not an object`)
    const { name, vocabulary, fill, dtype, ...more } = each as Record<string, unknown>
    const [unknown] = Object.keys(more)
    if (unknown !== undefined) refuse(`${where} has an unknown field ${JSON.stringify(unknown.slice(0, 60))}`)
    if (typeof name !== 'string' || name === '') return refuse(`${where} has no "name"`)
    if (vocabulary !== undefined && !isVocabulary(vocabulary))
      return refuse(`"vocabulary" of ${where} is not a list of at most ${maxVocabulary} texts or numbers`)
    if (fill !== undefined && (typeof fill !== 'number' || !Number.isFinite(fill)))
      return refuse(`"fill" of ${where} is not a number`)
    if (dtype !== undefined && (typeof dtype !== 'string' || !dtypes.test(dtype)))
      return refuse(
        `"dtype" of ${where} is not a type of pandas, such as int64, Int64, float32, bool, boolean, category or datetime64[ns]`,
      )
    return { name, vocabulary: vocabulary?.map(String), fill, dtype }
  })
}

const isVocabulary = (given: unknown): given is (string | number)[] =>
  Array.isArray(given) &&
  given.length <= maxVocabulary &&
  given.every((value) => typeof value === 'string' || typeof value === 'number')

/** The training rows whose category a model does not know. */
export interface UnknownRows {
  feature: string
  rows: number
  /** The most frequent of these categories. */
  examples: string[]
  /** Some categories that the model knows; absent where its file holds only their hashes. */
  known?: string[]
}

/** What the outputs of a row mean. */
export type Output =
  /** One number: the probability of the positive class. */
  | { kind: 'probability'; positive: string }
  /** One number per class. */
  | { kind: 'classes'; classes: readonly string[] }
  | { kind: 'number' }
  | { kind: 'quantiles'; levels: readonly number[] }
  | { kind: 'numbers'; names: readonly string[] }

/** The names of the numbers of an answer: classes, levels of quantiles, or names; empty when an answer is one number. */
export function outputNames(output: Output): readonly (string | number)[] {
  switch (output.kind) {
    case 'classes':
      return output.classes
    case 'quantiles':
      return output.levels
    case 'numbers':
      return output.names
    case 'number':
    case 'probability':
      return []
  }
}

/** How many numbers an answer has. */
export const outputWidth = (output: Output): number => outputNames(output).length || 1

/** The length that stands for null in place of a text of `RowTexts`. */
export const noText = 0xffff_ffff

/** What a model is opened for. */
export interface ModelDescription {
  /** Default: `tfjs-layers`. */
  artifact?: ArtifactFormatName
  output: Output
  preprocessing: readonly FeatureFit[]
  /** Rows whose known answers the caller compares; their number is limited for large networks. */
  golden?: { instances: readonly unknown[] }
}
