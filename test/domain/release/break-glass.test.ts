/** The word of one admin: what it stands in the place of, for each strategy, and when it counts no more. */
import { describe, expect, it } from 'vitest'
import { advance } from '../../../domain/release/reducer.ts'
import { breakGlassMs } from '../../../domain/release/break-glass.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import type { ReleasePolicy, Strategy } from '../../../domain/release/policy.ts'
import type { StepEvent } from '../../../domain/release/events.ts'
import { openingState, watchedPolicy, type ReleaseState } from '../../../domain/release/state.ts'
import { whyWaiting } from '../../../domain/release/explain.ts'
import {
  canaried,
  canary,
  facts,
  judged,
  policy,
  probated,
  promoting,
  reports,
  run,
  say,
  second,
  shadowed,
  undecided,
  waiting,
} from '../../support/release/releases.ts'

const glass = say('promoteNow', 'root', { reason: 'outage' })
const waitingBy = (strategy: Strategy, changes: Partial<ReleasePolicy> = {}): ReleaseState =>
  run(openingState({ ...facts, policy: { ...policy, ...changes, strategy } }, 0), reports.qualified)
const { shadow: _shadow, ...withoutShadow } = policy
const late = (kind: 'timed_out' | 'unacknowledged', ms: number) =>
  ({ ...reports[kind], atMs: 10 + ms }) as StepEvent

describe('broken glass', () => {
  it.each<[string, ReleaseState, Partial<ReleaseState>]>([
    ['before the approvals', waiting, { stage: 'canary', stageIndex: 0, routed: false, shareBp: 100 }],
    ['in the shadow', shadowed, { stage: 'canary', stageIndex: 0, routed: false, shareBp: 100 }],
    ['in the second share', second, { stage: 'canary', stageIndex: 1, routed: true, shareBp: 2_500 }],
    ['undecided', undecided, { stage: 'canary', stageIndex: 0, routed: true, extensions: 1 }],
    ['paused', run(canaried, say('pause')), { stage: 'canary', routed: true, paused: false }],
    ['rolling', waitingBy('rolling'), { stage: 'canary', shareBp: 100 }],
    ['in a shadow release', waitingBy('shadow'), { stage: 'shadow', shareBp: 10_000 }],
    ['in blue_green with a shadow', waitingBy('blue_green'), { stage: 'shadow' }],
    [
      'where nothing is watched',
      run(
        openingState({ ...facts, policy: { ...withoutShadow, strategy: 'blue_green' } }, 0),
        reports.qualified,
      ),
      { stage: 'promoting' },
    ],
  ])(
    '%s: the candidate meets the callers of one share, and is promoted by what they got',
    (_name, state, met) => {
      const hurried = run(state, glass)
      expect(hurried).toMatchObject({ ...met, promoted: false, breakGlass: { by: 'root', reason: 'outage' } })
      if (hurried.stage === 'promoting') return
      const routed = hurried.routed ? hurried : run(hurried, reports.routed)
      expect(watchedPolicy(routed)).toMatchObject({ minMs: 0, minRequests: 10 })
      expect(run(routed, judged('fail'))).toMatchObject({ stage: 'rolling_back' })
      expect(run(routed, judged('inconclusive', false))).toEqual(routed)
      const passed = run(routed, judged('pass', false))
      expect(passed.stage).toBe('promoting')
      // Champion, it is watched as long as any, and nothing of the order is left.
      const champion = run(passed, reports.promoted, reports.routed)
      expect(watchedPolicy(champion)).toMatchObject({ minMs: 100 })
      expect(nextEffect(champion)).not.toMatchObject({ untilMs: expect.anything() })
      expect(run(champion, judged('inconclusive')).stage).toBe('awaiting_decision')
    },
  )

  it.each(['inconclusive', 'no_data', 'error'] as const)(
    'asks nobody: %s at the deadline is its end',
    (kind) => {
      const after = run(canaried, glass, judged(kind))
      expect(after).toMatchObject({
        stage: 'rolling_back',
        rollbackOrder: { outcome: 'rolled_back', withdraw: false },
      })
      expect(after.rollbackOrder?.reason).toMatch(/broken by root, and at the deadline/)
    },
  )

  it('counts for an hour, whatever is waited for', () => {
    const over = /the glass was broken by root, and the hour for it is over/
    const hurried = run(canaried, glass)
    const untilMs = glass.atMs + breakGlassMs
    expect(nextEffect(hurried)).toMatchObject({ kind: 'watch', hold: false, untilMs })
    expect(nextEffect(hurried).key).not.toBe(nextEffect(canaried).key)
    expect(run(hurried, late('timed_out', breakGlassMs)).rollbackOrder?.reason).toMatch(over)
    const unrouted = run(
      { ...canary, policy: { ...policy, stages: [{ ...policy.stages[0]!, deadlineMs: 1e9 }] } },
      glass,
    )
    expect(run(unrouted, late('unacknowledged', breakGlassMs - 1)).stage).toBe('canary')
    expect(run(unrouted, late('unacknowledged', breakGlassMs)).rollbackOrder?.reason).toMatch(over)
    const paused = run(hurried, say('pause', 'olga'))
    expect(nextEffect(paused)).toMatchObject({ hold: true, untilMs })
    expect(run(paused, late('timed_out', breakGlassMs)).rollbackOrder?.reason).toMatch(over)
    expect(whyWaiting(hurried)).toMatch(
      /^Emergency promotion by root: .* 10 requests at 1 % .* at 1970-01-01T01/,
    )
  })

  it('is broken once, for a candidate and no drill, and not for what is champion already', () => {
    const refused = (state: ReleaseState) => advance(state, glass)
    expect(refused(run(canaried, glass)).message).toBe('the glass is broken already, by root')
    expect(refused({ ...canaried, drill: 'bad' }).message).toBe('it is a drill, which is never promoted')
    for (const state of [promoting, probated]) expect(refused(state).applied).toBe(false)
  })
})
