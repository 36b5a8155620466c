/** `tenure features`: lists feature views, shows the values of an entity, and materialises new rows. */
import type { CommandGroup } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { orDash, digestPrefix, time } from '../format.ts'

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
  event_at: string
  known_at: string
  usable_at: string
  features: Record<string, number | string | null>
}

const path = (view: unknown): string => `/v1/features/${encodeURIComponent(String(view))}`

export const featuresGroup: CommandGroup = {
  name: 'features',
  summary: 'List, show and materialise feature views',
  commands: [
    {
      name: 'list',
      isDefault: true,
      summary: 'List feature views and their watermarks',
      examples: ['features', 'features list --json'],
      async run({ terminal, api }) {
        const answer = await api().get<{ features: ViewAnswer[] }>('/v1/features')
        const rows = answer.features.map((each) => [
          each.name,
          each.entity.join(', '),
          Object.keys(each.values).join(', '),
          orDash(each.models.join(', ')),
          time(each.watermark),
          each.problem === undefined ? terminal.paint('green', 'ok') : terminal.paint('red', each.problem),
        ])
        terminal.answer(
          answer,
          rows.length === 0
            ? 'No feature views. See docs/features.md to declare one in a model file.'
            : tableOf(['view', 'entity', 'values', 'models', 'watermark (UTC)', ''], rows),
        )
      },
    },
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
        if (entity !== undefined) {
          const answer = await api().get<{ values: ValueAnswer[] }>(`${path(args[0])}/values`, {
            entity,
            at: options['at'] as string | undefined,
          })
          const rows = answer.values.map((each, index) => [
            index === 0 ? terminal.paint('green', 'current') : '',
            time(each.event_at),
            time(each.known_at),
            time(each.usable_at),
            Object.entries(each.features)
              .map(([name, value]) => `${name} ${orDash(value)}`)
              .join(', '),
          ])
          return terminal.answer(
            answer,
            rows.length === 0
              ? `No values for ${entity}.`
              : tableOf(['', 'event (UTC)', 'known', 'usable', 'values'], rows),
          )
        }
        const answer = await api().get<{ definitions: ViewAnswer[] }>(path(args[0]))
        const blocks = answer.definitions.map((each) =>
          tableOf(
            [],
            [
              ['view', `${each.name} (${digestPrefix(each.digest)})`],
              ['about', orDash(each.about)],
              ['entity', each.entity.join(', ')],
              [
                'values',
                Object.entries(each.values)
                  .map(([name, kind]) => `${name}: ${kind}`)
                  .join(', '),
              ],
              ['times', `event ${each.event_time}, known ${each.known_at}`],
              ['refresh', `every ${each.every_ms / 1_000} s, watermark ${time(each.watermark)} (UTC)`],
              ['entities', `${orDash(each.entities)}, newest event ${time(each.newest)}`],
              ['late rows', String(each.late_rows)],
              ['used by', orDash([...each.models, ...each.versions].join(', '))],
              ['last run', `${time(each.ran_at)}${each.problem === undefined ? '' : `: ${each.problem}`}`],
              ['source', `${each.source.kind}: ${each.source.rows.replaceAll(/\s+/g, ' ').trim()}`],
            ].map(([name = '', value = '']) => [terminal.paint('dim', name), value]),
          ),
        )
        terminal.answer(answer, blocks.join('\n\n'))
      },
    },
    {
      name: 'materialise <view>',
      summary: 'Materialise new rows of a view now',
      options: [['--from <time>', 'Reload everything since this time, for very late rows']],
      examples: ['features materialise airport-delays --from 2026-03-01T00:00:00Z'],
      async run({ terminal, api }, { args, options }) {
        const answer = await api().post<{ workflow_id: string; begun: boolean }>(
          `${path(args[0])}/materialise`,
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
