/** Tests each refusal and each effect of release commands. */
import { describe, expect, it } from 'vitest'
import { advance, commandStages, type StepEvent } from '../../../domain/release/reducer.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import { defaultWatch } from '../../../domain/release/policy.ts'
import {
  stateAt,
  routedCanary,
  enteredCanary,
  ended,
  judgedEvent,
  opened,
  probated,
  promoting,
  releasePolicy,
  stepEvents,
  rolledBackEvent,
  rollingBackState,
  advanceAll,
  commandEvent,
  undecided,
  waiting,
} from '../../support/release/releases.ts'

describe('the commands of a release', () => {
  it.each([
    [
      'an unknown name',
      waiting,
      commandEvent('approve', 'unknown', { role: undefined } as never),
      /no active key/,
    ],
    ['a viewer', waiting, commandEvent('approve', 'vera', { role: 'viewer' }), /role viewer/],
    [
      'an operator who approves',
      waiting,
      commandEvent('approve', 'otto', { role: 'operator' }),
      /role operator/,
    ],
    [
      'an approver who breaks the glass',
      routedCanary,
      commandEvent('promoteNow', 'anna', { role: 'approver' }),
      /admin/,
    ],
    [
      'a key of another model',
      waiting,
      commandEvent('approve', 'anna', { inScope: false }),
      /does not cover/,
    ],
    [
      'an approver whom the policy does not name',
      {
        ...waiting,
        policy: { ...waiting.policy, approval: { ...waiting.policy.approval, from: ['ada', 'bob'] } },
      },
      commandEvent('approve', 'anna'),
      /anna may not approve; the policy names ada, bob/,
    ],
    ['the one who asked', waiting, commandEvent('approve', 'olga'), /someone else must approve/],
    [
      'the one who asked, at a decision',
      undecided,
      commandEvent('approve', 'olga'),
      /someone else must approve/,
    ],
    [
      'another artifact',
      waiting,
      commandEvent('approve', 'anna', { artifactDigest: 'x' }),
      /names the artifact x/,
    ],
    [
      'another evaluation',
      waiting,
      commandEvent('approve', 'anna', { evaluationDigest: 'x' }),
      /evaluation x/,
    ],
    ['another policy', waiting, commandEvent('approve', 'anna', { policyDigest: 'x' }), /policy x/],
    [
      'an approval that comes after its window',
      waiting,
      commandEvent('approve', 'anna', { untilMs: 9 }),
      /was valid until/,
    ],
    [
      'the same approval again',
      advanceAll(waiting, commandEvent('approve')),
      commandEvent('approve'),
      /already/,
    ],
    [
      'break-glass without a reason',
      routedCanary,
      commandEvent('promoteNow', 'anna', { reason: ' ' }),
      /needs a reason/,
    ],
    ['a second pause', advanceAll(routedCanary, commandEvent('pause')), commandEvent('pause'), /already/],
    ['a resume of what runs', routedCanary, commandEvent('resume'), /nothing is paused/],
    ['an abort of what ends', rollingBackState, commandEvent('abort'), /being rolled back/],
    ['an approval after the end', ended, commandEvent('approve'), /has ended/],
  ])('%s changes nothing', (_name, state, event, sentence) => {
    const result = advance(state, event)
    expect(result).toMatchObject({ applied: false, message: expect.stringMatching(sentence) })
    expect(result.state).toBe(state)
  })

  it('an approval that names the released version counts', () => {
    const seen = { artifactDigest: 'a', evaluationDigest: 'e', policyDigest: 'p' }
    expect(advance(waiting, commandEvent('approve', 'anna', seen)).applied).toBe(true)
  })

  it('a rejection and an expiry end it before any traffic', () => {
    expect(advanceAll(waiting, commandEvent('reject'))).toMatchObject({ stage: 'ended', outcome: 'rejected' })
    expect(advanceAll(waiting, stepEvents.timed_out)).toMatchObject({ stage: 'ended', outcome: 'expired' })
  })

  it('a pause stops the clock, and rolls it back at its limit', () => {
    const paused = advanceAll(routedCanary, commandEvent('pause', 'anna', { atMs: 100 }))
    expect(nextEffect(paused)).toMatchObject({
      kind: 'watch',
      hold: true,
      untilMs: 100 + defaultWatch.decisionMs,
    })
    expect(advance(paused, judgedEvent('pass')).applied).toBe(false)
    expect(advanceAll(paused, commandEvent('resume', 'anna', { atMs: 400 })).enteredMs).toBe(
      routedCanary.enteredMs + 300,
    )
    expect(advanceAll(paused, stepEvents.timed_out).rollbackOrder?.reason).toMatch(/paused by anna/)
    const unrouted = advanceAll(enteredCanary, commandEvent('pause'))
    const after = (ms: number) => ({ ...stepEvents.unacknowledged, atMs: 10 + ms }) as StepEvent
    expect(advanceAll(unrouted, after(defaultWatch.decisionMs - 1)).stage).toBe('canary')
    expect(advanceAll(unrouted, after(defaultWatch.decisionMs)).stage).toBe('rolling_back')
  })

  it('break-glass promotes to one share of traffic and never past a verdict against it', () => {
    for (const where of commandStages.promoteNow) {
      const hurried = advanceAll(stateAt[where], commandEvent('promoteNow'))
      expect(hurried).toMatchObject({ stage: 'canary', stageIndex: 0, breakGlass: { by: 'anna' } })
      const routed = hurried.routed ? hurried : advanceAll(hurried, stepEvents.routed)
      expect(advanceAll(routed, judgedEvent('fail')).stage).toBe('rolling_back')
    }
    const bad = { ...routedCanary, lastVerdict: { kind: 'fail' as const, reason: 'bad', atMs: 1 } }
    expect(advance(bad, commandEvent('promoteNow')).applied).toBe(false)
    expect(advanceAll(promoting, stepEvents.refused).rollbackOrder?.outcome).toBe('rolled_back')
  })

  it('abort before promotion is aborted, rollback is rolled_back, and both restore the baseline', () => {
    expect(advanceAll(opened, commandEvent('rollback')).outcome).toBe('aborted')
    expect(advanceAll(routedCanary, commandEvent('abort'), stepEvents.rolled_back).outcome).toBe('aborted')
    expect(advanceAll(routedCanary, commandEvent('rollback'), stepEvents.rolled_back).outcome).toBe(
      'rolled_back',
    )
    const wasChampion = rolledBackEvent(true)
    for (const name of ['abort', 'rollback'] as const)
      expect(advanceAll(probated, commandEvent(name), wasChampion).outcome).toBe('rolled_back')
    expect(advanceAll(promoting, commandEvent('abort'), wasChampion).outcome).toBe('rolled_back')
    expect(advanceAll(routedCanary, stepEvents.cancelled, stepEvents.rolled_back).outcome).toBe('aborted')
    expect(advanceAll(waiting, stepEvents.cancelled).outcome).toBe('aborted')
  })
})

it('a release that expires names the side that has not approved', () => {
  const sides = { business: ['carol'], engineering: ['ada', 'eve'] }
  const policy = { ...releasePolicy, approval: { ...releasePolicy.approval, sides } }
  const asked = advanceAll(
    { ...waiting, policy },
    commandEvent('approve', 'ada'),
    commandEvent('approve', 'eve'),
  )
  expect(asked.stage).toBe('awaiting_approval')
  const { state } = advance(asked, { kind: 'timed_out', atMs: 6_000 })
  expect(state.reason).toMatch(/^2 of \d approvals within .*; business must sign \(carol\)$/)
})
