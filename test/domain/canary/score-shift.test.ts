/** Tests the comparison of answers before outcomes arrive. */
import { describe, expect, it } from 'vitest'
import type { CanaryTick } from '../../../domain/canary/evidence.ts'
import type { PredictedAnswers } from '../../../domain/canary/predicted-answers.ts'
import { defaultCanaryPolicy, checkCanaryPolicy } from '../../../domain/canary/policy.ts'
import { judgeCanary } from '../../../domain/canary/incremental-judge.ts'
import { defaultScoreShift, scoreShift } from '../../../domain/canary/score-shift.ts'
import { seededRandom } from '@tenure/sequential'
import { needsApprover } from '../../../domain/verdict.ts'

const arm = (answers: number[]) => {
  const requests = answers.reduce((sum, n) => sum + n, 0)
  return { requests, keys: requests, errors: 0, invalid: 0, slow95: 0, slow99: 0, answers }
}
const halved = (counts: ReturnType<typeof arm>) => ({
  ...counts,
  requests: counts.requests / 2,
  keys: counts.keys / 2,
})
const tick = (
  i: number,
  canary: number[],
  control: number[],
  shareBp: number | null = 1_000,
): CanaryTick => ({
  startMs: i * 10_000,
  shareBp,
  canary: arm(canary),
  control: arm(control),
})
const stage = {
  index: 0,
  shareBp: 1_000,
  startedMs: 0,
  elapsedMs: 3_600_000,
  minMs: 600_000,
  minRequests: 100,
  last: false,
}
const judge = (ticks: CanaryTick[], more: object = {}, policy: object = {}) =>
  judgeCanary(
    { ticks, stage, staleMs: 0, answerNames: ['no', 'yes'], ...more },
    { ...defaultCanaryPolicy, srm: 'off', ...policy },
  )
/** The rows of no → no, no → yes, yes → no and yes → yes, champion → candidate. */
const predictedOf = (rows: number, counts: readonly [number, number, number, number]): PredictedAnswers => ({
  names: ['no', 'yes'],
  rows,
  cells: counts.map((count, i) => ({
    champion: i >> 1,
    candidate: i % 2,
    rows: count,
    championRight: 0,
    candidateRight: 0,
  })),
  sd: [0, 0],
  distances: [],
  blocks: { count: 7, of: 'days' },
})
const many = (n: number, canary: number[], control: number[], shareBp?: number | null) =>
  Array.from({ length: n }, (_, i) => tick(i, canary, control, shareBp))

describe('the shares of the answers', () => {
  it('that are equal leave the stage to pass', () => {
    expect(judge(many(300, [8, 2], [72, 18])).kind).toBe('pass')
  })

  it('of a shadow are reported, and nothing follows from them whatever the policy says', () => {
    const copies = many(300, [2, 8], [72, 18], null).map((each) => ({ ...each, shadow: true }))
    const shadow = { stage: { ...stage, shadow: true } }
    for (const scoreShift of [
      defaultScoreShift,
      { ...defaultScoreShift, rollbackRatio: 3 },
      { ...defaultScoreShift, action: 'rollback' },
    ]) {
      const verdict = judge(copies, shadow, { scoreShift })
      expect([verdict.kind, verdict.questions]).toEqual(['pass', undefined])
      expect(verdict.reasons.at(-1)!.message).toMatch(
        /^the answer "yes" went to 80 % of [\d,]+ users in the shadow, control 20 %/,
      )
    }
    // Nor later: a canary with equal answers passes.
    const later = many(300, [8, 2], [72, 18]).map((each, i) => ({ ...each, startMs: (300 + i) * 10_000 }))
    expect(judge([...copies, ...later]).kind).toBe('pass')
  })

  it('that moved beyond the tolerance hold the stage, and only an approver is missing', () => {
    const verdict = judge(many(300, [6, 4], [72, 18]))
    expect(verdict).toMatchObject({ kind: 'inconclusive', questions: ['score_shift'] })
    expect(needsApprover(verdict)).toBe(true)
    expect(verdict.reasons[0]!.message).toMatch(
      /^the answer "yes" went to 40 % of [\d,]+ canary users, control 20 % of [\d,]+: logE/,
    )
    expect(judge(many(300, [6, 4], [72, 18]), { accepted: ['score_shift'] }).kind).toBe('pass')
  })

  it('ask about no answer for what proves the move of another one, which is smaller than minDelta', () => {
    // The first is proven to have risen from 0.1 to 0.9 %, which is too little; the second lies 1 point above its limit of 45 %, by chance.
    const judged = judge(many(5, [9, 461, 530], [3, 900, 2_097], 2_500), {
      answerNames: ['rare', 'some', 'most'],
    })
    expect([judged.questions, judged.reasons.map(({ code }) => code)]).toEqual([undefined, ['stage_passed']])
    expect(
      judge(many(5, [30, 440, 530], [3, 900, 2_097], 2_500), { answerNames: ['rare', 'some', 'most'] })
        .questions,
    ).toEqual(['score_shift'])
  })

  it('hold the stage for a share that is nine tenths higher, and pass one within the tolerance', () => {
    expect(judge(many(300, [62, 38], [240, 60], 2_500))).toMatchObject({ questions: ['score_shift'] })
    expect(judge(many(300, [71, 29], [240, 60], 2_500)).kind).toBe('pass')
  })

  describe('that the gate has seen', () => {
    // Of 10,000 test rows the champion answers 20 % yes, and the candidate 40 %: a fourth of the champion's no.
    const predicted = predictedOf(10_000, [6_000, 2_000, 0, 2_000])
    const seen = (ticks: CanaryTick[], more: object = {}, policy: object = {}) =>
      judge(ticks, { predicted, ...more }, policy)

    it('are no question, and those beyond are, with the shares of the gate', () => {
      expect(seen(many(300, [60, 40], [240, 60], 2_500)).kind).toBe('pass')
      expect(judge(many(300, [60, 40], [240, 60], 2_500)).questions).toEqual(['score_shift'])
      const beyond = seen(many(300, [25, 75], [240, 60], 2_500))
      expect(beyond.questions).toEqual(['score_shift'])
      expect(beyond.reasons[0]!.message).toMatch(/control 80 % of [\d,]+ \(in the gate 60 % and 80 %\): logE/)
      // An equal candidate is expected too, and one that moves the other way is not.
      expect(seen(many(300, [80, 20], [240, 60], 2_500)).kind).toBe('pass')
      expect(seen(many(300, [94, 6], [240, 60], 2_500)).questions).toEqual(['score_shift'])
    })

    it('are allowed twice their deviation over the days', () => {
      const moved = many(300, [25, 75], [240, 60], 2_500)
      expect(seen(moved, { predicted: { ...predicted, sd: [0.3, 0.3] } }).kind).toBe('pass')
    })

    it('are expected at the answers that the champion gives now', () => {
      // Of the champion's no a fourth becomes yes, however rare its yes is: a ratio of 27.
      expect(seen(many(300, [73, 27], [297, 3], 2_500)).kind).toBe('pass')
      expect(judge(many(300, [73, 27], [297, 3], 2_500)).questions).toEqual(['score_shift'])
      expect(seen(many(300, [40, 60], [297, 3], 2_500)).questions).toEqual(['score_shift'])
    })

    it('say nothing where fewer than 200 of the test rows count, which is told and not asked', () => {
      const few = predictedOf(400, [390, 6, 0, 4])
      const moved = many(300, [98, 2], [150, 150], 2_500)
      const verdict = judge(moved, { predicted: few })
      expect([verdict.kind, verdict.questions]).toEqual(['pass', undefined])
      expect(verdict.statistics['scoreShiftEffectiveRows']).toBeLessThan(200)
      expect(verdict.reasons.at(-1)!.message).toMatch(
        /; not asked: the champion answers otherwise than in the gate/,
      )
      expect(judge(moved).questions).toEqual(['score_shift'])
    })

    it('are those of other bins where the names differ in number', () => {
      expect(seen(many(300, [30, 30, 30], [80, 80, 80]), { answerNames: ['a', 'b', 'c'] }).kind).toBe('pass')
    })
  })

  it('do not ask while the stage lacks its minimum time as well', () => {
    const verdict = judge(many(300, [6, 4], [72, 18]), { stage: { ...stage, elapsedMs: 1 } })
    expect(verdict.questions).toEqual(['score_shift'])
    expect(needsApprover(verdict)).toBe(false)
  })

  it('that moved by a factor ask by default, and roll back within a hundred users where the policy says so', () => {
    const moved = many(8, [2, 8], [80, 10])
    expect(judge(moved)).toMatchObject({ kind: 'inconclusive', questions: ['score_shift'] })
    const policy = { scoreShift: { ...defaultScoreShift, rollbackRatio: 3 } }
    expect(judge(moved, {}, policy)).toMatchObject({ kind: 'fail', reasons: [{ code: 'score_shift' }] })
    // An approver has accepted the shift, also at this level; a break-glass order has not.
    expect(judge(moved, { accepted: ['score_shift'] }, policy).kind).not.toBe('fail')
    expect(judge(moved, { accepted: ['score_shift'], breakGlass: true }, policy).kind).toBe('fail')
  })

  it('roll back at the tolerance where the policy says so, and never where it is off', () => {
    const moved = many(300, [6, 4], [72, 18])
    const rollback = { scoreShift: { ...defaultScoreShift, action: 'rollback' } }
    expect(judge(moved, {}, rollback).kind).toBe('fail')
    expect(judge(moved, {}, { scoreShift: 'off' }).kind).toBe('pass')
  })

  it('count fewer answers as well as more', () => {
    expect(judge(many(300, [95, 5], [720, 180])).questions).toEqual(['score_shift'])
  })

  it('that differ by less than the smallest difference never count', () => {
    const rare = many(3_000, [995, 5], [9_980, 20])
    expect(judge(rare).kind).toBe('pass')
  })

  it('begin anew at each share, because each user then counts again', () => {
    const shift = scoreShift(defaultScoreShift, 0.004)
    for (let i = 0; i < 100; i++) shift.add(tick(i, [8, 2], [72, 18], 500))
    const before: Record<string, number | null> = {}
    shift.describe(before)
    for (let i = 100; i < 101; i++) shift.add(tick(i, [8, 2], [72, 18], 1_000))
    const after: Record<string, number | null> = {}
    shift.describe(after)
    expect(after['scoreShiftThreshold']! - before['scoreShiftThreshold']!).toBeCloseTo(Math.log(3), 10)
  })

  it('count from the tick at which the evidence reaches the threshold of half the α at the first share', () => {
    const shift = scoreShift(defaultScoreShift, 0.004)
    for (let i = 0; i < 300 && shift.question(undefined) === null; i++) shift.add(tick(i, [6, 4], [72, 18]))
    const { logE, threshold } = shift.question(undefined)!.values
    expect(threshold).toBeCloseTo(Math.log(2 / 0.004) + Math.log(2), 10)
    expect(Number(logE)).toBeGreaterThanOrEqual(Number(threshold))
  })

  it('say nothing in ticks in which one arm has no answers, or none are counted', () => {
    const [all, none] = [scoreShift(defaultScoreShift, 0.004), scoreShift(defaultScoreShift, 0.004)]
    const alone = tick(0, [0, 50], [0, 0])
    for (let i = 0; i < 300; i++) {
      all.add({ ...alone, startMs: i })
      all.add(tick(i, [8, 2], [72, 18]))
      none.add({ ...alone, control: { ...alone.control, answers: undefined } })
      none.add({ ...alone, canary: { ...alone.canary, answers: undefined } })
    }
    const told: Record<string, number | null> = {}
    all.describe(told)
    expect(told['scoreShiftLogE']).toBeLessThan(0)
    expect([all.question(undefined), none.question(undefined)]).toEqual([null, null])
  })

  it('leave out a tick in which the share changed, and ticks that count other bins in one arm', () => {
    const ticks = [
      ...many(50, [8, 2], [72, 18]),
      ...many(200, [0, 10], [90, 0], null).map((each, i) => ({ ...each, startMs: (50 + i) * 10_000 })),
    ]
    expect(judge(ticks).kind).toBe('pass')
    expect(judge(many(300, [0, 10], [30, 30, 30])).kind).toBe('pass')
  })

  it('of users that always get the same answer act on at most α of 400 good releases', () => {
    const uniform = seededRandom(3)
    let acted = 0
    for (let run = 0; run < 400; run++) {
      const shift = scoreShift(defaultScoreShift, 0.05)
      const users = Array.from({ length: 400 }, () => ({ place: uniform(), yes: uniform() < 0.3 }))
      let at = 0
      for (const share of [0.05, 0.1, 0.25, 0.5]) {
        // Every user returns once per stage, over eight ticks.
        for (let part = 0; part < 8; part++) {
          const [canary, control] = [
            [0, 0],
            [0, 0],
          ]
          for (let i = part; i < users.length; i += 8)
            (users[i]!.place < share ? canary : control)[users[i]!.yes ? 1 : 0]!++
          shift.add(tick(at++, canary!, control!, share * 10_000))
        }
      }
      if (shift.question(undefined) !== null || shift.finding(undefined) !== null) acted++
    }
    expect(acted).toBeLessThanOrEqual(20)
  })

  it('of several numbers count each key once for every number, and name the one that moved', () => {
    const answerNames = ['near below 1', 'near from 1', 'far below 9', 'far from 9']
    const keyed = (ticks: CanaryTick[]) =>
      ticks.map((each) => ({
        ...each,
        canary: halved(each.canary as never),
        control: halved(each.control as never),
      }))
    const moved = keyed(many(300, [5, 5, 6, 4], [45, 45, 72, 18]))
    const verdict = judge(moved, { answerNames, answersPerKey: 2 })
    expect(verdict.questions).toEqual(['score_shift'])
    expect(verdict.reasons[0]!.message).toMatch(
      /^the answer "far (from|below) 9" went to (40|60) % of [\d,]+ canary users, control (20|80) % of [\d,]+: logE/,
    )
    const same = keyed(many(300, [5, 5, 8, 2], [45, 45, 72, 18]))
    expect(judge(same, { answerNames, answersPerKey: 2 }).kind).toBe('pass')
    // Without the limit there would be more answers than requests.
    expect(judge(same, { answerNames }).kind).toBe('error')
  })

  it('make a tick unreadable when they are more than its requests', () => {
    const bad = tick(0, [1, 1], [1, 1])
    bad.canary.requests = 1
    bad.canary.keys = 1
    expect(judge([bad])).toMatchObject({ kind: 'error' })
  })
})

describe('a policy', () => {
  it('names an invalid limit of the answers', () => {
    const issues = checkCanaryPolicy({
      ...defaultCanaryPolicy,
      scoreShift: { tolerance: 0, minDelta: 1, action: 'no' as never, rollbackRatio: 1 },
      disagreement: { max: 1, action: 'no' as never },
    })
    expect(issues).toEqual([
      'scoreShift.tolerance is 0, it must be above 0',
      'scoreShift.minDelta is 1, it must lie between 0 and 1',
      'scoreShift.action is one of ask, rollback, not no',
      'scoreShift.rollbackRatio is 1, it must be above 1 + tolerance, or be null',
      'disagreement.max is 1, it must lie between 0 and 1',
      'disagreement.action is one of ask, rollback, not no',
    ])
  })
})

describe('the shares of the traffic', () => {
  it('are compared by routing key, so that the burst of one user is one draw', () => {
    const burst = many(300, [8, 2], [72, 18]).map((each, i) =>
      i < 40 ? { ...each, canary: { ...each.canary, requests: 60 } } : each,
    )
    const srm = { srm: { alpha: 0.001, tolerance: 0, designEffect: 1 } }
    expect(judge(burst, {}, srm).kind).toBe('pass')
    const without = burst.map((each) => ({ ...each, canary: { ...each.canary, keys: undefined } }))
    expect(judge(without, {}, srm).reasons[0]!.code).toBe('srm')
  })
})
