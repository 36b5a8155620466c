/** Tests targeted callers: their failures count as harm and can end a release, but no comparison, proof or share uses them. */
import { describe, expect, it } from 'vitest'
import type { ArmCounts, CanaryStage, CanaryTick } from '../../../domain/canary/evidence.ts'
import { judgeCanary } from '../../../domain/canary/incremental-judge.ts'
import { defaultCanaryPolicy, type CanaryPolicy } from '../../../domain/canary/policy.ts'
import { canaryEvidenceOf, canaryTicks, type CountedTick } from '../../../domain/release/evidence-builder.ts'
import { routedTargeted } from '../../support/release/releases.ts'

const arm = (requests: number, bad: Partial<ArmCounts> = {}): ArmCounts => ({
  requests,
  errors: 0,
  invalid: 0,
  slow95: 0,
  slow99: 0,
  ...bad,
})
const stage: CanaryStage = {
  index: 1,
  shareBp: 0,
  startedMs: 0,
  elapsedMs: 600_000,
  minMs: 600_000,
  minRequests: 50,
  last: false,
  targeted: true,
}
const ticksOf = (count: number, targeted: ArmCounts | undefined, canary = arm(0)): CanaryTick[] =>
  Array.from({ length: count }, (_, i) => ({
    startMs: i * 10_000,
    shareBp: null,
    canary,
    control: arm(100),
    targeted,
  }))
const judge = (ticks: CanaryTick[], more: Partial<CanaryStage> = {}, policy: Partial<CanaryPolicy> = {}) =>
  judgeCanary({ ticks, stage: { ...stage, ...more }, staleMs: 1_000 }, { ...defaultCanaryPolicy, ...policy })
const said = ({ kind, reasons }: ReturnType<typeof judge>) => [kind, ...reasons.map(({ code }) => code)]

describe('the stage of targeted callers', () => {
  it('passes on its time and the requests of these callers, without a canary', () => {
    const verdict = judge(ticksOf(60, arm(5)))
    expect(said(verdict)).toEqual(['pass', 'stage_passed'])
    expect(verdict.reasons[0]!.message).toBe('300 requests of targeted callers in 600 s, no harm found')
  })

  it('waits for them, and has no data without any', () => {
    expect(said(judge(ticksOf(9, arm(5))))).toEqual(['inconclusive', 'minimum_requests'])
    expect(said(judge(ticksOf(60, arm(5)), { elapsedMs: 1 }))).toEqual(['inconclusive', 'minimum_time'])
    expect(judge(ticksOf(60, undefined))).toMatchObject({
      kind: 'no_data',
      reasons: [{ code: 'no_traffic' }],
    })
  })

  it('ends by the guard when these callers fail too often, and names them in the reason', () => {
    const verdict = judge(ticksOf(3, arm(20, { invalid: 12 })))
    expect(said(verdict)).toContain('guard')
    expect(verdict.reasons[0]!.message).toMatch(/^\d+ of \d+ candidate requests failed/)
  })

  it('ends by the harm budget, which their failures use up', () => {
    const verdict = judge(ticksOf(300, arm(20, { errors: 1 })), {}, { guardRate: 0.5, harmBudget: 50 })
    expect(said(verdict)).toEqual(['fail', 'harm_budget'])
  })
})

describe('targeted callers in a later stage', () => {
  const canary = { shareBp: 500, targeted: undefined } as Partial<CanaryStage>
  const failing = arm(20, { errors: 1, invalid: 1, slow95: 20, slow99: 20 })
  const policy = { guardRate: 0.9, harmBudget: 1e9 }

  it('change no comparison, count or proof', () => {
    const alone = judge(ticksOf(360, undefined, arm(5)), canary, policy)
    const beside = judge(ticksOf(360, failing, arm(5)), canary, policy)
    expect(said(alone)).toEqual(['pass', 'stage_passed'])
    expect(said(beside)).toEqual(said(alone))
    const { statistics } = beside
    for (const name of [
      'errorsCanary',
      'errorsLogE',
      'slow95LogE',
      'canaryRequests',
      'stageCanaryRequests',
      'srmLogE',
    ])
      expect([name, statistics[name]]).toEqual([name, alone.statistics[name]])
    expect(statistics['excessBad']).toBeCloseTo(720)
  })
})

describe('the counts of targeted callers', () => {
  const row = (version: string, of: string, requests: number): CountedTick => ({
    ...arm(requests),
    version,
    arm: of,
    generation: 4,
    tickMs: 100,
    lengthMs: 10,
  })

  it("are separate from the counts of the same version's random share", () => {
    const [tick] = canaryTicks(routedTargeted, [
      row('m_v1.0.0', 'champion', 90),
      row('m_v1.1.0', 'canary', 10),
      row('m_v1.1.0', 'targeted', 3),
      row('m_v1.0.0', 'targeted', 7),
    ])
    expect(tick).toMatchObject({
      shareBp: null,
      canary: { requests: 10 },
      control: { requests: 90 },
      targeted: { requests: 3 },
    })
    expect(canaryEvidenceOf(routedTargeted, { counted: [], staleMs: 1, watchedMs: 1 }).stage).toMatchObject({
      targeted: true,
      shareBp: 0,
      last: false,
      minRequests: 10,
    })
  })
})
