/** `tenure keys`: who may do what. A secret is shown once, when it is made. */
import { roles } from '../../../domain/roles.ts'
import type { KeyAnswer } from '../../client/responses.ts'
import { failure, type Client } from '../../client/client.ts'
import type { CommandGroup } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { orDash, time } from '../format.ts'

export const keysGroup: CommandGroup = {
  name: 'keys',
  summary: 'API keys: create, list, rotate, revoke',
  commands: [
    {
      name: 'list',
      isDefault: true,
      summary: 'lists the keys, without their secrets',
      examples: ['keys', 'keys list --json'],
      async run({ terminal, api }) {
        const answer = await api().get<{ keys: KeyAnswer[] }>('/v1/keys')
        const rows = answer.keys.map((each) => [
          each.id,
          each.name,
          each.role,
          each.models?.join(', ') ?? 'all',
          time(each.created_at),
          time(each.expires_at),
          each.revoked_at === undefined ? 'active' : `revoked ${time(each.revoked_at)}`,
        ])
        terminal.answer(
          answer,
          tableOf(['id', 'name', 'role', 'models', 'created', 'expires', 'state'], rows),
        )
      },
    },
    {
      name: 'create <name>',
      summary: 'makes a key and shows it once',
      options: [
        ['--role <role>', `one of ${roles.join(', ')}`],
        ['--models <models>', 'the models it may touch, separated by commas (default: all)'],
        ['--expires <time>', 'ISO 8601; never when absent'],
        ['--rate <n>', 'requests a second at each replica (default: as many as it likes)'],
        ['--burst <n>', 'how many of them may come at once (default: the rate)'],
      ],
      examples: ['keys create ada --role approver', 'keys create shop --role predictor --models iris'],
      async run({ terminal, api }, { args, options }) {
        const { role, models, expires, rate, burst } = options
        if (!roles.some((each) => each === role))
          throw failure({
            code: 'usage',
            detail: `--role is one of ${roles.join(', ')}, not ${orDash(role as string)}`,
          })
        const answer = await api().post<KeyAnswer & { key: string }>('/v1/keys', {
          name: args[0],
          role,
          models: models === undefined ? undefined : String(models).split(','),
          expires_at: expires,
          requests_per_second: rate === undefined ? undefined : Number(rate),
          burst: burst === undefined ? undefined : Number(burst),
        })
        terminal.answer(answer, shown(answer.key))
      },
    },
    {
      name: 'rotate <id-or-name>',
      summary: 'gives a key a new secret and shows it once; the one before opens a while longer',
      options: [['--overlap <seconds>', 'how long the one before opens (default: 3600; 0 ends it at once)']],
      examples: ['keys rotate shop', 'keys rotate shop --overlap 86400'],
      async run({ terminal, api }, { args, options }) {
        const named = String(args[0])
        const id = (await findKey(api(), named))?.id ?? named
        const { overlap } = options
        const answer = await api().post<KeyAnswer & { key: string; previous_until: string }>(
          `/v1/keys/${encodeURIComponent(id)}/rotate`,
          overlap === undefined ? {} : { overlap_s: Number(overlap) },
        )
        terminal.answer(
          answer,
          `${shown(answer.key)}\nThe one before opens until ${time(answer.previous_until)} (UTC).`,
        )
      },
    },
    {
      name: 'revoke <id-or-name>',
      summary: 'makes a key useless at once',
      examples: ['keys revoke ada', 'keys revoke 0b1c2d3e4f50'],
      async run({ terminal, api }, { args }) {
        const named = String(args[0])
        const found = await findKey(api(), named)
        const answer = await api().delete<KeyAnswer | undefined>(
          `/v1/keys/${encodeURIComponent(found?.id ?? named)}`,
        )
        terminal.answer(answer ?? { id: found?.id ?? named }, `${named} is revoked.`)
      },
    },
  ],
}

async function findKey(client: Client, named: string): Promise<KeyAnswer | undefined> {
  const { keys } = await client.get<{ keys: KeyAnswer[] }>('/v1/keys')
  return keys.find((each) => each.id === named || (each.name === named && each.revoked_at === undefined))
}

const shown = (key: string): string =>
  `${key}\n\nIt is shown this once. Use it as TENURE_KEY, or as "Authorization: Bearer <key>".`
