/** Says why an erasure may have found nothing, and what to do next. The key itself is not known any more, only its hash. */

export interface SubjectColumn {
  /** The `subject` of the model file. */
  column?: string
  /** Whether it holds numbers in the newest snapshot; absent without a snapshot. */
  isNumber?: boolean
}

/** `earlier`: the erasure that has erased the same key before. */
export function explainNothingFound(
  model: string,
  { column, isNumber }: SubjectColumn,
  earlier?: string,
): string {
  if (earlier !== undefined)
    return `nothing was stored under this key since ${earlier} erased it, which needs no further step`
  const compared =
    isNumber === true
      ? 'of numbers: 7 and 7.0 are one key, and one with a space or a letter is no number'
      : `${isNumber === false ? 'of texts' : 'of an unknown type, as there is no snapshot'}: keys are compared as texts, in which 7, 7.0 and 007 are three`
  const subject =
    column === undefined
      ? 'the model file names no `subject`, so only routing keys are compared, as texts'
      : `\`subject\` is the column \`${column}\` ${compared}`
  return `no stored row of ${model} has this key: ${subject}. Check how the source and the callers write the key, and repeat the erasure with that form`
}
