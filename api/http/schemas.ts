/**
 * Defines how values are written in JSON, and the fields that routes share. Names are snake_case at the first level; deeper levels are data
 * and stay unchanged.
 */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { isStorable } from '../../domain/postgres-text.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { parseMoment, type Parsed } from '../../domain/registry/version-query.ts'
import { issueText, textOfIssues } from '../../store/schema-issues.ts'

export { toWire } from '../../domain/schema.ts'

/** A time with its zone, in ISO 8601. */
export const zonedTime = z.iso
  .datetime({
    offset: true,
    error: 'is not an ISO 8601 time with a zone, such as 2026-03-01T12:00:00Z',
  })
  // Postgres rejects such times, and the error would surface as an internal one.
  .refine((text) => !/^0000|[+-](1[6-9]|2\d):\d\d$/.test(text), {
    error: 'is in the year 0, or in a zone further than 15:59 from UTC',
  })

/** Tolerance for differing clocks. */
const skewMs = 60_000

/**
 * A time that is not in the future by the clock of the database. A replica whose own clock is behind would reject an event that has just
 * happened.
 */
export const pastTime = (nowMs: () => number) =>
  zonedTime.refine(isPast(nowMs), { error: 'is in the future' })

/** The same as `pastTime`, converted to UTC. */
export const pastTimeInUtc = (nowMs: () => number) =>
  pastTime(nowMs).transform((time) => new Date(time).toISOString())

/** A policy in a body. The use case validates its fields. */
export const policyBody = z
  .custom<ReleasePolicy>((value) => typeof value === 'object' && value !== null, 'is a policy as an object')
  .meta({ type: 'object', additionalProperties: true, description: 'A complete release policy.' })

export const hyperparameterValue = z.union([z.number(), z.string().max(1_000), z.boolean()])

/** Hyperparameters that replace those of the model file. The use case checks them against the model file. */
export const overridesBody = z
  .record(z.string().min(1).max(100), hyperparameterValue)
  .meta({ description: 'Hyperparameters of the model file with their values for this training.' })

// oxlint-disable-next-line no-control-regex -- exactly the characters that are refused
const controls = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/
const refused = String.raw`\u0000-\u0008\u000B-\u001F\u007F-\u009F`
/** The same characters for the API description, where a line break may still be CRLF. */
const allowed = String.raw`(?:\r\n|[^${refused}])*`

/**
 * The reason of a command, as it is signed and stored. Converts the CRLF of browsers, and refuses other control characters, because a
 * terminal that lists the reason would obey them.
 */
const reasonOf = (sent: z.ZodString) =>
  sent
    .transform((text) => text.replaceAll('\r\n', '\n'))
    .pipe(
      z
        .string()
        .max(2_000, 'must have at most 2,000 characters')
        .refine((text) => !controls.test(text), {
          error: 'must not contain control characters; line breaks and tabs are allowed',
        }),
    )
export const reasonText = reasonOf(z.string().meta({ pattern: `^${allowed}$` }))

/** The optional reason of a form. A blank field means no reason. */
export const formReason = reasonText.optional().transform((text) => text?.trim() || undefined)

/** A reason that must not be blank. */
export const writtenReason = reasonOf(
  z.string().meta({ pattern: String.raw`^${allowed}[^\s${refused}]${allowed}$` }),
).pipe(z.string().trim().min(1, 'must not be empty'))

export const modelName = z.string().min(1).max(100)

/** The number of a row, before or after which a list continues. */
export const rowNumber = z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER)

/** `?page=`: the page of a numbered list. */
export const pageNumber = z.coerce.number().int().min(1).max(4_000).default(1)

/** `?limit=`: maximum number of rows. */
export const limit = z.coerce.number().int().min(1).max(1_000).default(100)

export const booleanFlag = z.enum(['true', 'false']).transform((text) => text === 'true')

/** A list whose length is checked before its entries, so that a list with a million wrong entries gives one issue. */
export const boundedList = <T extends z.ZodType>(entry: T, bounds: { min?: number; max: number }) =>
  z.preprocess(
    (value, context) => {
      if (!Array.isArray(value) || value.length <= bounds.max) return value
      const message = `has ${value.length} entries, more than ${bounds.max}`
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    },
    z
      .array(entry)
      .min(bounds.min ?? 0)
      .max(bounds.max),
  )

const isPast = (nowMs: () => number) => (text: string) => !(Date.parse(text) > nowMs() + skewMs)

/** A text with its own grammar. The API description documents the grammar; the caller gets the error of the parser. */
export const parsedBy = <T>(
  parse: (text: string) => Parsed<T>,
  grammar: { pattern: string; description: string },
) =>
  z
    .string()
    .min(1)
    .max(500)
    .meta(grammar)
    .transform((text, context): T => {
      const parsed = parse(text)
      if ('value' in parsed) return parsed.value
      context.addIssue({ code: 'custom', message: parsed.issue })
      return z.NEVER
    })

/** Matches a day. Excludes the year 0, which does not exist. */
const dayPattern =
  '([1-9][0-9]{3}|[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
const clockPattern = '([01][0-9]|2[0-3]):[0-5][0-9]'

/** A time with its zone, or a day. */
export const searchedTime = parsedBy(parseMoment, {
  pattern: `^${dayPattern}([Tt]${clockPattern}(:[0-5][0-9](\\.[0-9]{1,9})?)?([Zz]|[+ -]${clockPattern}))?$`,
  description: 'An ISO 8601 time with its zone, or a day, which begins at midnight UTC.',
})

/** The same as `searchedTime`, not in the future. */
export const pastSearchedTime = (nowMs: () => number) =>
  searchedTime.refine(isPast(nowMs), { error: 'is in the future' })

/** Throws `invalid_request` for a time span that ends before it begins, because a search would silently find nothing. */
export function requireInOrder(since: string | undefined, until: string | undefined): void {
  if (since !== undefined && until !== undefined && Date.parse(since) >= Date.parse(until))
    throw new DomainError('invalid_request', `until: ${until} is not after since, ${since}`)
}

const maxIssues = 20

/** Validates a value. Throws `invalid_request` with the first issues. */
export function checkInput<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  requireStorable(value, what)
  const { data, error } = schema.safeParse(value, { error: issueText })
  if (error === undefined) return data
  throw invalidInput(
    error.issues.map(({ path, message }) => `${path.map(String).join('.') || what}: ${message}`),
  )
}

function invalidInput(all: readonly string[]): DomainError {
  const issues = all.slice(0, maxIssues)
  const more = all.length - issues.length
  const listed = more > 0 ? [...issues, `and ${more} more`] : issues
  return new DomainError('invalid_request', listed.join('; '), { issues })
}

/** Validates the entries of a long list as `checkInput` does, each after its turn. */
export async function checkEach<T>(
  schema: z.ZodType<T>,
  values: readonly unknown[],
  { place, turn }: { place: string; turn: () => Promise<void> },
): Promise<T[]> {
  const checked: T[] = []
  const issues: string[] = []
  for (const [index, value] of values.entries()) {
    await turn()
    const { data, error } = schema.safeParse(value, { error: issueText })
    if (error === undefined) checked.push(data)
    else
      for (const { path, message } of error.issues)
        issues.push(`${[place, index, ...path.map(String)].join('.')}: ${message}`)
  }
  if (issues.length > 0) throw invalidInput(issues)
  return checked
}

/** Validates one entry of a list or stream. Returns its data, or the error message. */
export function checkEntry<T>(schema: z.ZodType<T>, value: unknown): { data: T } | { issue: string } {
  if (!isStorable(value)) return { issue: notStorable }
  const { data, error } = schema.safeParse(value, { error: issueText })
  return error === undefined ? { data } : { issue: textOfIssues(error) }
}

const notStorable = 'contains NUL or an unpaired surrogate, which Postgres cannot store'

export function requireStorable(value: unknown, what: string): void {
  if (!isStorable(value)) throw new DomainError('invalid_request', `${what} ${notStorable}`)
}
