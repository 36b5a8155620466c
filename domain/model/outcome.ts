/** Checks outcomes. An unknown class, or a number for a class, would count as a wrong prediction of every version. */
import type { Output } from './features.ts'

export type OutcomeValue = number | string | boolean

/** Why the value is invalid; undefined when it is valid. */
export function issueOfOutcome(output: Output, value: OutcomeValue): string | undefined {
  switch (output.kind) {
    case 'classes':
      return typeof value === 'string' && output.classes.includes(value)
        ? undefined
        : `${shown(value)} is not one of the classes ${output.classes.slice(0, 20).join(', ')}`
    case 'probability':
      return value === true || value === false || value === 1 || value === 0
        ? undefined
        : `${shown(value)} is not true, false, 1 or 0`
    case 'number':
      return typeof value === 'number' && Number.isFinite(value)
        ? undefined
        : `${shown(value)} is no finite number`
    default:
      return output satisfies never
  }
}

/**
 * The value of a text, for files with texts only. For an unknown prediction the form of the text decides.
 */
export function outcomeOfText(output: Output | undefined, text: string): OutcomeValue {
  if (output?.kind === 'classes') return text
  if (text === 'true' || text === 'false') return text === 'true'
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && Number.isFinite(Number(text))
    ? Number(text)
    : text
}

const shown = (value: OutcomeValue): string => JSON.stringify(value).slice(0, 80)
