/**
 * Stores the alert channels of `tenure apply`. A stored channel only names its secrets; each process reads them from its folder of
 * secrets, so that neither the database nor a diff contains one.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { z } from 'zod'
import { DomainError, reasonOf } from '../../domain/errors.ts'
import type { Channel } from '../../domain/monitoring/alert-escalation.ts'
import { redacted } from '../../domain/redact.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { channelName, channelTimes, parseChannel } from './alert-channels.ts'

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
export async function readStoredChannels(
  database: Database,
  secretsDir: string,
): Promise<{ channels: Channel[]; problems: string[] }> {
  const problems: string[] = []
  const channels: Channel[] = []
  for (const stored of await listStoredChannels(database))
    try {
      const target = await withSecrets(stored.target, secretsDir)
      channels.push(parseChannel({ ...stored, target }, stored.name))
    } catch (error) {
      problems.push(reasonOf(error))
    }
  return { channels, problems }
}

async function withSecrets(target: object, secretsDir: string): Promise<object> {
  const entries = Object.entries(target).map(async ([field, value]) => {
    const named = secret.safeParse(value)
    return [field, named.success ? await readSecret(join(secretsDir, named.data.secret)) : (value as unknown)]
  })
  return Object.fromEntries(await Promise.all(entries)) as object
}

async function readSecret(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code
    throw new DomainError(
      'configuration_invalid',
      `the secret ${file} of an alert channel cannot be read (${why})`,
    )
  }
}
