/** Tests how a run ends, by what its activities have stored: a retraining, a trial and a sweep. */
import { describe, expect, it } from 'vitest'
import {
  endingOfRetraining,
  endingOfSweep,
  endingOfTrial,
  idsOfRun,
  type JudgedRun,
  type RunFacts,
} from '../../../domain/training/runs.ts'

const run: RunFacts = {
  ...idsOfRun('r-1'),
  id: 'retrain/m/r-1',
  model: 'm',
  isCancelled: false,
  isTrained: false,
}
const judged = (verdict: JudgedRun['verdict']): JudgedRun => ({
  verdict,
  reasons: ['why'],
  needsPerson: false,
  baseline: 'm_v1.0.0',
})
const blocked = { validation: { verdict: 'block' as const, failures: ['size: 5 % are null'] } }
const warned = {
  snapshotDigest: 's',
  validation: { verdict: 'warn' as const, failures: ['size: 5 % are null'] },
}

const cases: readonly [string, Partial<RunFacts>, Record<'retraining' | 'trial' | 'sweep', string>][] = [
  ['cancelled', { isCancelled: true }, { retraining: 'cancelled', trial: 'cancelled', sweep: 'cancelled' }],
  [
    'of rows that failed a check',
    blocked,
    { retraining: 'quarantined', trial: 'quarantined', sweep: 'quarantined' },
  ],
  ['of rows that a check warns of', warned, { retraining: 'failed', trial: 'failed', sweep: 'failed' }],
  [
    'that is not better',
    { evaluation: judged('not_better') },
    { retraining: 'not_better', trial: 'judged', sweep: 'failed' },
  ],
  [
    'without enough rows',
    { evaluation: judged('insufficient') },
    { retraining: 'insufficient', trial: 'judged', sweep: 'failed' },
  ],
  [
    'whose artifact is not new',
    { unchanged: 'the same' },
    { retraining: 'unchanged', trial: 'judged', sweep: 'failed' },
  ],
  [
    'that an activity has failed',
    { failure: { message: 'no', code: 'training_failed' } },
    { retraining: 'failed', trial: 'failed', sweep: 'failed' },
  ],
  [
    'that was worse than most of its siblings',
    { failure: { message: 'no', stopped: true } },
    { retraining: 'failed', trial: 'stopped', sweep: 'failed' },
  ],
]

describe('a run', () => {
  it.each(cases)('%s ends by what is stored', (_what, facts, expected) => {
    const all = { ...run, ...facts }
    expect({
      retraining: endingOfRetraining({ ...all, approvers: 1 }).outcome,
      trial: endingOfTrial(all).outcome,
      sweep: endingOfSweep(all).outcome,
    }).toEqual(expected)
  })

  it.each<[string, Partial<RunFacts>]>([
    ['snapshot', {}],
    ['validation', { snapshotDigest: 's' }],
    ['training', warned],
    ['evaluation', { ...warned, isTrained: true }],
    ['registration', { ...warned, isTrained: true, evaluation: judged('better') }],
  ])('that stored nothing after a point names its %s', (stage, facts) => {
    const { outcome, message } = endingOfRetraining({ ...run, ...facts, approvers: 1 })
    expect([outcome, message]).toEqual(['failed', expect.stringContaining(`the ${stage} did not finish`)])
  })

  it('of rows that failed a check tells their checks in its alert', () => {
    expect(endingOfRetraining({ ...run, ...blocked, approvers: 1 })).toEqual({
      outcome: 'quarantined',
      message: 'the data failed validation: size: 5 % are null',
      alert: { validationId: 'val_r1', failures: ['size: 5 % are null'] },
    })
  })
})
