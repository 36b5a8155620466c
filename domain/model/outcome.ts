/** Checks outcomes. An unknown class, or a number in place of a class, would count as a wrong prediction of every version. */
import { isOfNumbers, limitsText, type Output } from './features.ts'

/** For several numbers, an object with each number by name. */
export type OutcomeValue = number | string | boolean | Readonly<Record<string, number>>

/**
 * Why the value is invalid for the version that answered; undefined when it is valid. Classes, further numbers and limits of the current
 * model file (`now`) are valid too. A value of another kind is not: a number would count as "yes" of a probability.
 */
export function issueOfOutcome(output: Output, value: OutcomeValue, now?: Output): string | undefined {
  switch (output.kind) {
    case 'numbers':
      return issueOfNumbers(output, value, now)
    case 'classes':
      return [output, now].some(
        (each) => each?.kind === 'classes' && typeof value === 'string' && each.classes.includes(value),
      )
        ? undefined
        : `${shown(value)} is not one of the classes ${output.classes.slice(0, 20).join(', ')}`
    case 'probability':
      return value === true || value === false || value === 1 || value === 0
        ? undefined
        : `${shown(value)} is not true, false, 1 or 0, nor ${shown(output.positive)} for true`
    case 'number':
    case 'quantiles':
      return typeof value === 'number'
        ? issueOfNumber(output, value, now)
        : `${shown(value)} is not a finite number`
    default:
      return output satisfies never
  }
}

type NumericOutput = Extract<Output, { min?: number }>

function issueOfNumber(output: NumericOutput, value: number, now?: Output): string | undefined {
  if (!Number.isFinite(value)) return `${value} is not a finite number`
  const isWithin = ({ min = -Infinity, max = Infinity }: NumericOutput) => value >= min && value <= max
  if (isWithin(output) || (now !== undefined && isOfNumbers(now) && isWithin(now))) return undefined
  return `${value} is outside of the label's ${limitsText(output)}`
}

function issueOfNumbers(
  output: Extract<Output, { kind: 'numbers' }>,
  value: OutcomeValue,
  now?: Output,
): string | undefined {
  const { names } = output
  const others = now?.kind === 'numbers' ? now.names : []
  const form = `{${names.map((name) => `${JSON.stringify(name)}: 1`).join(', ')}}`
  if (typeof value !== 'object')
    return `${shown(value)} is not an object with a number of each name, such as ${form}`
  const lacks = names.find((name) => !Object.hasOwn(value, name))
  if (lacks !== undefined) return `${shown(value)} lacks ${JSON.stringify(lacks)}`
  const more = Object.keys(value).find((name) => !names.includes(name) && !others.includes(name))
  if (more !== undefined) return `${JSON.stringify(more.slice(0, 60))} is not one of ${names.join(', ')}`
  for (const [name, number] of Object.entries(value)) {
    const issue = issueOfNumber(output, number, now)
    if (issue !== undefined) return `${JSON.stringify(name)}: ${issue}`
  }
  return undefined
}

/**
 * Normalises a value, so that another spelling of the same outcome is not a correction: true and false for the name of the positive
 * class, as predictions give it, and for 1 and 0.
 */
export function canonicalOutcome(output: Output | undefined, value: OutcomeValue): OutcomeValue {
  if (output?.kind !== 'probability') return value
  if (value === 1 || value === output.positive) return true
  return value === 0 ? false : value
}

/**
 * The value of a text, as JSON, pandas and R write it. Of an unknown prediction, a number in any other form stays a text, because 007 may be
 * a class; `truthOf` reads it.
 */
export function outcomeOfText(output: Output | undefined, text: string): OutcomeValue {
  if (output?.kind === 'classes') return text
  if (output?.kind === 'probability' && text === output.positive) return true
  if (output?.kind === 'numbers') return objectOfText(text) ?? text
  if (/^(true|false)$/i.test(text) && (output !== undefined || text === text.toLowerCase()))
    return text.toLowerCase() === 'true'
  const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN
  return Number.isFinite(number) && (output !== undefined || String(number) === text) ? number : text
}

/** Undefined for a text that is not a JSON object. */
function objectOfText(text: string): Record<string, number> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, number>)
      : undefined
  } catch {
    return undefined
  }
}

/** The truth as the gate counts it: 0 or 1, the class index, the number, or each of several numbers; null for any other value. */
export function truthOf(outcome: OutcomeValue, output: Output): number[] | null {
  const value = canonicalOutcome(
    output,
    typeof outcome === 'string' ? outcomeOfText(output, outcome) : outcome,
  )
  if (output.kind === 'numbers') {
    if (typeof value !== 'object') return null
    const truths = output.names.map((name) => value[name]!)
    return truths.every(Number.isFinite) ? truths : null
  }
  if (typeof value === 'object' || (typeof value === 'string' && output.kind !== 'classes')) return null
  if (output.kind === 'classes') {
    // The text of an unknown prediction was read as true or false.
    const place = output.classes.findIndex(
      (name) => name === String(value) || (typeof value === 'boolean' && name === String(Number(value))),
    )
    return place < 0 ? null : [place]
  }
  const number = Number(value)
  if (!Number.isFinite(number)) return null
  return [output.kind === 'probability' ? Number(number !== 0) : number]
}

/** The text of an outcome of any road as the label reads it; undefined for another value. */
export function labelText(output: Output, text: string): string | undefined {
  const value = canonicalOutcome(output, outcomeOfText(output, text))
  if (truthOf(value, output) === null) return undefined
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

const shown = (value: OutcomeValue): string => JSON.stringify(value).slice(0, 80)
