import { expect, it } from 'vitest'
import { inZone } from '../../../../api/dashboard/clock.ts'
import { coarseAge, ModelRow } from '../../../../api/dashboard/pages/overview/cells.tsx'
import { changeAge, changeCount, RecentChanges } from '../../../../api/dashboard/pages/overview/changes.tsx'
import {
  concernKinds,
  concernsOf,
  inOrderOfTrouble,
  worstOf,
  type ConcernKind,
  type Measured,
} from '../../../../api/dashboard/pages/overview/concerns.ts'
import { eventOf, partsOf, type OverviewData } from '../../../../api/dashboard/pages/overview/overview.tsx'
import { drawModelLanes } from '../../../../api/dashboard/pages/overview/timeline.tsx'
import type { AlertGroup } from '../../../../domain/monitoring/alert-groups.ts'
import type { ChampionMinute, LastMinute } from '../../../../domain/monitoring/last-minute.ts'
import type { Role } from '../../../../domain/roles.ts'
import type { RecentChange } from '../../../../store/dashboard/model-history.ts'
import type { ModelState, OverviewRow } from '../../../../store/dashboard/overview.ts'

const nowMs = Date.parse('2026-11-26T12:40:00Z')
const since = '2026-11-26T12:29:00.000Z'
const query = { rows: 30 }

const healthy = (model: string): ModelState => ({
  model,
  version: `${model}_v1.0.0`,
  quality: 'held',
  drift: 'stable',
})
const minuteOf = (model: string, failed: number, more: Partial<ChampionMinute> = {}): LastMinute => ({
  champion: {
    version: `${model}_v1.0.0`,
    requests: 200,
    failed,
    limit: 0.02,
    servedMs: 660_000,
    ...more,
  },
  others: [],
})

/** A measurement in which all of these models are healthy but for what is given. */
const measuredOf = (states: ModelState[], given: Partial<Measured> = {}): Measured => ({
  states,
  minutes: new Map(states.map(({ model }) => [model, minuteOf(model, 0)])),
  alerts: [],
  stages: [],
  ...given,
})

const rowOf = ({ model, version }: ModelState): OverviewRow => ({
  model,
  isBrought: false,
  ...(version !== undefined && { champion: { version, since } }),
})

const dataOf = (measured: Measured, role: Role = 'admin'): OverviewData => {
  const concerns = concernsOf(measured, role)
  const worst = worstOf(concerns)
  const lines = inOrderOfTrouble(measured.states, worst).map((state) => ({
    row: rowOf(state),
    worst: worst.get(state.model),
    minute: measured.minutes.get(state.model),
    nowMs,
  }))
  return { measured, concerns, lines, found: lines.length, changes: [], replicas: 2, silent: 0, nowMs }
}
const shown = (measured: Measured, role?: Role) => partsOf(dataOf(measured, role), query, 'UTC')
const textOf = (html: string) => html.replaceAll(/<[^>]+>/g, ' ').replaceAll(/\s+/g, ' ')

const alertOf = (model: string, kind: string, more: Partial<AlertGroup> = {}): AlertGroup => ({
  model,
  kind,
  severity: 'critical',
  count: 1,
  acknowledged: 0,
  since,
  changedAt: since,
  id: 7,
  message: 'what was seen',
  ...more,
})
/** An open release that is not watched. */
const open = (model: string, stage: string, more: object = {}) =>
  ({
    state: { id: 'rel_1', model, version: `${model}_v2.0.0`, stage, paused: false, blockedBy: [], ...more },
    servedBp: 0,
    warning: 'not watched for 70 s: candidate gets no traffic',
  }) as unknown as Measured['stages'][number]

/** Each kind of trouble alone: what is measured of a model, the sentence, and the action. */
const troubles: Record<
  ConcernKind,
  {
    state?: Partial<ModelState>
    given?: (model: string) => Partial<Measured>
    sentence: string
    action: [path: string, word: string]
  }
> = {
  failing: {
    given: (model) => ({
      minutes: new Map([[model, minuteOf(model, 98)]]),
      alerts: [alertOf(model, 'champion_failing')],
    }),
    sentence: 'MODEL_v1.0.0 fails: 49 % of requests in the last minute since 12:29',
    action: ['/models/MODEL/rollback', 'Roll back…'],
  },
  critical: {
    given: (model) => ({ alerts: [alertOf(model, 'release_rolled_back', { count: 3 })] }),
    sentence: 'MODEL: release rolled back 3 times since 12:29',
    action: ['/alerts?model=MODEL&amp;kind=release_rolled_back', 'Acknowledge…'],
  },
  pinned: {
    state: { pin: { serve: 'refuse', at: since, actor: 'olga', reason: 'bad data' } },
    sentence: 'MODEL is pinned to refuse by olga v1.0.0 since 12:29',
    action: ['/models/MODEL/kill-switch', 'Kill switch…'],
  },
  quality_lost: {
    state: { quality: 'lost' },
    given: (model) => ({ alerts: [alertOf(model, 'quality_lost')] }),
    sentence: 'MODEL: quality lost v1.0.0 since 12:29',
    action: ['/models/MODEL/retrain', 'Retrain…'],
  },
  drift_alarm: {
    state: { drift: 'alarm' },
    sentence: 'MODEL: strong input drift v1.0.0',
    action: ['/models/MODEL/retrain', 'Retrain…'],
  },
  uncertain: {
    given: (model) => ({
      minutes: new Map([[model, minuteOf(model, 6, { isProven: false })]]),
      alerts: [alertOf(model, 'champion_failing', { severity: 'warning' })],
    }),
    sentence: 'MODEL_v1.0.0: 6 of 200 requests failed in the last minute; not certain yet since 12:29',
    action: ['/alerts?model=MODEL&amp;kind=champion_failing', 'Acknowledge…'],
  },
  rolled_back: {
    given: (model) => ({
      minutes: new Map([[model, minuteOf(model, 0, { servedMs: 37_000, rolledBack: `${model}_v1.1.0` })]]),
      alerts: ['champion_failing', 'champion_rolled_back'].map((kind) =>
        alertOf(model, kind, { version: `${model}_v1.1.0` }),
      ),
    }),
    sentence: 'MODEL_v1.1.0 rolled back 37 s ago; m_v1.0.0: 0 of 200 requests failed since 12:29',
    action: ['/alerts?model=MODEL&amp;kind=champion_rolled_back', 'Acknowledge…'],
  },
  decision: {
    given: (model) => ({ stages: [open(model, 'awaiting_decision')] }),
    sentence: 'MODEL_v2.0.0 needs a decision',
    action: ['/releases/rel_1', 'Decide…'],
  },
  paused: {
    given: (model) => ({ stages: [open(model, 'canary', { paused: true })] }),
    sentence: 'MODEL_v2.0.0 is paused',
    action: ['/releases/rel_1', 'Decide…'],
  },
  approval: {
    given: (model) => ({ stages: [open(model, 'awaiting_approval')] }),
    sentence: 'MODEL_v2.0.0 needs approval',
    action: ['/releases/rel_1', 'Approve…'],
  },
  unwatched: {
    given: (model) => ({ stages: [open(model, 'canary')] }),
    sentence: 'MODEL_v2.0.0: not watched for 70 s: candidate gets no traffic',
    action: ['/releases/rel_1', 'Decide…'],
  },
  warning: {
    given: (model) => ({ alerts: [alertOf(model, 'service_latency', { severity: 'warning' })] }),
    sentence: 'MODEL: predictions are slow since 12:29',
    action: ['/alerts?model=MODEL&amp;kind=service_latency', 'Acknowledge…'],
  },
  drift_warn: {
    state: { drift: 'warn' },
    given: (model) => ({ alerts: [alertOf(model, 'drift_warn', { severity: 'warning' })] }),
    sentence: 'MODEL: input drift v1.0.0 since 12:29',
    action: ['/models/MODEL/retrain', 'Retrain…'],
  },
  acknowledged: {
    given: (model) => ({
      alerts: [alertOf(model, 'service_latency', { acknowledged: 1, acknowledgedBy: 'ada' })],
    }),
    sentence: 'MODEL: predictions are slow, acknowledged by ada since 12:29',
    action: ['/alerts?model=MODEL&amp;kind=service_latency', 'Acknowledge…'],
  },
}

it.each(concernKinds)(
  '%s alone is the sentence, needs someone unless it is acknowledged, and puts its model first',
  (kind) => {
    const { state, given, sentence, action } = troubles[kind]
    const states = [healthy('a'), { ...healthy('m'), ...state }, healthy('z')]
    const base = measuredOf(states)
    const more = given?.('m') ?? {}
    const measured = { ...base, ...more, minutes: new Map([...base.minutes, ...(more.minutes ?? [])]) }
    const parts = shown(measured)
    expect(textOf(parts.sentence).replaceAll('\u00a0', ' ')).toContain(sentence.replace('MODEL', 'm'))
    const [href, word] = [action[0].replace('MODEL', 'm'), action[1]]
    const link = `<a class="button second" href="${href}">${word}`
    expect(parts.sentence).toContain(link)
    if (kind === 'acknowledged') expect(parts.now).toBe('<div id="now"></div>')
    else expect(parts.now).toContain(link)
    expect(parts.order).toEqual(['m-m', 'm-a', 'm-z'])
    expect(shown(measured, 'viewer').sentence).toMatch(/<a class="button second" [^>]*>\s*Open/)
  },
)

it('all kinds at once are in the order of their severity, with five in view and the number of others', () => {
  // Their names are in the other order.
  const models = concernKinds.map((kind, i) => [kind, String.fromCodePoint(0x7a - i)] as const)
  const states = models.map(([kind, model]) => ({ ...healthy(model), ...troubles[kind].state }))
  const base = measuredOf(states)
  const given = models.map(([kind, model]) => troubles[kind].given?.(model) ?? {})
  const parts = shown({
    states,
    minutes: new Map([...base.minutes, ...given.flatMap(({ minutes }) => [...(minutes ?? [])])]),
    alerts: given.flatMap(({ alerts }) => alerts ?? []),
    stages: given.flatMap(({ stages }) => stages ?? []),
  })
  expect(parts.order).toEqual(models.map(([, model]) => `m-${model}`))
  expect([...parts.now.matchAll(/<strong>\w/g)].map(([found]) => found.at(-1))).toEqual(
    models.slice(0, 5).map(([, model]) => model),
  )
  expect(textOf(parts.now)).toContain(`and ${concernKinds.length - 1 - 5} more`)
})

it('an alert that says what was measured is no second entry, and acknowledged it needs nobody else', () => {
  const states = [{ ...healthy('m'), drift: 'alarm' as const }]
  const ofAlert = (isAcknowledged: boolean) =>
    shown(
      measuredOf(states, { alerts: [alertOf('m', 'drift_alarm', { acknowledged: Number(isAcknowledged) })] }),
    )
  expect(ofAlert(false).now.match(/<li/g)).toHaveLength(1)
  expect(ofAlert(true).now).toBe('<div id="now"></div>')
  expect(textOf(ofAlert(true).sentence)).toContain('m: strong input drift')
})

it('a failing champion needs someone although its alert is acknowledged', () => {
  const measured = measuredOf([healthy('m')], {
    minutes: new Map([['m', minuteOf('m', 98)]]),
    alerts: [alertOf('m', 'champion_failing', { acknowledged: 1, acknowledgedBy: 'ada' })],
  })
  expect(textOf(shown(measured).now)).toContain('m_v1.0.0 fails')
})

it('an alert of the installation is in the list, though it is of no model', () => {
  const { model: _, ...broken } = alertOf('m', 'audit_broken')
  const parts = shown(measuredOf([healthy('m')], { alerts: [broken] }))
  expect(textOf(parts.sentence)).toContain('Audit log broken')
  expect(parts.now).toContain('href="/alerts?kind=audit_broken"')
})

it.each<[string, Measured, string]>([
  ['nothing', measuredOf([healthy('a'), healthy('b')]), 'All 2 models healthy'],
  [
    'the drift of one',
    measuredOf([healthy('a'), { ...healthy('b'), drift: 'insufficient' }]),
    'drift not measured for 1 model',
  ],
  [
    'the quality of all',
    measuredOf(['a', 'b'].map((model) => ({ model, version: 'v', drift: 'stable' as const }))),
    'quality not measured for every model',
  ],
  [
    'the errors of one',
    measuredOf([healthy('a'), healthy('b')], { minutes: new Map([['a', minuteOf('a', 0)]]) }),
    'no requests in the last minute for 1 model',
  ],
  ['a model without a version', measuredOf([healthy('a'), { model: 'b' }]), 'no version of 1 model'],
  ['every model', measuredOf([{ model: 'b' }]), 'No version serves yet'],
])('without trouble the sentence names what is not known: %s', (what, measured, sentence) => {
  const html = shown(measured).sentence
  expect(textOf(html)).toContain(sentence)
  expect(html.includes('healthy')).toBe(what === 'nothing')
  expect(html.includes('class="sentence good"')).toBe(what === 'nothing')
})

it('a model without a version names the first training while no model has one', () => {
  expect(textOf(shown(measuredOf([{ model: 'iris' }])).sentence)).toContain(
    'Train the first: tenure retrain iris',
  )
  expect(shown(measuredOf([{ model: 'iris' }, healthy('b')])).sentence).not.toContain('Train the first')
  const running = { model: 'iris', isBrought: false, running: 'retrain/iris/1' }
  expect(String(ModelRow({ row: running, nowMs }))).toContain(
    '<a href="/retrainings/retrain%2Firis%2F1">in training</a>',
  )
})

it('a stream brings the parts that differ from what the page shows, and the order once it changes', () => {
  const before = measuredOf(['a', 'b', 'c'].map(healthy))
  const shownFirst = eventOf(shown(before))!
  expect(eventOf(shown(before), shownFirst.id)).toBeUndefined()
  const failed = (count: number): Measured => ({
    ...before,
    minutes: new Map([...before.minutes, ['b', minuteOf('b', count)]]),
  })
  const sentOf = (measured: Measured, seen: string) => {
    const event = eventOf(shown(measured), seen)!
    const { parts, order } = JSON.parse(event.data) as { parts: string[]; order?: string[] }
    return { id: event.id, ids: parts.map((html) => / id="([^"]+)"/.exec(html)![1]), order }
  }
  // One failed request of 200 is no trouble: a row alone has changed.
  expect(sentOf(failed(1), shownFirst.id)).toMatchObject({ ids: ['m-b'], order: undefined })
  const fails = sentOf(failed(100), shownFirst.id)
  expect(fails).toMatchObject({ ids: ['sentence', 'now', 'm-b'], order: ['m-b', 'm-a', 'm-c'] })
  expect(sentOf(before, fails.id)).toMatchObject({
    ids: ['sentence', 'now', 'm-b'],
    order: ['m-a', 'm-b', 'm-c'],
  })
})

it('says how many of the replicas that should be alive are', () => {
  const data = dataOf(measuredOf([healthy('a')]))
  expect(textOf(shown(data.measured).more)).toContain('2 replicas healthy')
  const more = partsOf({ ...data, replicas: 1, silent: 1 }, query, 'UTC').more
  expect(textOf(more)).toContain('1 of 2 replicas healthy')
})

const ages = [1_000, 59_000, 60_000, 3_599_000, 3 * 3_600_000 + 60_000]

it('the age of a version is in its largest unit, so that a row rarely changes', () =>
  expect(ages.map(coarseAge)).toEqual(['< 1 min', '< 1 min', '1 min', '59 min', '3 h']))

it('the age of a change is to ten seconds within the first minute', () =>
  expect(ages.map(changeAge)).toEqual(['< 10 s', '50 s', '1 min', '59 min', '3 h']))

it('the axis of a young installation starts at its first event, and not a day before it at the start of a window', async () => {
  const hourMs = 3_600_000
  const nowMs = 500 * 24 * hourMs
  const lanes = await drawModelLanes(
    {
      nowMs,
      fromMs: nowMs - 7 * 24 * hourMs,
      spans: [
        { model: 'iris', kind: 'drift', fromMs: nowMs - 24 * hourMs, toMs: nowMs, level: 'warn', name: 'v1' },
        { model: 'iris', kind: 'release', fromMs: nowMs - 120_000, level: 'canary', name: 'v1' },
      ],
    },
    'UTC',
  )
  const hours = [...lanes.wide.matchAll(/>(\d\d:\d\d)</g)].map(([, at]) => at)
  expect(hours.length).toBeGreaterThan(2)
  expect(hours.every((at) => at! >= '23:50' || at === '00:00')).toBe(true)
})

const change: RecentChange = {
  at: '2026-11-26T05:06:00.000Z',
  model: 'iris',
  kind: 'retraining',
  what: 'unchanged',
  reason: 'nothing new: iris_v1.1.0 again, which was rolled back at 2026-11-26T05:06:35.594Z',
  retrainingId: 'retrain/iris/1',
}

it('all changes of a day are counted, though the newest ten are listed', () => {
  const list = (count: number) =>
    String(RecentChanges({ changes: Array.from({ length: count }, () => change), nowMs }))
  expect([12, 100, 101].map((length) => changeCount(Array.from({ length }, () => change)))).toEqual([
    '12',
    '100',
    'more than 100',
  ])
  expect(list(10)).not.toContain('The newest')
  expect(list(15)).toContain('The newest 10 of 15.')
  expect(list(15).match(/<li>/g)).toHaveLength(10)
})

it('a long reason of a change is cut with an ellipsis', () => {
  const reason = `it answers otherwise ${'than at its registration '.repeat(10)}`
  const html = String(RecentChanges({ changes: [{ ...change, reason }], nowMs }))
  expect(html.replaceAll(/<[^>]+>/g, '')).toMatch(/ · it answers otherwise than .*…$/)
})

it('times in the reason of a change are on the clock of the reader', () => {
  expect(inZone(String(RecentChanges({ changes: [change], nowMs: Date.now() })), 'Asia/Tokyo')).toMatch(
    /rolled back at <time [^>]*>2026-11-26\s14:06</,
  )
})

it('a promotion names its approvers once, and the user of another change', () => {
  const said = (actor: string, reason: string) =>
    String(RecentChanges({ changes: [{ ...change, kind: 'champion', actor, reason }], nowMs: Date.now() }))
      .replaceAll(/<[^>]+>/g, '')
      .replace(/^.*\(promoted\)/s, '')
  expect(said('bob', 'release rel_1a, approved by anna and bob')).toBe(' · approved by anna and bob')
  expect(said('ops', 'release rel_1a, approved by its policy')).toBe(' · ops · approved by its policy')
  expect(said('bob', 'break-glass: fix')).toBe(' · bob · break-glass: fix')
})

it('the bar of an open alert ends now, and the axis of the timeline up to five minutes later', async () => {
  const nowMs = Date.parse('2026-11-26T12:41:00Z')
  const alert = { model: 'iris', kind: 'incident', level: 'critical', name: 'quality' } as const
  const spans = [{ ...alert, fromMs: nowMs - 60_000 }]
  const { wide } = await drawModelLanes({ spans, fromMs: nowMs - 7 * 86_400_000, nowMs }, 'UTC')
  const [, width, x] = /<rect [^>]*width="([\d.]+)" x="([\d.]+)"/.exec(wide)!.map(Number)
  const at = (time: string) =>
    Number(new RegExp(`translate\\(([\\d.]+),24\\)" y="0.71em">${time}<`).exec(wide)?.[1])
  expect(x! + width!).toBeCloseTo(at('12:41'))
  expect(at('12:45')).toBeGreaterThan(at('12:41'))
})

it('the timeline of a young installation begins at its first event', async () => {
  const nowMs = Date.parse('2026-11-26T12:40:00Z')
  const span = { model: 'iris', kind: 'release', level: 'canary', name: 'iris_v1.0.0' } as const
  const spans = [{ ...span, fromMs: nowMs - 18 * 60_000 }]
  const { wide } = await drawModelLanes({ spans, fromMs: nowMs - 7 * 86_400_000, nowMs }, 'UTC')
  const times = [...wide.matchAll(/>(\d\d:\d\d)</g)].map(([, time]) => time)
  expect(times[0]).toBe('12:20')
  expect(times.at(-1)).toBe('12:40')
})

it('a window of drift is drawn from the first event of an installation, not from before it', async () => {
  const nowMs = Date.parse('2026-11-26T12:40:00Z')
  const release = { model: 'iris', kind: 'release', level: 'canary', name: 'iris_v1.0.0' } as const
  const drift = { model: 'iris', kind: 'drift', level: 'stable', name: 'iris_v1.0.0' } as const
  const spans = [
    { ...drift, fromMs: nowMs - 60 * 60_000, toMs: nowMs - 3 * 60_000 },
    { ...release, fromMs: nowMs - 5 * 60_000 },
  ]
  const { wide } = await drawModelLanes({ spans, fromMs: nowMs - 7 * 86_400_000, nowMs }, 'UTC')
  expect(wide).toContain('drift of iris_v1.0.0: stable, 2026-11-26 12:35 UTC to 2026-11-26 12:37 UTC')
})

it('a retraining says who requested it and that its release has started', () => {
  const said = (of: RecentChange) =>
    String(RecentChanges({ changes: [of], nowMs: Date.now() })).replaceAll(/<[^>]+>/g, '')
  const retraining = {
    ...change,
    kind: 'retraining',
    what: 'released',
    actor: 'cron',
    retrainingId: 'r',
  } as const
  expect(said(retraining)).toContain('retraining: release started · requested by cron')
})
