/**
 * Whether a value can be what became true of a prediction. A class that the model does not know, or a number where a class is
 * expected, would count as a wrong answer of every version for ever, and nobody would look for it among the labels.
 */
import type { Output } from './features.ts'

export type OutcomeValue = number | string | boolean

/** What is wrong with the value; nothing when it fits. */
export function issueOfOutcome(output: Output, value: OutcomeValue): string | undefined {
  switch (output.kind) {
    case 'classes':
      return typeof value === 'string' && output.classes.includes(value)
        ? undefined
        : `${shown(value)} is none of the classes ${output.classes.slice(0, 20).join(', ')}`
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
 * The value that a text stands for, where a file has nothing but texts. Of a prediction that nobody knows, what the text looks
 * like decides.
 */
export function outcomeOfText(output: Output | undefined, text: string): OutcomeValue {
  if (output?.kind === 'classes') return text
  if (text === 'true' || text === 'false') return text === 'true'
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && Number.isFinite(Number(text))
    ? Number(text)
    : text
}

const shown = (value: OutcomeValue): string => JSON.stringify(value).slice(0, 80)
