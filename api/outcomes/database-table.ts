/** Copies outcomes from a table or view of the database: `POST /v1/outcomes/bulk` with a JSON body, for admins. */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { redacted, withoutExcerpt } from '../../domain/redact.ts'
import { readOutcomeTable } from '../../store/monitoring/outcome-tables.ts'
import type { Store } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import type { Intake } from './intake.ts'
import { zonedTime } from '../http/schemas.ts'

/** Rows of one call; the next call continues with `since`. */
export const maxTableRows = 1_000_000
const maxBytes = 65_536

/** Limit of Postgres. */
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

/** Returns `next_since` when the table has more rows. */
export async function ingestTable(
  body: AsyncIterable<Uint8Array>,
  { store, actor, intake }: { store: Store; actor: Actor | undefined; intake: Intake },
): Promise<{ next_since?: string }> {
  // The counts and issues reveal the contents of the table.
  if (actor?.role !== 'admin' || actor.models !== undefined)
    throw new DomainError('forbidden', 'only an admin of all models may copy outcomes from a table')
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
      limit: maxTableRows,
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
  return read === maxTableRows && last !== undefined ? { next_since: last } : {}
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of body) {
    bytes += part.byteLength
    if (bytes > maxBytes)
      throw new DomainError('body_too_large', `the body has more than ${maxBytes} bytes`, {
        limit: maxBytes,
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
      `the body is not valid JSON: ${withoutExcerpt((error as Error).message)}`,
    )
  }
  const { data, error } = asked.safeParse(value)
  if (data !== undefined) return data
  const issues = error.issues.map(({ path, message }) => `${path.map(String).join('.')}: ${message}`)
  throw new DomainError('invalid_request', issues.join('; '), { issues })
}
