/**
 * Prints what a model file says as data, and makes the model of it, here or on another machine, where the file does not run. The calls of the
 * vocabulary are printed as words with their arguments, and made again by the functions that make them for a file.
 */
import { basename } from 'node:path'
import { DomainError, isError } from '../../domain/errors.ts'
import { defineModel, fileOfDefined } from './define-model.ts'
import { shapeProblem } from './issues.ts'
import type { Model } from './model.ts'

export interface PrintedModel {
  model?: Record<string, unknown>
  /** Issues that only the file itself shows, with their lines. */
  issues: string[]
  /** The lines of the fields by their places: `release.stages[0]` → 12. */
  lines?: Record<string, number>
}

type Vocabulary = Readonly<Record<string, unknown>>
type Word = (...given: readonly unknown[]) => unknown

interface Said {
  $word: string
  arguments: readonly unknown[]
}

/** What the words of the vocabulary have returned. */
const said = new WeakMap<object, Said>()

/** Returns the vocabulary with functions that note what each call has returned. */
export const recordWords = (vocabulary: Vocabulary): Vocabulary =>
  Object.fromEntries(
    Object.entries(vocabulary).map(([name, word]) => [
      name,
      typeof word === 'function' && word !== defineModel ? recorded(name, word as Word) : word,
    ]),
  )

const recorded =
  (name: string, word: Word): Word =>
  (...given) => {
    const made = word(...given)
    if (isReference(made)) said.set(made, { $word: name, arguments: given })
    return made
  }

const isReference = (value: unknown): value is object =>
  typeof value === 'function' || (typeof value === 'object' && value !== null)

/** Prints a model that a file in TypeScript has defined. Of a function, only that it is there. */
export function printModel(model: Model): PrintedModel {
  return { model: print(fileOfDefined(model)) as Record<string, unknown>, issues: [] }
}

function print(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) return wordOf('Number', String(value))
  if (!isReference(value)) return value
  const word = said.get(value)
  if (word !== undefined) return wordOf(word.$word, ...word.arguments.map(print))
  if (typeof value === 'function') return wordOf('Function')
  if (value instanceof RegExp) return wordOf('RegExp', value.source, value.flags)
  if (Array.isArray(value)) return value.map(print)
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, print(each)]))
}

const wordOf = ($word: string, ...given: unknown[]): Said => ({ $word, arguments: given })

/** Throws `invalid_model_file` with all issues in `context.issues`; each begins with its line, where it is known. */
export function makeModel(path: string, printed: PrintedModel, vocabulary: Vocabulary): Model {
  const { model, lines = {} } = printed
  const issues = [...printed.issues]
  if (model === undefined || issues.length > 0) throw withIssues(path, issues)
  const made: Record<string, unknown> = {}
  for (const [field, value] of Object.entries(model))
    try {
      made[field] = revive(value, vocabulary)
    } catch (error) {
      issues.push(`${field}: ${shapeProblem(error, value)}`)
    }
  const placed = (all: readonly string[]) => all.map((issue) => `${lineOf(issue, lines)}${issue}`)
  if (issues.length > 0) throw withIssues(path, placed(issues))
  try {
    return defineModel(made as unknown as Parameters<typeof defineModel>[0])
  } catch (error) {
    if (!isError(error, 'invalid_model_file')) throw error
    throw withIssues(path, placed((error.context['issues'] as string[] | undefined) ?? [error.message]))
  }
}

const withIssues = (path: string, issues: readonly string[]): DomainError =>
  new DomainError('invalid_model_file', `${basename(path)}: ${issues.join('; ')}`, { issues })

/** Returns the line of the place of an issue, or of the nearest part around it that has one; empty without one. */
function lineOf(issue: string, lines: Readonly<Record<string, number>>): string {
  let place = /^[\w.[\]-]+/.exec(issue)?.[0] ?? ''
  while (place !== '') {
    if (Object.hasOwn(lines, place)) return `line ${lines[place]}: `
    place = place.replace(/(^|\.)[^.[\]]*$|\[[^\]]*\]?$/, '')
  }
  return Object.hasOwn(lines, 'model') ? `line ${lines['model']}: ` : ''
}

const builtIn: Readonly<Record<string, Word>> = {
  RegExp: (source, flags) => new RegExp(String(source), String(flags)),
  Number,
  Function: () => () => {
    throw new Error('a function of the file does not run here')
  },
}

/** Calls the words of printed data. Only names of the vocabulary are called. */
function revive(value: unknown, vocabulary: Vocabulary): unknown {
  if (Array.isArray(value)) return value.map((each) => revive(each, vocabulary))
  if (typeof value !== 'object' || value === null) return value
  if ('$word' in value && 'arguments' in value && Array.isArray(value.arguments)) {
    // An argument that is left out is `None` in Python, and null in JSON.
    const given = value.arguments.map((each: unknown) =>
      each === null ? undefined : revive(each, vocabulary),
    )
    const name = String(value.$word)
    const word: unknown = [builtIn, vocabulary].find((words) => Object.hasOwn(words, name))?.[name]
    if (typeof word !== 'function' || word === defineModel) throw new Error(`there is no word ${name}`)
    // Of `postgres(database, …)` the first argument is left out, not undefined.
    return (word as Word)(...(name === 'postgres' ? given.filter((each) => each !== undefined) : given))
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, revive(each, vocabulary)]))
}
