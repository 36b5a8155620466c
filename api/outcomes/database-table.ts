/** Outcomes copied from a table or view of the database: `POST /v1/outcomes/bulk` with a JSON body, for admins. */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { redacted, withoutExcerpt } from '../../domain/redact.ts'
import { readOutcomeTable } from '../../store/monitoring/outcome-tables.ts'
import type { Store } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import type { Intake } from './intake.ts'
import { zonedTime } from '../http/schemas.ts'

/** Rows of one call; `since` goes on from there. */
export const tableRows = 1_000_000
const mostBytes = 65_536

/** As long as Postgres lets one be. */
const identifier = z.string().min(1).max(63)

const asked = z.strictObject({
  schema: identifier.default('public'),
  table: identifier,
  columns: z
    .strictObject({
      prediction_id: identifier.default('prediction_id'),
      value: identifier.default('value'),
      observed_at: identifier.default('observed_at'),
    })
    .prefault({}),
  since: zonedTime.optional(),
})

/** Answers from when on to go on, when there was more than one call takes. */
export async function takeTable(
  body: AsyncIterable<Uint8Array>,
  { store, actor, intake }: { store: Store; actor: Actor | undefined; intake: Intake },
): Promise<{ next_since?: string }> {
  // Whoever asks sees by the answers what stands in the table.
  if (actor?.role !== 'admin' || actor.models !== undefined)
    throw new DomainError('forbidden', 'outcomes are copied from a table by an admin of all models')
  const { schema, table, columns, since } = check(await textOf(body))
  let read = 0
  let last: string | undefined
  await readOutcomeTable(
    store,
    {
      schema,
      table,
      columns: {
        predictionId: columns.prediction_id,
        value: columns.value,
        observedAt: columns.observed_at,
      },
      since,
      limit: tableRows,
    },
    async (outcomes) => {
      for (const { predictionId, value, observedAt } of outcomes) {
        const place = `row ${++read}`
        last = observedAt ?? last
        const outcome = intake.check({ prediction_id: predictionId, value, observed_at: observedAt }, place)
        if (typeof outcome === 'string') intake.refuse(place, outcome)
        else await intake.take(typeof value === 'string' ? { ...outcome, asText: true } : outcome)
      }
    },
  )
  return read === tableRows && last !== undefined ? { next_since: last } : {}
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of body) {
    bytes += part.byteLength
    if (bytes > mostBytes)
      throw new DomainError('body_too_large', `the body has more than ${mostBytes} bytes`, {
        limit: mostBytes,
      })
    parts.push(part)
  }
  return redacted(Buffer.concat(parts).toString('utf8'))
}

function check(text: string): z.infer<typeof asked> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new DomainError(
      'body_not_json',
      `the body does not parse: ${withoutExcerpt((error as Error).message)}`,
    )
  }
  const { data, error } = asked.safeParse(value)
  if (data !== undefined) return data
  const issues = error.issues.map(({ path, message }) => `${path.map(String).join('.')}: ${message}`)
  throw new DomainError('invalid_request', issues.join('; '), { issues })
}
