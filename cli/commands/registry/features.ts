/** `tenure features`: the feature views, what is known of an entity, and `materialise`, which takes in what is new. */
import type { CommandGroup } from '../../program.ts'
import { tableOf } from '../../terminal.ts'
import { orDash, short, time } from '../format.ts'

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
  summary: 'feature views: list, show, materialise',
  commands: [
    {
      name: 'list',
      isDefault: true,
      summary: 'lists the feature views and how far each is taken in',
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
            ? 'No feature view. docs/features.md tells how a model file declares one.'
            : tableOf(['view', 'entity', 'values', 'models', 'taken in until (UTC)', ''], rows),
        )
      },
    },
    {
      name: 'show <view>',
      summary: 'shows a view, or what is known of an entity, or was at a moment',
      options: [
        ['--entity <key>', 'the entity; the parts of several columns with " / " between'],
        ['--at <time>', 'as it was known then; now when absent'],
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
          const rows = answer.values.map((each, place) => [
            place === 0 ? terminal.paint('green', 'counts') : '',
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
              ? `Nothing is known of ${entity}.`
              : tableOf(['', 'event (UTC)', 'known', 'usable', 'values'], rows),
          )
        }
        const answer = await api().get<{ definitions: ViewAnswer[] }>(path(args[0]))
        const blocks = answer.definitions.map((each) =>
          tableOf(
            [],
            [
              ['view', `${each.name} (${short(each.digest)})`],
              ['about', orDash(each.about)],
              ['entity', each.entity.join(', ')],
              [
                'values',
                Object.entries(each.values)
                  .map(([name, kind]) => `${name}: ${kind}`)
                  .join(', '),
              ],
              ['times', `event ${each.event_time}, known ${each.known_at}`],
              ['taken in', `every ${each.every_ms / 1_000} s, until ${time(each.watermark)} (UTC)`],
              ['entities', `${orDash(each.entities)}, the newest event ${time(each.newest)}`],
              ['came late', String(each.late_rows)],
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
      summary: 'takes in what is new of a view now',
      options: [['--from <time>', 'everything since then again: for rows that came very late']],
      examples: ['features materialise airport-delays --from 2026-03-01T00:00:00Z'],
      async run({ terminal, api }, { args, options }) {
        const answer = await api().post<{ workflow_id: string; begun: boolean }>(
          `${path(args[0])}/materialise`,
          options['from'] === undefined ? {} : { from: options['from'] },
        )
        terminal.answer(
          answer,
          answer.begun
            ? `${answer.workflow_id} has begun; \`tenure features show ${String(args[0])}\` tells how far it is.`
            : `${answer.workflow_id} is under way already.`,
        )
      },
    },
  ],
}
