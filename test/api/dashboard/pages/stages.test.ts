/** Tests that the release page shows the figures that are judged: times, proofs, limits, and which stages are passed. */
import { describe, expect, it } from 'vitest'
import { CommandForm, CommandLog } from '../../../../api/dashboard/pages/release/command-form.tsx'
import { metricTiles } from '../../../../api/dashboard/pages/release/stage/metrics.ts'
import { RunningStage } from '../../../../api/dashboard/pages/release/stage/tiles.tsx'
import { StageTrack } from '../../../../api/dashboard/pages/release/stage/track.tsx'
import { RolloutPlan } from '../../../../api/dashboard/pages/release/policy.tsx'
import { plannedStages, runningStage, stageRows } from '../../../../api/dashboard/pages/release/stages.ts'
import { Summary } from '../../../../api/dashboard/pages/release/summary.tsx'
import { judgeCanary } from '../../../../domain/canary/incremental-judge.ts'
import { defaultCanaryPolicy, evidenceEffect, type CanaryPolicy } from '../../../../domain/canary/policy.ts'
import type { BusinessMetric } from '../../../../domain/canary/business-policy.ts'
import type { Actor } from '../../../../api/auth/authentication.ts'
import type { Candidate } from '../../../../store/dashboard/release-detail.ts'
import { approversOf } from '../../../../domain/release/approval.ts'
import { canaryEvidenceOf } from '../../../../domain/release/evidence-builder.ts'
import { watchedPolicy, type ReleaseState } from '../../../../domain/release/state.ts'
import { armTotal, releaseTime, subjectOf } from '../../../support/dashboard/release-subject.ts'
import {
  advanceAll,
  commandEvent,
  judgedEvent,
  opened,
  probated,
  releasePolicy,
  routedCanary,
  routedShadow,
  stepEvents,
  undecided,
  waiting,
} from '../../../support/release/releases.ts'

const shown = async (state: ReleaseState, more: object = {}): Promise<string> => {
  const subject = subjectOf(state, more)
  const stages = stageRows(subject)
  const tiles = metricTiles(subject, runningStage(stages)!)
  return String(await RunningStage({ subject, stages, tiles }))
}
const rowOf = (state: ReleaseState, wanted: string) =>
  stageRows(subjectOf(state)).find(({ name }) => name.startsWith(wanted))!

/** A tick of 500 requests with 5 errors, in the second after the release began. */
const countedRow = (version: string) => ({
  version,
  generation: 4,
  tickMs: Date.parse(releaseTime(0)) + 1_000,
  lengthMs: 1_000,
  requests: 500,
  errors: 5,
  invalid: 0,
  slow95: 0,
  slow99: 0,
})

describe('a stage', () => {
  it('of probation that waits for outcomes shows the time and the deadline that are judged', () => {
    const policy = { ...releasePolicy, probation: { ...releasePolicy.probation!, coverLabels: true } }
    const state: ReleaseState = { ...probated, policy, labelsMs: 3_600_000 }
    expect(watchedPolicy(state)).toMatchObject({ minMs: 3_600_000, deadlineMs: 3_600_900 })
    expect(rowOf(state, 'probation').requirements).toEqual(watchedPolicy(state))
    const before = { ...undecided, policy, labelsMs: 3_600_000 }
    expect(rowOf(before, 'probation').requirements).toEqual(watchedPolicy(state))
  })

  it('that was promoted from is passed before the probation has its route', () => {
    const { routings, ...rest } = probated
    const [last] = routings.filter(({ stage }) => stage === 'canary').slice(-1)
    const state = { ...rest, routings: routings.filter(({ stage }) => stage !== 'probation') }
    const statusOf = (each: ReleaseState) =>
      stageRows(subjectOf(each)).find(
        ({ stage, stageIndex }) => stage === 'canary' && stageIndex === last!.stageIndex,
      )!.status
    expect(statusOf(state)).toBe('passed')
    expect(statusOf({ ...state, stage: 'rolling_back' })).toBe('passed')
    expect(statusOf({ ...state, stage: 'rolling_back', promoted: false })).toBe('failed')
  })

  it('of a blue-green release names the proof that its judge waits for', async () => {
    const policy = { ...releasePolicy, strategy: 'blue_green' as const, stages: [] }
    const startedMs = Date.parse(releaseTime(0))
    const state: ReleaseState = {
      ...routedShadow,
      strategy: 'blue_green',
      policy,
      routings: [{ stage: 'shadow', stageIndex: 0, generation: 4, shareBp: 10_000, startedMs }],
    }
    const counted = [countedRow(state.version), countedRow('m_v1.0.0')]
    const evidence = canaryEvidenceOf(state, { counted, staleMs: 1, watchedMs: 1_000 })
    const verdict = judgeCanary(evidence, { ...policy.limits, srm: 'off' })
    expect(verdict.reasons.map(({ code }) => code)).toEqual(['promotion_evidence'])
    const verdicts = [{ id: 1, at: releaseTime(2), stage: 'shadow', stageIndex: 0, ...verdict }]
    expect(await shown(state, { verdicts })).toContain('Errors below 2× control')
  })

  it('of probation names no proof, because its judge waits for none', async () => {
    const startedMs = Date.parse(releaseTime(0))
    const state: ReleaseState = {
      ...probated,
      routings: [{ stage: 'probation', stageIndex: 0, generation: 4, shareBp: 9_500, startedMs }],
    }
    const counted = [countedRow(state.version), countedRow('m_v1.0.0')]
    const evidence = canaryEvidenceOf(state, { counted, staleMs: 1, watchedMs: 1_000 })
    const verdict = judgeCanary(evidence, { ...state.policy.limits, srm: 'off' })
    expect(verdict.reasons.map(({ code }) => code)).not.toContain('promotion_evidence')
    const verdicts = [{ id: 1, at: releaseTime(2), stage: 'probation', stageIndex: 0, ...verdict }]
    const html = await shown(state, { verdicts })
    expect(html).toContain('Continues to the end of the release')
    expect(html).not.toContain('below 2× control')
  })

  it('has all evidence of a disagreement where its judge asks, and not before', () => {
    const verdictOf = (differing: number) =>
      judgeCanary(
        {
          ticks: [{ startMs: 1, shareBp: null, canary: counts, control: counts }],
          stage: { ...stage, shareBp: 5_000, shadow: true },
          staleMs: 1,
          disagreement: {
            measure: 'decisions',
            all: { name: 'all requests', distances: [700, differing] },
            slices: [],
            changes: [],
          },
        },
        { ...defaultCanaryPolicy, srm: 'off' },
      )
    const counts = { requests: 1_000, errors: 0, invalid: 0, slow95: 0, slow99: 0 }
    const stage = { index: 0, startedMs: 0, elapsedMs: 10, minMs: 100, minRequests: 1, last: false }
    const shareOf = (differing: number) => {
      const verdicts = [
        { id: 1, at: releaseTime(3), stage: 'shadow' as const, stageIndex: 0, ...verdictOf(differing) },
      ]
      const subject = subjectOf(routedShadow, { verdicts })
      const tiles = metricTiles(subject, runningStage(stageRows(subject))!)
      return tiles.find(({ key }) => key === 'disagreement')!.share
    }
    let asking = 200
    while (verdictOf(asking).questions === undefined) asking++
    expect(shareOf(asking)).toBeGreaterThanOrEqual(1)
    expect(shareOf(asking - 1)).toBeLessThan(1)
  })
})

describe('a break-glass promotion', () => {
  const breakGlass = advanceAll(waiting, commandEvent('promoteNow', 'root'), stepEvents.routed)

  it('continues to 100 % and waits for no time', async () => {
    const html = await shown(breakGlass)
    expect(html).toContain('Continues to probation')
    expect(html).not.toContain('Time observed')
    expect(html).toContain('or if inconclusive, the release rolls back')
    const { probation: _probation, ...policy } = releasePolicy
    expect(await shown({ ...breakGlass, policy })).toContain('Continues to 100 %')
  })

  it('does not reach the other stages', () => {
    for (const state of [
      advanceAll(breakGlass, judgedEvent('pass', false)),
      advanceAll(breakGlass, judgedEvent('pass', false), stepEvents.promoted),
    ]) {
      expect(rowOf(state, 'shadow').status).toBe('not_reached')
      expect(rowOf(state, 'canary 25').status).toBe('not_reached')
    }
  })
})

it.each<[string, ReleaseState, [preflight: string, approval: string]]>([
  ['is disqualified', advanceAll(opened, stepEvents.disqualified), ['failed', 'not_reached']],
  ['is rejected', advanceAll(waiting, commandEvent('reject')), ['passed', 'failed']],
  [
    'is approved and never routed',
    advanceAll(
      waiting,
      commandEvent('approve'),
      commandEvent('approve', 'ben'),
      stepEvents.stale,
      stepEvents.rolled_back,
    ),
    ['passed', 'passed'],
  ],
  [
    'is promoted by break-glass',
    advanceAll(waiting, commandEvent('promoteNow', 'root')),
    ['passed', 'not_reached'],
  ],
])('the track of a release that %s shows what it has passed', async (_name, state, expected) => {
  const subject = subjectOf(state)
  const html = String(await StageTrack({ subject, stages: stageRows(subject) }))
  expect([...html.matchAll(/<li class="(\w+)"/g)].map(([, status]) => status).slice(0, 2)).toEqual(expected)
})

it('a first version has no probation, which needs a champion to hold back', () => {
  const { baseline: _, ...first } = opened
  const names = (state: ReleaseState) => plannedStages(state).map(({ stage }) => stage)
  expect(names(opened)).toContain('probation')
  expect(names(first)).not.toContain('probation')
})

it('the summary has the gain with its interval and limit, the worst slice, the data and the risk', async () => {
  const metric = {
    metric: 'rmse',
    champion: 2,
    challenger: 1.5,
    floor: null,
    delta: 0.5,
    low: 0.4,
    high: 0.6,
    margin: 0.1,
  }
  const slice = { rows: 300, champion: 2, challenger: 2.1, delta: -0.05 }
  const report = {
    verdict: 'better',
    metrics: [metric],
    slices: [
      { ...slice, name: 'day', delta: 0.1, verdict: 'ok' },
      { ...slice, name: 'night', verdict: 'blocked' },
    ],
    policy: { primary: 'rmse', confidence: 0.99833, slices: { metric: 'rmse' } },
    reasons: [],
  }
  const candidate = {
    report,
    snapshot: { asOf: releaseTime(-600), rows: 1, bytes: 1 },
    validation: { verdict: 'warn', results: [] },
  } as unknown as Candidate
  const drift = [
    {
      version: 'm_v1.0.0',
      level: 'alarm',
      toAt: releaseTime(0),
      report: { features: [{ name: 'hour', level: 'alarm', psi: 0.4 }], score: null },
    },
  ] as never
  const of = async (state: ReleaseState, more: object = {}) => {
    const subject = subjectOf(state, { candidate, drift, ...more })
    return String(await Summary({ subject, stages: stageRows(subject) }))
      .replaceAll(/<svg.*?<\/svg>|<[^>]*>/gs, ' ')
      .replaceAll(/\s+/g, ' ')
  }
  const waits = await of(waiting)
  expect(waits).toMatch(/Gain better RMSE \+0\.5\d* 99\.833 % interval \+0\.4\d* to \+0\.6\d*, limit −0\.1/)
  expect(waits).toMatch(/Worst slice failed RMSE −0\.05\d* night · 300 rows/)
  expect(waits).toMatch(/Data warning 10 min old Champion drift: alarm \(hour\)/)
  expect(waits).toMatch(/Risk No request yet Failure budget ?: 50 False-rollback risk ≤ 5 %/)
  const arms = [armTotal(4, 'm_v1.1.0', 'canary', 35, 12), armTotal(4, 'm_v1.0.0', 'champion', 900)]
  const routings = [{ stage: 'canary' as const, stageIndex: 0, generation: 4, shareBp: 100, startedMs: 1 }]
  expect(await of({ ...routedCanary, routings }, { arms })).toMatch(
    /Risk 12 of 35 failed Failure budget ?: 12 of 50 used \(24 %\)/,
  )
  const { baseline: _, ...first } = waiting
  const told = await of(first, {
    candidate: {
      ...candidate,
      report: {
        ...report,
        metrics: [{ ...metric, champion: null, delta: null, low: null, high: null, margin: null, floor: 2 }],
      },
    },
  })
  expect(told).toMatch(/Quality passed RMSE 1\.5\d* floor 2/)
  expect(told).toContain('No champion to compare failures with')
})

it('an approver who has passed a stage counts once', async () => {
  const of = async (by: string) =>
    String(await CommandLog({ subject: subjectOf(advanceAll(undecided, commandEvent('approve', by))) }))
  expect(await of('anna')).toContain('2 of 2 approvals: anna, ben')
  expect(await of('carol')).toContain('3 approvals: anna, ben, carol')
})

it('the form says what a rollback and an abort do to the version', async () => {
  const textOf = async (state: ReleaseState) => {
    const actor = { name: 'ada', role: 'admin', id: 'key' } as Actor
    return String(await CommandForm({ subject: subjectOf(state), actor, token: 't', once: 'o' }))
  }
  const [awaiting, exposed, promoted] = await Promise.all([waiting, undecided, probated].map(textOf))
  expect(awaiting).not.toContain('never released again')
  expect(awaiting).toContain('Ends the release; production unchanged')
  expect(exposed).toMatch(/All traffic to m_v1\.0\.0; the version is never released again/)
  expect(exposed).toContain('may be released again')
  expect(promoted).not.toContain('may be released again')
})

it('the evidence of a metric names what it does at its threshold', async () => {
  const metric = (action: 'ask' | 'rollback') => ({ action }) as BusinessMetric
  const effects = (business: CanaryPolicy['business']) =>
    ['errors', 'scoreShift', 'disagreement', 'business'].map((key) =>
      evidenceEffect({ ...defaultCanaryPolicy, business }, key),
    )
  const [rolls, asks] = ['a rollback', 'an approver’s decision']
  expect(effects({ revenue: metric('rollback') })).toEqual([rolls, asks, asks, rolls])
  expect(effects({ revenue: metric('ask') }).at(-1)).toBe(asks)
  expect(effects({ revenue: metric('ask'), visits: metric('rollback') }).at(-1)).toBe(
    'an approver’s decision or a rollback',
  )
  const statistics = { scoreShiftLogE: 4, scoreShiftThreshold: 5 }
  const verdict = { id: 1, at: releaseTime(21), kind: 'inconclusive', reasons: [], statistics }
  const html = await shown(routedShadow, { verdicts: [{ ...verdict, stage: 'shadow', stageIndex: 0 }] })
  expect(html.match(/80 % of the way to an approver’s decision/g)).toHaveLength(2)
})

it('a stage that an approver passed after an inconclusive verdict names the approver, and a stage that passed by evidence none', async () => {
  const decided = advanceAll(undecided, { ...commandEvent('approve'), atMs: 20 }, stepEvents.routed)
  const [first, next] = decided.routings.slice(-2)
  const verdict = {
    id: 1,
    at: releaseTime(21),
    reasons: [],
    statistics: {},
    stage: first!.stage,
    stageIndex: 0,
  }
  const track = async (kind: 'inconclusive' | 'pass') => {
    const subject = subjectOf(decided, { verdicts: [{ ...verdict, kind }] })
    return String(await StageTrack({ subject, stages: stageRows(subject) }))
  }
  expect(next!.stageIndex).toBe(1)
  expect(await track('inconclusive')).toContain('· decided by anna')
  expect(await track('pass')).not.toContain('decided by')
  expect(approversOf(decided.approvals)).toEqual(['anna', 'ben'])
})

it('the plan of a release without stages names approvals alone, not limits that nothing compares', async () => {
  expect(String(await RolloutPlan(subjectOf(waiting)))).toContain('at 1 req/s, the mean of the last 6 min')
  const plan = async (policy: ReleaseState['policy']) => {
    const { baseline: _, ...first } = waiting
    const html = String(await RolloutPlan(subjectOf({ ...first, policy })))
    return [...html.matchAll(/<dt>([^<]+)<\/dt>/g)].map(([, name]) => name)
  }
  expect(await plan({ ...waiting.policy, strategy: 'direct', stages: [], shadow: undefined })).toEqual([
    'Approvals',
  ])
  expect(await plan(waiting.policy)).toContain('Automatic rollback')
})
