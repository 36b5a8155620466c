/** `POST /v1/outcomes` and `POST /v1/outcomes/bulk`: what became true of predictions, a few at a time or a whole file. */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { isStorable } from '../../domain/storable.ts'
import { predictBytes, route, type Ask, type Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { fieldsOf, linesOf, type Line } from '../lines.ts'
import { expectMedia } from '../media.ts'
import {
  expectNoneRefused,
  outcomeSchema,
  takeOutcomes,
  type SentOutcome,
  type TakenOutcomes,
} from '../outcomes.ts'

const mostOutcomes = 10_000
/** Of a file: how many go to the database at once, how long a line may be, and how many mistakes are told. */
const linesAtOnce = 1_000
const lineBytes = 65_536
const mostTold = 20

const outcomes = z.strictObject({ outcomes: z.array(outcomeSchema).min(1).max(mostOutcomes) })
const media = { ndjson: ['application/x-ndjson', 'application/jsonl'], csv: ['text/csv'] }
const columns = ['prediction_id', 'value', 'observed_at']

export const outcomeRoutes = ({ store }: ApiDeps): Route[] => [
  route({
    method: 'post',
    path: '/v1/outcomes',
    allow: 'callers',
    summary:
      'Stores what became true of predictions, all or none. Sending the same again changes nothing; another value is a correction.',
    answers: {
      200: 'How many were received, accepted, newly stored, and of predictions that are not in the log; the last are kept, unless the key is held to some models',
    },
    body: outcomes,
    rawBytes: predictBytes,
    async handle({ body, actor }) {
      const seen = new Set<string>()
      for (const { prediction_id: id } of body.outcomes) {
        if (seen.has(id.toLowerCase()))
          throw new DomainError('invalid_request', `the prediction ${id} has two outcomes`)
        seen.add(id.toLowerCase())
      }
      const sent = body.outcomes.map((each, index) => sentOf(each, `outcomes.${index}`))
      const taken = await takeOutcomes({ store, actor }, sent, { whole: true })
      expectNoneRefused(taken)
      const { refused: _refused, ...counts } = taken
      return { json: counts }
    },
  }),
  route({
    method: 'post',
    path: '/v1/outcomes/bulk',
    allow: 'callers',
    summary:
      'Stores a file of outcomes line by line as it comes: NDJSON, or CSV with the columns prediction_id, value, observed_at. Lines that are refused are told, and keep no other from being stored; the same file may be sent again.',
    answers: { 200: 'The counts over all lines, and the first of those that were refused' },
    takes: [...media.ndjson, ...media.csv],
    streams: true,
    handle: (ask) => takeFile(ask, { store }),
  }),
]

async function takeFile(ask: Ask<undefined, undefined>, { store }: Pick<ApiDeps, 'store'>) {
  const { actor, body: _body, stream, header } = ask
  const type = expectMedia(header('content-type'), [...media.ndjson, ...media.csv]) ?? media.ndjson[0]!
  const sum: TakenOutcomes = { received: 0, accepted: 0, stored: 0, unknown: 0, refused: [] }
  let refused = 0
  let batch = new Map<string, SentOutcome>()
  const refuse = (...issues: TakenOutcomes['refused']): void => {
    refused += issues.length
    sum.refused.push(...issues.slice(0, mostTold - sum.refused.length))
  }
  const flush = async (): Promise<void> => {
    if (batch.size === 0) return
    const taken = await takeOutcomes({ store, actor }, [...batch.values()], { whole: false })
    batch = new Map()
    sum.accepted += taken.accepted
    sum.stored += taken.stored
    sum.unknown += taken.unknown
    refuse(...taken.refused)
  }
  const parse = media.csv.includes(type) ? csvReader() : readJson
  for await (const line of linesOf(stream(), lineBytes)) {
    const parsed = parse(line)
    if (parsed === undefined) continue
    sum.received++
    if (typeof parsed === 'string') {
      refuse({ place: `line ${line.number}`, code: 'invalid_request', message: parsed })
      continue
    }
    // A correction in the same file is a further revision, so it waits until the first is there.
    if (batch.has(parsed.predictionId)) await flush()
    batch.set(parsed.predictionId, parsed)
    if (batch.size >= linesAtOnce) await flush()
  }
  await flush()
  const { received, accepted, stored, unknown } = sum
  const issues = sum.refused.map(({ place, message }) => `${place}: ${message}`)
  return { json: { received, accepted, stored, unknown, refused, issues } }
}

const sentOf = (
  { prediction_id, value, observed_at }: z.infer<typeof outcomeSchema>,
  place: string,
): SentOutcome => ({ place, predictionId: prediction_id.toLowerCase(), value, observedAt: observed_at })

/** The outcome, or what is wrong with the line. */
function readJson({ text, number }: Line): SentOutcome | string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return (error as Error).message
  }
  return checked(value, number)
}

function checked(value: unknown, number: number): SentOutcome | string {
  if (!isStorable(value)) return 'has NUL or half a character, which cannot be kept'
  const { data, error } = outcomeSchema.safeParse(value)
  if (data !== undefined) return sentOf(data, `line ${number}`)
  return error.issues.map(({ path, message }) => `${path.map(String).join('.')}: ${message}`).join('; ')
}

/** The first line names the columns. */
function csvReader(): (line: Line) => SentOutcome | string | undefined {
  let places: number[] | undefined
  return ({ text, number }) => {
    const fields = fieldsOf(number === 1 ? text.replace(/^\uFEFF/, '') : text)
    if (places === undefined) {
      const found = columns.map((column) => fields?.indexOf(column) ?? -1)
      if (found.includes(-1))
        throw new DomainError(
          'invalid_request',
          `the first line does not name the columns ${columns.join(', ')}`,
        )
      places = found
      return undefined
    }
    if (fields === undefined) return 'its quotes do not close'
    const [id, value, at] = places.map((place) => fields[place] ?? '')
    const found = checked({ prediction_id: id, value, observed_at: at }, number)
    return typeof found === 'string' ? found : { ...found, asText: true }
  }
}
