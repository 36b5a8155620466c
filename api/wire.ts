/** How values stand in JSON: snake_case at the first level, which is ours; what lies deeper is data and stays as it is. */
import { z } from 'zod'

export function toWire<T extends object>(value: T): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [snake(name), each]))
}

const snake = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** A moment; with its zone, so that it means the same everywhere. */
export const moment = z.iso.datetime({
  offset: true,
  error: 'is no ISO 8601 time with a zone, such as 2026-03-01T12:00:00Z',
})

/** Clocks differ. */
const skewMs = 60_000

/** A moment that has come; what is not yet cannot have been observed. */
export const pastMoment = moment.refine((text) => !(Date.parse(text) > Date.now() + skewMs), {
  error: 'is in the future',
})

export const modelName = z.string().min(1).max(100)

/** `?limit=`, as many rows as a list answers at most. */
export const limit = z.coerce.number().int().min(1).max(1_000).default(100)

export const flag = z.enum(['true', 'false']).transform((text) => text === 'true')
