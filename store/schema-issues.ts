/** Words what is wrong with a value by its schema: a request, a file of settings or a row. */
import type { z } from 'zod'

type RawIssue = Parameters<z.core.$ZodErrorMap>[0]

/**
 * Words the common issues of a schema in plain English, as the end of a sentence that begins with the place. Other issues keep the text of
 * the schema library.
 */
export function issueText(issue: RawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return mistypedText(issue)
    case 'invalid_union':
      return unionText(issue)
    case 'invalid_value':
      if (issue.input === undefined) return 'is missing'
      return `is not ${choices(issue.values)}`
    case 'unrecognized_keys':
      return `has the unknown ${issue.keys.length > 1 ? 'fields' : 'field'} ${issue.keys.map((key) => JSON.stringify(key)).join(', ')}`
    case 'invalid_format':
      return issue.format === 'url' ? 'is not a URL' : undefined
    case 'too_small': {
      const limit = String(issue.minimum)
      const noun = nouns[issue.origin]
      if (noun !== undefined) return limit === '1' ? 'is empty' : `has fewer than ${limit} ${noun}`
      return issue.inclusive === false ? `is not more than ${limit}` : `is less than ${limit}`
    }
    case 'too_big': {
      const limit = String(issue.maximum)
      const noun = nouns[issue.origin]
      if (noun !== undefined) return `has more than ${limit} ${noun}`
      return issue.inclusive === false ? `is not less than ${limit}` : `is more than ${limit}`
    }
    default:
      return undefined
  }
}

const choices = (values: readonly unknown[]): string =>
  (values.length > 1 ? 'one of ' : '') + values.map((each) => JSON.stringify(each)).join(', ')

const isAbsent = (object: unknown, field: string): boolean =>
  (object as Record<string, unknown> | null)?.[field] === undefined

/** What a text, a list or an object is counted in. */
const nouns: Readonly<Record<string, string>> = { string: 'characters', array: 'entries', record: 'fields' }

const kinds: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'an object',
  record: 'an object',
  null: 'null',
}

function mistypedText({ expected, input }: Extract<RawIssue, { code: 'invalid_type' }>): string | undefined {
  if (input === undefined) return 'is missing'
  const required = kinds[expected]
  if (required === undefined) return undefined
  const given = kindOfInput(input)
  // A number of the wrong kind, such as 1.5, and a text of a query that is no number.
  if (given === 'number' && (expected === 'number' || expected === 'int')) return `is not ${required}`
  return `is ${kinds[given] ?? given}, not ${required}`
}

const kindOfInput = (input: unknown): string =>
  input === null ? 'null' : Array.isArray(input) ? 'array' : typeof input

/** Tells what is wrong with a value of the right type, or else every type that the field takes. */
function unionText(issue: Extract<RawIssue, { code: 'invalid_union' }>): string | undefined {
  const { errors, input, discriminator, options } = issue
  if (input === undefined) return 'is missing'
  // Of an object whose one field tells its kind, the issue is of that field.
  if (discriminator !== undefined && Array.isArray(options))
    return isAbsent(input, discriminator) ? 'is missing' : `is not ${choices(options)}`
  const mistyped = errors.map((issues) =>
    issues.find(({ code, path }) => code === 'invalid_type' && path.length === 0),
  )
  const rightType = errors.find((issues, at) => issues.length > 0 && mistyped[at] === undefined)
  if (rightType !== undefined) return textOfIssues({ issues: rightType })
  const required = mistyped.flatMap((issue) => kinds[(issue as { expected: string }).expected] ?? [])
  if (required.length === 0) return undefined
  const given = kindOfInput(input)
  const types = new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(required)
  return given === 'number' && required.includes(kinds['number']!)
    ? `is not ${types}`
    : `is ${kinds[given] ?? given}, not ${types}`
}

/** The issues of a schema, each with the path of its field. Of a key, only the issue inside says what it must be. */
export const listIssues = ({ issues }: Pick<z.ZodError, 'issues'>): string[] =>
  issues.map((issue) => {
    const message = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message
    return issue.path.length === 0 ? message : `${issue.path.map(String).join('.')}: ${message}`
  })

/** Joins the issues of a schema into one sentence. */
export const textOfIssues = (error: Pick<z.ZodError, 'issues'>): string => listIssues(error).join('; ')
