/** How values stand in JSON: snake_case at the first level, which is ours; what lies deeper is data and stays as it is. */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { parseMoment, type Parsed } from '../../domain/registry/version-query.ts'

export function toWire<T extends object>(value: T): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [snake(name), each]))
}

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** A moment; with its zone, so that it means the same everywhere. */
export const zonedTime = z.iso
  .datetime({
    offset: true,
    error: 'is no ISO 8601 time with a zone, such as 2026-03-01T12:00:00Z',
  })
  // Nobody lives there, and Postgres would refuse it as a defect of ours.
  .refine((text) => !/^0000|[+-](1[6-9]|2\d):\d\d$/.test(text), {
    error: 'is in the year 0, or in a zone further than 15:59 from UTC',
  })

/** Clocks differ. */
const skewMs = 60_000

/**
 * A moment that has come; what is not yet cannot have been observed. By the time of the database, which is the same for every
 * replica: one whose own clock is behind would refuse what has just happened.
 */
export const pastTime = (nowMs: () => number) =>
  zonedTime.refine(isPast(nowMs), { error: 'is in the future' })

/** A policy in a body, which the use case validates. */
export const policyBody = z.custom<ReleasePolicy>((value) => typeof value === 'object' && value !== null)

export const modelName = z.string().min(1).max(100)

/** `?limit=`, as many rows as a list answers at most. */
export const limit = z.coerce.number().int().min(1).max(1_000).default(100)

export const flag = z.enum(['true', 'false']).transform((text) => text === 'true')

const isPast = (nowMs: () => number) => (text: string) => !(Date.parse(text) > nowMs() + skewMs)

/** A text in a small language of its own; its issue is the caller's answer. */
export const parsedBy = <T>(parse: (text: string) => Parsed<T>) =>
  z
    .string()
    .min(1)
    .max(500)
    .transform((text, context): T => {
      const parsed = parse(text)
      if ('value' in parsed) return parsed.value
      context.addIssue({ code: 'custom', message: parsed.issue })
      return z.NEVER
    })

/** A moment with its zone, or a day. */
export const searchedTime = parsedBy(parseMoment)

/** The same, which has come. */
export const pastSearchedTime = (nowMs: () => number) =>
  searchedTime.refine(isPast(nowMs), { error: 'is in the future' })

/** Throws `invalid_request` for a span that ends before it begins, which would find nothing and not say why. */
export function requireInOrder(since: string | undefined, until: string | undefined): void {
  if (since !== undefined && until !== undefined && Date.parse(since) >= Date.parse(until))
    throw new DomainError('invalid_request', `until: ${until} is not after since, ${since}`)
}
