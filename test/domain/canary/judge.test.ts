import { describe, expect, it } from 'vitest'
import { alphaFor, checkAlpha, defaultAlpha, totalAlpha } from '../../../domain/canary/alpha-split.ts'
import { judgeCanary, incrementalJudge } from '../../../domain/canary/incremental-judge.ts'
import type { ArmCounts, CanaryEvidence, CanaryStage, CanaryTick } from '../../../domain/canary/evidence.ts'
import { checkCanaryPolicy, defaultCanaryPolicy, type CanaryPolicy } from '../../../domain/canary/policy.ts'

const arm = (requests: number, bad: Partial<ArmCounts> = {}): ArmCounts => ({
  requests,
  errors: 0,
  invalid: 0,
  slow95: 0,
  slow99: 0,
  ...bad,
})
const tickMs = 10_000

/** `count` ticks with 5 canary and 95 control requests each; the control fails every second request. */
function ticks(
  count: number,
  canary: (i: number) => Partial<ArmCounts> = () => ({}),
  from = 0,
): CanaryTick[] {
  return Array.from({ length: count }, (_, i) => ({
    startMs: (from + i) * tickMs,
    shareBp: 500,
    canary: arm(5, canary(from + i)),
    control: arm(95, { errors: (from + i) % 2, slow95: 5, slow99: 1 }),
  }))
}

const stage: CanaryStage = {
  index: 0,
  shareBp: 500,
  startedMs: 0,
  elapsedMs: 3_600_000,
  minMs: 600_000,
  minRequests: 100,
  last: false,
}

function judge(evidence: Partial<CanaryEvidence> = {}, policy: Partial<CanaryPolicy> = {}) {
  return judgeCanary(
    { ticks: ticks(360), stage, staleMs: 1_000, ...evidence },
    { ...defaultCanaryPolicy, ...policy },
  )
}
const codes = (...args: Parameters<typeof judge>) => {
  const { kind, reasons } = judge(...args)
  return [kind, ...reasons.map(({ code }) => code)]
}
const every = (n: number, counts: Partial<ArmCounts>) => (i: number) => (i % n === 0 ? counts : {})

it('a shadow that fails is told with shadow requests, a canary with canary requests, a champion in probation with its own', () => {
  const said = (shadow: boolean, promoted = false) =>
    judge({ stage: { ...stage, shadow, promoted }, ticks: ticks(360, () => ({ invalid: 5 })) }).reasons.map(
      ({ message }) => message,
    )
  expect(said(false)).toEqual([
    expect.stringMatching(/^\d+ of \d+ canary requests failed \(100 %\), limit/),
    expect.stringMatching(/^\d+ of \d+ canary requests invalid \(100 %\), control/),
    expect.stringContaining(' failures beyond those of the champion, failure budget '),
  ])
  const worded = (noun: string) => said(false).map((each) => each.replace('canary requests', noun))
  expect(said(true)).toEqual(worded('shadow requests'))
  expect(said(false, true)).toEqual(worded('requests of the new champion'))
})

it('copies that fail in a shadow are no harm: they roll back by their rate, and spend nothing of the harm budget', () => {
  const shadow = ticks(360, () => ({ invalid: 5 })).map((tick) => ({ ...tick, shadow: true }))
  const { kind, reasons, statistics } = judge({ stage: { ...stage, shadow: true }, ticks: shadow })
  expect([kind, ...reasons.map(({ code }) => code)]).toEqual(['fail', 'guard', 'invalid_rate'])
  expect(statistics).toMatchObject({ excessBad: 0, harmLogE: 0 })
  const few = ticks(360, every(4, { errors: 1 })).map((tick) => ({ ...tick, shadow: true }))
  const canary = ticks(10, () => ({ errors: 1 }), 360)
  const later = judge({ ticks: [...few, ...canary], stage: { ...stage, startedMs: 3_600_000 } })
  expect(later.statistics['excessBad']).toBeGreaterThan(0)
  expect(later.statistics['excessBad']).toBeLessThan(10)
})

describe('a canary passes', () => {
  it('when there is no finding, its time is over and its requests are complete', () => {
    expect(codes()).toEqual(['pass', 'stage_passed'])
  })

  it('of which the reason counts requests of the canary, or copied ones in a shadow', () => {
    const said = (more: Partial<CanaryStage>) =>
      judge({ stage: { ...stage, ...more } }).reasons.map(({ message }) => message)
    const late = { startedMs: 350 * tickMs }
    expect(said({})).toEqual([expect.stringMatching(/^1,800 canary requests in 3600 s, no regression$/)])
    expect(said({ shadow: true })).toEqual([expect.stringMatching(/^1,800 shadow requests in 3600 s, no/)])
    expect(said(late)).toEqual([expect.stringMatching(/ canary requests in this stage$/)])
    expect(said({ ...late, shadow: true })).toEqual([
      expect.stringMatching(/ shadow requests in this stage$/),
    ])
  })

  it('with statistics that are numbers or null', () => {
    const values = Object.values(judge().statistics)
    expect(values.length).toBeGreaterThan(20)
    expect(values.every((value) => value === null || Number.isFinite(value))).toBe(true)
  })
})

describe('a canary fails', () => {
  it('by more errors than the control', () => {
    expect(
      codes({ ticks: ticks(360, every(4, { errors: 1 })) }, { guardRate: 0.5, harmBudget: 1e9 }),
    ).toEqual(['fail', 'error_rate'])
  })

  it.each([
    ['invalid', 'invalid_rate'],
    ['slow95', 'slow95_rate'],
    ['slow99', 'slow99_rate'],
  ] as const)('by %s', (metric, code) => {
    const worse = ticks(360, every(1, { [metric]: 3 }))
    expect(codes({ ticks: worse }, { guardRate: 0.9, harmBudget: 1e9 })).toEqual(['fail', code])
  })

  it('by quality, when the champion alone is correct much more often than the canary alone', () => {
    expect(codes({ paired: { b: 30, c: 5 } })).toEqual(['fail', 'paired_quality'])
    expect(codes({ paired: { b: 9, c: 7 } })).toEqual(['pass', 'stage_passed'])
  })

  it('by the absolute guard after three requests without a valid response, independent of the control', () => {
    const broken = [{ startMs: 0, shareBp: 500, canary: arm(3, { errors: 2, invalid: 1 }), control: arm(0) }]
    const verdict = judge({ ticks: broken })
    expect(verdict.reasons.map(({ code }) => code)).toEqual(['guard'])
    expect(verdict.reasons[0]!.message).toContain('3 of 3')
  })

  it('when the circuit breakers of half of its replicas have opened', () => {
    expect(codes({ breakers: { open: 1, replicas: 1 } })).toEqual(['fail', 'breaker'])
    expect(codes({ breakers: { open: 2, replicas: 4 } })).toEqual(['fail', 'breaker'])
    expect(judge({ breakers: { open: 2, replicas: 3 } }).reasons[0]!.message).toContain('2 of 3 replicas')
  })

  it('by the guard within two ticks of breaking after six good hours', () => {
    const day = 2_160
    const broken = ticks(day + 2, (i) => (i >= day ? { errors: 5 } : {}))
    const { reasons } = judge({ ticks: broken }, { minDelta: 0.5 })
    expect(reasons.map(({ code }) => code)).toEqual(['guard'])
    expect(reasons[0]!.values['atMs']).toBeLessThanOrEqual((day + 1) * tickMs)
  })

  it('within the hour when a fault begins at hour 12', () => {
    const begin = 12 * 360
    const late = ticks(begin + 360, (i) => (i >= begin && i % 7 === 0 ? { errors: 1 } : {}))
    const { reasons } = judge({ ticks: late }, { guardRate: 0.5 })
    expect(reasons.map(({ code }) => code)).toEqual(['error_rate'])
    expect((Number(reasons[0]!.values['atMs']) - begin * tickMs) / 60_000).toBeLessThan(35)
  })

  it('by the harm budget only when the damage is proven as well', () => {
    const policy = { minDelta: 0.02, guardRate: 0.5 }
    const small = ticks(2_000, every(10, { errors: 1 }))
    expect(codes({ ticks: small }, { ...policy, harmBudget: 100 })).toEqual(['fail', 'harm_budget'])
    expect(codes({ ticks: small }, { ...policy, harmBudget: 1_000 })).toEqual(['pass', 'stage_passed'])
    // 1.2 times the control's errors for three hours: some excess, no proof.
    const chance = ticks(1_080, every(30, { errors: 1 }))
    expect(codes({ ticks: chance }, { ...policy, harmBudget: 1 })).toEqual(['pass', 'stage_passed'])
  })

  it('permanently: later good ticks do not revoke a finding', () => {
    const early = ticks(60, every(2, { errors: 1 }))
    const later = ticks(1_000, () => ({}), 60)
    expect(codes({ ticks: [...early, ...later] })[0]).toBe('fail')
  })

  it('with the first finding first', () => {
    const { reasons } = judge({ ticks: ticks(360, every(4, { errors: 1 })) }, { guardRate: 0.5 })
    expect(reasons.map(({ code }) => code)).toEqual(['error_rate', 'harm_budget'])
  })

  it('also when the counters are stale after the finding', () => {
    expect(codes({ ticks: ticks(60, every(1, { errors: 5 })), staleMs: null })[0]).toBe('fail')
  })

  it('not for a difference below the minimum effect, however certain', () => {
    const certain = ticks(2_000, every(12, { errors: 1 }))
    expect(codes({ ticks: certain }, { harmBudget: 1e9 })).toEqual(['fail', 'error_rate'])
    expect(codes({ ticks: certain }, { harmBudget: 1e9, minDelta: 0.05 })).toEqual(['pass', 'stage_passed'])
  })

  it('not within the tolerated ratio', () => {
    const double = ticks(2_000, every(20, { errors: 1 }))
    expect(codes({ ticks: double }, { harmBudget: 1e9 })).toEqual(['fail', 'error_rate'])
    expect(codes({ ticks: double }, { harmBudget: 1e9, errorRatio: 2 })).toEqual(['pass', 'stage_passed'])
  })
})

describe('no data', () => {
  it.each([
    ['without a tick', { ticks: [], staleMs: null }, 'stale'],
    ['with stale counters', { staleMs: 30_001 }, 'stale'],
    ['without traffic in this stage', { stage: { ...stage, startedMs: 360 * tickMs } }, 'no_traffic'],
    [
      'with ticks in which nothing happened',
      { ticks: ticks(9).map((t) => ({ ...t, canary: arm(0), control: arm(0) })) },
      'no_traffic',
    ],
    ['when the control is gone', { ticks: ticks(60).map((t) => ({ ...t, control: arm(0) })) }, 'one_sided'],
    [
      'when the control goes in the last minute',
      { ticks: ticks(60).map((t, i) => (i < 54 ? t : { ...t, control: arm(0) })) },
      'one_sided',
    ],
    [
      'when the canary goes',
      { ticks: ticks(60).map((t, i) => (i < 40 ? t : { ...t, canary: arm(0) })) },
      'one_sided',
    ],
  ] as [string, Partial<CanaryEvidence>, string][])('%s', (_, evidence, code) => {
    expect(codes(evidence)).toEqual(['no_data', code])
  })

  it('names how many requests only the other arm served', () => {
    const without = ticks(60).map((t, i) => (i < 40 ? t : { ...t, canary: arm(0) }))
    expect(judge({ ticks: without }).reasons[0]?.message).toBe(
      'the canary served 0 of the last 1,900 requests, the control all of them',
    )
  })

  it('is not reported for a small arm without requests by chance', () => {
    const sparse = ticks(360).map((tick, i) => (i > 358 ? { ...tick, canary: arm(0) } : tick))
    expect(codes({ ticks: sparse })).toEqual(['pass', 'stage_passed'])
  })

  it('is not reported for a shadow, where both arms predict every request', () => {
    const mirrored = ticks(60).map((tick) => ({ ...tick, shareBp: null, canary: arm(95) }))
    expect(codes({ ticks: mirrored, stage: { ...stage, shareBp: 0 } })[0]).toBe('pass')
  })
})

describe('an error', () => {
  const broken = (canary: Partial<ArmCounts>, more: Partial<CanaryTick> = {}) => [
    { startMs: 0, shareBp: 500, canary: arm(5, canary), control: arm(95), ...more },
  ]
  it.each([
    ['a count that is not finite', { ticks: broken({ errors: NaN }) }, 'errors'],
    ['a negative count', { ticks: broken({ slow95: -1 }) }, 'slow95'],
    ['an infinite count', { ticks: broken({ requests: Infinity }) }, 'requests'],
    ['more bad answers than answers', { ticks: broken({ invalid: 6 }) }, 'more than its 5 requests'],
    ['a tick without a time', { ticks: broken({}, { startMs: NaN }) }, 'starts at'],
    ['a tick counted twice', { ticks: [...ticks(2), ...ticks(1)] }, 'is not later than'],
    ['an impossible share', { ticks: broken({}, { shareBp: 10_001 }) }, 'basis points'],
    ['a stage without a time', { stage: { ...stage, elapsedMs: NaN } }, 'stage.elapsedMs'],
    ['an impossible age', { staleMs: -1 }, 'staleMs'],
    ['impossible pairs', { paired: { b: -1, c: 0 } }, 'paired.b'],
  ] as [string, Partial<CanaryEvidence>, string][])('is said of %s', (_, evidence, words) => {
    const { kind, reasons, statistics } = judge(evidence)
    expect(kind).toBe('error')
    expect(reasons[0]!.message).toContain(words)
    expect(statistics).toEqual({})
  })

  it('is reported for an invalid policy', () => {
    const { kind, reasons } = judge({}, { guardRate: 0, alpha: { ...defaultAlpha, errors: 0.5 } })
    expect(kind).toBe('error')
    expect(reasons.map(({ message }) => message).join()).toMatch(/sums to .*guardRate/)
  })
})

describe('an inconclusive canary', () => {
  it('has not run long enough', () => {
    expect(codes({ stage: { ...stage, elapsedMs: 599_999 } })).toEqual(['inconclusive', 'minimum_time'])
  })

  it('was dropped by fewer than half of its replicas, which hold the stage', () => {
    expect(codes({ breakers: { open: 1, replicas: 3 } })).toEqual(['inconclusive', 'breaker'])
    expect(codes({ breakers: { open: 0, replicas: 3 } })).toEqual(['pass', 'stage_passed'])
  })

  it('has not served enough requests in this stage', () => {
    const late = { ...stage, startedMs: 350 * tickMs }
    expect(codes({ stage: late })).toEqual(['inconclusive', 'minimum_requests'])
  })

  it('gets another share than configured, and reports it', () => {
    const drifted = ticks(360).map((tick) => ({ ...tick, canary: arm(8), control: arm(92) }))
    const { kind, reasons } = judge({ ticks: drifted })
    expect([kind, reasons[0]!.code]).toEqual(['inconclusive', 'srm'])
    expect(reasons[0]!.message).toContain('8 %')
    expect(codes({ ticks: drifted }, { srm: { alpha: 0.001, tolerance: 0.7, designEffect: 1 } })[0]).toBe(
      'pass',
    )
    expect(codes({ ticks: drifted }, { srm: { alpha: 0.001, tolerance: 0, designEffect: 50 } })[0]).toBe(
      'pass',
    )
    expect(codes({ ticks: drifted }, { srm: 'off' })[0]).toBe('pass')
  })

  it('is not reported for ticks in which the share changed', () => {
    const changing = ticks(360).map((tick) => ({ ...tick, shareBp: null, canary: arm(8), control: arm(92) }))
    expect(codes({ ticks: changing })[0]).toBe('pass')
  })

  it('lacks the promotion proof at the last stage', () => {
    const last = { ...stage, last: true }
    expect(codes({ stage: last, ticks: ticks(60) })).toEqual(['inconclusive', 'promotion_evidence'])
    expect(codes({ stage: last, ticks: ticks(60) }, { promotion: 'off' })[0]).toBe('pass')
    // A champion on probation needs none.
    expect(codes({ stage: { ...last, promoted: true }, ticks: ticks(60) })[0]).toBe('pass')
    expect(codes({ stage: last, ticks: ticks(4_000, every(40, { errors: 1 })) })[0]).toBe('pass')
    const promotion = {
      ...(defaultCanaryPolicy.promotion as object),
      at: 'every_stage',
    } as CanaryPolicy['promotion']
    expect(codes({ ticks: ticks(60) }, { promotion })).toEqual(['inconclusive', 'promotion_evidence'])
  })

  it('lacks the quality proof at the last stage, where the policy requires one', () => {
    const last = { ...stage, last: true }
    const policy = { promotion: 'off' as const, nonInferiority: { margin: 0.02, logE: Math.log(20) } }
    expect(codes({ stage: last }, policy)).toEqual(['inconclusive', 'quality_evidence'])
    expect(codes({ stage: { ...last, promoted: true } }, policy)[0]).toBe('pass')
    expect(codes({ stage: last, paired: { b: 30, c: 40 } }, policy)).toEqual([
      'inconclusive',
      'quality_evidence',
    ])
    expect(codes({ stage: last, paired: { b: 40, c: 60, same: 900 } }, policy)[0]).toBe('pass')
    expect(codes({ paired: { b: 3, c: 4 } }, policy)[0]).toBe('pass')
  })

  it('can be proven where both arms rarely fail', () => {
    const perfect = ticks(2_000).map((tick) => ({ ...tick, control: arm(95) }))
    const evidence = { ticks: perfect, stage: { ...stage, last: true } }
    expect(codes(evidence)[0]).toBe('pass')
    const promotion = {
      ...(defaultCanaryPolicy.promotion as object),
      negligibleRate: null,
    } as CanaryPolicy['promotion']
    expect(codes(evidence, { promotion })).toEqual(['inconclusive', 'promotion_evidence'])
  })
})

describe('the evidence', () => {
  it('is carried across stages', () => {
    const first = ticks(200, every(9, { errors: 1 }))
    const second = ticks(200, every(9, { errors: 1 }), 200).map((tick) => ({ ...tick, shareBp: 1_000 }))
    const at = { ...stage, index: 1, shareBp: 500, startedMs: 200 * tickMs }
    const alone = judge(
      { ticks: second.map((tick) => ({ ...tick, shareBp: 500 })), stage: at },
      { harmBudget: 1e9 },
    )
    const both = judge({ ticks: [...first, ...second], stage: at }, { harmBudget: 1e9 })
    expect(both.statistics['errorsMaxLogE']).toBeGreaterThan(alone.statistics['errorsMaxLogE']!)
    expect(both.statistics['stageCanaryRequests']).toBe(1_000)
    expect(both.statistics['canaryRequests']).toBe(2_000)
  })

  it('is the same whether all ticks come at once or one by one', () => {
    const all = ticks(500, every(6, { errors: 1, slow95: 1 }))
    const watch = incrementalJudge(defaultCanaryPolicy)
    for (const tick of all) {
      watch.add(tick)
      watch.judge({ stage, staleMs: 1_000 })
    }
    expect(watch.judge({ stage, staleMs: 1_000 })).toEqual(judge({ ticks: all }))
  })
})

describe('a policy', () => {
  it('splits one α', () => {
    expect(totalAlpha(defaultAlpha)).toBeCloseTo(0.05, 12)
    for (const business of [false, true])
      for (const external of [false, true]) expect(checkAlpha(alphaFor({ business, external }))).toEqual([])
    expect(checkAlpha({ ...defaultAlpha, errors: 0.02 })[0]).toContain('sums to')
    expect(checkAlpha({ ...defaultAlpha, guard: NaN })[0]).toContain('alpha.guard')
    expect(checkAlpha({} as never)).toHaveLength(11)
  })

  it('is checked field by field', () => {
    expect(checkCanaryPolicy(defaultCanaryPolicy)).toEqual([])
    const wrong = {
      ...defaultCanaryPolicy,
      errorRatio: 0.5,
      slowRatio: NaN,
      guardRate: 1,
      minDelta: -1,
      maxStaleMs: 0,
      harmBudget: -1,
      restartMs: 0,
      promotion: {
        ratio: 1,
        logE: 0,
        metrics: ['speed' as never],
        negligibleRate: 1,
        at: 'last_stage' as const,
      },
      srm: { alpha: 1, tolerance: -1, designEffect: 0 },
      nonInferiority: { margin: 0, logE: NaN },
    }
    const issues = checkCanaryPolicy(wrong).map((issue) => issue.split(' ')[0])
    expect(new Set(issues)).toEqual(
      new Set([
        'errorRatio',
        'guardRate',
        'harmBudget',
        'maxStaleMs',
        'minDelta',
        'promotion.logE',
        'promotion.metrics',
        'promotion.negligibleRate',
        'promotion.ratio',
        'restartMs',
        'slowRatio',
        'nonInferiority.margin',
        'nonInferiority.logE',
        'srm.alpha',
        'srm.designEffect',
        'srm.tolerance',
      ]),
    )
  })

  it('without a required field is refused, and does not throw', () => {
    expect(checkCanaryPolicy(null as never)).toEqual(['alpha is missing'])
    const { promotion: _, srm: __, scoreShift: ___, disagreement: ____, ...rest } = defaultCanaryPolicy
    expect(checkCanaryPolicy(rest as never)).toEqual([
      expect.stringContaining('promotion is missing'),
      expect.stringContaining('srm is missing'),
      expect.stringContaining('scoreShift is missing'),
      expect.stringContaining('disagreement is missing'),
    ])
  })
})

describe('the served rows of a candidate', () => {
  const columns = [{ name: 'score', mismatches: 1, maxDifference: 0.45, example: 'p1' }]
  const served = { compared: 50, mismatchedRows: 0, columns: [] }

  it('fail it from the first one that differs from training, before all other findings', () => {
    const differing = { compared: 1, mismatchedRows: 1, columns }
    expect(codes({ served: differing })).toEqual(['fail', 'serving_skew'])
    // Missing counts and a short stage do not hide it.
    expect(codes({ served: differing, ticks: [], staleMs: null })).toEqual(['fail', 'serving_skew'])
    expect(codes({ served: differing, ticks: ticks(360, () => ({ invalid: 5 })) })).toEqual([
      'fail',
      'serving_skew',
      ...codes({ ticks: ticks(360, () => ({ invalid: 5 })) }).slice(1),
    ])
  })

  it('are told in the sentence of a pass, compared or not', () => {
    const said = (more: object) => {
      const { kind, reasons } = judge({ served: { ...served, ...more } })
      return [kind, reasons[0]!.message.split('; ').slice(1).join('; ')]
    }
    expect(said({})).toEqual(['pass', '50 rows served as judged, at most 6 % differ'])
    expect(said({ compared: 0, problem: 'its process did not end' })).toEqual([
      'pass',
      'no served row was compared with training: its process did not end',
    ])
  })
})
