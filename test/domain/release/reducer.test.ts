/** Tests the release reducer: every pair of stage and event, and the paths to promotion and rollback. */
import { describe, expect, it } from 'vitest'
import { advance, legalSteps, commandStages, type StepEvent } from '../../../domain/release/reducer.ts'
import { isError } from '../../../domain/errors.ts'
import { nextEffect, routePlan } from '../../../domain/release/next-effect.ts'
import {
  alwaysAsks,
  commandNames,
  issuesOfOpening,
  openingState,
  releaseOutcomes,
  releaseStages,
  watchedPolicy,
  type ReleaseState,
} from '../../../domain/release/state.ts'
import { whyWaiting } from '../../../domain/release/explain.ts'
import type { Verdict } from '../../../domain/verdict.ts'
import {
  stateAt,
  routedCanary,
  enteredCanary,
  ended,
  releaseFacts,
  firstFacts,
  judgedEvent,
  opened,
  releasePolicy,
  probated,
  probation,
  promoting,
  stepEvents,
  rolledBackEvent,
  rollingBackState,
  advanceAll,
  commandEvent,
  second,
  enteredShadow,
  routedShadow,
  stages,
  undecided,
  waiting,
} from '../../support/release/releases.ts'

describe('every pair of stage and event', () => {
  it('the states of this table have their declared stage', () => {
    for (const name of stages) expect(stateAt[name].stage).toBe(name)
  })

  it.each(stages.flatMap((where) => commandNames.map((name) => [where, name] as const)))(
    'a person in %s says %s',
    (where, name) => {
      const { state, applied, message } = advance(stateAt[where], commandEvent(name, 'carl'))
      const may =
        (commandStages[name].includes(where) && !(name === 'resume' && where !== 'awaiting_decision')) ||
        // The end is not recorded yet.
        (name === 'rollback' && where === 'ended')
      expect(applied).toBe(may)
      expect(message).toMatch(/\w{3}/)
      if (applied) expect(state.revision).toBe(stateAt[where].revision + 1)
      else expect(state).toBe(stateAt[where])
    },
  )

  it('a row from before the state that the workflow has seen returns to the baseline, in any stage', () => {
    for (const where of stages) {
      const { state } = advance(stateAt[where], stepEvents.restored)
      // Before its first request, the routes of the backup are those of the baseline.
      // An end as promoted may be undone by an order that the backup has lost.
      const isOver =
        where === 'qualifying' ||
        where === 'awaiting_approval' ||
        (where === 'ended' && stateAt.ended.outcome !== 'promoted')
      expect(state.stage).toBe(isOver ? 'ended' : 'rolling_back')
      expect(nextEffect(state).key).not.toBe(nextEffect(stateAt[where]).key)
    }
  })

  it('a release whose end is recorded accepts no command', () => {
    const { state } = advance(stateAt.ended, stepEvents.closed)
    for (const name of commandNames) expect(advance(state, commandEvent(name, 'carl')).state).toBe(state)
  })

  it.each(
    stages.flatMap((where) =>
      Object.keys(stepEvents).map((kind) => [where, kind as StepEvent['kind']] as const),
    ),
  )('in %s the report %s', (where, kind) => {
    const unrouted = kind === 'routed' || kind === 'unacknowledged'
    const state = unrouted ? { ...stateAt[where], routed: false } : stateAt[where]
    const paused = kind === 'timed_out' ? { ...state, paused: true } : state
    if (!legalSteps[where].includes(kind)) {
      const found = (() => {
        try {
          return advance(paused, stepEvents[kind])
        } catch (error) {
          return error
        }
      })()
      expect(isError(found, 'invalid_transition')).toBe(true)
      expect((found as Error).message).toContain(where)
      expect((found as Error).message).toContain(kind)
    } else expect(advance(paused, stepEvents[kind]).message).toMatch(/\w{3}/)
  })

  it.each([
    ['a routing reported twice', routedShadow, stepEvents.routed],
    ['a routing missed after it was acknowledged', routedShadow, stepEvents.unacknowledged],
    ['a verdict on a stage that is not routed', enteredShadow, judgedEvent('pass')],
    ['a time-out of a stage that is not paused', routedShadow, stepEvents.timed_out],
    [
      'a rollback without an order',
      { ...rollingBackState, rollbackOrder: undefined } as unknown as ReleaseState,
      stepEvents.rolled_back,
    ],
  ])('%s is a defect and says so', (_name, state, event) => {
    expect(() => advance(state, event)).toThrow(expect.objectContaining({ code: 'invalid_transition' }))
  })
})

describe('the path to promotion', () => {
  it('has two approvals, shadow, two shares, promotion and probation', () => {
    expect(waiting.stage).toBe('awaiting_approval')
    expect(advanceAll(waiting, commandEvent('approve')).stage).toBe('awaiting_approval')
    expect([enteredShadow.stage, enteredShadow.shareBp]).toEqual(['shadow', 10_000])
    expect([enteredCanary.stage, enteredCanary.stageIndex, enteredCanary.shareBp]).toEqual(['canary', 0, 100])
    expect([second.stage, second.stageIndex, second.shareBp]).toEqual(['canary', 1, 2_500])
    expect([probation.stage, probation.shareBp, probation.promoted]).toEqual(['probation', 9_500, true])
    expect([ended.outcome, ended.shareBp]).toEqual(['promoted', 10_000])
    expect(advanceAll(ended, stepEvents.closed).closed).toBe(true)
    expect(nextEffect(advanceAll(ended, stepEvents.closed)).kind).toBe('none')
  })

  it('asks an approver at once, and the approval answers the question for the later stages', () => {
    const asked = advance(routedCanary, {
      ...judgedEvent('inconclusive'),
      questions: ['score_shift'],
    } as never)
    expect(asked.state).toMatchObject({ stage: 'awaiting_decision', undecidedStage: 'canary' })
    expect(asked.message).toMatch(/^an approver decides: /)
    const approved = advanceAll(asked.state, commandEvent('approve'))
    expect(approved).toMatchObject({ stage: 'canary', stageIndex: 1, accepted: ['score_shift'] })
    expect(advanceAll(undecided, commandEvent('approve')).accepted).toBeUndefined()
    const ends = { ...routedCanary, policy: { ...routedCanary.policy, whenInconclusive: 'end' as const } }
    const event = { ...judgedEvent('inconclusive'), questions: ['score_shift'] } as never
    expect(advance(ends, event).state.rollbackOrder?.reason).toMatch(/^no approver is asked by the policy: /)
    // Answers that differ are no harm: no policy rolls them back.
    const asks = { ...judgedEvent('inconclusive'), questions: ['score_shift'], asks: true } as never
    expect(advance(ends, asks).state).toMatchObject({ stage: 'awaiting_decision', undecidedStage: 'canary' })
    const verdict = (...codes: string[]): Verdict => ({
      kind: 'inconclusive',
      reasons: codes.map((code) => ({ code, message: code, values: {} })),
      questions: codes.filter((code) => code !== 'minimum_requests'),
      statistics: {},
      judge: 'canary@4',
    })
    expect(alwaysAsks(ends, verdict('score_shift', 'disagreement'))).toBe(true)
    expect(alwaysAsks({ drill: 'bad' }, verdict('score_shift'))).toBe(false)
    for (const codes of [
      ['score_shift', 'minimum_requests'],
      ['score_shift', 'business_worse'],
      ['business_worse'],
    ])
      expect(alwaysAsks(ends, verdict(...codes))).toBe(false)
  })

  it('waits without a deadline for the answer to a question about answers, and rolls back at that of any other', () => {
    const asked = (...questions: string[]) =>
      advanceAll(routedCanary, { ...judgedEvent('inconclusive'), questions } as never)
    const late = { kind: 'timed_out', atMs: 1e9 } as const
    for (const questions of [['score_shift'], ['disagreement'], ['score_shift', 'disagreement']]) {
      const held = asked(...questions)
      const again = advanceAll(held, late)
      expect(again).toMatchObject({ stage: 'awaiting_decision', enteredMs: 1e9, undecidedStage: 'canary' })
      // Its workflow waits anew, with another timer.
      expect(nextEffect(again).key).not.toBe(nextEffect(held).key)
      expect(whyWaiting(again)).not.toMatch(/automatically/)
    }
    for (const questions of [['business_worse/conversion'], ['score_shift', 'external_worse/complaints']]) {
      expect(advanceAll(asked(...questions), late).stage).toBe('rolling_back')
      expect(whyWaiting(asked(...questions))).toMatch(/automatically/)
    }
  })

  it('lasts in probation as long as outcomes take, where its policy says so', () => {
    const policy = { ...releasePolicy, probation: { ...releasePolicy.probation!, coverLabels: true } }
    const late = { ...probated, policy, labelsMs: 864_000_000 }
    expect(watchedPolicy(late)).toMatchObject({ minMs: 864_000_000, deadlineMs: 864_000_900 })
    expect(watchedPolicy({ ...late, labelsMs: 50 })).toMatchObject({ minMs: 100, deadlineMs: 1_000 })
    expect(watchedPolicy({ ...late, policy: releasePolicy })).toMatchObject({ minMs: 100 })
  })

  it('is direct for the first version of a model, which needs an approval', () => {
    const first = openingState(firstFacts, 0)
    expect(first.strategy).toBe('direct')
    const approved = advanceAll(
      first,
      stepEvents.qualified,
      commandEvent('approve'),
      commandEvent('approve', 'ben'),
    )
    expect(approved.stage).toBe('promoting')
    expect(advanceAll(approved, stepEvents.promoted).outcome).toBe('promoted')
    const without = { ...releasePolicy, approval: { approvers: 0, withinMs: 1 } }
    expect(issuesOfOpening({ ...firstFacts, policy: without })).toHaveLength(1)
    expect(issuesOfOpening({ ...releaseFacts, policy: without })).toEqual([])
    expect(
      advanceAll(openingState({ ...releaseFacts, policy: without }, 0), stepEvents.qualified).stage,
    ).toBe('shadow')
    expect(advance(advanceAll(first, stepEvents.qualified), commandEvent('promoteNow')).applied).toBe(false)
  })

  it('without a probation keeps the previous champion loaded at all times', () => {
    const { probation: _probation, ...without } = releasePolicy
    const direct = openingState({ ...releaseFacts, policy: { ...without, strategy: 'direct' } }, 0)
    const warming = advanceAll(
      direct,
      stepEvents.qualified,
      commandEvent('approve'),
      commandEvent('approve', 'ben'),
    )
    expect(routePlan(warming)?.arms.map(({ version, shareBp }) => [version, shareBp])).toEqual([
      ['m_v1.1.0', 0],
      ['m_v1.0.0', 10_000],
    ])
    expect(routePlan(advanceAll(warming, stepEvents.routed))).toEqual({
      arms: [{ arm: 'champion', version: 'm_v1.1.0', shareBp: 10_000 }],
      // The candidate counts as known good when its release has ended.
      proven: 'm_v1.0.0',
      standby: 'm_v1.0.0',
    })
  })

  it('is refused for the champion itself, a drill without a champion, or a hotfix without a watcher', () => {
    expect(issuesOfOpening({ ...releaseFacts, version: 'm_v1.0.0' })).toEqual([
      'm_v1.0.0 is already champion',
    ])
    expect(issuesOfOpening({ ...firstFacts, drill: 'nan' })).toHaveLength(1)
    const hotfix = { by: 'anna', atMs: 0, reason: 'it is down' }
    expect(issuesOfOpening({ ...releaseFacts, hotfix })).toEqual([])
    expect(
      issuesOfOpening({ ...releaseFacts, hotfix, policy: { ...releasePolicy, stages: [] } }),
    ).toHaveLength(1)
  })

  it('of blue_green waits until every replica has loaded it, and then continues with probation', () => {
    const { shadow: _none, ...rest } = releasePolicy
    const blue = openingState({ ...releaseFacts, policy: { ...rest, strategy: 'blue_green' } }, 0)
    const warming = advanceAll(
      blue,
      stepEvents.qualified,
      commandEvent('approve'),
      commandEvent('approve', 'ben'),
    )
    expect([warming.stage, nextEffect(warming).kind]).toEqual(['promoting', 'route'])
    expect(routePlan(warming)?.arms).toEqual([
      { arm: 'canary', version: 'm_v1.1.0', shareBp: 0 },
      { arm: 'champion', version: 'm_v1.0.0', shareBp: 10_000 },
    ])
    expect(whyWaiting(warming)).toMatch(/Every replica is loading m_v1\.1\.0/)
    const warm = advanceAll(warming, stepEvents.routed)
    expect([nextEffect(warm).kind, routePlan(warm)?.arms[0]]).toEqual([
      'promote',
      { arm: 'champion', version: 'm_v1.1.0', shareBp: 9_500 },
    ])
    expect(advanceAll(warm, stepEvents.promoted)).toMatchObject({ stage: 'probation', promoted: true })
    const deaf = advanceAll(warming, { ...stepEvents.unacknowledged, atMs: 10 ** 9 } as StepEvent)
    expect(deaf).toMatchObject({ stage: 'rolling_back', rollbackOrder: { withdraw: false } })
  })

  it('of rolling gives whole replicas to the candidate', () => {
    const rollingWay = advanceAll(
      openingState({ ...releaseFacts, policy: { ...releasePolicy, strategy: 'rolling' } }, 0),
      stepEvents.qualified,
      commandEvent('approve'),
      commandEvent('approve', 'ben'),
      stepEvents.routed,
      judgedEvent('pass'),
    )
    expect(rollingWay.stage).toBe('canary')
    expect(routePlan(rollingWay)).toMatchObject({ byReplica: true })
    expect(routePlan(enteredCanary)).not.toMatchObject({ byReplica: expect.anything() })
  })

  it('of shadow ends by proof on paired predictions where required, and without evidence by policy', () => {
    const nonInferiority = { margin: 0.02, logE: 3 }
    const proven = {
      ...releasePolicy,
      strategy: 'shadow' as const,
      limits: { ...releasePolicy.limits, nonInferiority },
    }
    const way = (changes: Partial<typeof releasePolicy>, verdict: 'pass' | 'inconclusive') =>
      advanceAll(
        openingState({ ...releaseFacts, policy: { ...proven, ...changes } }, 0),
        stepEvents.qualified,
        commandEvent('approve'),
        commandEvent('approve', 'ben'),
        stepEvents.routed,
        judgedEvent(verdict),
      )
    expect(way({}, 'pass').stage).toBe('promoting')
    expect(way({ whenPassed: 'ask' }, 'pass').stage).toBe('awaiting_decision')
    expect(way({}, 'inconclusive').stage).toBe('awaiting_decision')
    const ends = way({ whenInconclusive: 'end' }, 'inconclusive')
    expect(ends.rollbackOrder).toMatchObject({ outcome: 'expired', withdraw: false })
    expect(advanceAll(ends, stepEvents.rolled_back)).toMatchObject({ outcome: 'expired' })
  })

  it('of shadow requires a decision of an approver without proof', () => {
    const dark = openingState({ ...releaseFacts, policy: { ...releasePolicy, strategy: 'shadow' } }, 0)
    const seen = advanceAll(
      dark,
      stepEvents.qualified,
      commandEvent('approve'),
      commandEvent('approve', 'ben'),
      stepEvents.routed,
      judgedEvent('pass'),
    )
    expect([seen.stage, seen.undecidedStage]).toEqual(['awaiting_decision', 'shadow'])
    expect(advanceAll(seen, commandEvent('approve', 'carl')).stage).toBe('promoting')
  })
})

describe('evidence against a candidate', () => {
  it.each(['shadow', 'canary', 'awaiting_decision', 'probation'] as const)(
    'in %s, also while paused, rolls it back and withdraws it',
    (where) => {
      for (const state of [stateAt[where], advanceAll(stateAt[where], commandEvent('pause'))]) {
        const back = advanceAll(state, judgedEvent('fail', false))
        expect(back.rollbackOrder).toEqual({ outcome: 'rolled_back', reason: 'it is fail', withdraw: true })
        const done = advanceAll(back, rolledBackEvent(state.promoted))
        expect([done.stage, done.outcome, done.shareBp]).toEqual(['ended', 'rolled_back', 0])
      }
    },
  )

  it('refuses the route of the next share, because the verdict was stored while an approval was on its way', () => {
    const approved = advanceAll(undecided, commandEvent('approve', 'carl'))
    expect([approved.stage, approved.stageIndex]).toEqual(['canary', 1])
    const { reason } = stepEvents.refused as { reason: string }
    expect(advanceAll(approved, stepEvents.refused).rollbackOrder).toEqual({
      outcome: 'rolled_back',
      reason,
      withdraw: true,
    })
  })

  it('no data and unreadable evidence roll it back at the deadline, with their own reason, and not earlier', () => {
    for (const verdict of ['no_data', 'error'] as const) {
      expect(advance(routedCanary, judgedEvent(verdict, false)).applied).toBe(false)
      const back = advanceAll(routedCanary, judgedEvent(verdict))
      expect(back.rollbackOrder).toMatchObject({ outcome: 'rolled_back', withdraw: false })
      expect(back.rollbackOrder?.isWithoutData).toBe(verdict === 'no_data' ? true : undefined)
      expect(back.rollbackOrder?.reason).toMatch(verdict === 'no_data' ? /no data/ : /unreadable evidence/)
    }
  })

  it('too little evidence at the deadline requires a decision, and rolls it back without one', () => {
    expect(undecided.undecidedStage).toBe('canary')
    expect(advanceAll(undecided, commandEvent('approve', 'carl'))).toMatchObject({
      stage: 'canary',
      stageIndex: 1,
      routed: false,
    })
    expect(advanceAll(undecided, commandEvent('resume'))).toMatchObject({
      stage: 'canary',
      stageIndex: 0,
      routed: true,
      extensions: 1,
    })
    expect(advanceAll(undecided, commandEvent('reject')).rollbackOrder?.outcome).toBe('rolled_back')
    expect(advanceAll(undecided, stepEvents.timed_out).rollbackOrder?.reason).toMatch(/no decision within/)
    const last = advanceAll(probated, judgedEvent('inconclusive'))
    expect(last.undecidedStage).toBe('probation')
    expect(advance(last, commandEvent('promoteNow')).applied).toBe(false)
    expect(advanceAll(last, commandEvent('approve', 'carl')).outcome).toBe('promoted')
  })

  it('a replica that cannot follow blocks the stage by name, until the deadline', () => {
    const blocked = advanceAll(enteredCanary, stepEvents.unacknowledged)
    expect(blocked).toMatchObject({ stage: 'canary', blockedBy: ['r1 is deaf'], attempts: 1, generation: 4 })
    expect(whyWaiting(blocked)).toContain('r1 is deaf')
    expect(nextEffect(blocked).key).not.toBe(nextEffect(enteredCanary).key)
    const late = advanceAll(blocked, {
      ...stepEvents.unacknowledged,
      atMs: enteredCanary.enteredMs + 1_000,
    } as StepEvent)
    expect(late.rollbackOrder?.reason).toContain('r1 is deaf')
  })

  it('another release supersedes it only while the champion is the previous one', () => {
    const ask = (over: 'unexposed' | 'exposed'): StepEvent =>
      ({ ...stepEvents.superseded, over }) as StepEvent
    expect(advanceAll(waiting, ask('unexposed'))).toMatchObject({
      outcome: 'superseded',
      reason: 'superseded by m_v1.2.0, requested by olga: it is urgent',
    })
    expect(advance(routedCanary, ask('unexposed')).applied).toBe(false)
    for (const state of [opened, waiting, routedShadow, routedCanary, undecided])
      expect(['ended', 'rolling_back']).toContain(advanceAll(state, ask('exposed')).stage)
    expect(advanceAll(routedCanary, ask('exposed'), stepEvents.rolled_back).outcome).toBe('superseded')
    const last = advanceAll(probated, judgedEvent('inconclusive'))
    for (const state of [promoting, probation, probated, last, rollingBackState, ended])
      expect(advance(state, ask('exposed'))).toMatchObject({ applied: false, state })
  })

  it('an extension after a shadow has passed adds to the earlier ones', () => {
    const policy = { ...releasePolicy, strategy: 'shadow', whenPassed: 'ask' } as const
    const extend = (state: ReleaseState, verdict: 'pass' | 'inconclusive') =>
      advanceAll(state, judgedEvent(verdict), commandEvent('resume'))
    const state = extend({ ...routedShadow, strategy: 'shadow', policy }, 'inconclusive')
    expect(nextEffect(state)).toMatchObject({ deadlineMs: 2_000 })
    expect(nextEffect(extend(state, 'pass'))).toMatchObject({ deadlineMs: 3_000 })
  })

  it('only another hotfix supersedes a hotfix', () => {
    const hotfix = { by: 'anna', atMs: 1, reason: 'a leak' }
    const ask = (over: 'unexposed' | 'exposed', more: object) =>
      ({ ...stepEvents.superseded, over, reason: '', ...more }) as StepEvent
    for (const [state, over] of [
      [waiting, 'unexposed'],
      [routedCanary, 'exposed'],
    ] as const) {
      expect(advance({ ...state, hotfix }, ask(over, { hotfix: false }))).toMatchObject({
        applied: false,
        message: 'm_v1.1.0 is a hotfix: only another hotfix supersedes it',
      })
      expect(advance({ ...state, hotfix }, ask(over, { hotfix: true })).applied).toBe(true)
    }
  })

  it('a drill that passes every stage is never promoted', () => {
    const drilled = (state: ReleaseState): ReleaseState => ({ ...state, drill: 'nan' })
    expect(advanceAll(drilled(second), judgedEvent('pass')).rollbackOrder).toMatchObject({
      outcome: 'aborted',
    })
    expect(advanceAll(drilled(routedCanary), judgedEvent('fail')).rollbackOrder?.outcome).toBe('rolled_back')
  })

  it('a changed champion supersedes it; an impossible step fails it', () => {
    expect(advanceAll(promoting, stepEvents.stale, stepEvents.rolled_back).outcome).toBe('superseded')
    expect(advanceAll(routedCanary, stepEvents.step_failed, stepEvents.rolled_back).outcome).toBe('failed')
    expect(advanceAll(opened, stepEvents.step_failed).outcome).toBe('failed')
    expect(advanceAll(opened, stepEvents.disqualified).outcome).toBe('failed')
    const again = advanceAll(rollingBackState, stepEvents.step_failed)
    expect([again.stage, again.attempts]).toEqual(['rolling_back', 1])
  })

  it('a champion of another schema is also restored, and the reason names the incompatibility', () => {
    const incompatibilities = ['it does not read z']
    const back = advanceAll(rollingBackState, rolledBackEvent(true, 'm_v1.0.0', [], incompatibilities))
    expect(back).toMatchObject({ outcome: 'rolled_back', rollbackResult: { incompatibilities } })
    expect(back.reason).toBe(
      'it is fail; what callers of m_v1.1.0 send and read does not fit m_v1.0.0: it does not read z',
    )
  })

  it('replicas that do not roll back are requested again, and named at the end', () => {
    const deaf = rolledBackEvent(false, 'm_v1.0.0', ['r1 is deaf'])
    const once = advanceAll(rollingBackState, deaf)
    expect([once.stage, once.attempts, once.blockedBy]).toEqual(['rolling_back', 1, ['r1 is deaf']])
    expect(advanceAll(once, stepEvents.rolled_back).reason).toBe('it is fail')
    const given = advanceAll(rollingBackState, deaf, deaf, deaf, deaf, deaf, deaf)
    expect(given).toMatchObject({
      stage: 'ended',
      outcome: 'rolled_back',
      rollbackResult: { acknowledgedMs: 9 },
    })
    expect(given.reason).toMatch(/not acknowledged: r1 is deaf/)
  })

  it('replicas that are cut off and may serve the candidate are not awaited, and named at the end', () => {
    const event = rolledBackEvent(true, 'm_v1.0.0') as StepEvent & { kind: 'rolled_back' }
    const cutOff = ['replica r1 on h']
    const back = advanceAll(rollingBackState, {
      ...event,
      rollbackResult: { ...event.rollbackResult, cutOff },
    })
    expect(back).toMatchObject({ stage: 'ended', outcome: 'rolled_back', rollbackResult: { cutOff } })
    expect(back.reason).toBe('it is fail; replica r1 on h is cut off and serves m_v1.1.0 if it still runs')
  })

  it('a first version that has become champion cannot be rolled back, and the outcome reports it', () => {
    const first = advanceAll(
      openingState(firstFacts, 0),
      stepEvents.qualified,
      commandEvent('approve'),
      commandEvent('approve', 'ben'),
    )
    const late = advanceAll(first, commandEvent('abort'), rolledBackEvent(true, 'm_v1.1.0'))
    expect(late.outcome).toBe('promoted')
    expect(late.reason).toMatch(/no earlier version/)
  })
})

it('every stage and outcome has a description', () => {
  for (const sentence of [...Object.values(releaseStages), ...Object.values(releaseOutcomes)])
    expect(sentence).toMatch(/^[A-Z].*\.$/)
})
