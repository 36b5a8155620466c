/** `tenure keys`: manages API keys. A secret is shown once, when it is created or rotated. */
import { roles } from '../../../domain/roles.ts'
import type { KeyAnswer } from '../../client/responses.ts'
import { failure, path, usageError, type Client } from '../../client/client.ts'
import { replaceStoredKey } from '../../client/connection.ts'
import { confirm, yesOption } from '../confirm.ts'
import type { CommandGroup } from '../../program.ts'
import type { Terminal } from '../../terminal.ts'
import { time } from '../format.ts'
import { listCommand } from '../list.ts'
import { rotateSigningCommand } from './rotate-signing.ts'
import { numberOption } from '../../number-option.ts'

export const keysGroup: CommandGroup = {
  name: 'keys',
  summary: 'Create, list, rotate and revoke API keys',
  commands: [
    listCommand<KeyAnswer>({
      summary: 'List keys (without secrets)',
      examples: ['keys', 'keys list --json'],
      path: '/v1/keys',
      field: 'keys',
      none: 'No keys',
      pages: 'all',
      droppable: ['created (UTC)', 'expires (UTC)', 'models', 'last used (UTC)'],
      columns: {
        id: 'id',
        name: 'name',
        role: 'role',
        models: (each) => each.models?.join(', ') ?? 'all',
        'created (UTC)': (each) => time(each.created_at),
        'expires (UTC)': (each) => time(each.expires_at),
        'last used (UTC)': (each) => time(each.last_used_at),
        state: stateOf,
      },
    }),
    {
      name: 'create <name>',
      summary: 'Create a key and show it once',
      options: [
        ['--role <role>', `One of ${roles.join(', ')}; required`],
        ['--models <models>', 'Models the key has access to, separated by commas (default: all)'],
        ['--expires <time>', 'Expiry time in ISO 8601 (default: never)'],
        ['--rate <n>', 'Requests per second at each replica (default: unlimited)'],
        ['--burst <n>', 'Maximum burst of requests (default: the rate)'],
      ],
      examples: [
        'keys create ada --role approver',
        'keys create shop --role predictor --models iris',
        'keys create warehouse --role labeller',
      ],
      async run({ terminal, api }, { args, options }) {
        const { role, models, expires } = options
        if (!roles.some((each) => each === role))
          throw usageError(
            role === undefined
              ? `--role is missing: one of ${roles.join(', ')} is required`
              : `--role must be one of ${roles.join(', ')}, not ${String(role)}`,
          )
        const client = api()
        const wanted = models === undefined ? undefined : namesIn(String(models))
        const answer = await client.post<KeyAnswer & { key: string }>('/v1/keys', {
          name: args[0],
          role,
          models: wanted,
          expires_at: expires,
          requests_per_second: numberOption(options, 'rate', { min: 1, max: 100_000, whole: true }),
          burst: numberOption(options, 'burst', { min: 1, max: 1_000_000, whole: true }),
        })
        terminal.answer(answer, shown(answer.key))
        if (wanted !== undefined) await warnOfUnknown(terminal, client, wanted)
      },
    },
    {
      name: 'rotate <id-or-name>',
      summary: 'Replace the secret of a key and show it once; the previous secret stays valid for a while',
      options: [
        ['--overlap <seconds>', 'How long the previous secret stays valid (default: 3600; 0: revoke it now)'],
      ],
      examples: ['keys rotate shop', 'keys rotate shop --overlap 86400'],
      async run({ terminal, api }, { args, options }) {
        const id = await keyIdOf(api(), String(args[0]))
        const answer = await api().post<KeyAnswer & { key: string; previous_until: string }>(
          path`/v1/keys/${id}/rotate`,
          { overlap_s: numberOption(options, 'overlap', { min: 0, max: 30 * 86_400, whole: true }) },
        )
        const isOwn = replaceStoredKey(id, answer.key)
        const use = isOwn ? ' Commands on this machine use the new one.' : ''
        terminal.answer(
          answer,
          `${shown(answer.key)}\nThe previous secret is valid until ${time(answer.previous_until)} (UTC).${use}`,
        )
      },
    },
    {
      name: 'revoke <id-or-name>',
      summary: 'Revoke a key',
      options: [yesOption],
      examples: ['keys revoke ada', 'keys revoke 0b1c2d3e4f50'],
      async run({ terminal, api }, { args, options }) {
        const named = String(args[0])
        const id = await keyIdOf(api(), named)
        await confirm(terminal, options, async () => {
          const { keys } = await api().get<{ keys: KeyAnswer[] }>('/v1/keys')
          if (!keys.some((key) => key.id === id))
            throw failure({
              code: 'not_found',
              status: 404,
              detail: `there is no key ${named}`,
              remedy: 'List them with `tenure keys list`.',
            })
          return `Revoke the key ${named}, for its callers and its sessions?`
        })
        const answer = await api().delete<KeyAnswer | undefined>(path`/v1/keys/${id}`)
        terminal.answer(answer ?? { id }, `Revoked ${named}.`)
      },
    },
    rotateSigningCommand,
  ],
}

const namesIn = (list: string): string[] => list.split(',').map((name) => name.trim())

/** A key may be created before its model, so an unknown name is only a warning. */
async function warnOfUnknown(terminal: Terminal, client: Client, wanted: readonly string[]): Promise<void> {
  const { models } = await client.get<{ models: { name: string }[] }>('/v1/models')
  const known = models.map(({ name }) => name)
  const unknown = wanted.filter((name) => !known.includes(name))
  if (unknown.length > 0)
    terminal.say(
      `There is no model ${unknown.join(', ')} yet; the models are ${known.join(', ') || 'none'}. Revoke the key if a name is misspelt.`,
    )
}

function stateOf({ revoked_at: revokedAt, expires_at: expiresAt }: KeyAnswer): string {
  if (revokedAt !== undefined) return `revoked ${time(revokedAt)} UTC`
  return expiresAt !== undefined && Date.parse(expiresAt) <= Date.now() ? 'expired' : 'active'
}

/** Finds a key by its id, or an active key by its name. */
async function keyIdOf(client: Client, named: string): Promise<string> {
  const { keys } = await client.get<{ keys: KeyAnswer[] }>('/v1/keys')
  const isMeant = ({ id, name, revoked_at: revokedAt }: KeyAnswer) =>
    id === named || (name === named && revokedAt === undefined)
  return keys.find(isMeant)?.id ?? named
}

const shown = (key: string): string =>
  `${key}\n\nShown once. Use it as TENURE_KEY, or as "Authorization: Bearer <key>".`
