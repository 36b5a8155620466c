/** Reads the file of alert channels. Read at every dispatch, so that a new recipient needs no restart. */
import { z } from 'zod'
import { severities, type Channel } from '../../domain/monitoring/alert-escalation.ts'
import { DomainError } from '../../domain/errors.ts'
import { readSecretJson } from '../secret-json.ts'
import { issueText, listIssues } from '../schema-issues.ts'

const url = z.url({ protocol: /^https?$/ })
const target = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('slack'),
    url,
    signingSecret: z.string().min(16).optional(),
    users: z.record(z.string().regex(/^[UW][A-Z0-9]{2,20}$/), z.string().min(1).max(100)).optional(),
  }),
  z.strictObject({ kind: z.literal('teams'), url }),
  z.strictObject({
    kind: z.literal('pagerduty'),
    url: url.default('https://events.pagerduty.com'),
    routingKey: z.string().regex(/^[\w-]{32}$/),
  }),
  z.strictObject({
    kind: z.literal('opsgenie'),
    url: url.default('https://api.opsgenie.com'),
    apiKey: z.string().min(16).max(100),
  }),
  z.strictObject({
    kind: z.literal('webhook'),
    url,
    // Standard Webhooks signs with the bytes that the text encodes.
    secret: z
      .string()
      .min(24)
      .regex(/^(whsec_)?[A-Za-z0-9+/]+={0,2}$/, 'is not base64: make one with `openssl rand -base64 32`')
      .optional(),
  }),
  z.strictObject({ kind: z.literal('alertmanager'), url }),
  z.strictObject({
    kind: z.literal('email'),
    smtp: z.url({ protocol: /^smtps?$/ }),
    from: z.string().min(3),
    to: z.array(z.string().min(3)).min(1),
  }),
])
const minutes = z.number().nonnegative()
export const channelName = z.string().min(1).max(80)
/** Which alerts a channel gets, and when. */
export const channelTimes = {
  severities: z.array(z.enum(severities)).min(1).default(['warning', 'critical']),
  models: z.array(z.string()).optional(),
  releases: z.boolean().optional(),
  afterMinutes: minutes.default(0),
  repeatMinutes: minutes.min(0.001).optional(),
}
const channel = z.strictObject({ name: channelName, target, ...channelTimes })

/** Without the file there are no channels. Throws `configuration_invalid` with every issue. */
export async function readChannels(file: string): Promise<Channel[]> {
  const found = (await readSecretJson(file, z.array(channel))) ?? []
  const names = found.map(({ name }) => name)
  const twice = names.filter((name, index) => names.indexOf(name) !== index)
  if (twice.length > 0)
    throw new DomainError('configuration_invalid', `${file}: two channels have the name ${twice[0]}`)
  return found.map(toChannel)
}

const toChannel = ({ afterMinutes, repeatMinutes, ...rest }: z.infer<typeof channel>): Channel => ({
  ...rest,
  afterMs: afterMinutes * 60_000,
  repeatMs: repeatMinutes === undefined ? undefined : repeatMinutes * 60_000,
})

/** Throws `configuration_invalid` without the value, because a misplaced secret may be in it. */
export function parseChannel(given: unknown, name: string): Channel {
  const parsed = channel.safeParse(given, { error: issueText })
  if (parsed.success) return toChannel(parsed.data)
  const issues = listIssues(parsed.error)
  throw new DomainError('configuration_invalid', `the channel ${name}: ${issues.join('; ')}`, { issues })
}
