/** Tests what one look of a stage decides beyond the counts of its arms: outcomes that are still read, break-glass, and drills. */
import { expect, it } from 'vitest'
import { budgetCode } from '../../../domain/drill.ts'
import { judge, withDrillBudget, withUnread, type Judgement } from '../../../domain/release/judge-stage.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import type { Verdict } from '../../../domain/verdict.ts'
import { advanceAll, commandEvent, releasePolicy, routedCanary } from '../../support/release/releases.ts'

it('a pass waits for the outcomes of millions of users, and a verdict against the candidate does not', () => {
  const judgement = (kind: Verdict['kind']) =>
    ({ verdict: { kind, reasons: [], statistics: {} }, inputs: {}, reason: kind }) as unknown as Judgement
  const kindOf = (kind: Verdict['kind'], isUnread?: true) =>
    withUnread(judgement(kind), { isUnread }).verdict.kind
  expect([kindOf('pass'), kindOf('pass', true), kindOf('fail', true)]).toEqual(['pass', 'no_data', 'fail'])
})

it('a break-glass release waits for neither the test of a split nor a proof, and still rolls back on a defeat', () => {
  const [split] = releasePolicy.stages
  const ab: ReleaseState = {
    ...routedCanary,
    strategy: 'ab',
    policy: {
      ...releasePolicy,
      stages: [{ ...split!, shareBp: 5_000 }],
      ab: { metric: 'errors', alpha: 0.05 },
    },
  }
  const hurried = advanceAll(ab, commandEvent('promoteNow', 'root'))
  const row = (by: string | undefined, errors: number, at: number) => ({
    version: by ?? '',
    generation: 4,
    tickMs: 100 * (at + 1),
    lengthMs: 100,
    requests: 200,
    errors,
    invalid: 0,
    slow95: 0,
    slow99: 0,
  })
  const seen = (errors: number) => ({
    counted: [0, 1, 2, 3].flatMap((at) => [row(ab.version, errors, at), row(ab.baseline, 0, at)]),
    staleMs: 0,
    watchedMs: 20,
  })
  expect(judge(ab, seen(0)).verdict.kind).toBe('inconclusive')
  expect(judge(hurried, seen(0)).verdict.kind).toBe('pass')
  expect(judge(hurried, seen(40)).verdict.kind).toBe('fail')
  // The defeat alone is enough, where no limit of the canary is passed.
  const limits = { ...releasePolicy.limits, minDelta: 0.5 }
  const { verdict } = judge({ ...hurried, policy: { ...hurried.policy, limits } }, seen(3))
  expect([verdict.kind, verdict.reasons.map(({ code }) => code)]).toEqual(['fail', ['ab_worse']])
})

it('a slow candidate in a drill on live traffic is charged to its harm budget', () => {
  const { baseline: before = '', version: candidate } = routedCanary
  const drill: ReleaseState = {
    ...routedCanary,
    drill: 'slow',
    policy: { ...releasePolicy, limits: { ...releasePolicy.limits, harmBudget: 10 } },
  }
  const seen = (slow95: number) => {
    const counts = {
      generation: 4,
      tickMs: 100,
      lengthMs: 100,
      requests: 200,
      errors: 0,
      invalid: 0,
      slow99: 0,
    }
    const counted = [
      { ...counts, version: candidate, slow95 },
      { ...counts, version: before, slow95: 8 },
    ]
    return judge(drill, { counted, staleMs: 0, watchedMs: 20 })
  }
  expect(withDrillBudget(drill, seen(10)).verdict.kind).toBe(seen(10).verdict.kind)
  expect(withDrillBudget(drill, seen(11)).verdict).toMatchObject({
    kind: 'fail',
    reasons: [{ code: budgetCode, values: { harmed: 11, harmBudget: 10 } }],
  })
  expect(withDrillBudget({ ...drill, drill: 'bad' }, seen(11)).verdict.kind).toBe(seen(11).verdict.kind)
})
