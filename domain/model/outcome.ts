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
    case 'quantiles':
      return typeof value === 'number' && Number.isFinite(value)
        ? undefined
        : `${shown(value)} is no finite number`
    default:
      return output satisfies never
  }
}

/**
 * One spelling of each value, so that another spelling of the same outcome is no correction: true and false for the positive class by
 * its name, as answers give it, and for 1 and 0.
 */
export function canonicalOutcome(output: Output | undefined, value: OutcomeValue): OutcomeValue {
  if (output?.kind !== 'probability') return value
  if (value === 1 || value === output.positive) return true
  return value === 0 ? false : value
}

/**
 * The value of a text, for files with texts only, as JSON, pandas and R write it. For an unknown prediction the form of the text decides.
 */
export function outcomeOfText(output: Output | undefined, text: string): OutcomeValue {
  if (output?.kind === 'classes') return text
  if (output?.kind === 'probability' && text === output.positive) return true
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === 'true'
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && Number.isFinite(Number(text))
    ? Number(text)
    : text
}

const shown = (value: OutcomeValue): string => JSON.stringify(value).slice(0, 80)
