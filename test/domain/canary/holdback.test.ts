/** Tests how the matured outcomes of a new champion are compared with those of its holdback. */
import { outputNames } from '@tenure/predictors/features'
import { describe, expect, it } from 'vitest'
import {
  blocksOf,
  isHoldbackNoBetter,
  judgeHoldback,
  lossCounter,
  lossOf,
  scoredAlike,
} from '../../../domain/canary/holdback.ts'
import type { Output, OutcomeValue } from '../../../domain/tasks/output.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import { drawsOf, meanOf, seededRandom } from '@tenure/sequential'
import { maturedAnswers, type AnsweredUser } from '../../support/release/matured-answers.ts'

const output: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 }

/** Generates one user per minute, whose outcome arrives ten minutes later; every twentieth user is in the holdback. */
function lived(users: number, candidate: (truth: number) => number, control: (truth: number) => number) {
  const uniform = seededRandom(5)
  return Array.from({ length: users }, (_, i): AnsweredUser => {
    const truth = Number(uniform() < 0.4)
    const arm = i % 20 === 0 ? 'control' : 'canary'
    const p = arm === 'control' ? control(truth) : candidate(truth)
    return { arm, atMs: i * 60_000, outputs: [p], value: truth, arrivedMs: i * 60_000 + 600_000 }
  })
}
const good = (truth: number) => 0.3 + 0.4 * truth
const bad = (truth: number) => 0.7 - 0.4 * truth
const evidenceOf = (answered: AnsweredUser[]) => {
  const counter = lossCounter({
    judged: { loss: 'brier', standsInFor: 'auc' },
    by: { canary: { output }, control: { output } },
    blocks: blocksOf(9_500),
  })
  maturedAnswers(answered, answered.length * 60_000)?.matured.forEach(counter.add)
  return counter.losses()!
}

describe('the holdback', () => {
  it('is compared block by block, each user once', () => {
    const evidence = evidenceOf(lived(1_000, good, good))
    expect(evidence.control.total + evidence.candidate.total).toBe(990)
    expect(drawsOf(evidence.differences)).toBe(49)
    expect(2 * meanOf(evidence.differences)! - 1).toBeCloseTo(0, 10)
    expect(judgeHoldback(evidence, 0.004, 0.001).reason).toBeNull()
  })

  it('finds a champion that has become worse than it, with its arithmetic', () => {
    const { reason } = judgeHoldback(evidenceOf(lived(1_000, bad, good)), 0.004, 0.001)
    expect(reason).toMatchObject({ code: 'holdback_quality', values: { blocks: 49 } })
    expect(reason!.message).toMatch(
      /^the mean loss \(Brier score in place of AUC\) of 940 matured outcomes is 0.49, of 50 of the holdback 0.09: worse by 0.4/,
    )
    expect(judgeHoldback(evidenceOf(lived(1_000, good, bad)), 0.004, 0.001).reason).toBeNull()
  })

  it('has no finding while outcomes are missing, or while their delay is unknown', () => {
    const answered = lived(1_000, bad, good)
    const mostly = answered.map((each, i) => (i % 3 === 0 ? { ...each, value: null } : each))
    expect(evidenceOf(mostly)).toBeUndefined()
    expect(evidenceOf(answered.slice(0, 10))).toBeUndefined()
  })

  it('is compared from four fifths of the outcomes on', () => {
    const counter = lossCounter({
      judged: { loss: 'brier' },
      by: { canary: { output }, control: { output } },
      blocks: blocksOf(9_500),
    })
    expect(counter.losses()).toBeUndefined()
    const add = (value: OutcomeValue | null) => counter.add({ arm: 'canary', atMs: 0, outputs: [0.5], value })
    for (const value of [1, 0, 1, null]) add(value)
    expect(counter.losses()).toBeUndefined()
    add(0)
    expect(counter.losses()?.candidate).toEqual({ total: 4, loss: 1 })
  })

  it('excuses lost quality where it is as bad on at least a hundred outcomes', () => {
    expect(isHoldbackNoBetter(evidenceOf(lived(3_000, bad, bad)))).toBe(true)
    expect(isHoldbackNoBetter(evidenceOf(lived(3_000, bad, good)))).toBe(false)
    expect(isHoldbackNoBetter(evidenceOf(lived(1_000, bad, bad)))).toBe(false)
  })
})

describe('the loss of an answer', () => {
  it('is the Brier score, the error of a class, or the distance of a number in its scale', () => {
    expect(lossOf({ loss: 'brier' }, { output }, { outputs: [0.7], value: true })).toBeCloseTo(0.09, 10)
    const classes: Output = { kind: 'classes', classes: ['a', 'b'] }
    expect([
      lossOf({ loss: 'accuracy' }, { output: classes }, { outputs: [0.2, 0.8], value: 'b' }),
      lossOf({ loss: 'accuracy' }, { output: classes }, { outputs: [0.2, 0.8], value: 'a' }),
    ]).toEqual([0, 1])
    expect(lossOf({ loss: 'accuracy' }, { output: classes }, { outputs: [0.2, 0.8], value: 'c' })).toBeNull()
    const number: Output = { kind: 'number' }
    expect(lossOf({ loss: 'mae' }, { output: number, scales: [8] }, { outputs: [12], value: 10 })).toBe(0.25)
    expect([
      lossOf({ loss: 'mae' }, { output: number, scales: [8] }, { outputs: [99], value: 10 }),
      lossOf({ loss: 'mae' }, { output: number }, { outputs: [99], value: 10 }),
    ]).toEqual([1, null])
  })

  it('of several numbers is the mean of their losses, each in its own scale', () => {
    const numbers: Output = { kind: 'numbers', names: ['a', 'b', 'same'] }
    const truth = { a: 10, b: 0.5, same: 1 }
    const loss = (scales: number[], value: OutcomeValue = truth) =>
      lossOf({ loss: 'mae' }, { output: numbers, scales }, { outputs: [12, 0.6, 9], value })
    expect(loss([8, 0.2, 0])).toBeCloseTo((0.25 + 0.5) / 2, 10)
    expect(loss([0, 0, 0])).toBeNull()
    expect(loss([8, 0.2, 0], { a: 10 })).toBeNull()
  })
})

describe('two versions of several numbers', () => {
  const of = (...names: string[]): Output => ({ kind: 'numbers', names })
  const even = (name: string, unit: number) =>
    numberProfile(
      name,
      Array.from({ length: 101 }, (_, i) => i * unit),
    )
  const champion = {
    output: of('near', 'far'),
    profile: { rows: 101, features: [], scores: [even('near', 1), even('far', 100)] },
  }
  /** Returns the losses of the same answer in the format of each version, with the far number off by 800: a tenth of its range. */
  const losses = (candidate: Output, outputs: number[]) => {
    const by = scoredAlike(candidate, champion)
    const truth = (output: Output) =>
      Object.fromEntries(
        outputNames(output).map((name) => [name, name === 'near' ? 20 : name === 'far' ? 3_000 : 7]),
      )
    return (
      by && [
        lossOf({ loss: 'mae' }, by.control, { outputs: [20, 3_800], value: truth(champion.output) }),
        lossOf({ loss: 'mae' }, by.canary, { outputs, value: truth(candidate) }),
      ]
    )
  }

  it.each<[string, Output, number[], number]>([
    ['in the same order', of('near', 'far'), [20, 3_800], 0.05],
    ['in another order', of('far', 'near'), [3_800, 20], 0.05],
    ['with one more', of('far', 'more', 'near'), [3_800, 0, 20], 0.05],
    ['with one under another name', of('other', 'far'), [99, 3_800], 0.1],
  ])('are scored alike in the numbers of both: %s', (_how, candidate, outputs, loss) => {
    expect(losses(candidate, outputs)).toEqual([expect.closeTo(loss, 6), expect.closeTo(loss, 6)])
  })

  it.each<[string, Output]>([
    ['other names', of('mine', 'yours')],
    ['one number', { kind: 'number' }],
  ])('are not compared with %s', (_how, candidate) => expect(losses(candidate, [1, 2])).toBeUndefined())
})
