/** `POST /v1/outcomes` and `POST /v1/outcomes/bulk`: what became true of predictions, a few at a time, a whole file, or a table. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { predictBytes, defineRoute, type RouteRequest, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireMediaType, json } from '../../http/content-type.ts'
import { openIntake } from '../../outcomes/intake.ts'
import { takeLines } from '../../outcomes/text-files.ts'
import { takeParquet } from '../../outcomes/parquet-files.ts'
import { tableRows, takeTable } from '../../outcomes/database-table.ts'
import { parquetLimits } from '../../outcomes/parquet-limits.ts'
import { expectNoneRefused, outcomeSchema, sentOutcome, takeOutcomes } from '../../outcomes/outcomes.ts'

const mostOutcomes = 10_000

const outcomes = (nowMs: () => number) =>
  z.strictObject({ outcomes: z.array(outcomeSchema(nowMs)).min(1).max(mostOutcomes) })
const media = {
  ndjson: ['application/x-ndjson', 'application/jsonl'],
  csv: ['text/csv'],
  parquet: ['application/vnd.apache.parquet', 'application/x-parquet'],
  table: [json],
}
const allMedia = Object.values(media).flat()

export const outcomeRoutes = ({ store, serving }: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'post',
    path: '/v1/outcomes',
    allow: 'callers',
    summary:
      'Stores what became true of predictions, all or none. Sending the same again changes nothing; another value is a correction.',
    answers: {
      200: 'How many were received, accepted, newly stored, and of predictions that are not in the log; the last are kept, unless the key is held to some models',
    },
    body: outcomes(serving.wall),
    rawBytes: predictBytes,
    async handle({ body, actor }) {
      const seen = new Set<string>()
      for (const { prediction_id: id } of body.outcomes) {
        if (seen.has(id.toLowerCase()))
          throw new DomainError('invalid_request', `the prediction ${id} has two outcomes`)
        seen.add(id.toLowerCase())
      }
      const sent = body.outcomes.map((each, index) => sentOutcome(each, `outcomes.${index}`))
      const taken = await takeOutcomes({ store, actor }, sent, { whole: true })
      expectNoneRefused(taken)
      const { refused: _refused, ...counts } = taken
      return { json: counts }
    },
  }),
  defineRoute({
    method: 'post',
    path: '/v1/outcomes/bulk',
    allow: 'callers',
    summary: `Stores many outcomes with the columns prediction_id, value, observed_at: NDJSON or CSV line by line as it comes; a Parquet file of at most ${parquetLimits.fileBytes / 1_048_576} MiB and ${parquetLimits.rows} rows; or, for an admin, the first ${tableRows} rows of a table or view of this database, named as JSON {"schema"?, "table", "columns"?, "since"?}. What is refused is told, and keeps no other from being stored; the same may be sent again.`,
    answers: {
      200: 'The counts over all, and the first of those that were refused; next_since when a table has more',
    },
    contentTypes: allMedia,
    streaming: true,
    handle: (ask) => takeMany(ask, { store, nowMs: serving.wall }),
  }),
]

async function takeMany(
  { actor, stream, header }: RouteRequest<undefined, undefined>,
  { store, nowMs }: Pick<ApiDeps, 'store'> & { nowMs: () => number },
) {
  const type = requireMediaType(header('content-type'), allMedia) ?? media.ndjson[0]!
  const intake = openIntake({ store, actor, nowMs })
  if (media.parquet.includes(type)) await takeParquet(stream(), intake)
  else if (media.csv.includes(type)) await takeLines(stream(), 'csv', intake)
  else if (media.ndjson.includes(type)) await takeLines(stream(), 'ndjson', intake)
  else {
    const next = await takeTable(stream(), { store, actor, intake })
    return { json: { ...(await intake.end()), ...next } }
  }
  return { json: await intake.end() }
}
