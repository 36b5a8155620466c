/**
 * Validates and stores events of users. Events affect releases, so an event must belong to a user or prediction that the key can access,
 * and counts once however often it is sent.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { eventNamePattern } from '../../domain/canary/business-policy.ts'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { findModelNames, insertEvents, type UserEvent } from '../../store/monitoring/events.ts'
import { awaitAnswered } from '../../store/monitoring/outcomes.ts'
import { findErased, findErasedEvents } from '../../store/privacy/erased-subjects.ts'
import type { Store } from '../../store/postgres.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import { canAccessModel, type Actor } from '../auth/authentication.ts'
import { labellers } from '../http/route.ts'
import { checkEntry, modelName, pastTime } from '../http/schemas.ts'
import { maxRoutingKeyLength } from '../serving/codec/caller-texts.ts'

/** Limit on the absolute value of one event. Above it, sums of doubles lose cents. */
const maxValue = 1e12

export const eventSchema = (nowMs: () => number) =>
  z
    .strictObject({
      id: z.string().min(1).max(200).optional(),
      prediction_id: z.uuid().optional(),
      routing_key: z.string().min(1).max(maxRoutingKeyLength).optional(),
      model: modelName.optional(),
      name: z.string().regex(new RegExp(eventNamePattern), {
        error: 'is a letter, then at most 63 letters, digits, dots, _ and -',
      }),
      value: z.number().min(-maxValue).max(maxValue).default(1),
      /** Up to a minute ahead of the database's clock, because clocks differ. */
      occurred_at: pastTime(nowMs),
    })
    .refine(({ prediction_id: one, routing_key: other }) => (one === undefined) !== (other === undefined), {
      error: 'has either a prediction_id or a routing_key',
    })

export interface SentEvent extends UserEvent {
  /** The position in the request: `events.3`, `line 7`. */
  place: string
}

/** Checks a value and returns the event, or the error message. */
export type EventCheck = (value: unknown, place: string) => SentEvent | string

export function createEventCheck(nowMs: () => number): EventCheck {
  const schema = eventSchema(nowMs)
  return (value, place) => {
    const checked = checkEntry(schema, value)
    return 'issue' in checked ? checked.issue : sentEvent(checked.data, place)
  }
}

function sentEvent(
  {
    id,
    prediction_id,
    routing_key: routingKey,
    model,
    name,
    value,
    occurred_at,
  }: z.infer<ReturnType<typeof eventSchema>>,
  place: string,
): SentEvent {
  const fields = {
    model,
    predictionId: prediction_id?.toLowerCase(),
    routingKey,
    name,
    value,
    occurredAt: new Date(occurred_at).toISOString(),
  }
  const digest = createHash('sha256').update(canonicalJson(fields)).digest('hex')
  return { ...fields, place, id: id ?? `sha256:${digest}`, digest }
}

export interface EventDeps {
  store: Store
  actor: Actor
  subjects: SubjectKey
}

export interface EventResult {
  /** Events that are stored now or were stored before. */
  accepted: number
  stored: number
  /** Events of predictions that are not in the prediction log, and of persons who were erased afterwards. */
  unknown: number
  refused: { place: string; message: string; code: 'invalid_request' | 'forbidden' }[]
}

/**
 * Stores events. The caller must ensure that given events with the same id are equal. A predictor may send only events of its own
 * predictions, because a routing key is shared by all services. Events of unknown predictions are stored, because the log may be more than
 * a second behind. This applies only to keys that may send events of all models, and not to erased
 * requests. Events of a routing key that occurred before its person was erased are not stored.
 */
export async function storeEvents(
  { store, actor, subjects }: EventDeps,
  sent: readonly SentEvent[],
): Promise<EventResult> {
  const ids = sent.flatMap(({ predictionId }) => (predictionId === undefined ? [] : [predictionId]))
  const answered: KnownFacts['answered'] = ids.length === 0 ? new Map() : await awaitAnswered(store, ids)
  const unlogged = ids.filter((id) => !answered.has(id))
  const erased = unlogged.length === 0 ? new Set<string>() : await findErased(store, unlogged)
  const keyed = sent.flatMap(({ routingKey, ...each }) =>
    routingKey === undefined ? [] : [{ ...each, routingKey }],
  )
  const gone = await findErasedEvents(store, subjects, keyed)
  const named = new Set(sent.flatMap(({ model }) => (model === undefined ? [] : [model])))
  const models = named.size === 0 ? named : await findModelNames(store, [...named])
  const known = { actor, models, answered, erased, gone }
  const refused: EventResult['refused'] = []
  const kept: SentEvent[] = []
  let unknown = 0
  for (const each of sent) {
    const admission = admit(each, known)
    if (typeof admission === 'object') refused.push({ place: each.place, ...admission })
    else {
      if (admission !== 'known') unknown++
      if (admission !== 'unknown') kept.push(each)
    }
  }
  if (kept.length === 0) return { accepted: 0, stored: 0, unknown, refused }
  const events = [...new Map(kept.map((each) => [each.id, each])).values()]
  const { stored, taken } = await insertEvents(store, { events, source: actor.name })
  const others = kept.filter(({ id }) => taken.has(id))
  for (const { id, place } of others)
    refused.push({
      place,
      code: 'invalid_request',
      message: `id: ${id} was stored with other fields; send a correction as another event`,
    })
  return { accepted: kept.length - others.length, stored, unknown, refused }
}

/**
 * - `known`: the event is stored.
 * - `early`: it is stored, although its prediction is not in the log yet.
 * - `unknown`: it is not stored, because its prediction is unknown or its person was erased.
 */
type Admission = 'known' | 'early' | 'unknown' | Omit<EventResult['refused'][number], 'place'>

interface KnownFacts {
  actor: Actor
  models: ReadonlySet<string>
  /** By prediction id. */
  answered: ReadonlyMap<string, { model: string; keyId?: string | undefined }>
  /** Ids of predictions whose requests were erased. */
  erased: ReadonlySet<string>
  /** Ids of events of persons who were erased afterwards. */
  gone: ReadonlySet<string>
}

function admit(
  { id, predictionId, model }: SentEvent,
  { actor, models, answered, erased, gone }: KnownFacts,
): Admission {
  const mayLabelAll = labellers.includes(actor.role)
  const forbidden = (message: string) => ({ code: 'forbidden' as const, message })
  const invalid = (message: string) => ({ code: 'invalid_request' as const, message })
  if (model !== undefined && !canAccessModel(actor, model))
    return forbidden(`the key ${actor.name} has no access to the model ${model}`)
  if (model !== undefined && !models.has(model)) return invalid(`model: there is no model ${model}`)
  if (predictionId === undefined) {
    if (!mayLabelAll)
      return forbidden(
        `the key ${actor.name} may send events of its own predictions only; name them by prediction_id, or use a key with the role labeller`,
      )
    if (model === undefined && actor.models !== undefined)
      return forbidden(`the key ${actor.name} is limited to some models; name the model of the event`)
    return gone.has(id) ? 'unknown' : 'known'
  }
  const found = answered.get(predictionId)
  if (found === undefined)
    return mayLabelAll && actor.models === undefined && !erased.has(predictionId) ? 'early' : 'unknown'
  if (!mayLabelAll && found.keyId !== actor.id)
    return forbidden(
      `the prediction was not made with the key ${actor.name}; use a key with the role labeller`,
    )
  if (model !== undefined && model !== found.model)
    return invalid(`model: the prediction is of the model ${found.model}, not ${model}`)
  return 'known'
}
