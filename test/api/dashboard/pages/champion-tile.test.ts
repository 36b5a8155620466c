/** Tests the champion tile in its states: each says what is wrong or not known, and nothing calm that is not known. */
import { expect, it } from 'vitest'
import { ChampionTile, type ChampionNow } from '../../../../api/dashboard/pages/model/champion-tile.tsx'
import type { Measured } from '../../../../api/dashboard/pages/overview/concerns.ts'
import type { ChampionMinute, LastMinute, VersionMinute } from '../../../../domain/monitoring/last-minute.ts'
import type { ModelState, OverviewRow } from '../../../../store/dashboard/overview.ts'

const nowMs = Date.parse('2026-11-26T12:40:00Z')
const since = '2026-11-26T12:29:00.000Z'
const version = 'iris_v1.1.0'
/** A minute of the champion, with the other versions that answered. */
const minuteOf = (
  requests: number,
  failed: number,
  { others = [], ...more }: Partial<ChampionMinute> & { others?: VersionMinute[] } = {},
): LastMinute => ({
  champion: { version, requests, failed, limit: 0.02, servedMs: 660_000, ...more },
  others,
})
const minute = minuteOf(240, 0)
const state: ModelState = { model: 'iris', version, quality: 'held', drift: 'stable' }
const row: OverviewRow = {
  model: 'iris',
  isBrought: false,
  champion: { version, since },
  quality: { level: 'held', metric: 'accuracy', value: 0.9512 },
}
const promotion = {
  model: 'iris',
  version,
  cause: 'promotion',
  actor: 'release',
  reason: 'approved by anna',
  at: since,
} as const

interface Given {
  state?: Partial<ModelState>
  row?: Partial<OverviewRow>
  measured?: Partial<Measured>
  changes?: ChampionNow['changes']
  nextStep?: string
}
const shown = async ({ state: states, row: rows, measured, changes = [promotion], nextStep }: Given = {}) => {
  const html = String(
    await ChampionTile({
      row: { ...row, ...rows },
      measured: {
        states: [{ ...state, ...states }],
        minutes: new Map([['iris', minute]]),
        alerts: [],
        stages: [],
        ...measured,
      },
      changes,
      nextStep,
      nowMs,
      role: 'operator',
    }),
  )
  return {
    tone: /class="sentence champion (\w+)"/.exec(html)![1],
    links: [...html.matchAll(/href="([^"]+)"/g)].map(([, href]) => href),
    text: html.replaceAll(/<[^>]+>/g, ' ').replaceAll(/\s+/g, ' '),
  }
}
const stageOf = (stage: string, more: object = {}) =>
  ({
    state: {
      id: 'rel_1',
      model: 'iris',
      version: 'iris_v1.2.0',
      stage,
      paused: false,
      blockedBy: [],
      shareBp: 500,
      ...more,
    },
    servedBp: 500,
  }) as unknown as Measured['stages'][number]

it('names version, since when, by whom and how, traffic, failures and quality', async () => {
  const { text, tone } = await shown()
  expect(tone).toBe('good')
  expect(text).toMatch(/v1\.1\.0 .*iris is healthy/)
  expect(text).toMatch(/Since 11 min 2026-11-26T12:29:00.000Z promoted, release: approved by anna/)
  expect(text).toMatch(/Traffic 4 req\/s in the last minute/)
  expect(text).toMatch(/Failed 0 % 0 of 240 in the last minute/)
  expect(text).toMatch(/Quality Accuracy 0\.9512 no certain loss, on outcomes/)
})

it('says that a version came back by rollback, and who did it', async () => {
  const back = { ...promotion, cause: 'rollback', actor: 'olga', reason: 'Requests fail' } as const
  expect((await shown({ changes: [back] })).text).toContain('by rollback, olga: Requests fail')
})

/** Each state with its tone, the words that it needs, and the words that it must not have. */
const states: Record<string, [given: Given, tone: string, has: RegExp[], hasNot: RegExp[]]> = {
  'no champion yet': [
    {
      state: { version: undefined, quality: undefined, drift: undefined } as never,
      row: { champion: undefined, quality: undefined } as never,
      changes: [],
      nextStep: 'Train and release a version: `tenure retrain iris --watch`.',
    },
    'quiet',
    [/No version serves/, /Train and release a version: tenure retrain iris --watch \./],
    [/healthy/, /Failed/, /Traffic/],
  ],
  'a champion that was lost': [
    {
      state: { version: undefined, quality: undefined, drift: undefined } as never,
      row: { champion: undefined, quality: undefined } as never,
      nextStep: 'Release the latest version: `tenure releases start iris_v1.1.0`.',
    },
    'quiet',
    [/No version serves/, /Release the latest version: tenure releases start iris_v1\.1\.0/],
    [/healthy/, /Failed/, /Traffic/],
  ],
  'a champion that fails now': [
    { measured: { minutes: new Map([['iris', minuteOf(200, 98)]]) } },
    'bad',
    [/iris_v1\.1\.0 fails: 49 % of requests in the last minute/, /98 of 200 in the last minute/],
    [/healthy/, /Nothing known/],
  ],
  'an open release': [
    { measured: { stages: [stageOf('canary')] } },
    'good',
    [/v1\.2\.0 canary 5 %/, /5 % by the candidate/],
    [],
  ],
  'a release that needs approval': [
    { measured: { stages: [{ ...stageOf('awaiting_approval'), servedBp: 0, warning: 'not as planned' }] } },
    'warn',
    [/iris_v1\.2\.0 needs approval/],
    [/healthy/],
  ],
  'a kill switch that refuses': [
    { state: { pin: { serve: 'refuse', at: since, actor: 'olga', reason: 'bad data' } } },
    'bad',
    [
      /iris is pinned to refuse by olga/,
      /bad data/,
      /all refused by kill switch/,
      /Failed All every request gets 503/,
    ],
    [/healthy/, /0 %/],
  ],
  'no traffic': [
    { measured: { minutes: new Map() } },
    'quiet',
    [/no requests in the last minute/, /Failed — unknown without requests/],
    [/healthy/, /0 %/],
  ],
  'quality not measured yet': [
    {
      state: { quality: undefined } as never,
      row: { quality: undefined, evaluated: { metric: 'accuracy', value: 0.97 } } as never,
    },
    'quiet',
    [/quality not measured/, /Not measured Accuracy 0\.9700 offline/],
    [/healthy/, /no certain loss/],
  ],
  'another version that was rolled back': [
    {
      measured: {
        alerts: [
          {
            id: 1,
            model: 'iris',
            kind: 'release_rolled_back',
            severity: 'critical',
            count: 1,
            acknowledged: 0,
            since,
            newest: since,
            message: 'iris_v1.2.0 was rolled back at canary 5 %',
          } as unknown as Measured['alerts'][number],
        ],
      },
    },
    'bad',
    [/v1\.1\.0 Release rolled back since/, /iris_v1\.2\.0 was rolled back/],
    [/healthy/],
  ],
  'too few outcomes to judge': [
    {
      state: { quality: 'insufficient' },
      row: { quality: { level: 'insufficient', metric: 'accuracy', value: 0.9 } },
    },
    'quiet',
    [/too few outcomes to judge/],
    [/healthy/, /no certain loss/],
  ],
}

it.each(Object.entries(states))('%s', async (_, [given, tone, has, hasNot]) => {
  const found = await shown(given)
  expect(found.tone).toBe(tone)
  for (const words of has) expect(found.text).toMatch(words)
  for (const words of hasNot) expect(found.text).not.toMatch(words)
})

it('gives a new champion what it has answered, and names the version before it for its failures', async () => {
  const former = { version: 'iris_v1.0.0', requests: 431, failed: 66 }
  const minutes = new Map([['iris', minuteOf(90, 1, { servedMs: 30_000, others: [former] })]])
  const { text } = await shown({ measured: { minutes } })
  expect(text).toContain('Failed 1.11 % 1 of 90 in the last 30 s; iris_v1.0.0: 66 of 431 requests failed')
})

it('links to the release that asks, and leaves actions on the model to its buttons', async () => {
  const failing = new Map([['iris', minuteOf(200, 98)]])
  const { links } = await shown({
    measured: { minutes: failing, stages: [{ ...stageOf('awaiting_decision'), servedBp: 0 }] },
  })
  expect(links.filter((href) => href === '/releases/rel_1')).toHaveLength(1)
  expect(links.some((href) => href?.endsWith('/rollback'))).toBe(false)
})
