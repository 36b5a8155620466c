/**
 * Shows the predictions of the log with their inputs, answers and outcomes. Each read has a row in the audit log, written before the data
 * is read. It has hashes in place of routing keys and subjects, because the audit log outlives their erasure.
 */
import { canonicalJson } from '../../domain/canonical-json.ts'
import { DomainError, requireFound } from '../../domain/errors.ts'
import { readLoggedRows, type LoggedRow } from '../../domain/model/logged-rows.ts'
import type { LoggedArm } from '../../domain/serving/route.ts'
import { whyArm, type ArmReason } from '../../domain/serving/why-arm.ts'
import { canonicalNumber } from '../../domain/values/names.ts'
import * as schema from '../../domain/schema.ts'
import { appendAudit, readRows } from '../../store/audit/audit-log.ts'
import { awaitAnswered } from '../../store/monitoring/outcomes.ts'
import { findSubjectHash, readSubjectColumn } from '../../store/privacy/hashed-subject.ts'
import { getModel } from '../../store/registry/models.ts'
import { findRouting } from '../../store/serving/routing.ts'
import {
  findPlace,
  readRequests,
  searchLog,
  type FoundPlace,
  type LoggedRequest,
  type LogPlace,
} from '../../store/serving/read-predictions.ts'
import type { Actor } from '../auth/authentication.ts'
import type { ApiDeps } from '../deps.ts'
import { createByteWriter, resetWriter } from '../serving/codec/byte-writer.ts'
import { compileFormat, type OutputFormat } from '../serving/codec/output-format.ts'
import { instanceSuffix } from '../serving/prediction-ids.ts'

/** The period of a search without a beginning, in hours. */
export const defaultHours = 24
/** The most predictions that one page of a filtered list reads. */
const maxRead = 10_000
/** The same of a subject, whose inputs are read too. */
const maxReadOfSubject = 1_000
/** How long after its first page a read may go on, in milliseconds. */
const maxReadMs = 86_400_000

const told = schema.record({ value: {}, observedAt: schema.time, arrivedAt: schema.time })

export const loggedPrediction = schema.record(
  {
    id: schema.text,
    at: schema.time,
    model: schema.text,
    version: schema.text,
    arm: schema.textOf<LoggedArm>(),
    generation: schema.count,
    /** The index of the prediction in its request, and the number of predictions of that. */
    instance: schema.count,
    instances: schema.count,
    latencyUs: schema.count,
    /** The numbers of the answer. */
    outputs: schema.list(schema.number),
  },
  {
    release: schema.text,
    routingKey: schema.text,
    reference: schema.text,
    keyId: schema.text,
    /** To seven digits; absent where they were removed, and for the constant of a fallback. */
    inputs: schema.data,
    /** As the caller received it; absent for the constant of a fallback. */
    answer: schema.data,
    outcome: told,
    review: schema.record({ value: {}, reviewedAt: schema.time }),
  },
)

export const shownPrediction = schema.extend(loggedPrediction, {
  why: schema.record(
    { text: schema.text },
    { placeBp: schema.count, fromBp: schema.count, toBp: schema.count },
  ),
})

export type LoggedPrediction = Omit<
  schema.TypeOf<typeof loggedPrediction>,
  'outcome' | 'review' | 'inputs' | 'answer'
> & { inputs?: LoggedRow; answer?: object; outcome?: object; review?: object }

export interface PredictionSearch {
  model: string
  version?: string | undefined
  arm?: LoggedArm | undefined
  routingKey?: string | undefined
  reference?: string | undefined
  subject?: string | undefined
  since?: string | undefined
  until?: string | undefined
  limit: number
  /** Where the page before has ended. */
  after?: PageEnd | undefined
}

/** The end of a page: the row of the audit log that the read has, its period, and the last prediction. */
export interface PageEnd extends LogPlace {
  read: number
  since: string | undefined
  until: string
  instance: number
}

/** Lists predictions, the newest first. A page may have fewer than the limit, or none, and still be followed by others. */
export async function listPredictions(
  { store, subjects, serving }: Pick<ApiDeps, 'store' | 'subjects' | 'serving'>,
  actor: Actor,
  { after, limit, subject, ...search }: PredictionSearch,
): Promise<{ predictions: LoggedPrediction[]; next?: PageEnd }> {
  const { name: model } = await getModel(store, search.model)
  const { version, arm, routingKey, reference } = search
  const nowMs = serving.wall()
  const { since, until } = after ?? periodOf({ ...search, subject }, nowMs)
  const hashes =
    subject === undefined ? undefined : await findSubjectHash(store, subjects, { model, subject })
  const hashOf = (text: string | undefined) => (text === undefined ? undefined : subjects.hashOf(text))
  const detail = {
    version,
    arm,
    since,
    until,
    subjectHash: hashes?.subjectHash,
    routingKeyHash: hashOf(routingKey),
    referenceHash: hashOf(reference),
  }
  const asked = { actor: actor.name, action, subject: model, model, detail }
  if (after !== undefined) await requireSameRead(store, asked, after.read, nowMs)
  const read = after?.read ?? (await store.transaction((database) => appendAudit(database, asked))).seq
  const most = subject === undefined ? limit : maxReadOfSubject
  const searched = await searchLog(store, {
    model,
    version,
    arm,
    routingKey,
    reference,
    since,
    until,
    from: after,
    // The first may have been returned before, and the last shows that there are more.
    limit: most + 2,
    maxRead: arm === undefined && routingKey === undefined ? most + 2 : maxRead,
  })
  const page = cutPage(searched.found, most, after)
  const requests = await readRequests(store, [...page.parts.values()])
  const belongs = await belongingTo(store, model, subject, hashes?.isNumber === true)
  const predictionsOf = createReader()
  const found = requests.flatMap((request) => {
    const { from, to } = page.parts.get(request.id)!
    return predictionsOf(request, from, to).filter((each) => belongs(each))
  })
  const predictions = found.slice(0, limit)
  const { reached, ended } = searched
  let end = page.next
  if (found.length > limit) end = placeOf(page, predictions.at(-1)!)
  else if (end === undefined && !ended && reached !== null)
    end = { ...reached, instance: reached.instances - 1 }
  return {
    predictions,
    ...(end && { next: { read, since, until, at: end.at, id: end.id, instance: end.instance } }),
  }
}

/** By a reference or a subject the whole log is searched: an answer to a person must not lack a day that was not named. */
function periodOf(
  { since, until, reference, subject }: Pick<PredictionSearch, 'since' | 'until' | 'reference' | 'subject'>,
  nowMs: number,
): Pick<PageEnd, 'since' | 'until'> {
  const untilMs = until === undefined ? nowMs : Date.parse(until)
  const firstMs = untilMs - defaultHours * 3_600_000
  const isWhole = reference !== undefined || subject !== undefined || firstMs < 0
  const first = isWhole ? undefined : new Date(firstMs).toISOString()
  return { since: since ?? first, until: new Date(untilMs).toISOString() }
}

const action = 'predictions.read'

/** The pages of one read share a row of the audit log, so a cursor must belong to a row of the same key and filters. */
async function requireSameRead(
  database: ApiDeps['store'],
  asked: { actor: string; action: string; subject: string; detail: object },
  seq: number,
  nowMs: number,
): Promise<void> {
  const [row] = await readRows(database, seq - 1, 1)
  const isSame =
    row?.seq === seq &&
    row.actor === asked.actor &&
    row.action === asked.action &&
    row.subject === asked.subject &&
    canonicalJson(row.detail) === canonicalJson(JSON.parse(JSON.stringify(asked.detail))) &&
    nowMs - Date.parse(row.at) < maxReadMs
  if (!isSame)
    throw new DomainError(
      'invalid_request',
      'cursor: belongs to another read, or to one of yesterday; send the same filters with the same key, or start again',
    )
}

interface CutPage {
  /** The instances that the page reads of each request: from `from` to below `to`. */
  parts: Map<string, LogPlace & { from: number; to: number }>
  /** The last prediction, where more were found. */
  next?: LastPrediction
}

type LastPrediction = LogPlace & { instance: number }

/** The place of a prediction of the page. */
const placeOf = ({ parts }: CutPage, { id, instance }: LoggedPrediction): LastPrediction => ({
  ...parts.get(id.slice(0, -4) + instanceSuffix(0))!,
  instance,
})

function cutPage(found: readonly FoundPlace[], limit: number, after: PageEnd | undefined): CutPage {
  const page: CutPage = { parts: new Map() }
  let left = limit
  let end: CutPage['next']
  for (const { id, at, instances } of found) {
    const from = after?.id === id ? after.instance + 1 : 0
    const to = Math.min(instances, from + left)
    if (to > from) {
      page.parts.set(id, { id, at, from, to })
      end = { id, at, instance: to - 1 }
      left -= to - from
    }
    if (to < instances) return { ...page, next: end! }
  }
  return page
}

/** A request names many persons where the subject is a feature; only the predictions of one are returned. */
async function belongingTo(
  database: ApiDeps['store'],
  model: string,
  subject: string | undefined,
  isNumber: boolean,
): Promise<(prediction: LoggedPrediction) => boolean> {
  if (subject === undefined) return () => true
  const { column } = await readSubjectColumn(database, model)
  const number = isNumber ? canonicalNumber(subject) : undefined
  const isNamed = (text: unknown) =>
    typeof text === 'string' &&
    (text === subject || (number !== undefined && canonicalNumber(text) === number))
  return ({ routingKey, inputs }) =>
    isNamed(routingKey) || (column !== undefined && isNamed(inputs?.[column]))
}

/** Returns a function that reads the predictions of a request. Compiles the form of each version's answer once. */
function createReader() {
  const formats = new Map<string, OutputFormat>()
  const writer = createByteWriter()
  return (request: LoggedRequest, from: number, to: number): LoggedPrediction[] => {
    const { id, features, fits, output, outputs, outcomes, reviews, target: _target, ...shared } = request
    const format = output && (formats.get(request.version) ?? compileFormat(output))
    if (format !== undefined) formats.set(request.version, format)
    const rows = fits && readLoggedRows(features, fits, request.instances)
    const numbers = Float32Array.from(outputs)
    const width = outputs.length / request.instances
    const answerOf = (instance: number): object | undefined => {
      if (format === undefined || format.width !== width) return undefined
      resetWriter(writer)
      format.write(writer, numbers, instance, noId)
      const { id: _id, ...answer } = JSON.parse(writer.bytes.toString('utf8', 0, writer.at)) as { id: string }
      return answer
    }
    return Array.from({ length: to - from }, (_, index): LoggedPrediction => {
      const instance = from + index
      const outcome = outcomes?.find(({ place }) => place === instance)
      const review = reviews?.find(({ place }) => place === instance)
      return {
        ...shared,
        id: id.slice(0, -4) + instanceSuffix(instance),
        instance,
        outputs: outputs.slice(instance * width, (instance + 1) * width),
        inputs: rows?.[instance],
        answer: answerOf(instance),
        outcome: outcome && {
          value: outcome.value,
          observed_at: iso(outcome.observedAt),
          arrived_at: iso(outcome.arrivedAt),
        },
        review: review && { value: review.value, reviewed_at: iso(review.reviewedAt) },
      }
    })
  }
}

const noId = new Uint8Array(16)

/** JSON of Postgres has the zone of its session. */
const iso = (time: string): string => new Date(time).toISOString()

/** Shows one prediction, with the reason of its arm. Waits for one that was answered less than a second ago. */
export async function getPrediction(
  { store }: Pick<ApiDeps, 'store'>,
  actor: Actor,
  predictionId: string,
): Promise<LoggedPrediction & { why: ArmReason }> {
  const missing = { what: 'prediction', id: predictionId }
  const id = predictionId.toLowerCase()
  const { model } = requireFound((await awaitAnswered(store, [id])).get(id), missing)
  await store.transaction((database) =>
    appendAudit(database, { actor: actor.name, action, subject: id, model, detail: {} }),
  )
  const place = requireFound(await findPlace(store, id), missing)
  const request = requireFound((await readRequests(store, [place]))[0], missing)
  const instance = Number.parseInt(id.slice(-4), 16)
  const [prediction] = createReader()(request, instance, instance + 1)
  const current = await findRouting(store, model)
  const why = whyArm({ ...request, atMs: Date.parse(request.at) }, { current, target: request.target })
  return { ...prediction!, why }
}
