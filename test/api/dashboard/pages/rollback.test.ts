/** Tests what the release page says of a rollback: whether it is complete, and why it was ordered. */
import { describe, expect, it } from 'vitest'
import {
  postMortem,
  RollbackSection,
  rollbackSteps,
} from '../../../../api/dashboard/pages/release/rollback.tsx'
import { shortReason } from '../../../../api/dashboard/labels.ts'
import { stageRows } from '../../../../api/dashboard/pages/release/stages.ts'
import { verdictLine, VerdictSection } from '../../../../api/dashboard/pages/release/verdict.tsx'
import { rollbackLines } from '../../../../cli/demo/figures.ts'
import { rollbackTime, type ReleaseState } from '../../../../domain/release/state.ts'
import { armTotal, releaseTime, subjectOf, viewer } from '../../../support/dashboard/release-subject.ts'
import {
  advanceAll,
  commandEvent,
  judgedEvent,
  probated,
  releasePolicy,
  rolledBackEvent,
  rollingBackState,
  routedCanary,
  stepEvents,
} from '../../../support/release/releases.ts'

const sentence = 'Rolled back on all replicas'
const stepsOf = (state: ReleaseState, more: object = {}): string => {
  const subject = subjectOf(state, more)
  return rollbackSteps(subject, stageRows(subject))
    .map(({ what }) => what)
    .join('\n')
}

describe('a rollback', () => {
  it('is complete once every live replica has acknowledged it', async () => {
    const state = advanceAll(rollingBackState, rolledBackEvent(false))
    expect(String(await VerdictSection({ subject: subjectOf(state), actor: viewer }))).toContain(sentence)
    expect(stepsOf(state)).toContain('every replica has dropped the candidate; m_v1.0.0 serves all traffic')
  })

  it.each([
    [{ decidedMs: 100, orderedMs: 140, acknowledgedMs: 202 }, '102 ms, counted from the verdict'],
    [{ orderedMs: 140, acknowledgedMs: 202 }, '62 ms, counted from the order'],
  ])('says what its time counts from: %o', async (times, told) => {
    const state = advanceAll(rollingBackState, rolledBackEvent(false))
    const timed = { ...state, rollbackResult: { ...state.rollbackResult!, ...times } }
    expect(String(await VerdictSection({ subject: subjectOf(timed), actor: viewer }))).toContain(
      `${sentence} in ${told}`,
    )
    const demo = { harmed: 1, canaryRequests: 2, noticedMs: 3, lastAnswerMs: 0 }
    const lines = rollbackLines({ ...demo, dropped: rollbackTime(timed.rollbackResult) })
    expect(lines[2]).toBe(`Rolled back in        ${told}`)
  })

  it('that a live replica never acknowledged is not said to be complete', async () => {
    const problem = 'replica r1 on h1 is at generation 4'
    const state = Array.from({ length: 6 }).reduce(
      (now: ReleaseState) => advanceAll(now, rolledBackEvent(false, 'm_v1.0.0', [problem])),
      rollingBackState,
    )
    expect(state).toMatchObject({ outcome: 'rolled_back', rollbackResult: { unacknowledged: [problem] } })
    expect(String(await VerdictSection({ subject: subjectOf(state), actor: viewer }))).not.toContain(sentence)
    expect(stepsOf(state)).toContain(`not acknowledged: ${problem}`)
    expect(stepsOf(state)).not.toContain('every replica')
  })

  it('after which the candidate stays champion is not said to be complete', async () => {
    const state = advanceAll(probated, judgedEvent('fail'), rolledBackEvent(true, probated.version))
    expect(state.outcome).toBe('promoted')
    expect(String(await VerdictSection({ subject: subjectOf(state), actor: viewer }))).not.toContain(sentence)
    expect(stepsOf(state)).not.toContain('every replica')
  })

  it('by a user is not told as the verdict of an earlier unreadable look', () => {
    const order = commandEvent('rollback', 'ada')
    const state = advanceAll(routedCanary, order, rolledBackEvent(false), stepEvents.closed)
    const reasons = [{ code: 'unreadable', message: 'staleMs is -3', values: {} }]
    const verdicts = [{ id: 1, at: releaseTime(5), stage: 'canary', stageIndex: 0, kind: 'error', reasons }]
    expect(stepsOf(state, { verdicts })).toContain('rollback ordered: rolled back by ada')
    expect(stepsOf(state, { verdicts })).not.toContain('verdict')
  })

  it('by a user is told once in the timeline, and without the words of the badge in the first line', () => {
    const order = commandEvent('rollback', 'ada')
    const state = advanceAll(routedCanary, order, rolledBackEvent(false), stepEvents.closed)
    expect(verdictLine(subjectOf(state))).toMatchObject({ word: 'rolled back', why: 'by ada: because' })
    const command = {
      actor: 'ada',
      command: 'rollback',
      stage: 'canary',
      accepted: true,
      message: state.reason,
    }
    const commands = [{ id: 'c1', at: releaseTime(5), ...command }]
    expect(stepsOf(state, { commands }).match(/rolled back by ada/g)).toHaveLength(1)
  })

  it('counts what targeted callers received in later stages', async () => {
    const target = { header: { name: 'x-preview', value: 'on' } }
    const state: ReleaseState = {
      ...rollingBackState,
      policy: { ...releasePolicy, targeted: { ...releasePolicy.stages[0]!, target } },
      stage: 'ended',
      outcome: 'rolled_back',
      reason: 'it is bad',
      routings: [
        { stage: 'targeted', stageIndex: 0, generation: 5, shareBp: 0, startedMs: 10 },
        { stage: 'canary', stageIndex: 0, generation: 6, shareBp: 100, startedMs: 20 },
      ],
    }
    const arms = [
      armTotal(5, state.version, 'targeted', 12),
      armTotal(6, state.version, 'canary', 4),
      armTotal(6, state.version, 'targeted', 30, 10),
      armTotal(6, 'm_v1.0.0', 'champion', 400),
    ]
    const subject = subjectOf(state, { arms })
    const html = String(await RollbackSection({ subject, stages: stageRows(subject) }))
    expect(html).toContain('In all stages, callers received 46 responses of the candidate; 10 failed')
    expect(postMortem(subject)).toContain(
      'In all stages, 46 responses of the candidate reached callers, 10 of them failed',
    )
  })

  it('of a drill was expected, and there is nothing to mend', async () => {
    const state: ReleaseState = { ...rollingBackState, stage: 'ended', outcome: 'rolled_back' }
    const told = async (of: ReleaseState) => {
      const subject = subjectOf(of)
      return String(await RollbackSection({ subject, stages: stageRows(subject) }))
    }
    expect(await told(state)).toContain('Try again after a fix')
    const drill = await told({ ...state, drill: 'nan' })
    expect(drill).toContain('this rollback was expected')
    expect(drill).not.toContain('Try again after a fix')
  })

  it('has one figure, that of its stage, in the first line, the timeline, the lists and the post-mortem', async () => {
    const figure = '5 of 19 canary requests invalid (26.3 %), control 0 %'
    const verdicts = [
      {
        id: 1,
        at: releaseTime(5),
        stage: 'canary' as const,
        stageIndex: 0,
        kind: 'fail' as const,
        reasons: [{ code: 'invalid_rate', message: `${figure}: logE 7.9 ≥ 4.6`, values: {} }],
        statistics: {},
      },
    ]
    const state: ReleaseState = {
      ...rollingBackState,
      stage: 'ended',
      outcome: 'rolled_back',
      reason: figure,
    }
    const arms = [armTotal(4, 'm_v1.1.0', 'canary', 35, 12), armTotal(4, 'm_v1.0.0', 'champion', 900)]
    const subject = subjectOf(state, { arms, verdicts })
    const shown = String(await RollbackSection({ subject, stages: stageRows(subject) }))
    const draft = postMortem(subject)
    expect(verdictLine(subject).why).toBe(figure)
    expect(shortReason(state.reason!)).toBe(figure)
    for (const text of [shown, draft]) {
      expect(text).toContain(figure)
      expect(text).not.toContain('34.3 %')
    }
    expect(shown).toContain('In all stages, callers received 35 responses of the candidate; 12 failed.')
    expect(draft).toContain('In all stages, 35 responses of the candidate reached callers, 12 of them failed')
  })
})

it('a release that has ended says what it left as champion, and nothing of the present', async () => {
  const shown = async (state: ReleaseState) =>
    String(await VerdictSection({ subject: subjectOf(state), actor: viewer }))
  const rolledBack = await shown(advanceAll(rollingBackState, rolledBackEvent(false), stepEvents.closed))
  expect(rolledBack).toContain('Left m_v1.0.0 as champion')
  const promoted = await shown(advanceAll(probated, judgedEvent('pass'), stepEvents.closed))
  expect(promoted).toContain('Left m_v1.1.0 as champion')
  for (const text of [rolledBack, promoted]) expect(text).not.toContain('Serving')
})
