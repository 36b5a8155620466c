/** Tests the parts of the release page that show a running stage, the track of stages and a rollback. */
import { describe, expect, it } from 'vitest'
import type { ReleaseSubject } from '../../../../api/dashboard/pages/release/load.ts'
import { CommandLog } from '../../../../api/dashboard/pages/release/command-form.tsx'
import { postMortem, RollbackSection } from '../../../../api/dashboard/pages/release/rollback.tsx'
import { runningStage, stageRows } from '../../../../api/dashboard/pages/release/stages.ts'
import { metricTiles, type MetricTile } from '../../../../api/dashboard/pages/release/stage/metrics.ts'
import { ratioText, ratioTileSvg } from '../../../../api/dashboard/pages/release/stage/ratio-tile.ts'
import { bandText, bandTileSvg } from '../../../../api/dashboard/pages/release/stage/band-tile.ts'
import { furthestStory, guideChapters } from '../../../../api/dashboard/pages/overview/guide.tsx'
import type { Release } from '../../../../store/release/releases.ts'
import { RunningStage } from '../../../../api/dashboard/pages/release/stage/tiles.tsx'
import { StageTrack } from '../../../../api/dashboard/pages/release/stage/track.tsx'
import { sentenceOf, verdictLine, VerdictSection } from '../../../../api/dashboard/pages/release/verdict.tsx'
import { whyWaiting } from '../../../../domain/release/explain.ts'
import { openingState, type ReleaseState } from '../../../../domain/release/state.ts'
import type { Verdict } from '../../../../domain/verdict.ts'
import { armTotal, releaseTime, subjectOf, viewer } from '../../../support/dashboard/release-subject.ts'
import { releaseFacts } from '../../../support/release/releases.ts'

const atMs = (second: number) => Date.parse(releaseTime(second))
const state: ReleaseState = {
  ...openingState(releaseFacts, 0),
  stage: 'canary',
  stageIndex: 1,
  shareBp: 2_500,
  routed: true,
  approvals: [
    { by: 'ada', atMs: 1 },
    { by: 'bob', atMs: 2 },
  ],
  routings: [
    { stage: 'shadow', stageIndex: 0, generation: 4, shareBp: 10_000, startedMs: atMs(0) },
    { stage: 'canary', stageIndex: 0, generation: 5, shareBp: 100, startedMs: atMs(10) },
    { stage: 'canary', stageIndex: 1, generation: 6, shareBp: 2_500, startedMs: atMs(20) },
  ],
}
const verdict = (id: number, more: Partial<Verdict> = {}, stageIndex = 1) => ({
  id,
  at: releaseTime(20 + id),
  stage: 'canary' as const,
  stageIndex,
  kind: 'inconclusive' as const,
  reasons: [{ code: 'minimum_requests', message: 'm', values: { requests: 4, minRequests: 10 } }],
  statistics: { errorsLogE: id, errorsThreshold: 5, errorsCanary: 0.1, errorsControl: 0 },
  ...more,
})
const subject = subjectOf(state, {
  verdicts: [verdict(1), verdict(2)],
  commands: [],
  arms: [
    armTotal(4, state.version, 'shadow', 500, 0),
    armTotal(6, state.version, 'canary', 4, 1),
    armTotal(6, 'm_v1.0.0', 'champion', 400, 0),
  ],
  watches: [{ stage: 'canary', stageIndex: 1, watchedMs: 60 }],
  failed: [
    {
      id: '0197',
      version: state.version,
      replica: 'r1',
      latencyUs: 90,
      at: '2026-01-01T00:00:24Z',
      arm: 'canary',
      code: 'output_invalid',
      message: 'it returned an invalid prediction',
      routingKey: 'ann <i>',
      instances: 2,
      inputs: [{ size: 1.5 }],
    },
  ],
})

it('copies that failed in the shadow are not counted as failures above the control', () => {
  const arms = subject.arms.map((each) => (each.arm === 'shadow' ? { ...each, errors: 60 } : each))
  const [shadow, , canary] = stageRows({ ...subject, arms })
  expect(shadow).toMatchObject({ stage: 'shadow', candidate: { bad: 60 }, excess: 0 })
  expect(canary).toMatchObject({ stage: 'canary', excess: 1 })
})

describe('a running stage', () => {
  const stages = stageRows(subject)

  it('shows the counts of its own requests and the evidence as a share of its threshold', () => {
    expect(metricTiles(subject, runningStage(stages)!)).toMatchObject([
      {
        name: 'Errors',
        key: 'errors',
        candidate: '1 of 4 (25 %)',
        control: '0 of 400 (0 %)',
        points: [
          { atMs: atMs(21), share: 0.2 },
          { atMs: atMs(22), share: 0.4 },
        ],
        share: 0.4,
      },
    ])
  })

  it('behind a gateway shows no figures of what the gateway does not count, and says so', () => {
    const behind = {
      ...subject,
      gateway: { gateway: 'haproxy', address: '10.0.0.5:9999', backend: 'roses' } as const,
    }
    const statistics = { errorsLogE: 1, slow95LogE: 1, invalidLogE: 1 }
    const verdicts = [verdict(1, { statistics })]
    const names = (of: ReleaseSubject) =>
      metricTiles({ ...of, verdicts }, runningStage(stages)!).map(({ key }) => key)
    expect(names(subject)).toEqual(['errors', 'invalid', 'slow95'])
    expect(names(behind)).toEqual(['errors'])
    const text = (of: ReleaseSubject) => String(VerdictSection({ subject: of, actor: viewer }))
    expect(text(behind)).toMatch(
      /ask the gateway roses at 10\.0\.0\.5:9999\. If this system stops, the candidate keeps its share until/,
    )
    expect(text(subject)).not.toContain('gateway')
  })

  const counts = (id: number, requests: number, errors: number) => ({
    canaryRequests: requests,
    controlRequests: 9 * requests,
    errorsCanary: errors / requests,
    errorsControl: 0.01,
    errorsLogE: id,
    errorsThreshold: 5,
  })
  const observed = {
    ...subject,
    verdicts: [1, 2, 3].map((id) => verdict(id, { statistics: counts(id, 100 * id, 6 * id) })),
  } as ReleaseSubject

  it('shows counts of the stage beside a chart of all stages, and says which is which', async () => {
    const statistics = { slow99LogE: 1, slow99Threshold: 5, slow99Canary: 0.5, slow99Control: 0.2 }
    const verdicts = [
      verdict(1, { statistics: { ...statistics, canaryRequests: 100, controlRequests: 900 } }),
    ]
    const tiles = metricTiles({ ...subject, verdicts }, runningStage(stages)!)
    expect(tiles).toMatchObject([{ key: 'slow99', candidate: '1 of 4 (25 %)', control: '1 of 400 (0.25 %)' }])
    const html = String(await RunningStage({ subject, stages, tiles }))
    expect(html).toMatch(/This stage: candidate <strong>1 of 4 .*All stages: 2\.5× control/s)
  })

  it('draws the ratio to the control with the limits of its policy, from the verdicts alone', () => {
    const [{ ratio, rollsBackAt, proof }] = metricTiles(observed, runningStage(stages)!) as [MetricTile]
    expect(ratio).toMatchObject({ limit: 1, proof: 2 })
    expect(ratio!.points.map(({ estimate }) => Math.round(estimate!))).toEqual([6, 6, 6])
    expect(ratio!.points.at(-1)!.low).toBeGreaterThan(1)
    expect(ratioText(ratio!)).toMatch(/^6× control, between \S+× and .*: a regression is proven$/)
    expect(rollsBackAt).toBeLessThan(10)
    expect(proof!.share).toBeLessThan(1)
    const svg = ratioTileSvg(ratio!, { id: 'a', title: 'Errors' })
    expect(svg).toMatch(/^<svg role="img" aria-labelledby="a-title a-desc"/)
    expect(svg).not.toMatch(/NaN|Infinity|undefined|style=/)
  })

  it('draws open bounds, a single look and no event', () => {
    const open = { limit: 1, points: [{ atMs: 1, low: 0, high: null }] }
    expect(ratioText(open)).toBe('no events to compare yet')
    expect(ratioText({ ...open, points: [] })).toBe('no events to compare yet')
    for (const points of [
      [],
      open.points,
      [...open.points, { atMs: 2, low: 1e-9, high: 1e9, estimate: 1e9 }],
    ])
      expect(ratioTileSvg({ ...open, points }, { id: 'a', title: 'b' })).not.toMatch(/NaN|Infinity|undefined/)
    const silent = verdict(1, { statistics: { ...counts(1, 100, 0), errorsControl: 0 } })
    const [tile] = metricTiles({ ...subject, verdicts: [silent] } as ReleaseSubject, runningStage(stages)!)
    expect(tile!.ratio).toBeUndefined()
  })

  it('says in words and numbers what would continue it and what would roll it back', async () => {
    const tiles = metricTiles(observed, runningStage(stages)!)
    const html = String(await RunningStage({ subject: observed, stages, tiles }))
    expect(html).toMatch(/Candidate against control: canary 25 %/)
    expect(html).toMatch(/60 % of the way to a rollback/)
    expect(html).toMatch(/Continues to probation.*10 requests \(6 requests more\)/s)
    expect(html).toMatch(/Errors: if about \d of the next 100 requests fail/)
    expect(html).toMatch(/Errors below 2× control: [\d.]+ % proven, about [\d,]+ more requests without one/)
  })

  it('that needs a decision waits for the approver, although the requests have come since its deadline', async () => {
    const lastVerdict = { kind: 'inconclusive' as const, reason: '4 of at least 10 requests', atMs: atMs(25) }
    const asked = {
      ...state,
      stage: 'awaiting_decision' as const,
      undecidedStage: 'canary' as const,
      lastVerdict,
    }
    const decided = {
      ...subject,
      arms: [armTotal(6, state.version, 'canary', 40, 1), armTotal(6, 'm_v1.0.0', 'champion', 400, 0)],
      release: { ...subject.release, state: asked },
    } as unknown as ReleaseSubject
    const rows = stageRows(decided)
    const html = String(await RunningStage({ subject: decided, stages: rows, tiles: [] }))
    expect(html).toMatch(
      /Continues to probation.*when an approver approves, or resumes the stage and it has:/s,
    )
    expect(html).toMatch(/<dt>Deadline<\/dt><dd>passed: an approver decides<\/dd>/)
    expect(sentenceOf(verdictLine(decided))).toBe(
      'Decision needed: 4 of at least 10 requests at the deadline',
    )
    const section = String(await VerdictSection({ subject: decided, actor: viewer }))
    expect(section.match(/4 of at least 10 requests/g)).toHaveLength(1)
    const proven = { ...lastVerdict, reason: `${lastVerdict.reason}: logE 7 ≥ 6` }
    expect(whyWaiting({ ...asked, lastVerdict: proven })).toMatch(
      /^Approve, resume or roll back; .*: 4 of at least 10 requests$/,
    )
  })

  it('shows its own verdict in the first line, not the verdict of the stage before', () => {
    expect(verdictLine(subject)).toMatchObject({ word: 'no regression so far', why: '' })
    const before = { ...subject, verdicts: [verdict(1, { kind: 'pass' }, 0)] } as ReleaseSubject
    expect(verdictLine(before).why).toBe('no verdict in this stage yet')
  })

  it('says what it asks an approver, without its evidence', () => {
    const message =
      'the answer "late" went to 1.02 % of 1,671 users in the shadow, control 3.59 %: logE 7.375 ≥ 6.908'
    const reasons = [{ code: 'score_shift', message, values: {} }]
    const verdicts = [verdict(1, { kind: 'inconclusive', reasons }, 1)]
    expect(verdictLine({ ...subject, verdicts } as ReleaseSubject).why).toMatch(/control 3\.59 %$/)
  })

  it.each(['srm', 'breaker'])('whose requests are no evidence says so: %s', (code) => {
    const reasons = [{ code, message: 'the arms cannot be compared', values: {} }]
    const verdicts = [verdict(1, { kind: 'inconclusive', reasons }, 1)]
    expect(verdictLine({ ...subject, verdicts })).toEqual({
      tone: 'quiet',
      word: 'no evidence',
      why: 'the arms cannot be compared',
    })
  })

  it('does not say that it has no traffic when requests have come since its verdict', () => {
    const reasons = [
      {
        code: 'no_traffic',
        message: 'no request yet in this stage, which began at 2026-11-20T10:00:00.000Z',
        values: {},
      },
    ]
    const last = verdict(1, { kind: 'no_data', reasons }, 1)
    const told = (count: number) =>
      sentenceOf(
        verdictLine({
          ...subject,
          verdicts: [last],
          arms: [armTotal(6, state.version, 'canary', count, 0)],
        } as ReleaseSubject),
      )
    expect(told(0)).toBe('No requests yet. Rolls back in 1 s')
    expect(told(525)).toBe('Collecting evidence: no verdict on 525 requests yet')
  })

  it('stands in the track between stages that are done and to come', async () => {
    const html = String(await StageTrack({ subject, stages }))
    const order = [...html.matchAll(/<li class="(\w+)"/g)].map(([, status]) => status)
    expect(order).toEqual(['passed', 'passed', 'passed', 'passed', 'in_progress', 'upcoming'])
    expect(html).toMatch(/by ada, bob/)
    expect(html.match(/aria-current="step"/g)).toHaveLength(1)
    const beyond = stages.map((row) => ({
      ...row,
      observedMs: 240_000,
      candidate: { ...row.candidate, requests: 1_500 },
      requirements: { ...row.requirements, minMs: 60_000, minRequests: 1_000 },
    }))
    expect(String(await StageTrack({ subject, stages: beyond }))).toContain(
      '4 min (needs 1 min) · 1,500 requests (needs 1,000)',
    )
    const untimed = stages.map((row) => ({ ...row, requirements: { ...row.requirements, minMs: 0 } }))
    expect(String(await StageTrack({ subject, stages: untimed }))).not.toMatch(/ (of|and) 0 s|0 s and/)
  })
})

describe('a tile', () => {
  const shadowed = {
    ...subject,
    release: {
      ...subject.release,
      state: { ...state, stage: 'shadow', stageIndex: 0, routings: state.routings.slice(0, 1) },
    },
    verdicts: [0.3, 0.24].map((high, i) => ({
      ...verdict(i + 1),
      stage: 'shadow',
      stageIndex: 0,
      statistics: {
        disagreement: 0.1,
        disagreementLow: 0.02,
        disagreementHigh: high,
        disagreementLogE: 1.5,
        businessLogE: 2,
        businessThreshold: 5,
      },
    })),
    answers: {
      business: [
        {
          name: 'revenue',
          event: 'purchase',
          means: { canary: 3.2, control: 3.5 },
          worseLogE: 2,
          threshold: 5,
        },
      ],
    },
  } as unknown as ReleaseSubject

  it('draws the disagreement in the shadow as a band against its limit', async () => {
    const stages = stageRows(shadowed)
    const tiles = metricTiles(shadowed, runningStage(stages)!)
    const { band, effect } = tiles.find(({ key }) => key === 'disagreement')!
    expect([band?.points.length, band?.limit, effect]).toEqual([2, 0.2, 'an approver’s decision'])
    expect(bandText(band!)).toBe('10 %, between 2 % and 24 %: too early to tell, limit 20 %')
    const html = String(await RunningStage({ subject: shadowed, stages, tiles }))
    expect(html).toContain('Disagreement: share of other answers')
    expect(html).toContain('of the way to an approver’s decision')
    expect(metricTiles(subject, runningStage(stageRows(subject))!).map(({ key }) => key)).not.toContain(
      'disagreement',
    )
  })

  it('shows the business metrics as the evidence of the worst, with the figures of each', async () => {
    const stages = stageRows(shadowed)
    const tiles = metricTiles(shadowed, runningStage(stages)!)
    expect(tiles.find(({ key }) => key === 'business')).toMatchObject({
      share: 0.4,
      details: ['revenue: 3.2, control 3.5 (40 % of a proven loss)'],
    })
    expect(String(await RunningStage({ subject: shadowed, stages, tiles }))).toContain(
      'Evidence against: Business metrics',
    )
  })

  it('of a share says on which side of its limit the band lies', () => {
    const text = (low: number, high: number) =>
      bandText({ points: [{ atMs: 1, low, mean: low, high }], limit: 0.2 })
    expect(text(0.3, 0.4)).toContain('above the limit of 20 %')
    expect(text(0.1, 0.2)).toContain('below the limit of 20 %')
    expect(bandText({ points: [], limit: 0.2 })).toBe('no pairs to compare yet')
    expect(bandTileSvg({ points: [], limit: 0.2 }, { id: 'a', title: 'b' })).toContain('</svg>')
  })
})

describe('the guide', () => {
  const ended = (outcome: string, baseline: string | undefined, more: object = {}) =>
    ({
      outcome,
      endedAt: releaseTime(1),
      state: { ...state, outcome, baseline, ...more },
    }) as unknown as Release
  const story = [
    ended('rolled_back', 'm_v1.1.0'),
    ended('promoted', 'm_v1.1.0', { drill: 'bad-outputs' }),
    ended('promoted', 'm_v1.0.0'),
    ended('promoted', undefined),
  ]
  const marks = (releases: readonly Release[]) => guideChapters(releases).map(({ status }) => status)

  it('tells the first version, the challenger and the rollback in their order, and no drill', () => {
    expect(marks([])).toEqual(['in_progress', 'upcoming', 'upcoming'])
    expect(marks(story.slice(1, 2))).toEqual(['in_progress', 'upcoming', 'upcoming'])
    expect(marks(story.slice(2))).toEqual(['passed', 'passed', 'in_progress'])
    expect(marks(story)).toEqual(['passed', 'passed', 'passed'])
    expect(guideChapters(story)[2]!.release).toBe(story[0])
    expect(guideChapters([]).map(({ command }) => command)).toEqual(['retrain', 'retrain', 'drills run'])
  })

  it('stays with the model that has come furthest when a newer release is of another model', () => {
    const other = { state: { ...state, model: 'other', stage: 'awaiting_approval' } } as unknown as Release
    expect(furthestStory([other, ...story])).toEqual(story)
    expect(furthestStory([other])).toEqual([other])
    expect(furthestStory([])).toEqual([])
  })
})

describe('targeted callers', () => {
  const target = { header: { name: 'x-preview', value: 'on' } }
  const policy = { ...state.policy, targeted: { ...state.policy.stages[0]!, target } }
  const routings = [
    { stage: 'targeted' as const, stageIndex: 0, generation: 5, shareBp: 0, startedMs: atMs(10) },
    { ...state.routings[2]!, generation: 6 },
  ]
  const arms = [
    armTotal(5, 'm_v1.0.0', 'champion', 400, 0),
    armTotal(5, state.version, 'targeted', 12, 2),
    armTotal(6, state.version, 'canary', 4, 1),
    armTotal(6, state.version, 'targeted', 30, 3),
    armTotal(6, 'm_v1.0.0', 'champion', 400, 0),
  ]
  const shown = (change: Partial<ReleaseState>) => {
    const now = { ...state, policy, routings, ...change }
    return { ...subject, arms, release: { ...subject.release, state: now } } as unknown as ReleaseSubject
  }

  it('have a stage of their own, without a comparison', async () => {
    const targeted = shown({ stage: 'targeted', stageIndex: 0, shareBp: 0, routings: routings.slice(0, 1) })
    const stages = stageRows(targeted)
    expect(stages[1]).toMatchObject({
      name: 'targeted callers',
      candidate: { requests: 12, bad: 2 },
      excess: 2,
    })
    const html = String(
      await RunningStage({ subject: targeted, stages, tiles: metricTiles(targeted, stages[1]!) }),
    )
    expect(html).toContain('Targeted callers meet the candidate')
    expect(html).toContain('callers with the header x-preview: on. 12 requests')
    expect(html).toContain('No harm found')
    expect(html).not.toContain('tiles evidence')
  })

  it('are counted apart in a later stage, and their failures are harm', async () => {
    const later = shown({})
    const stages = stageRows(later)
    expect(runningStage(stages)).toMatchObject({
      candidate: { requests: 4, bad: 1 },
      targeted: { requests: 30 },
      excess: 4,
    })
    const html = String(
      await RunningStage({ subject: later, stages, tiles: metricTiles(later, runningStage(stages)!) }),
    )
    expect(html).toMatch(/30 requests in this\s+stage, 3 failed/)
    expect(html).toContain('tiles evidence')
  })
})

it('shows who has signed for each side, and who must', async () => {
  const sides = { business: ['carol', 'dan'], engineering: ['ada'] }
  const policy = { ...state.policy, approval: { ...state.policy.approval, sides } }
  const release = { ...subject.release, state: { ...state, policy } }
  const html = String(await CommandLog({ subject: { ...subject, release } }))
  expect(html).toContain('<li>Business: needed from carol or dan</li><li>Engineering: ✓ ada</li>')
})

describe('a rollback', () => {
  const reason = '3 of 71 canary requests invalid <b>'
  const ended: ReleaseState = {
    ...state,
    stage: 'ended',
    outcome: 'rolled_back',
    reason,
    rollbackResult: {
      champion: 'm_v1.0.0',
      wasChampion: false,
      orderedMs: atMs(24),
      acknowledgedMs: atMs(25),
    },
  }
  const failing = verdict(3, {
    kind: 'fail',
    reasons: [{ code: 'invalid_rate', message: reason, values: {} }],
  })
  const over = {
    ...subject,
    release: {
      state: ended,
      startedAt: releaseTime(0),
      endedAt: releaseTime(26),
      outcome: 'rolled_back',
      reason,
    },
    verdicts: [...subject.verdicts, failing],
  } as unknown as ReleaseSubject

  it('is told step by step with its files, and counts only responses that callers received', async () => {
    const html = String(await RollbackSection({ subject: over, stages: stageRows(over) }))
    expect(html).toMatch(/In all stages, callers received 4 responses of the candidate; 1 failed\./)
    expect(html).toMatch(
      /06:14:23.*verdict fail.*06:14:24.*rollback ordered.*06:14:25.*m_v1.0.0 serves all traffic/s,
    )
    expect(html).toContain('/releases/rel_1/post-mortem.md')
    expect(html).toContain('/releases/rel_1/exposed.csv')
    expect(html).toContain('output_invalid: it returned an invalid prediction')
    expect(html).toContain('ann &lt;i&gt;')
    expect(html).toContain('{&quot;size&quot;:1.5} and 1 more')
    expect(html).toContain('/compare?one=m_v1.0.0&amp;other=m_v1.1.0')
    expect(html).toContain('tenure retrain m')
    expect(html).not.toContain('<b>')
    const brought = { ...over, candidate: { lineage: { origin: 'brought' } } } as unknown as ReleaseSubject
    const again = String(await RollbackSection({ subject: brought, stages: stageRows(brought) }))
    expect(again).toContain('<code>tenure versions register m --artifact FILE</code>')
    expect(again).not.toContain('tenure retrain')
    expect(String(await RollbackSection({ subject, stages: stageRows(subject) }))).toBe('')
  })

  it('fills the draft of its post-mortem', () => {
    const draft = postMortem(over)
    expect(draft).toMatch(/^# Post-mortem: m\\_v1\.1\.0 rolled back\n/)
    expect(draft).toContain('approved by ada, bob')
    expect(draft).toContain('| canary 25 % | failed | 4 | 1 | 400 | 0 |')
    expect(draft).not.toContain('invalid <b>')
  })
})
