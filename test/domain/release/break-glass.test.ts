/** Tests break-glass orders of an admin: what they replace in each strategy, and when they expire. */
import { describe, expect, it } from 'vitest'
import { advance, breakGlassMs, type StepEvent } from '../../../domain/release/reducer.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import type { ReleasePolicy, Strategy } from '../../../domain/release/policy.ts'
import { openingState, watchedPolicy, type ReleaseState } from '../../../domain/release/state.ts'
import { whyWaiting } from '../../../domain/release/explain.ts'
import {
  routedCanary,
  enteredCanary,
  releaseFacts,
  judgedEvent,
  releasePolicy,
  probated,
  promoting,
  stepEvents,
  advanceAll,
  commandEvent,
  second,
  routedShadow,
  undecided,
  waiting,
} from '../../support/release/releases.ts'

const order = commandEvent('promoteNow', 'root', { reason: 'outage' })
const waitingBy = (strategy: Strategy, changes: Partial<ReleasePolicy> = {}): ReleaseState =>
  advanceAll(
    openingState({ ...releaseFacts, policy: { ...releasePolicy, ...changes, strategy } }, 0),
    stepEvents.qualified,
  )
const { shadow: _shadow, ...withoutShadow } = releasePolicy
const late = (kind: 'timed_out' | 'unacknowledged', ms: number) =>
  ({ ...stepEvents[kind], atMs: 10 + ms }) as StepEvent

describe('break-glass', () => {
  it.each<[string, ReleaseState, Partial<ReleaseState>]>([
    ['before the approvals', waiting, { stage: 'canary', stageIndex: 0, routed: false, shareBp: 100 }],
    ['in the shadow', routedShadow, { stage: 'canary', stageIndex: 0, routed: false, shareBp: 100 }],
    ['in the second share', second, { stage: 'canary', stageIndex: 1, routed: true, shareBp: 2_500 }],
    ['undecided', undecided, { stage: 'canary', stageIndex: 0, routed: true, extensions: 1 }],
    [
      'paused',
      advanceAll(routedCanary, commandEvent('pause')),
      { stage: 'canary', routed: true, paused: false },
    ],
    ['rolling', waitingBy('rolling'), { stage: 'canary', shareBp: 100 }],
    ['in a shadow release', waitingBy('shadow'), { stage: 'shadow', shareBp: 10_000 }],
    ['in blue_green with a shadow', waitingBy('blue_green'), { stage: 'shadow' }],
    [
      'where nothing is watched',
      advanceAll(
        openingState({ ...releaseFacts, policy: { ...withoutShadow, strategy: 'blue_green' } }, 0),
        stepEvents.qualified,
      ),
      { stage: 'promoting' },
    ],
  ])(
    '%s: the candidate meets the callers of one share, and is promoted by what they got',
    (_name, state, met) => {
      const hurried = advanceAll(state, order)
      expect(hurried).toMatchObject({ ...met, promoted: false, breakGlass: { by: 'root', reason: 'outage' } })
      if (hurried.stage === 'promoting') return
      const routed = hurried.routed ? hurried : advanceAll(hurried, stepEvents.routed)
      expect(watchedPolicy(routed)).toMatchObject({ minMs: 0, minRequests: 10 })
      expect(advanceAll(routed, judgedEvent('fail'))).toMatchObject({ stage: 'rolling_back' })
      expect(advanceAll(routed, judgedEvent('inconclusive', false))).toEqual(routed)
      const passed = advanceAll(routed, judgedEvent('pass', false))
      expect(passed.stage).toBe('promoting')
      // As champion it is watched for the full time, and nothing of the order remains.
      const champion = advanceAll(passed, stepEvents.promoted, stepEvents.routed)
      expect(watchedPolicy(champion)).toMatchObject({ minMs: 100 })
      expect(nextEffect(champion)).not.toMatchObject({ untilMs: expect.anything() })
      expect(advanceAll(champion, judgedEvent('inconclusive')).stage).toBe('awaiting_decision')
    },
  )

  it.each(['inconclusive', 'no_data', 'error'] as const)(
    'ends without a decision: %s at the deadline',
    (kind) => {
      const after = advanceAll(routedCanary, order, judgedEvent(kind))
      expect(after).toMatchObject({
        stage: 'rolling_back',
        rollbackOrder: { outcome: 'rolled_back', withdraw: false },
      })
      expect(after.rollbackOrder?.reason).toMatch(/break-glass by root: the verdict at the deadline/)
    },
  )

  it('is valid for an hour, for any pending wait', () => {
    const over = /the break-glass order of root expired after 1 h/
    const hurried = advanceAll(routedCanary, order)
    const untilMs = order.atMs + breakGlassMs
    expect(nextEffect(hurried)).toMatchObject({ kind: 'watch', hold: false, untilMs })
    expect(nextEffect(hurried).key).not.toBe(nextEffect(routedCanary).key)
    expect(advanceAll(hurried, late('timed_out', breakGlassMs)).rollbackOrder?.reason).toMatch(over)
    const unrouted = advanceAll(
      {
        ...enteredCanary,
        policy: { ...releasePolicy, stages: [{ ...releasePolicy.stages[0]!, deadlineMs: 1e9 }] },
      },
      order,
    )
    expect(advanceAll(unrouted, late('unacknowledged', breakGlassMs - 1)).stage).toBe('canary')
    expect(advanceAll(unrouted, late('unacknowledged', breakGlassMs)).rollbackOrder?.reason).toMatch(over)
    const paused = advanceAll(hurried, commandEvent('pause', 'olga'))
    expect(nextEffect(paused)).toMatchObject({ hold: true, untilMs })
    expect(advanceAll(paused, late('timed_out', breakGlassMs)).rollbackOrder?.reason).toMatch(over)
    expect(whyWaiting(hurried)).toMatch(
      /^Break-glass promotion by root: .* 10 requests at 1 % .* at 1970-01-01T01/,
    )
  })

  it('does not withdraw the version when it has expired at the promotion, as a verdict against it does', () => {
    const passed = advanceAll(routedCanary, order, judgedEvent('pass', false))
    const refused = (more: object) =>
      advanceAll(passed, { ...stepEvents.refused, ...more } as StepEvent).rollbackOrder
    expect(refused({ expired: true })).toMatchObject({ outcome: 'rolled_back', withdraw: false })
    expect(refused({})).toMatchObject({ outcome: 'rolled_back', withdraw: true })
  })

  it('is used once, for a candidate and no drill, and not for the current champion', () => {
    const refused = (state: ReleaseState) => advance(state, order)
    expect(refused(advanceAll(routedCanary, order)).message).toBe('break-glass was already used by root')
    expect(refused({ ...routedCanary, drill: 'bad' }).message).toBe('a drill is never promoted')
    for (const state of [promoting, probated]) expect(refused(state).applied).toBe(false)
  })
})
