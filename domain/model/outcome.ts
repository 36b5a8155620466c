/** Checks outcomes. An unknown class, or a number in place of a class, would count as a wrong prediction of every version. */
import type { OutcomeValue, Output } from '../tasks/output.ts'
import { taskOf } from '../tasks/tasks.ts'

/**
 * Why the value is invalid for the version that answered; undefined when it is valid. Classes, further numbers and limits of the current
 * model file (`now`) are valid too. A value of another kind is not: a number would count as "yes" of a probability.
 */
export const issueOfOutcome = (output: Output, value: OutcomeValue, now?: Output): string | undefined =>
  taskOf(output).issueOfOutcome(output, value, now)

/**
 * Normalises a value, so that another spelling of the same outcome is not a correction: true and false for the name of the positive
 * class, as predictions give it, and for 1 and 0.
 */
export const canonicalOutcome = (output: Output | undefined, value: OutcomeValue): OutcomeValue =>
  output === undefined ? value : taskOf(output).canonical(output, value)

/**
 * The value of a text, as JSON, pandas and R write it. Of an unknown prediction, a number in any other form stays a text, because 007 may be
 * a class; `truthOf` reads it.
 */
export function outcomeOfText(output: Output | undefined, text: string): OutcomeValue {
  const read = output && taskOf(output).readText(output, text)
  if (read !== undefined) return read
  if (/^(true|false)$/i.test(text) && (output !== undefined || text === text.toLowerCase()))
    return text.toLowerCase() === 'true'
  const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN
  return Number.isFinite(number) && (output !== undefined || String(number) === text) ? number : text
}

/** The truth as the gate counts it: 0 or 1, the class index, the number, or each of several numbers; null for any other value. */
export function truthOf(outcome: OutcomeValue, output: Output): number[] | null {
  const value = typeof outcome === 'string' ? outcomeOfText(output, outcome) : outcome
  return taskOf(output).truth(output, canonicalOutcome(output, value))
}

/** The text of an outcome of any road as the label reads it; undefined for another value. */
export function labelText(output: Output, text: string): string | undefined {
  const value = canonicalOutcome(output, outcomeOfText(output, text))
  if (truthOf(value, output) === null) return undefined
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
