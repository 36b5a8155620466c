/** `tenure features`: lists feature views, shows the values of an entity, and materialises new rows. */
import type { CommandGroup } from '../../program.ts'
import { path, usageError } from '../../client/client.ts'
import { factsTable, tableBy, type Columns } from '../../terminal.ts'
import { orDash, digestPrefix } from '../format.ts'
import { listCommand } from '../list.ts'

interface ViewAnswer {
  name: string
  digest: string
  entity: string[]
  values: Record<string, string>
  every_ms: number
  models: string[]
  versions: string[]
  watermark?: string
  late_rows: number
  ran_at?: string
  problem?: string
  about?: string
  entities?: number
  newest?: string
  event_time: string
  known_at: string
  source: { kind: string; rows: string }
}

interface ValueAnswer {
  digest: string
  event_at: string
  known_at: string
  usable_at: string
  features: Record<string, number | string | null>
}

export const featuresGroup: CommandGroup = {
  name: 'features',
  summary: 'List, show and materialise feature views',
  commands: [
    listCommand<ViewAnswer>({
      summary: 'List feature views and their watermarks',
      examples: ['features', 'features list --json'],
      path: '/v1/features',
      field: 'features',
      pages: 'limit',
      keeps: ['', 'models'],
      droppable: ['values', 'watermark'],
      none: 'No feature views. See docs/features.md to declare one in a model file.',
      columns: {
        view: 'name',
        entity: (each) => each.entity.join(', '),
        values: (each) => Object.keys(each.values).join(', '),
        models: (each) => orDash(each.models.join(', ')),
        watermark: 'watermark',
        '': ({ problem, models, versions }, { paint }) => {
          if (models.length + versions.length === 0) return paint('dim', 'not used')
          return problem === undefined ? paint('green', 'ok') : paint('red', problem)
        },
      },
    }),
    {
      name: 'show <view>',
      summary: 'Show a view, or the values of an entity at a time',
      options: [
        ['--entity <key>', 'Entity key; separate several columns with " / "'],
        ['--at <time>', 'Values known at this time (default: now)'],
      ],
      examples: [
        'features show airport-delays',
        'features show airport-delays --entity JFK --at 2026-03-01T12:00:00Z',
      ],
      async run({ terminal, api }, { args, options }) {
        const entity = options['entity'] as string | undefined
        if (entity === undefined && options['at'] !== undefined)
          throw usageError('--at needs --entity: the values of which entity?')
        if (entity !== undefined) {
          const answer = await api().get<{ values: ValueAnswer[] }>(path`/v1/features/${args[0]}/values`, {
            entity,
            at: options['at'],
          })
          const current = new Map(answer.values.toReversed().map((each) => [each.digest, each]))
          const columns: Columns<ValueAnswer> = {
            '': (each, { paint }) => (each === current.get(each.digest) ? paint('green', 'current') : ''),
            ...(current.size > 1 ? { definition: (each: ValueAnswer) => digestPrefix(each.digest) } : {}),
            event: 'event_at',
            known: 'known_at',
            usable: 'usable_at',
            values: (each) => pairs(each.features, (name, value) => `${name} ${orDash(value)}`),
          }
          const table = tableBy(terminal, answer.values, columns, { keeps: ['values', 'event'] })
          return terminal.answer(answer, current.size === 0 ? `No values for ${entity}.` : table)
        }
        const answer = await api().get<{ definitions: ViewAnswer[] }>(path`/v1/features/${args[0]}`)
        const blocks = answer.definitions.map((each) =>
          factsTable(terminal, [
            ['view', `${each.name} (${digestPrefix(each.digest)})`],
            ['about', orDash(each.about)],
            ['entity', each.entity.join(', ')],
            ['values', pairs(each.values, (name, kind) => `${name}: ${kind}`)],
            ['times', `event ${each.event_time}, known ${each.known_at}`],
            ['refresh', `every ${each.every_ms / 1_000} s, watermark ${orDash(each.watermark)}`],
            ['entities', `${orDash(each.entities)}, newest event ${orDash(each.newest)}`],
            ['late rows', each.late_rows],
            ['used by', orDash([...each.models, ...each.versions].join(', '))],
            ['last run', `${orDash(each.ran_at)}${each.problem === undefined ? '' : `: ${each.problem}`}`],
            ['source', `${each.source.kind}: ${each.source.rows.replaceAll(/\s+/g, ' ').trim()}`],
          ]),
        )
        terminal.answer(answer, blocks.join('\n\n'))
      },
    },
    {
      name: 'materialise <view>',
      summary: 'Materialise new rows of a view now',
      options: [
        [
          '--from <time>',
          'Reload everything since this time (ISO 8601; default: new rows only), for very late rows',
        ],
      ],
      examples: ['features materialise airport-delays --from 2026-03-01T00:00:00Z'],
      async run({ terminal, api }, { args, options }) {
        const answer = await api().post<{ workflow_id: string; begun: boolean }>(
          path`/v1/features/${args[0]}/materialise`,
          { from: options['from'] },
        )
        terminal.answer(
          answer,
          answer.begun
            ? `Started ${answer.workflow_id}. Follow it: \`tenure features show ${String(args[0])}\``
            : `${answer.workflow_id} is already running.`,
        )
      },
    },
  ],
}

const pairs = <Value>(
  values: Readonly<Record<string, Value>>,
  text: (name: string, value: Value) => string,
): string =>
  Object.entries(values)
    .map(([name, value]) => text(name, value))
    .join(', ')
