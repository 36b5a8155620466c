/** What people may say to a release: each refusal, each effect. */
import { describe, expect, it } from 'vitest'
import { advance } from '../../../domain/release/reducer.ts'
import { commandStages } from '../../../domain/release/commands.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import { defaultWatch } from '../../../domain/release/policy.ts'
import type { StepEvent } from '../../../domain/release/events.ts'
import {
  at,
  canaried,
  canary,
  ended,
  judged,
  opened,
  probated,
  promoting,
  reports,
  returned,
  rolling,
  run,
  say,
  undecided,
  waiting,
} from '../../support/release/releases.ts'

describe('people', () => {
  it.each([
    ['an unknown name', waiting, say('approve', 'nobody', { role: undefined } as never), /no active key/],
    ['a viewer', waiting, say('approve', 'vera', { role: 'viewer' }), /role viewer/],
    ['an operator who approves', waiting, say('approve', 'otto', { role: 'operator' }), /role operator/],
    ['an approver who breaks the glass', canaried, say('promoteNow', 'anna', { role: 'approver' }), /admin/],
    ['a key of another model', waiting, say('approve', 'anna', { inScope: false }), /does not cover/],
    ['the one who asked', waiting, say('approve', 'olga'), /cannot approve/],
    ['the one who asked, at a decision', undecided, say('approve', 'olga'), /cannot approve/],
    ['another artifact', waiting, say('approve', 'anna', { artifactDigest: 'x' }), /has seen the artifact x/],
    ['another evaluation', waiting, say('approve', 'anna', { evaluationDigest: 'x' }), /evaluation x/],
    ['another policy', waiting, say('approve', 'anna', { policyDigest: 'x' }), /policy x/],
    [
      'an approval that comes after its window',
      waiting,
      say('approve', 'anna', { untilMs: 9 }),
      /was over at/,
    ],
    ['the same approval again', run(waiting, say('approve')), say('approve'), /already/],
    ['break-glass without a reason', canaried, say('promoteNow', 'anna', { reason: ' ' }), /needs a reason/],
    ['a second pause', run(canaried, say('pause')), say('pause'), /already/],
    ['a resume of what runs', canaried, say('resume'), /nothing is paused/],
    ['an abort of what ends', rolling, say('abort'), /being taken back/],
    ['an approval after the end', ended, say('approve'), /has ended/],
  ])('%s changes nothing', (_name, state, event, sentence) => {
    const result = advance(state, event)
    expect(result).toMatchObject({ applied: false, message: expect.stringMatching(sentence) })
    expect(result.state).toBe(state)
  })

  it('an approval that names what is released counts', () => {
    const seen = { artifactDigest: 'a', evaluationDigest: 'e', policyDigest: 'p' }
    expect(advance(waiting, say('approve', 'anna', seen)).applied).toBe(true)
  })

  it('a rejection and an expiry end it before any request', () => {
    expect(run(waiting, say('reject'))).toMatchObject({ stage: 'ended', outcome: 'rejected' })
    expect(run(waiting, reports.timed_out)).toMatchObject({ stage: 'ended', outcome: 'expired' })
  })

  it('a pause stops the clock, and an endless one takes it back', () => {
    const paused = run(canaried, say('pause', 'anna', { atMs: 100 }))
    expect(nextEffect(paused)).toMatchObject({
      kind: 'watch',
      hold: true,
      untilMs: 100 + defaultWatch.decisionMs,
    })
    expect(advance(paused, judged('pass')).applied).toBe(false)
    expect(run(paused, say('resume', 'anna', { atMs: 400 })).enteredMs).toBe(canaried.enteredMs + 300)
    expect(run(paused, reports.timed_out).rollbackOrder?.reason).toMatch(/paused by anna/)
    const unrouted = run(canary, say('pause'))
    const after = (ms: number) => ({ ...reports.unacknowledged, atMs: 10 + ms }) as StepEvent
    expect(run(unrouted, after(defaultWatch.decisionMs - 1)).stage).toBe('canary')
    expect(run(unrouted, after(defaultWatch.decisionMs)).stage).toBe('rolling_back')
  })

  it('break-glass goes to the callers of one share and never past a verdict against it', () => {
    for (const where of commandStages.promoteNow) {
      const hurried = run(at[where], say('promoteNow'))
      expect(hurried).toMatchObject({ stage: 'canary', stageIndex: 0, breakGlass: { by: 'anna' } })
      const routed = hurried.routed ? hurried : run(hurried, reports.routed)
      expect(run(routed, judged('fail')).stage).toBe('rolling_back')
    }
    const bad = { ...canaried, lastVerdict: { kind: 'fail' as const, reason: 'bad', atMs: 1 } }
    expect(advance(bad, say('promoteNow')).applied).toBe(false)
    expect(run(promoting, reports.refused).rollbackOrder?.outcome).toBe('rolled_back')
  })

  it('abort before promotion is aborted, rollback is rolled_back, and both return the baseline after it', () => {
    expect(run(opened, say('rollback')).outcome).toBe('aborted')
    expect(run(canaried, say('abort'), reports.rolled_back).outcome).toBe('aborted')
    expect(run(canaried, say('rollback'), reports.rolled_back).outcome).toBe('rolled_back')
    const wasChampion = returned(true)
    for (const name of ['abort', 'rollback'] as const)
      expect(run(probated, say(name), wasChampion).outcome).toBe('rolled_back')
    expect(run(promoting, say('abort'), wasChampion).outcome).toBe('rolled_back')
    expect(run(canaried, reports.cancelled, reports.rolled_back).outcome).toBe('aborted')
    expect(run(waiting, reports.cancelled).outcome).toBe('aborted')
  })
})
