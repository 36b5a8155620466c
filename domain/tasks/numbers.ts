/** Several numbers a row: one for each name, each with a label of its own. */
import { numberBins, numberCounter } from './answer-bins.ts'
import {
  inUnit,
  numeric,
  issueOfNumber,
  shown,
  constantOf,
  errorLosses,
  errorMeasures,
  numericGate,
  isListOf,
} from './numeric.ts'
import type { OutputOf } from './output.ts'
import type { Task, GateRules } from './task.ts'
import { answerReader } from '../metrics/answers.ts'
import { emptyScores } from '../evaluation/scored-rows.ts'

const gate: GateRules = {
  ...numericGate,
  name: 'multioutput',
  // Has no unit, so no number outweighs the others.
  primary: 'r2',
  metrics: ['r2', 'rmse', 'mae'],
  standIns: { r2: 'rmse' },
  sliceMetrics: ['mae'],
  mostPerDistance: { mae: 1 },
  groupMeasures: ({ parts }) => parts.flatMap((part) => errorMeasures(part, ` of ${part.name}`)),
  baselineIssue: 'one column cannot predict several numbers: leave it out',
  widthIssue: () => null,
  misfit: (width, { targets }) =>
    width === targets?.length ? undefined : `gives ${width} numbers a row, the label has ${targets?.length}`,
  score(y, answers, { targets = [] }) {
    const rows = y.length / targets.length
    const parts = targets.map((name, k) => ({
      name,
      y: columnOf(y, k, targets.length),
      score: new Float64Array(rows),
    }))
    const rowAt = answerReader(answers)
    for (let i = 0; i < rows; i++) rowAt(i).forEach((value, k) => (parts[k]!.score[i] = value))
    const { y: first, score } = parts[0]!
    return { ...emptyScores('multioutput', first), score, parts }
  },
  naive: (y, { primary, targets = [] }) =>
    targets.map((_name, k) => constantOf(columnOf(y, k, targets.length), primary)),
}

/** The k-th number of each row. */
const columnOf = (y: ArrayLike<number>, k: number, width: number): Float64Array =>
  Float64Array.from({ length: y.length / width }, (_, row) => y[row * width + k]!)

export const numbers: Task<OutputOf<'numbers'>> = {
  ...numeric,
  word: 'quantities',
  expects: 'finite number for each of the label',
  numbers: ({ names }) => names,
  shared(one, other) {
    const names = other.kind === one.kind ? one.names.filter((name) => other.names.includes(name)) : []
    return names.length === 0 ? undefined : { ...one, names }
  },
  fields: ({ names }) => [{ field: 'values', is: 'numbers', names }],
  noun: 'number',
  distanceUnit: ({ names }) => names.length,
  issueOfExact: ({ names }, answer) =>
    isListOf(names.length, answer)
      ? undefined
      : `a list of ${names.length} numbers (${names.join(', ')}) is required`,
  issueOfMeant: ({ names }, of = '') =>
    names.includes(of) ? undefined : `the number that is meant is required, one of ${names.join(', ')}`,
  constant: () => ({ none: 'several numbers have no single answer: write previousChampion()' }),
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
  losses: errorLosses,
  bins: ({ names }, profile) => numberBins(names, profile),
  gate,
  facts: ({ names }) => ({ targets: names }),
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
