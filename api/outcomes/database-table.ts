/** Copies outcomes from a table or view of the database: `POST /v1/outcomes/bulk` with a JSON body, for admins. */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { readOutcomeTable } from '../../store/monitoring/outcome-tables.ts'
import type { Store } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'
import type { Intake } from './intake.ts'
import { parseCommandBody } from '../http/read-body.ts'
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
      prediction_id: identifier.optional(),
      reference: identifier.optional(),
      instance: identifier.optional(),
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
  readWhole: (limit: number) => Promise<Buffer>,
  { store, actor, intake }: { store: Store; actor: Actor | undefined; intake: Intake },
): Promise<{ next_since?: string }> {
  // The counts and issues reveal the contents of the table, so only an admin of all models may read it.
  if (actor?.role !== 'admin' || actor.models !== undefined)
    throw new DomainError('forbidden', 'only an admin of all models may copy outcomes from a table')
  const { schema, table, columns, since } = checkInput(
    asked,
    parseCommandBody(await readWhole(maxBytes)),
    'the body',
  )
  const { prediction_id: predictionId, reference, instance, value, observed_at: observedAt } = columns
  const isById = intake.key === 'prediction_id'
  if (isById && (reference ?? instance) !== undefined)
    throw new DomainError('invalid_request', 'columns: name the model of the references as ?model=')
  if (!isById && predictionId !== undefined)
    throw new DomainError(
      'invalid_request',
      'columns: prediction_id is not read with ?model=; name reference',
    )
  const key = isById ? { predictionId: predictionId ?? intake.key } : { reference: reference ?? intake.key }
  let read = 0
  const next = await readOutcomeTable(
    store,
    {
      schema,
      table,
      columns: { ...key, instance, value, observedAt },
      since,
      limit: maxTableRows,
    },
    async (outcomes) => {
      for (const { key: name, value, observedAt, instance: index } of outcomes)
        await intake.takeRow(`row ${++read}`, [name, value, observedAt, index])
    },
  )
  return next === undefined ? {} : { next_since: next }
}
