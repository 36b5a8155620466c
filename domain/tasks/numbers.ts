/** Several numbers a row: one for each name, each with a label of its own. */
import { numberBins, numberCounter } from './answer-bins.ts'
import { inUnit, numeric, issueOfNumber, scaledLoss, shown } from './numeric.ts'
import type { OutputOf } from './output.ts'
import type { Task } from './task.ts'

export const numbers: Task<OutputOf<'numbers'>> = {
  ...numeric,
  expects: 'finite number for each of the label',
  numbers: ({ names }) => names,
  shared(one, other) {
    const names = other.kind === one.kind ? one.names.filter((name) => other.names.includes(name)) : []
    return names.length === 0 ? undefined : { ...one, names }
  },
  form: ({ names, unit }) => [names, unit ?? null],
  described: (output, named) => `the numbers ${named(output.names)}${inUnit(output)}`,
  job: ({ names }) => ({ names }),
  issueOfOutcome(output, value, now) {
    const { names } = output
    const others = now?.kind === output.kind ? now.names : []
    const form = `{${names.map((name) => `${JSON.stringify(name)}: 1`).join(', ')}}`
    if (typeof value !== 'object')
      return `${shown(value)} is not an object with a number of each name, such as ${form}`
    const lacks = names.find((name) => !Object.hasOwn(value, name))
    if (lacks !== undefined) return `${shown(value)} lacks ${JSON.stringify(lacks)}`
    const more = Object.keys(value).find((name) => !names.includes(name) && !others.includes(name))
    if (more !== undefined) return `${JSON.stringify(more.slice(0, 60))} is not one of ${names.join(', ')}`
    for (const [name, each] of Object.entries(value)) {
      const issue = issueOfNumber(output, each, now)
      if (issue !== undefined) return `${JSON.stringify(name)}: ${issue}`
    }
    return undefined
  },
  readText: (_output, text) => objectOfText(text) ?? text,
  truth({ names }, value) {
    if (typeof value !== 'object') return null
    const truths = names.map((name) => value[name]!)
    return truths.every(Number.isFinite) ? truths : null
  },
  loss: (_output, outputs, truths, scales) =>
    scaledLoss(
      truths.map((truth, k) => Math.abs((outputs[k] ?? NaN) - truth)),
      scales,
    ),
  bins: ({ names }, profile) => numberBins(names, profile),
  counter: ({ names }, bins) => numberCounter(bins, names.length, (name) => names.indexOf(name ?? '')),
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
