import { describe, expect, it } from 'vitest'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { defaultDrill, drillKindNames, drillFaultOf } from '../../../domain/drill.ts'
import { hotfixPolicy } from '../../../domain/release/derived-policy.ts'
import { defaultWatch, issuesOfPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { issuesOfReplacement } from '../../../domain/release/rules/replacement.ts'
import { issuesOfOpening } from '../../../domain/release/state.ts'
import { releaseFacts } from '../../support/release/releases.ts'

const promotion = {
  ratio: 2,
  logE: 3,
  metrics: ['errors' as const],
  negligibleRate: null,
  at: 'last_stage' as const,
}
const stage = { shareBp: 500, minMs: 1_000, minRequests: 100, deadlineMs: 10_000 }
const good: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 1_000 },
  shadow: stage,
  stages: [stage, { ...stage, shareBp: 2_500 }],
  probation: { holdbackBp: 500, minMs: 1_000, minRequests: 0, deadlineMs: 2_000 },
  watch: defaultWatch,
  limits: defaultCanaryPolicy,
}

describe('a release policy', () => {
  it('with the defaults is valid', () => expect(issuesOfPolicy(good)).toEqual([]))

  it('splits one α of at most 5 % over its metrics', () => {
    expect(Object.values(defaultCanaryPolicy.alpha).reduce((sum, part) => sum + part, 0)).toBeCloseTo(
      0.05,
      12,
    )
  })

  it.each<[string, { [Name in keyof ReleasePolicy]?: ReleasePolicy[Name] | undefined }, string]>([
    ['an unknown strategy', { strategy: 'yolo' as never }, 'strategy is one of'],
    ['minus one approver', { approval: { approvers: -1, withinMs: 1 } }, 'approval.approvers'],
    ['weights beyond what is read', { qualification: { weightBytes: 2 ** 27 } }, 'qualification.weightBytes'],
    [
      'an approval without end',
      { approval: { approvers: 1, withinMs: Number.POSITIVE_INFINITY } },
      'approval.withinMs',
    ],
    ['a canary without stages', { stages: [] }, 'stages needs at least one share'],
    ['a share of 0', { stages: [{ ...stage, shareBp: 0 }] }, 'stages[0].shareBp'],
    ['a share above the whole', { stages: [{ ...stage, shareBp: 10_001 }] }, 'stages[0].shareBp'],
    [
      'a share without a control',
      { stages: [stage, { ...stage, shareBp: 10_000 }] },
      'stages must stay below',
    ],
    [
      'a hotfix without a control',
      { hotfix: { stages: [{ ...stage, shareBp: 10_000 }] } },
      'hotfix.stages must stay below 100 %',
    ],
    [
      'a falling share',
      { stages: [stage, { ...stage, shareBp: 100 }] },
      'stages[1].shareBp must be larger than that of the stage before: 1 % follows',
    ],
    [
      'a deadline before its minimum',
      { stages: [{ ...stage, deadlineMs: 1_000 }] },
      'stages[0].deadlineMs must be longer',
    ],
    ['a shadow of NaN requests', { shadow: { ...stage, minRequests: Number.NaN } }, 'shadow.minRequests'],
    [
      'a holdback above a half',
      { probation: { holdbackBp: 6_000, minMs: 0, minRequests: 0, deadlineMs: 1 } },
      'probation.holdbackBp',
    ],
    [
      'a probation whose deadline comes before its minimum',
      { probation: { ...good.probation!, minMs: 2_000 } },
      'probation.deadlineMs must be longer than its minMs',
    ],
    ['a wait that no date can hold', { watch: { ...defaultWatch, decisionMs: 9e15 } }, 'watch.decisionMs'],
    ['approvals within 300 centuries', { approval: { approvers: 1, withinMs: 1e15 } }, 'approval.withinMs'],
    [
      'a lease that lapses between looks',
      { watch: { ...defaultWatch, exposureMs: 5_000 } },
      'watch.exposureMs must be longer',
    ],
    ['a tick of 0', { watch: { ...defaultWatch, tickMs: 0 } }, 'watch.tickMs'],
    [
      'an α above 5 %',
      { limits: { ...defaultCanaryPolicy, alpha: { ...defaultCanaryPolicy.alpha, errors: 0.02 } } },
      'limits.the split sums',
    ],
    [
      'a ramp that reacts at once',
      { limits: { ...defaultCanaryPolicy, ramp: { reactionSeconds: 0 } } },
      'limits.ramp.reactionSeconds',
    ],
    ['no cost of a shadow', { limits: { ...defaultCanaryPolicy, shadowCost: 0 } }, 'limits.shadowCost'],
    [
      'a rolling release without stages',
      { strategy: 'rolling', stages: [] },
      'stages needs at least one share',
    ],
    [
      'blue and green without a probation',
      { strategy: 'blue_green', probation: undefined },
      'probation is missing',
    ],
    ['a shadow release without a shadow', { strategy: 'shadow', shadow: undefined }, 'shadow is missing'],
    [
      'a shadow that promotes without proof',
      { strategy: 'shadow', whenPassed: 'promote' },
      'limits.nonInferiority is missing',
    ],
    [
      'an A/B test of two splits',
      { strategy: 'ab', ab: { metric: 'errors', alpha: 0.05 } },
      'exactly one share',
    ],
    ['an A/B test without a metric', { strategy: 'ab', stages: [stage] }, 'ab is missing'],
    [
      'an A/B test that finds a winner every time',
      { strategy: 'ab', stages: [stage], ab: { metric: 'accuracy', alpha: 0.5 } },
      'ab.alpha',
    ],
    [
      'an A/B test of luck',
      { strategy: 'ab', stages: [stage], ab: { metric: 'luck' as never, alpha: 0.05 } },
      'ab.metric',
    ],
    ['an unknown way to be busy', { whenBusy: 'panic' as never }, 'whenBusy is one of'],
    ['an unknown end', { whenInconclusive: 'maybe' as never }, 'whenInconclusive is one of'],
    ['a hotfix that nothing watches', { hotfix: { stages: [] } }, 'hotfix.stages needs at least one share'],
    [
      'a hotfix that asks for no request',
      { hotfix: { stages: [{ ...stage, minRequests: 0 }] } },
      'hotfix.stages[0].minRequests',
    ],
    ['a cost below that of the champion', { qualification: { rssTimes: 0.5 } }, 'qualification.rssTimes'],
    ['a qualification in no time', { qualification: { timeoutMs: 0 } }, 'qualification.timeoutMs'],
    ['a drill of an unknown kind', { drill: { ...defaultDrill, kinds: ['flood' as never] } }, 'drill.kinds'],
    ['a drill on all traffic', { drill: { ...defaultDrill, shareBp: 10_000 } }, 'drill.shareBp'],
    ['a drill that may harm minus one', { drill: { ...defaultDrill, harmBudget: -1 } }, 'drill.harmBudget'],
    ['a drill on nothing', { drill: { ...defaultDrill, traffic: 'none' as never } }, 'drill.traffic'],
    ['drills required within no time', { requireDrill: { withinMs: 0 } }, 'requireDrill.withinMs'],
    ['a guard above one', { limits: { ...defaultCanaryPolicy, guardRate: 1.1 } }, 'limits.guardRate'],
    [
      'a promotion test of ratio 0',
      { limits: { ...defaultCanaryPolicy, promotion: { ...promotion, ratio: 0 } } },
      'limits.promotion.ratio',
    ],
  ])('with %s is refused by field', (_name, change, place) => {
    expect(issuesOfPolicy({ ...good, ...change } as ReleasePolicy).join('\n')).toContain(place)
  })
})

describe('a policy in a request', () => {
  const own: ReleasePolicy = {
    ...good,
    approval: { approvers: 2, withinMs: 1_000 },
    requireDrill: { withinMs: 5_000 },
  }
  it('requires at least the approvals and the drills of the model file', () => {
    const asks = (approvers: number, withinMs?: number): ReleasePolicy => {
      const { requireDrill: _own, ...rest } = own
      return {
        ...rest,
        approval: { approvers, withinMs: 9_000 },
        ...(withinMs === undefined ? {} : { requireDrill: { withinMs } }),
      }
    }
    expect(issuesOfReplacement(asks(2, 5_000), own)).toEqual([])
    expect(issuesOfReplacement(asks(3, 1), own)).toEqual([])
    expect(issuesOfReplacement(asks(0), good)).toHaveLength(1)
    expect(issuesOfReplacement(asks(1, 5_000), own)).toEqual([
      'approval.approvers is 1, the model file requires at least 2',
    ])
    for (const older of [asks(2), asks(2, 5_001)])
      expect(issuesOfReplacement(older, own).join()).toMatch(/^requireDrill.withinMs must be at most 5000/)
  })

  it('requires the kinds of drills that the model file requires', () => {
    const drilled = { ...own, drill: { ...defaultDrill, kinds: ['bad' as const, 'nan' as const] } }
    const asks = (kinds: typeof defaultDrill.kinds) => ({ ...drilled, drill: { ...defaultDrill, kinds } })
    expect(issuesOfReplacement(asks(['nan', 'bad', 'slow']), drilled)).toEqual([])
    for (const fewer of [asks([]), asks(['nan'])])
      expect(issuesOfReplacement(fewer, drilled)).toEqual([
        'drill.kinds must include bad, nan, as in the model file',
      ])
  })

  it('lets a request leave out users whom the model file names, and add none', () => {
    const named: ReleasePolicy = {
      ...good,
      approval: { approvers: 1, withinMs: 1_000, from: ['ada', 'bob'] },
    }
    const asks = (from?: string[]) => ({ ...named, approval: { ...named.approval, from } })
    expect(issuesOfReplacement(asks(['bob']), named)).toEqual([])
    for (const from of [undefined, [], ['bob', 'eve']])
      expect(issuesOfReplacement(asks(from), named)).toEqual([
        'approval.from must name only users that the model file names: ada, bob',
      ])
  })

  const free = {
    ...good,
    approval: { approvers: 0, withinMs: 1_000 },
    qualification: { p99Us: 5_000, p99Times: 2 },
  }
  it.each<[string, Partial<ReleasePolicy>, RegExp]>([
    [
      'the canary',
      { strategy: 'direct', stages: [] },
      /^strategy cannot become direct .*,stages cannot be left out/,
    ],
    [
      'a part of its requests',
      { stages: [stage] },
      /^stages: minMs must add up to at least 2000 .*,stages: minRequests/,
    ],
    ['the shadow', { shadow: undefined }, /^shadow cannot be left out without an approver/],
    ['the probation', { probation: undefined }, /^probation cannot be left out without an approver/],
    ['the qualification', { qualification: { p99Us: 10_000 } }, /^qualification.p99Us must be at most 5000/],
    [
      'the cost beside the champion',
      { qualification: { p99Us: 1 } },
      /^qualification.p99Times must be at most 2/,
    ],
    ['its own qualification', { qualification: undefined }, /^qualification.p99Us must be at most 5000/],
    [
      'memory of the qualification',
      { qualification: { p99Us: 1, rssBytes: 2 ** 40 } },
      /^qualification.rssBytes/,
    ],
    [
      'the limits of the judge',
      { limits: { ...good.limits, minClusters: 1 } as never },
      /^limits must be as in the model file/,
    ],
    ['the stages by another strategy', { strategy: 'blue_green' }, /^strategy cannot become blue_green/],
    [
      'its first share',
      { stages: [{ ...stage, shareBp: 2_000, minMs: 2_000, minRequests: 200 }] },
      /^stages: the first share must be at most 5 % /,
    ],
    [
      'its largest share',
      { stages: [stage, { ...stage, shareBp: 9_999 }] },
      /^stages: the largest share must be at most 25 % /,
    ],
    [
      'the end of an exposure without a verdict',
      { watch: { ...defaultWatch, exposureMs: 1e12 } },
      /^watch.exposureMs must be at most 15000 /,
    ],
    [
      'a part of the holdback',
      { probation: { ...good.probation!, holdbackBp: 1 } },
      /^probation.holdbackBp must be at least 500/,
    ],
    ['the stages of a hotfix', { hotfix: { stages: [stage] } }, /^hotfix must be as in the model file/],
    [
      'its choice of the first callers',
      { targeted: { ...stage, target: { routingKeys: ['anna'] } } },
      /^targeted.target must be as in the model file/,
    ],
  ])('that asks for no approver cannot drop %s', (_name, change, issue) => {
    expect(issuesOfReplacement(free, free)).toEqual([])
    const replaced = { ...free, ...change }
    expect(issuesOfReplacement(replaced, free).join()).toMatch(issue)
    expect(issuesOfReplacement(replaced, free).join()).toContain('ask for approval.approvers of at least 1')
    // The approver sees which requirement is replaced.
    expect(issuesOfReplacement({ ...replaced, approval: { ...free.approval, approvers: 1 } }, free)).toEqual(
      [],
    )
  })
})

describe('a policy that no approver sees', () => {
  it('may observe more and expose less, with a shorter exposure between verdicts', () => {
    const own = { ...good, approval: { approvers: 0, withinMs: 1_000 } }
    const careful = {
      ...own,
      stages: [
        { ...stage, shareBp: 100 },
        { ...stage, minMs: 5_000 },
        { ...stage, shareBp: 1_000 },
      ],
      watch: { ...own.watch, exposureMs: 10_000 },
      probation: { ...own.probation!, minRequests: 10, holdbackBp: 1_000 },
    }
    expect(issuesOfReplacement(careful, own)).toEqual([])
  })

  it.each([
    ['the wait for outcomes', { coverLabels: false }, /^probation.coverLabels must be true/],
    [
      'the wait for outcomes, by leaving it out',
      { coverLabels: undefined },
      /^probation.coverLabels must be/,
    ],
    [
      'a part of the copies to the previous champion',
      { shadowBp: 100 },
      /^probation.shadowBp must be at least 500/,
    ],
    [
      'the copies to the previous champion',
      { shadowBp: undefined },
      /^probation.shadowBp must be at least 500/,
    ],
  ])('keeps %s of a probation', (_name, change, issue) => {
    const probation = { ...good.probation!, coverLabels: true, shadowBp: 500 }
    const own = { ...good, approval: { approvers: 0, withinMs: 1_000 }, probation }
    expect(issuesOfReplacement(own, own)).toEqual([])
    const weaker = { ...own, probation: { ...probation, ...change } }
    expect(issuesOfReplacement(weaker, own).join()).toMatch(issue)
    expect(issuesOfReplacement({ ...weaker, approval: { approvers: 1, withinMs: 1_000 } }, own)).toEqual([])
  })

  it('keeps the approver who decides after a shadow', () => {
    const own = { ...good, approval: { approvers: 0, withinMs: 1_000 }, whenPassed: 'ask' as const }
    expect(issuesOfReplacement({ ...own, whenPassed: undefined }, own).join()).toMatch(
      /^whenPassed must be as in the model file/,
    )
  })
})

describe('a hotfix', () => {
  it('uses the shorter stages of the policy, with a watcher and without a shadow', () => {
    const short = { ...stage, shareBp: 2_000, minMs: 10 }
    const way = hotfixPolicy({ ...good, hotfix: { stages: [short] } })
    expect(way).toMatchObject({ strategy: 'canary', stages: [short], approval: good.approval })
    expect(way).not.toMatchObject({ shadow: expect.anything() })
    expect(issuesOfPolicy(way)).toEqual([])
    expect(hotfixPolicy(good)).toEqual(good)
  })

  it('of a policy without stages of its own uses those of the hotfix', () => {
    const policy = { ...good, strategy: 'blue_green' as const, stages: [], hotfix: { stages: [stage] } }
    expect(issuesOfPolicy(policy)).toEqual([])
    const facts = { ...releaseFacts, policy: hotfixPolicy(policy), hotfix: { by: 'anna', atMs: 1 } }
    expect(issuesOfPolicy(facts.policy)).toEqual([])
    expect(issuesOfOpening(facts)).toEqual([])
  })
})

describe('a drill', () => {
  it('of each kind affects the candidate alone, or leaves it sound', () => {
    const faults = Object.fromEntries(drillKindNames.map((kind) => [kind, drillFaultOf(kind, 5)?.kind]))
    expect(faults).toEqual({
      bad: 'bad',
      nan: 'nan',
      slow: 'slow',
      silent: 'silent',
      'lost-replica': undefined,
      'dead-worker': undefined,
    })
    expect(drillFaultOf('slow', 5)?.slowMs).toBe(5)
    expect(issuesOfPolicy({ ...good, drill: defaultDrill })).toEqual([])
  })
})
