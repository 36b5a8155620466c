/** `/v1/state`: shows the live state that a state file describes, and applies the changes of a plan. */
import { z } from 'zod'
import {
  resourceKinds,
  type ResourceChange,
  type ResourceValue,
} from '../../../domain/installation/resource.ts'
import { DomainError } from '../../../domain/errors.ts'
import * as schema from '../../../domain/schema.ts'
import { listApplied } from '../../../store/installation/applied-state.ts'
import { readLiveState } from '../../../store/installation/live-state.ts'
import { keyName, keyValue, killSwitchValue, scheduleValue } from '../../../store/installation/state-file.ts'
import { channelName, storedChannel } from '../../../store/monitoring/alert-channels.ts'
import type { ApiDeps } from '../../deps.ts'
import { defineRoute, operators, type RouteDefinition } from '../../http/route.ts'
import { boundedList, modelName, toWire, writtenReason } from '../../http/schemas.ts'
import { applyChanges, checkChanges, kindsOf } from '../../services/installation/apply-changes.ts'

/** The maximum number of changes, and of named resources, in one request. */
const maxResources = 2_000

/** The kinds of resources, each with the shape of its name and of its value. */
const kinds = {
  model: [modelName, z.strictObject({ code: z.string().max(100) })],
  key: [keyName, keyValue],
  channel: [channelName, storedChannel],
  killSwitch: [modelName, killSwitchValue],
  schedule: [z.string().min(1).max(200), scheduleValue],
} as const satisfies Record<(typeof resourceKinds)[number], readonly [z.ZodType, z.ZodType]>

const anyValue = z.record(z.string().max(100), z.unknown())
const named = { kind: z.enum(resourceKinds), name: z.string().min(1).max(200) }
const body = z.strictObject({
  reason: writtenReason,
  dry_run: z.boolean().optional(),
  changes: boundedList(
    z.strictObject({ ...named, before: anyValue.optional(), after: anyValue.optional() }),
    { min: 0, max: maxResources },
  ),
  named: boundedList(z.strictObject(named), { min: 0, max: maxResources }).optional(),
})

const kind = schema.oneOf(...resourceKinds)
const resource = schema.record({ kind, name: schema.text, value: schema.data })

export const stateRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/state', operators, {
    summary:
      'Show models, keys, alert channels and kill switches as `tenure plan` compares them, without secrets.',
    answers: { 200: 'The live state, and what an apply has set last' },
    answerSchema: schema.record({
      actor: schema.text,
      kinds: schema.list(kind),
      resources: schema.list(resource),
      applied: schema.list(schema.extend(resource, { at: schema.time, actor: schema.text })),
    }),
    async handle({ actor }) {
      const readable = kindsOf(actor!)
      const isReadable = ({ kind }: { kind: (typeof resourceKinds)[number] }) => readable.includes(kind)
      const resources = await readLiveState(deps.store, readable)
      const applied = (await listApplied(deps.store)).filter(isReadable)
      return { json: { actor: actor!.name, kinds: readable, resources, applied } }
    },
  }),
  defineRoute('post', '/v1/state', operators, {
    summary:
      'Apply the changes of a plan, each with an audit row, and record the live values of the named resources as applied. Models are changed by a sync of their files. With dry_run, only refuse what could not be applied.',
    answers: { 200: 'The applied changes; the secret of a new key is shown once' },
    answerSchema: schema.record({
      changes: schema.list(
        schema.record(
          { kind, name: schema.text, action: schema.oneOf('added', 'changed', 'deleted') },
          { key: schema.text, problems: schema.list(schema.text) },
        ),
      ),
    }),
    body,
    maxValues: 200_000,
    secretResponse: true,
    async handle({ actor, body: { reason, changes: given, named: resources, dry_run: isDry } }) {
      const changes = given.map(parseChange)
      if (isDry === true) {
        await checkChanges(deps, actor!, changes)
        return { json: { changes: [] } }
      }
      const applied = await applyChanges(deps, actor!, { reason, changes, named: resources })
      return { json: { changes: applied.map(toWire) } }
    },
  }),
]

function parseChange({ kind, name, before, after }: ResourceChange): ResourceChange {
  const [nameOf, valueOf] = kinds[kind]
  const parsed = z
    .object({ name: nameOf, after: (valueOf as z.ZodType).optional() })
    .safeParse({ name, after: after })
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => `${[...path].join('.')}: ${message}`)
    throw new DomainError('invalid_request', `${kind} ${JSON.stringify(name)}: ${issues.join('; ')}`, {
      issues,
    })
  }
  if (before === undefined && after === undefined)
    throw new DomainError(
      'invalid_request',
      `${kind} ${JSON.stringify(name)}: before and after are both absent`,
    )
  return { kind, name, before, after: parsed.data.after as ResourceValue | undefined }
}
