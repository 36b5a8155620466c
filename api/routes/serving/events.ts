/** `POST /v1/events`: stores the actions of users after predictions: one event, a list of events or NDJSON. */
import { groupedDigits } from '../../../domain/figures.ts'
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { parseJsonBody } from '../../../domain/json-body.ts'
import { createEventCheck, eventSchema, storeEvents, type EventDeps } from '../../events/events.ts'
import { openEventIntake, takeEventLines, type EventIntakeCounts } from '../../events/intake.ts'
import { json, requireMediaType } from '../../http/content-type.ts'
import { predictBytes, defineRoute, type RouteDefinition } from '../../http/route.ts'
import { requireNoneRefused } from '../../outcomes/outcomes.ts'
import type { ApiDeps } from '../../deps.ts'

const maxEvents = 10_000
const lines = ['application/x-ndjson', 'application/jsonl']
const media = [json, ...lines]

const { $schema: _$schema, ...described } = z.toJSONSchema(eventSchema(Date.now), { io: 'input' })
const { prediction_id, routing_key, ...common } = described.properties!
const required = described.required ?? []
/** An event names its prediction or its user. */
const kinds = [
  { ...described, properties: { prediction_id, ...common }, required: ['prediction_id', ...required] },
  { ...described, properties: { routing_key, ...common }, required: ['routing_key', ...required] },
]
const list = {
  type: 'object',
  properties: { events: { type: 'array', minItems: 1, maxItems: maxEvents, items: { anyOf: kinds } } },
  required: ['events'],
  additionalProperties: false,
}
const count = { type: 'integer', minimum: 0 }
const counts = {
  type: 'object',
  properties: {
    received: count,
    accepted: count,
    stored: count,
    unknown: count,
    refused: count,
    issues: { type: 'array', maxItems: 20, items: { type: 'string' } },
  },
  required: ['received', 'accepted', 'stored', 'unknown', 'refused', 'issues'],
  additionalProperties: false,
}

export const eventRoutes = ({ store, subjects, serving }: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/events', 'labellers', {
    summary: `Store events of users: what happened after a prediction, by its prediction_id or by the routing_key of its requests. The body is one event, {"events": […]} with at most ${groupedDigits(maxEvents)}, or NDJSON. An event that is sent again, with the same id or without an id and with the same fields, changes nothing. Refused events of a list are reported and do not affect the others; a single refused event is an error. A predictor may send those of predictions that were made with its own key.`,
    answers: {
      200: 'The number of events received, accepted, newly stored, of unknown predictions, and refused, and the first refused ones',
    },
    contentTypes: media,
    rawSchema: { anyOf: [...kinds, list] },
    answerSchema: counts,
    streaming: true,
    async handle({ actor, stream, readWhole, header }) {
      const type = requireMediaType(header('content-type'), media) ?? json
      const intake = openEventIntake({ store, subjects, actor: actor!, nowMs: serving.wall })
      if (lines.includes(type)) {
        await takeEventLines(stream(), intake)
        return { json: await intake.end() }
      }
      const body = parseJsonBody(await readWhole(predictBytes), { maxValues: 12 * maxEvents })
      const listed = listOf(body)
      if (listed === undefined)
        return { json: await takeOne(body, { store, subjects, actor: actor!, nowMs: serving.wall }) }
      for (const [index, each] of listed.entries()) await intake.take(each, `events.${index}`)
      return { json: await intake.end() }
    },
  }),
]

/** Stores a single event. Throws when the event is refused. */
async function takeOne(body: unknown, deps: EventDeps & { nowMs: () => number }): Promise<EventIntakeCounts> {
  const event = createEventCheck(deps.nowMs)(body, 'the event')
  if (typeof event === 'string') throw new DomainError('invalid_request', event)
  const taken = await storeEvents(deps, [event])
  requireNoneRefused(taken)
  return { received: 1, ...taken, refused: 0, issues: [] }
}

/** Returns the list of events in a body; undefined for a single event. */
function listOf(body: unknown): unknown[] | undefined {
  if (typeof body !== 'object' || body === null || !('events' in body)) return undefined
  const { events } = body
  const issue =
    Object.keys(body).length > 1
      ? 'a list has the field events only'
      : !Array.isArray(events)
        ? 'events: is not a list'
        : events.length === 0 || events.length > maxEvents
          ? `events: has ${events.length} entries, not 1 to ${maxEvents}`
          : undefined
  if (issue !== undefined) throw new DomainError('invalid_request', issue)
  return events as unknown[]
}
