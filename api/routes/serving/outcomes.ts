/** `POST /v1/outcomes` and `/v1/outcomes/bulk`: stores observed outcomes of predictions, from a list, a file or a table. */
import { groupedDigits } from '../../../domain/figures.ts'
import * as schema from '../../../domain/schema.ts'
import { z } from 'zod'
import { predictBytes, defineRoute, type RouteRequest, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { requireMediaType, json } from '../../http/content-type.ts'
import { boundedList, checkEach, checkInput, modelName } from '../../http/schemas.ts'
import { turnsOf } from '../../http/turns.ts'
import { parseCommandBody } from '../../http/read-body.ts'
import { openIntake } from '../../outcomes/intake.ts'
import { ingestLines } from '../../outcomes/text-files.ts'
import { ingestParquet } from '../../outcomes/parquet-files.ts'
import { maxTableRows, ingestTable, tableSchema } from '../../outcomes/database-table.ts'
import { parquetLimits } from '../../outcomes/parquet-files.ts'
import { requireNoneRefused, outcomeSchema, sentOutcome, storeOutcomes } from '../../outcomes/outcomes.ts'

const maxOutcomes = 10_000

const listOf = <T extends z.ZodType>(entry: T) =>
  z.strictObject({ outcomes: boundedList(entry, { min: 1, max: maxOutcomes }) })
const listSchema = z.toJSONSchema(listOf(outcomeSchema(Date.now)), { io: 'input' })
const media = {
  ndjson: ['application/x-ndjson', 'application/jsonl'],
  csv: ['text/csv'],
  parquet: ['application/vnd.apache.parquet', 'application/x-parquet'],
  table: [json],
}
const allMedia = Object.values(media).flat()

const counted = schema.record({
  received: schema.count,
  accepted: schema.count,
  stored: schema.count,
  unknown: schema.count,
})

export const outcomeRoutes = ({ store, serving }: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/outcomes', 'labellers', {
    summary:
      'Store outcomes of predictions, all or none. An outcome names its prediction by prediction_id, or by model and reference, with instance where a request has several rows; it is then stored for all requests of the model with the reference. Repeating an outcome changes nothing; another value is a correction. A predictor may send only outcomes of predictions made with its own key.',
    answers: {
      200: 'The number of outcomes received, accepted, newly stored, and of unknown predictions, which are stored only for a labeller or an admin of all models, and not by reference',
    },
    answerSchema: counted,
    rawSchema: listSchema,
    rawBytes: predictBytes,
    async handle({ bytes, actor }) {
      const turn = turnsOf(actor!.id)
      await turn()
      // An outcome has at most six values. The seventh is a margin, so that a list that is slightly too long is refused with the limit on outcomes.
      const body = parseCommandBody(bytes, 7 * maxOutcomes)
      const { outcomes } = checkInput(listOf(z.unknown()), body, 'the body')
      const entry = outcomeSchema(serving.wall)
      const sent = await checkEach(entry, outcomes, { place: 'outcomes', turn })
      const named = sent.map((each, index) => sentOutcome(each, `outcomes.${index}`))
      const taken = await storeOutcomes({ store, actor: actor! }, named, { atomic: true, turn })
      requireNoneRefused(taken)
      const { refused: _refused, lost: _lost, ...counts } = taken
      return { json: counts }
    },
  }),
  defineRoute('post', '/v1/outcomes/bulk', 'labellers', {
    summary: `Store many outcomes with the columns prediction_id, value, observed_at: streamed NDJSON or CSV; a Parquet file of at most ${parquetLimits.fileBytes / 1_048_576} MiB and ${groupedDigits(parquetLimits.rows)} rows; or, for an admin, the first ${groupedDigits(maxTableRows)} rows of a table or view of this database, named as JSON {"schema"?, "table", "columns"?, "since"?}. With ?model=, the column reference, and instance if there is one, takes the place of prediction_id. Refused outcomes are reported and do not affect the others. The request can be repeated.`,
    answers: { 200: 'The counts, and the first refused outcomes; next_since when a table has more rows' },
    answerSchema: schema.extend(
      counted,
      { refused: schema.count, issues: schema.list(schema.text) },
      { nextSince: schema.time },
    ),
    contentTypes: allMedia,
    query: z.strictObject({ model: modelName.optional() }),
    rawSchema: tableSchema,
    streaming: true,
    handle: (ask) => takeMany(ask, { store, nowMs: serving.wall }),
  }),
]

async function takeMany(
  { actor, stream, readWhole, header, query }: RouteRequest<undefined, { model?: string | undefined }>,
  { store, nowMs }: Pick<ApiDeps, 'store'> & { nowMs: () => number },
) {
  const type = requireMediaType(header('content-type'), allMedia) ?? media.ndjson[0]!
  const intake = openIntake({ store, actor: actor!, nowMs, model: query.model })
  let next: object = {}
  if (media.parquet.includes(type)) await ingestParquet(stream(), intake)
  else if (media.csv.includes(type)) await ingestLines(stream(), 'csv', intake)
  else if (media.ndjson.includes(type)) await ingestLines(stream(), 'ndjson', intake)
  else next = await ingestTable(readWhole, { store, actor, intake })
  return { json: { ...(await intake.end()), ...next } }
}
