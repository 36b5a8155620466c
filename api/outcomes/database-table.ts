/** Copies outcomes from a table or view of the database: `POST /v1/outcomes/bulk` with a JSON body, for admins. */
import { buffer } from 'node:stream/consumers'
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { readOutcomeTable } from '../../store/monitoring/outcome-tables.ts'
import type { Store } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import type { Intake } from './intake.ts'
import { limited, parseCommandBody } from '../http/read-body.ts'
import { checkInput, zonedTime } from '../http/schemas.ts'

/** How many rows one call copies, with all that have the time of the last one; the next call continues with `since`. */
export const maxTableRows = 1_000_000
const maxBytes = 65_536

/** Postgres limits identifiers to 63 bytes. */
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

const { $schema: _$schema, ...described } = z.toJSONSchema(asked, { io: 'input' })
/** The JSON schema of the body. */
export const tableSchema: object = described

/** Copies outcomes from the table that the body names. Returns `next_since` when the table has more rows. */
export async function ingestTable(
  body: AsyncIterable<Uint8Array>,
  { store, actor, intake }: { store: Store; actor: Actor | undefined; intake: Intake },
): Promise<{ next_since?: string }> {
  // The counts and issues reveal the contents of the table, so only an admin of all models may read it.
  if (actor?.role !== 'admin' || actor.models !== undefined)
    throw new DomainError('forbidden', 'only an admin of all models may copy outcomes from a table')
  const { schema, table, columns, since } = checkInput(
    asked,
    parseCommandBody(await buffer(limited(body, maxBytes))),
    'the body',
  )
  let read = 0
  const next = await readOutcomeTable(
    store,
    {
      schema,
      table,
      columns: { predictionId: columns.prediction_id, value: columns.value, observedAt: columns.observed_at },
      since,
      limit: maxTableRows,
    },
    async (outcomes) => {
      for (const { predictionId, value, observedAt } of outcomes)
        await intake.takeRow(`row ${++read}`, [predictionId, value, observedAt])
    },
  )
  return next === undefined ? {} : { next_since: next }
}
