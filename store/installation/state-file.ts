/** Checks a state file, and the values that an apply sends, by the same rules. */
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import type { DesiredState } from '../../domain/installation/plan.ts'
import type { Resource, ResourceKind, ResourceValue } from '../../domain/installation/resource.ts'
import { roles } from '../../domain/roles.ts'
import { killSwitchModes, type KillSwitchMode } from '../../domain/serving/kill-switch.ts'
import { channelName, storedChannel } from '../monitoring/alert-channels.ts'
import { issueText, listIssues } from '../schema-issues.ts'

const instant = z.iso
  .datetime({ offset: true, error: 'is not an ISO 8601 time with a zone, such as 2027-03-01T12:00:00Z' })
  .transform((text) => new Date(text).toISOString())

export const keyName = z
  .string()
  .regex(/^[\w.@-]{1,100}$/, 'is the name of a key: 1 to 100 letters, digits and . _ @ -')

export const keyValue = z
  .strictObject({
    role: z.enum(roles),
    models: z.array(z.string().min(1).max(100)).min(1).max(1_000).optional(),
    expiresAt: instant.optional(),
    requestsPerSecond: z.number().int().min(1).max(100_000).optional(),
    burst: z.number().int().min(1).max(1_000_000).optional(),
  })
  .refine(({ requestsPerSecond, burst }) => requestsPerSecond !== undefined || burst === undefined, {
    path: ['burst'],
    error: 'needs requestsPerSecond',
  })
  .transform(({ models, burst, ...key }) => ({
    ...key,
    ...(models && { models: [...new Set(models)].sort() }),
    ...(key.requestsPerSecond && { burst: burst ?? key.requestsPerSecond }),
  }))

const modes = Object.keys(killSwitchModes) as [KillSwitchMode, ...KillSwitchMode[]]
export const killSwitchValue = z.strictObject({ serve: z.enum(modes) })
export const scheduleValue = z.strictObject({ paused: z.boolean() })

const modelName = z.string().min(1).max(100)
const stateFile = z.strictObject({
  models: z.union([z.literal('all'), z.array(modelName)], {
    error: 'is `all`, or a list of models whose files the project has',
  }),
  keys: z.record(keyName, keyValue),
  channels: z.record(channelName, storedChannel),
  killSwitches: z.record(modelName, z.enum(modes)),
  schedules: z.record(
    z
      .string()
      .regex(
        /^[\w-]+(\/[\w-]+){0,2}$/,
        'is the id of a schedule: retrain/<model>, drill/<model>, trigger/<model>, score/<model>/<batch> or materialise/<view>/<digest>',
      ),
    z.enum(['running', 'paused']),
  ),
})

const kindOfSection = {
  models: 'model',
  keys: 'key',
  channels: 'channel',
  killSwitches: 'killSwitch',
  schedules: 'schedule',
} as const satisfies Record<keyof z.infer<typeof stateFile>, ResourceKind>

/** The state without the models themselves, which their files define. */
export interface StateOfFile extends DesiredState {
  models: 'all' | readonly string[]
}

/** Throws `configuration_invalid` with every issue. `file`: the name of the file in messages. */
export function parseStateFile(given: unknown, file: string): StateOfFile {
  const parsed = stateFile.partial().safeParse(given, { error: issueText })
  if (!parsed.success) {
    const issues = listIssues(parsed.error)
    throw new DomainError('configuration_invalid', `${file}: ${issues.join('; ')}`, { issues })
  }
  const { models = [], keys = {}, channels = {}, killSwitches = {}, schedules = {} } = parsed.data
  const sections = Object.keys(parsed.data) as (keyof typeof kindOfSection)[]
  const listed = (kind: ResourceKind, values: Record<string, ResourceValue>): Resource[] =>
    Object.entries(values).map(([name, value]) => ({ kind, name, value: withoutAbsent(value) }))
  return {
    models,
    kinds: sections.map((section) => kindOfSection[section]),
    resources: [
      ...listed('key', keys),
      ...listed('channel', channels),
      ...listed(
        'killSwitch',
        mapped(killSwitches, (serve) => ({ serve })),
      ),
      ...listed(
        'schedule',
        mapped(schedules, (state) => ({ paused: state === 'paused' })),
      ),
    ],
  }
}

const mapped = <T>(values: Record<string, T>, to: (value: T) => ResourceValue) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, to(value)]))

/** The value as JSON returns it. */
const withoutAbsent = (value: ResourceValue): ResourceValue =>
  JSON.parse(JSON.stringify(value)) as ResourceValue
