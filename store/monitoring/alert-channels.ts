/** Reads the file of alert channels. Read at every dispatch, so that a new recipient needs no restart. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import sql from 'sql-template-tag'
import { severities, type Channel } from '../../domain/monitoring/alert-escalation.ts'
import { DomainError, reasonOf } from '../../domain/errors.ts'
import { readSecret, readSecretJson } from '../secret-json.ts'
import { issueText, listIssues } from '../schema-issues.ts'
import { redacted } from '../../domain/redact.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

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
    smtp: z.url({ protocol: /^smtps?$/ }).refine((smtp) => isPlainServer(smtp), {
      error: 'has a path or parameters: only user, password, host and port are used',
    }),
    from: z.string().min(3),
    to: z.array(z.string().min(3)).min(1),
  }),
])
const isPlainServer = (smtp: string): boolean => {
  const { pathname, search, hash } = new URL(smtp)
  return /^\/?$/.test(pathname) && search === '' && hash === ''
}
const minutes = z.number().nonnegative()
export const channelName = z.string().min(1).max(80)
/** Which alerts a channel gets, and when. */
const channelTimes = {
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
  return found.map((each) => toChannel(each, 'machine'))
}

const toChannel = (
  { afterMinutes, repeatMinutes, ...rest }: z.infer<typeof channel>,
  setBy: Channel['setBy'],
): Channel => ({
  ...rest,
  setBy,
  afterMs: afterMinutes * 60_000,
  repeatMs: repeatMinutes === undefined ? undefined : repeatMinutes * 60_000,
})

/** Parses a channel of `tenure apply`. Throws `configuration_invalid` without the value, because a misplaced secret may be in it. */
export function parseChannel(given: unknown, name: string): Channel {
  const parsed = channel.safeParse(given, { error: issueText })
  if (parsed.success) return toChannel(parsed.data, 'state')
  const issues = listIssues(parsed.error)
  throw new DomainError('configuration_invalid', `the channel ${name}: ${issues.join('; ')}`, { issues })
}

// Stores the alert channels of `tenure apply`. A stored channel only names its secrets; each process reads them from its folder of secrets,
// so that neither the database nor a diff contains one.

/** A file in the folder of secrets. */
const secret = z.strictObject({
  secret: z.string().regex(/^\w[\w.-]{0,99}$/, 'is the name of a file in the folder of secrets'),
})
const advice = 'write { secret: <file> }, and put the value into that file of the folder of secrets'
const open = (protocol: RegExp) =>
  z.url({ protocol }).refine((url) => redacted(url) === url, { error: `holds a secret: ${advice}` })
const reference = (what: string) =>
  z.unknown().transform((given, context) => {
    const parsed = secret.safeParse(given)
    if (parsed.success) return parsed.data
    context.addIssue({ code: 'custom', message: `${what} is secret: ${advice}` })
    return z.NEVER
  })
const address = z.union([open(/^https?$/), secret], {
  error: `is an http:// or https:// address without a secret; otherwise ${advice}`,
})

const storedTarget = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('slack'), url: reference('the address of a Slack channel') }),
  z.strictObject({
    kind: z.literal('webhook'),
    url: address,
    secret: reference('what signs the messages of a webhook').optional(),
  }),
  z.strictObject({ kind: z.literal('alertmanager'), url: address }),
  z.strictObject({
    kind: z.literal('email'),
    smtp: z.union([open(/^smtps?$/), secret], {
      error: `is an smtp:// address without a password; otherwise ${advice}`,
    }),
    from: z.string().min(3),
    to: z.array(z.string().min(3)).min(1),
  }),
])
/** A channel in a state file, without its name. */
export const storedChannel = z.strictObject({ target: storedTarget, ...channelTimes })

export type StoredChannel = z.infer<typeof storedChannel> & { name: string }

export const listStoredChannels = async (database: Database): Promise<StoredChannel[]> =>
  (
    await rowsFrom(database).list<{ name: string; definition: z.infer<typeof storedChannel> }>(
      sql`select name, definition from alert_channels order by name`,
    )
  ).map(({ name, definition }) => ({ name, ...definition }))

export async function upsertChannel(
  database: Database,
  { name, ...definition }: StoredChannel,
): Promise<void> {
  channelName.parse(name)
  await database.query(sql`
    insert into alert_channels (name, definition) values (${name}, ${JSON.stringify(definition)})
    on conflict (name) do update set definition = excluded.definition, updated_at = now()`)
}

export async function deleteChannel(database: Database, name: string): Promise<void> {
  await database.query(sql`delete from alert_channels where name = ${name}`)
}

/** The channels with their secrets. A channel whose secret is missing is reported as a problem and does not affect the others. */
export const readStoredChannels = async (database: Database, secretsDir: string) =>
  channelsWithSecrets(await listStoredChannels(database), secretsDir)

/** The file with the last read channels, so that a process can send alerts while Postgres is away. It holds no secret. */
const copyOf = (stateDir: string): string => join(stateDir, 'cache', 'alert-channels.json')

/** Writes the stored channels to the disk of this process if they have changed. */
export async function copyStoredChannels(database: Database, stateDir: string): Promise<void> {
  const text = JSON.stringify(await listStoredChannels(database))
  const file = copyOf(stateDir)
  if ((await readFile(file, 'utf8').catch(() => '')) === text) return
  await mkdir(dirname(file), { recursive: true })
  await writeFile(`${file}.${process.pid}`, text, { mode: 0o600 })
  await rename(`${file}.${process.pid}`, file)
}

/** The channels of the last copy, with their secrets. */
export async function readCopiedChannels(stateDir: string, secretsDir: string): Promise<Channel[]> {
  const copied = await readSecretJson(copyOf(stateDir), z.array(storedChannel.extend({ name: channelName })))
  return (await channelsWithSecrets(copied ?? [], secretsDir)).channels
}

async function channelsWithSecrets(
  stored: readonly StoredChannel[],
  secretsDir: string,
): Promise<{ channels: Channel[]; problems: string[] }> {
  const problems: string[] = []
  const channels: Channel[] = []
  for (const each of stored)
    try {
      const target = await withSecrets(each.target, secretsDir)
      channels.push(parseChannel({ ...each, target }, each.name))
    } catch (error) {
      problems.push(reasonOf(error))
    }
  return { channels, problems }
}

async function withSecrets(target: object, secretsDir: string): Promise<object> {
  const entries = Object.entries(target).map(async ([field, value]) => {
    const named = secret.safeParse(value)
    if (!named.success) return [field, value] as const
    const file = join(secretsDir, named.data.secret)
    return [field, await readSecret(file, `the secret ${file} of an alert channel`)] as const
  })
  return Object.fromEntries(await Promise.all(entries)) as object
}
