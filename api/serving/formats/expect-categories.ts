/**
 * Counts the training rows whose category a model does not know, and refuses a column of which it knows no value that its feature takes:
 * every row would count as unknown there, although a model with its other columns may pass the gate. pandas reads `10115.0` and `True` of a
 * CSV as a number and a boolean.
 */
import { quotedName } from '../../../domain/errors.ts'
import type { UnknownRows } from '../../../domain/model/brought-artifact.ts'
import type { FeatureFit } from '../../../domain/model/features.ts'
import { refuse } from '../network/layers-model.ts'
import type { KnownTexts } from './format.ts'

export interface TakenTexts {
  /** The values that the model file declares. */
  values?: readonly string[]
  /** The texts of the training rows, each with the number of its rows. */
  texts?: readonly TextCount[]
}

export type TextCount = readonly [text: string, rows: number]

/**
 * Returns the training rows whose category the model does not know; undefined without any. Throws `artifact_invalid` where it knows none.
 * `own`: the texts that a model knows which takes texts itself; a vocabulary of `columns.json` replaces them, for a column whose values are
 * all new to the model.
 */
export function expectKnownCategories(
  fit: FeatureFit,
  own: KnownTexts | undefined,
  { values, texts = [] }: TakenTexts,
): UnknownRows | undefined {
  if (fit.kind !== 'category') return undefined
  const { name, vocabulary, encoding } = fit
  const known: KnownTexts | undefined = vocabulary.length > 0 ? new Set(vocabulary) : own
  if (known === undefined) return undefined
  const isForeign = (taken: readonly string[] = []): boolean =>
    taken.length > 0 && !taken.some((text) => known.has(text)) && countTexts(taken) > (known.maxUnlisted ?? 0)
  const listed = vocabulary.length > 0 ? vocabulary : known.listed
  const examples = listed === undefined ? '' : `, such as ${shown(listed)}`
  const relist =
    encoding === 'text'
      ? ', or, if they are new to the model on purpose, list them as the "vocabulary" of the column in columns.json'
      : ', or list the columns in columns.json with the "vocabulary" of each, in the order of the file'
  if (isForeign(values))
    refuse(
      `no value of the feature ${quotedName(name)}, such as ${shown(values!)}, is a category of that column in the file${examples}: correct the values${relist}`,
    )
  const seen = texts.map(([text]) => text)
  if (isForeign(seen))
    refuse(
      `no value of ${quotedName(name)} in the training rows, such as ${shown(seen)}, is a category that the model knows${examples}: write the values in the source as the model has them${relist}`,
    )
  // The model may know some texts that its file does not list. Those with the most rows count as known.
  const unknown = texts
    .filter(([text]) => text !== '' && !known.has(text))
    .toSorted(([, one], [, other]) => other - one)
    .slice(known.maxUnlisted ?? 0)
  if (unknown.length === 0) return undefined
  return {
    feature: name,
    rows: unknown.reduce((sum, [, rows]) => sum + rows, 0),
    examples: unknown.slice(0, maxExamples).map(([text]) => text),
    known: listed?.slice(0, maxExamples),
  }
}

const maxExamples = 3

/** Counts different texts. A missing one, which is empty, counts where there is no other. */
const countTexts = (texts: readonly string[]): number => Math.max(1, new Set(texts.filter(Boolean)).size)

const shown = (texts: readonly string[]): string => texts.slice(0, 5).map(quotedName).join(', ')
