/** Tests release specifications: each strategy of a model file as the policy that the reducer reads. */
import { describe, expect, it } from 'vitest'
import { defaultDrill } from '../../domain/drill.ts'
import { hotfixPolicy } from '../../domain/release/derived-policy.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../../domain/release/policy.ts'
import { alphaFor, businessAlpha, defaultAlpha, totalAlpha } from '../../domain/canary/alpha-split.ts'
import {
  ab,
  blueGreen,
  canary,
  direct,
  event,
  percent,
  promql,
  rolling,
  shadow,
  sqlQuery,
  webhook,
} from '../../models/define.ts'
import {
  compileRefit,
  compileRelease,
  type DirectSpec,
  type ReleaseSpec,
} from '../../models/define/release.ts'
import type { Output } from '../../domain/tasks/output.ts'
import { collectIssues } from '../../models/define/issues.ts'

const lower = (spec: ReleaseSpec): { policy: ReleasePolicy; issues: string[] } => {
  const { report, issues } = collectIssues()
  return { policy: compileRelease(report, spec), issues }
}

describe('a release specification', () => {
  it.each<[string, ReleaseSpec, Partial<ReleasePolicy>]>([
    ['direct', direct(), { stages: [] }],
    ['canary', canary({ stages: [percent(5)] }), { shadow: expect.anything() as never }],
    ['rolling', rolling({ stages: [percent(50)], whenBusy: 'supersede' }), { whenBusy: 'supersede' }],
    ['blue_green', blueGreen(), { stages: [], probation: expect.anything() as never }],
    [
      'shadow',
      shadow({ shadow: percent(20), whenPassed: 'ask', whenInconclusive: 'end' }),
      { whenPassed: 'ask', whenInconclusive: 'end', stages: [] },
    ],
    [
      'ab',
      ab({ split: percent(50, { soak: '1 d', deadline: '14 d' }), metric: 'accuracy' }),
      { ab: { metric: 'accuracy', alpha: 0.05 } },
    ],
  ])('%s is a sound policy', (strategy, spec, part) => {
    const { policy, issues } = lower(spec)
    expect(issues).toEqual([])
    expect(issuesOfPolicy(policy)).toEqual([])
    expect(policy).toMatchObject({ strategy, ...part })
    if (strategy !== 'canary' && strategy !== 'shadow')
      expect(policy).not.toMatchObject({ shadow: expect.anything() })
  })

  it('a model is drilled every month on copies, unless its file says otherwise', () => {
    expect(lower(canary({ stages: [percent(5)] })).policy.drill).toEqual(defaultDrill)
    expect(lower(canary({ stages: [percent(5)], drill: 'off' })).policy).not.toMatchObject({
      drill: expect.anything(),
    })
    const { policy, issues } = lower(
      canary({
        stages: [percent(5)],
        drill: {
          cron: '0 4 1 * *',
          traffic: 'live',
          percent: 2,
          kinds: ['nan'],
          within: '5 min',
          harmBudget: 5,
        },
        requireDrill: { within: '45 d' },
      }),
    )
    expect(issues).toEqual([])
    expect(policy.drill).toEqual({
      cron: '0 4 1 * *',
      traffic: 'live',
      shareBp: 200,
      kinds: ['nan'],
      withinMs: 300_000,
      harmBudget: 5,
    })
    expect(policy.requireDrill).toEqual({ withinMs: 45 * 86_400_000 })
  })

  it('a refit needs a split by time, which has it by default, and a distance above 0', () => {
    const yes: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 }
    const compiled = (spec: DirectSpec, kind: 'time' | 'hash' = 'time', output: Output = yes) => {
      const { report, issues } = collectIssues()
      return [compileRefit(report, direct(spec), { kind }, output), issues.join()] as const
    }
    expect(compiled({})).toEqual([{ distance: 1 }, ''])
    expect(compiled({}, 'time', { kind: 'number' })).toEqual([{ distance: 0.2 }, ''])
    expect(compiled({}, 'hash')).toEqual([undefined, ''])
    expect(compiled({ refit: 'off' })).toEqual([undefined, ''])
    expect(compiled({ refit: 'matured' })).toEqual([{ distance: 1 }, ''])
    expect(compiled({ refit: 'matured', refitDistance: 0.02 })).toEqual([{ distance: 0.02 }, ''])
    expect(compiled({ refit: 'all' as never })[1]).toContain(
      'release.refit: matured or off is required, not all',
    )
    expect(compiled({ refit: 'matured', refitDistance: 0 })[1]).toContain(
      'release.refitDistance: a number above 0',
    )
    expect(compiled({ refit: 'matured' }, 'hash')[1]).toContain('needs a split by time')
  })

  it('a probation covers the delay of labels unless a soak is given, and may compare both versions', () => {
    const probationOf = (probation?: {
      holdback?: number
      soak?: '1 h'
      requests?: number
      shadow?: number
      coverLabels?: boolean
    }) => lower(canary({ stages: [percent(5)], probation })).policy.probation
    expect(probationOf()).toMatchObject({ holdbackBp: 500, coverLabels: true })
    expect(probationOf({ holdback: 5, soak: '1 h' })).toMatchObject({ coverLabels: false, minMs: 3_600_000 })
    expect(probationOf({ soak: '1 h', requests: 5 })).toMatchObject({ holdbackBp: 500, minRequests: 5 })
    expect(probationOf({ holdback: 5, shadow: 50, soak: '1 h', coverLabels: true })).toMatchObject({
      shadowBp: 5_000,
      coverLabels: true,
    })
    const { issues } = lower(
      canary({ stages: [percent(5)], probation: { holdback: 5, shadows: 1 } as never }),
    )
    expect(issues.join()).toContain('shadows')
  })

  it('business metrics name events and bring their share of the α', () => {
    const { policy, issues } = lower(
      canary({
        stages: [percent(5)],
        business: {
          revenue: event('purchase', { max: 500, notWorse: 0.05 }),
          signups: event('signup', { counts: 'any', within: '10 min', delay: '5 s', better: true }),
        },
      }),
    )
    expect(issues).toEqual([])
    expect(issuesOfPolicy(policy)).toEqual([])
    expect(policy.limits.business).toEqual({
      revenue: {
        event: 'purchase',
        counts: 'total',
        min: 0,
        max: 500,
        withinMs: 1_800_000,
        delayMs: 60_000,
        lowerIsBetter: false,
        action: 'rollback',
        notWorse: 0.05,
      },
      signups: expect.objectContaining({ max: 1, withinMs: 600_000, delayMs: 5_000, better: true }) as object,
    })
    expect(policy.limits.alpha).toEqual(businessAlpha)
    expect(totalAlpha(policy.limits.alpha)).toBeCloseTo(0.05, 12)
    expect(lower(canary({ stages: [percent(5)] })).policy.limits.alpha).toEqual(defaultAlpha)
    const own = lower(
      ab({ split: percent(50), metric: 'revenue', business: { revenue: event('purchase', { max: 9 }) } }),
    )
    expect(own).toMatchObject({ issues: [], policy: { ab: { metric: 'revenue' } } })
  })

  it.each<[string, ReleaseSpec, string]>([
    [
      'without the largest value',
      canary({ stages: [percent(5)], business: { revenue: event('purchase') } }),
      'release.business.revenue: max is missing',
    ],
    [
      'with an unknown field',
      canary({
        stages: [percent(5)],
        business: { revenue: event('purchase', { max: 5, notworse: 0.1 } as never) },
      }),
      'release.business.revenue: has no field notworse: did you mean notWorse?',
    ],
    [
      'with a wrong value',
      canary({ stages: [percent(5)], business: { revenue: event('a b', { max: -1 }) } }),
      'release: limits.business.revenue.event is a letter, then',
    ],
    [
      'with a wrong duration',
      canary({
        stages: [percent(5)],
        business: { revenue: event('a', { max: 1, within: 'soon' as never }) },
      }),
      'release.business.revenue.within: a duration',
    ],
    [
      'that would never count',
      canary({
        stages: [percent(5)],
        soak: '1 min',
        business: { revenue: event('a', { max: 1, within: '1 d' }) },
      }),
      'no user would ever count',
    ],
    [
      'without a share of the α',
      canary({
        stages: [percent(5)],
        limits: { alpha: defaultAlpha },
        business: { revenue: event('a', { max: 1 }) },
      }),
      'limits.alpha.business is missing',
    ],
    [
      'of which a proof cannot come before the promotion',
      blueGreen({ business: { revenue: event('a', { max: 1, better: true }) } }),
      'the proofs notWorse and better need users of both versions',
    ],
    [
      'where users never meet both versions',
      rolling({ stages: [percent(50)], probation: 'off', business: { revenue: event('a', { max: 1 }) } }),
      'the strategy rolling has none',
    ],
    [
      'that a test does not know',
      ab({ split: percent(50), metric: 'profit', business: { revenue: event('a', { max: 1 }) } }),
      'ab.metric is one of accuracy, loss, conversions, errors, revenue, not profit',
    ],
  ])('a business metric %s is refused', (_, spec, issue) => {
    expect(lower(spec).issues.join('; ')).toContain(issue)
  })

  it('external metrics name a source and a query, and bring their share of the α', () => {
    const { policy, issues } = lower(
      canary({
        stages: [percent(5)],
        external: {
          refused: promql('prometheus', 'rate(x{v="$version"}[$window])', { max: 0.2 }),
          rating: sqlQuery('shop', 'select 1 where $version > $from', {
            min: 1,
            max: 5,
            lowerIsBetter: false,
            every: '5 min',
            delay: '1 min',
            action: 'ask',
          }),
          fraud: webhook('fraud', 'chargebacks', { max: 1, limit: 0.02, onError: 'hold' }),
        },
        business: { revenue: event('purchase', { max: 500 }) },
      }),
    )
    expect(issues).toEqual([])
    expect(policy.limits.external).toMatchObject({
      refused: {
        kind: 'promql',
        source: 'prometheus',
        tolerance: 0.1,
        min: 0,
        max: 0.2,
        lowerIsBetter: true,
        everyMs: 60_000,
        delayMs: 30_000,
        minRequests: 20,
        action: 'rollback',
        onError: 'ask',
      },
      rating: { kind: 'sql', everyMs: 300_000, action: 'ask' },
      fraud: { kind: 'webhook', limit: 0.02, onError: 'hold' },
    })
    expect(policy.limits.alpha).toMatchObject({ business: 0.002, external: 0.001, reserve: 0.001 })
    expect(totalAlpha(policy.limits.alpha)).toBeCloseTo(0.05, 12)
    expect(totalAlpha(alphaFor({ business: false, external: true }))).toBeCloseTo(0.05, 12)
  })

  const asked = (query: string, options: object) =>
    canary({ stages: [percent(5)], external: { refused: promql('prometheus', query, options as never) } })
  it.each<[string, ReleaseSpec, string]>([
    ['without max', asked('$version', {}), 'limits.external.refused.max is above min, not undefined'],
    ['below zero', asked('$arm', { max: 1, min: -1 }), 'refused.min is 0 or more, not -1'],
    [
      'beyond the fifth',
      canary({
        stages: [percent(5)],
        external: Object.fromEntries(
          ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => [name, promql('prometheus', '$arm', { max: 1 })]),
        ),
      }),
      'has 1 to 5 metrics, not 6',
    ],
    [
      'with a name of other letters',
      canary({
        stages: [percent(5)],
        external: { 'Refused-ones': promql('prometheus', '$arm', { max: 1 }) },
      }),
      'Refused-ones is not a name of a metric',
    ],
    ['that is the same for both arms', asked('up', { max: 1 }), 'names neither $version nor $arm'],
    ['without a query', asked(' ', { max: 1, limit: 0.5 }), 'refused.query is a text of 1 to 4000'],
    [
      'with a limit beyond max',
      asked('$arm', { max: 1, limit: 2 }),
      'refused.limit lies between min and max',
    ],
    [
      'with a tolerance of one',
      asked('$arm', { max: 1, tolerance: 1 }),
      'refused.tolerance lies between 0 and 1',
    ],
    [
      'with an unknown field',
      asked('$arm', { max: 1, limits: 2 }),
      'has no field limits: did you mean limit?',
    ],
    [
      'with an unknown action',
      asked('$arm', { max: 1, onError: 'fail' }),
      'refused.onError is one of ask, hold',
    ],
    ['with a short window', asked('$arm', { max: 1, every: '1 s' }), 'must be at least watch.tickMs (10000)'],
    ['without a window', asked('$arm', { max: 1, every: '30 d' }), 'no window would ever count'],
    [
      'with an address for a source',
      canary({ stages: [percent(5)], external: { refused: promql('http://x', '$arm', { max: 1 }) } }),
      'refused.source is a lower-case letter, then',
    ],
    [
      'without a share of the α',
      canary({
        stages: [percent(5)],
        limits: { alpha: defaultAlpha },
        external: { refused: promql('prometheus', '$arm', { max: 1 }) },
      }),
      'limits.alpha.external is missing',
    ],
  ])('an external metric %s is refused', (_, spec, issue) => {
    expect(lower(spec).issues.join('; ')).toContain(issue)
  })

  it('a hotfix has shorter stages of its own', () => {
    const { policy } = lower(
      canary({ stages: [percent(5)], hotfix: { stages: [percent(20), percent(50)], soak: '2 min' } }),
    )
    expect(hotfixPolicy(policy).stages.map(({ shareBp, minMs }) => [shareBp, minMs])).toEqual([
      [2_000, 120_000],
      [5_000, 120_000],
    ])
  })

  it('the requirements of a strategy are checked', () => {
    expect(lower(blueGreen({ probation: 'off' })).issues.join()).toContain('release: probation is missing')
    expect(lower(rolling({ stages: [] })).issues.join()).toContain('release: stages needs at least one share')
  })
})

describe('a model of high risk', () => {
  const compile = (spec: ReleaseSpec) => {
    const { report, issues } = collectIssues()
    return { policy: compileRelease(report, spec, 'high'), issues }
  }
  it('has two approvers and a drill within five weeks unless its file is stricter', () => {
    const { policy, issues } = compile(canary({ stages: [percent(5)] }))
    expect(issues).toEqual([])
    expect(policy).toMatchObject({
      risk: 'high',
      approval: { approvers: 2 },
      requireDrill: { withinMs: 35 * 86_400_000 },
    })
    const strict = compile(
      canary({
        stages: [percent(5)],
        approval: { by: 3, within: '1 d', business: ['carol'], engineering: ['ada', 'bob'] },
        requireDrill: { within: '7 d' },
      }),
    )
    expect(strict.issues).toEqual([])
    expect(strict.policy.approval).toMatchObject({
      approvers: 3,
      sides: { business: ['carol'], engineering: ['ada', 'bob'] },
    })
  })
  it('refuses a direct release, one approver, and no drills', () => {
    const weak = direct({ approval: { by: 1, within: '1 d' }, drill: 'off' })
    expect(compile(weak).issues.map(String).join('; ')).toMatch(
      /cannot be direct.*2 or more.*drill .* cannot be off/s,
    )
  })
})
