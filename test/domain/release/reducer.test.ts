/** The state machine: every pair of stage and event, and the way to promotion or back. */
import { describe, expect, it } from 'vitest'
import { advance, legalSteps } from '../../../domain/release/reducer.ts'
import { commandStages } from '../../../domain/release/commands.ts'
import { isError } from '../../../domain/errors.ts'
import { nextEffect, routePlan } from '../../../domain/release/next-effect.ts'
import type { StepEvent } from '../../../domain/release/events.ts'
import {
  commandNames,
  issuesOfOpening,
  openingState,
  releaseOutcomes,
  releaseStages,
  type ReleaseState,
} from '../../../domain/release/state.ts'
import { whyWaiting } from '../../../domain/release/explain.ts'
import {
  at,
  canaried,
  canary,
  ended,
  facts,
  firstFacts,
  judged,
  opened,
  policy,
  probated,
  probation,
  promoting,
  reports,
  returned,
  rolling,
  run,
  say,
  second,
  shadow,
  shadowed,
  stages,
  undecided,
  waiting,
} from '../../support/release/releases.ts'

describe('every pair of stage and event', () => {
  it('the states of this table stand where they say', () => {
    for (const name of stages) expect(at[name].stage).toBe(name)
  })

  it.each(stages.flatMap((where) => commandNames.map((name) => [where, name] as const)))(
    'a person in %s says %s',
    (where, name) => {
      const { state, applied, message } = advance(at[where], say(name, 'carl'))
      const may = commandStages[name].includes(where) && !(name === 'resume' && where !== 'awaiting_decision')
      expect(applied).toBe(may)
      expect(message).toMatch(/\w{3}/)
      if (applied) expect(state.revision).toBe(at[where].revision + 1)
      else expect(state).toBe(at[where])
    },
  )

  it.each(
    stages.flatMap((where) =>
      Object.keys(reports).map((kind) => [where, kind as StepEvent['kind']] as const),
    ),
  )('in %s the report %s', (where, kind) => {
    const unrouted = kind === 'routed' || kind === 'unacknowledged'
    const state = unrouted ? { ...at[where], routed: false } : at[where]
    const paused = kind === 'timed_out' ? { ...state, paused: true } : state
    if (!legalSteps[where].includes(kind)) {
      const found = (() => {
        try {
          return advance(paused, reports[kind])
        } catch (error) {
          return error
        }
      })()
      expect(isError(found, 'invalid_transition')).toBe(true)
      expect((found as Error).message).toContain(where)
      expect((found as Error).message).toContain(kind)
    } else expect(advance(paused, reports[kind]).message).toMatch(/\w{3}/)
  })

  it.each([
    ['a routing reported twice', shadowed, reports.routed],
    ['a routing missed after it was acknowledged', shadowed, reports.unacknowledged],
    ['a verdict on a stage that is not routed', shadow, judged('pass')],
    ['a time-out of a stage that nobody paused', shadowed, reports.timed_out],
    [
      'a return that nobody ordered',
      { ...rolling, rollbackOrder: undefined } as unknown as ReleaseState,
      reports.rolled_back,
    ],
  ])('%s is a defect and says so', (_name, state, event) => {
    expect(() => advance(state, event)).toThrow(expect.objectContaining({ code: 'invalid_transition' }))
  })
})

describe('the way to promotion', () => {
  it('goes by two approvals, shadow, two shares, promotion and probation', () => {
    expect(waiting.stage).toBe('awaiting_approval')
    expect(run(waiting, say('approve')).stage).toBe('awaiting_approval')
    expect([shadow.stage, shadow.shareBp]).toEqual(['shadow', 10_000])
    expect([canary.stage, canary.stageIndex, canary.shareBp]).toEqual(['canary', 0, 100])
    expect([second.stage, second.stageIndex, second.shareBp]).toEqual(['canary', 1, 2_500])
    expect([probation.stage, probation.shareBp, probation.promoted]).toEqual(['probation', 9_500, true])
    expect([ended.outcome, ended.shareBp]).toEqual(['promoted', 10_000])
    expect(run(ended, reports.closed).closed).toBe(true)
    expect(nextEffect(run(ended, reports.closed)).kind).toBe('none')
  })

  it('is direct for the first version of a model, which needs an approval', () => {
    const first = openingState(firstFacts, 0)
    expect(first.strategy).toBe('direct')
    const approved = run(first, reports.qualified, say('approve'), say('approve', 'ben'))
    expect(approved.stage).toBe('promoting')
    expect(run(approved, reports.promoted).outcome).toBe('promoted')
    const without = { ...policy, approval: { approvers: 0, withinMs: 1 } }
    expect(issuesOfOpening({ ...firstFacts, policy: without })).toHaveLength(1)
    expect(issuesOfOpening({ ...facts, policy: without })).toEqual([])
    expect(run(openingState({ ...facts, policy: without }, 0), reports.qualified).stage).toBe('shadow')
    expect(advance(run(first, reports.qualified), say('promoteNow')).applied).toBe(false)
  })

  it('without a probation keeps the champion of before loaded at every moment', () => {
    const { probation: _probation, ...without } = policy
    const direct = openingState({ ...facts, policy: { ...without, strategy: 'direct' } }, 0)
    const warming = run(direct, reports.qualified, say('approve'), say('approve', 'ben'))
    expect(routePlan(warming)?.arms.map(({ version, shareBp }) => [version, shareBp])).toEqual([
      ['m_v1.1.0', 0],
      ['m_v1.0.0', 10_000],
    ])
    expect(routePlan(run(warming, reports.routed))).toEqual({
      arms: [{ arm: 'champion', version: 'm_v1.1.0', shareBp: 10_000 }],
      proven: 'm_v1.1.0',
      standby: 'm_v1.0.0',
    })
  })

  it('may not be opened for the champion itself, a drill without one, or a hotfix that nothing watches', () => {
    expect(issuesOfOpening({ ...facts, version: 'm_v1.0.0' })).toEqual(['m_v1.0.0 is champion already'])
    expect(issuesOfOpening({ ...firstFacts, drill: 'nan' })).toHaveLength(1)
    const hotfix = { by: 'anna', atMs: 0, reason: 'it is down' }
    expect(issuesOfOpening({ ...facts, hotfix })).toEqual([])
    expect(issuesOfOpening({ ...facts, hotfix, policy: { ...policy, stages: [] } })).toHaveLength(1)
  })

  it('of blue_green waits until every replica has loaded it, and then goes straight to probation', () => {
    const { shadow: _none, ...rest } = policy
    const blue = openingState({ ...facts, policy: { ...rest, strategy: 'blue_green' } }, 0)
    const warming = run(blue, reports.qualified, say('approve'), say('approve', 'ben'))
    expect([warming.stage, nextEffect(warming).kind]).toEqual(['promoting', 'route'])
    expect(routePlan(warming)?.arms).toEqual([
      { arm: 'canary', version: 'm_v1.1.0', shareBp: 0 },
      { arm: 'champion', version: 'm_v1.0.0', shareBp: 10_000 },
    ])
    expect(whyWaiting(warming)).toMatch(/Every replica is loading m_v1\.1\.0/)
    const warm = run(warming, reports.routed)
    expect([nextEffect(warm).kind, routePlan(warm)?.arms[0]]).toEqual([
      'promote',
      { arm: 'champion', version: 'm_v1.1.0', shareBp: 9_500 },
    ])
    expect(run(warm, reports.promoted)).toMatchObject({ stage: 'probation', promoted: true })
    const deaf = run(warming, { ...reports.unacknowledged, atMs: 10 ** 9 } as StepEvent)
    expect(deaf).toMatchObject({ stage: 'rolling_back', rollbackOrder: { withdraw: false } })
  })

  it('of rolling gives whole replicas to the candidate', () => {
    const rollingWay = run(
      openingState({ ...facts, policy: { ...policy, strategy: 'rolling' } }, 0),
      reports.qualified,
      say('approve'),
      say('approve', 'ben'),
      reports.routed,
      judged('pass'),
    )
    expect(rollingWay.stage).toBe('canary')
    expect(routePlan(rollingWay)).toMatchObject({ byReplica: true })
    expect(routePlan(canary)).not.toMatchObject({ byReplica: expect.anything() })
  })

  it('of shadow ends by proof on paired answers where that is asked for, and without evidence by policy', () => {
    const nonInferiority = { margin: 0.02, logE: 3 }
    const proven = { ...policy, strategy: 'shadow' as const, limits: { ...policy.limits, nonInferiority } }
    const way = (changes: Partial<typeof policy>, verdict: 'pass' | 'inconclusive') =>
      run(
        openingState({ ...facts, policy: { ...proven, ...changes } }, 0),
        reports.qualified,
        say('approve'),
        say('approve', 'ben'),
        reports.routed,
        judged(verdict),
      )
    expect(way({}, 'pass').stage).toBe('promoting')
    expect(way({ whenPassed: 'ask' }, 'pass').stage).toBe('awaiting_decision')
    expect(way({}, 'inconclusive').stage).toBe('awaiting_decision')
    const ends = way({ whenInconclusive: 'end' }, 'inconclusive')
    expect(ends.rollbackOrder).toMatchObject({ outcome: 'expired', withdraw: false })
    expect(run(ends, reports.rolled_back)).toMatchObject({ outcome: 'expired' })
  })

  it('of shadow asks a person where nothing is proven', () => {
    const dark = openingState({ ...facts, policy: { ...policy, strategy: 'shadow' } }, 0)
    const seen = run(
      dark,
      reports.qualified,
      say('approve'),
      say('approve', 'ben'),
      reports.routed,
      judged('pass'),
    )
    expect([seen.stage, seen.undecidedStage]).toEqual(['awaiting_decision', 'shadow'])
    expect(run(seen, say('approve', 'carl')).stage).toBe('promoting')
  })
})

describe('what speaks against a candidate', () => {
  it.each(['shadow', 'canary', 'awaiting_decision', 'probation'] as const)(
    'in %s, also while paused, takes it back and withdraws it',
    (where) => {
      for (const state of [at[where], run(at[where], say('pause'))]) {
        const back = run(state, judged('fail', false))
        expect(back.rollbackOrder).toEqual({ outcome: 'rolled_back', reason: 'it is fail', withdraw: true })
        const done = run(back, returned(state.promoted))
        expect([done.stage, done.outcome, done.shareBp]).toEqual(['ended', 'rolled_back', 0])
      }
    },
  )

  it('no data and unreadable evidence take it back at the deadline, with their own reason, and only then', () => {
    for (const verdict of ['no_data', 'error'] as const) {
      expect(advance(canaried, judged(verdict, false)).applied).toBe(false)
      const back = run(canaried, judged(verdict))
      expect(back.rollbackOrder).toMatchObject({ outcome: 'rolled_back', withdraw: false })
      expect(back.rollbackOrder?.reason).toMatch(verdict === 'no_data' ? /no data/ : /could not be read/)
    }
  })

  it('too little evidence at the deadline asks a person, whose silence takes it back', () => {
    expect(undecided.undecidedStage).toBe('canary')
    expect(run(undecided, say('approve', 'carl'))).toMatchObject({
      stage: 'canary',
      stageIndex: 1,
      routed: false,
    })
    expect(run(undecided, say('resume'))).toMatchObject({
      stage: 'canary',
      stageIndex: 0,
      routed: true,
      extensions: 1,
    })
    expect(run(undecided, say('reject')).rollbackOrder?.outcome).toBe('rolled_back')
    expect(run(undecided, reports.timed_out).rollbackOrder?.reason).toMatch(/nobody decided/)
    const last = run(probated, judged('inconclusive'))
    expect(last.undecidedStage).toBe('probation')
    expect(advance(last, say('promoteNow')).applied).toBe(false)
    expect(run(last, say('approve', 'carl')).outcome).toBe('promoted')
  })

  it('a replica that cannot follow blocks the stage by name, until the deadline', () => {
    const blocked = run(canary, reports.unacknowledged)
    expect(blocked).toMatchObject({ stage: 'canary', blockedBy: ['r1 is deaf'], attempts: 1, generation: 4 })
    expect(whyWaiting(blocked)).toContain('r1 is deaf')
    expect(nextEffect(blocked).key).not.toBe(nextEffect(canary).key)
    const late = run(blocked, { ...reports.unacknowledged, atMs: canary.enteredMs + 1_000 } as StepEvent)
    expect(late.rollbackOrder?.reason).toContain('r1 is deaf')
  })

  it('another release takes its place only where the champion is still the one from before', () => {
    const ask = (over: 'unexposed' | 'exposed'): StepEvent => ({ ...reports.superseded, over }) as StepEvent
    expect(run(waiting, ask('unexposed'))).toMatchObject({
      outcome: 'superseded',
      reason: 'superseded by m_v1.2.0, asked for by olga: it is urgent',
    })
    expect(advance(canaried, ask('unexposed')).applied).toBe(false)
    for (const state of [opened, waiting, shadowed, canaried, undecided])
      expect(['ended', 'rolling_back']).toContain(run(state, ask('exposed')).stage)
    expect(run(canaried, ask('exposed'), reports.rolled_back).outcome).toBe('superseded')
    const last = run(probated, judged('inconclusive'))
    for (const state of [promoting, probation, probated, last, rolling, ended])
      expect(advance(state, ask('exposed'))).toMatchObject({ applied: false, state })
  })

  it('a drill that passes every stage is never promoted', () => {
    const drilled = (state: ReleaseState): ReleaseState => ({ ...state, drill: 'nan' })
    expect(run(drilled(second), judged('pass')).rollbackOrder).toMatchObject({ outcome: 'aborted' })
    expect(run(drilled(canaried), judged('fail')).rollbackOrder?.outcome).toBe('rolled_back')
  })

  it('a changed champion supersedes it; a step that cannot be done fails it', () => {
    expect(run(promoting, reports.stale, reports.rolled_back).outcome).toBe('superseded')
    expect(run(canaried, reports.step_failed, reports.rolled_back).outcome).toBe('failed')
    expect(run(opened, reports.step_failed).outcome).toBe('failed')
    expect(run(opened, reports.disqualified).outcome).toBe('failed')
    const again = run(rolling, reports.step_failed)
    expect([again.stage, again.attempts]).toEqual(['rolling_back', 1])
  })

  it('a champion of another schema is returned to all the same, and the reason says what does not fit', () => {
    const misfits = ['it does not read z']
    const back = run(rolling, returned(true, 'm_v1.0.0', [], misfits))
    expect(back).toMatchObject({ outcome: 'rolled_back', rollbackResult: { incompatibilities: misfits } })
    expect(back.reason).toBe(
      'it is fail; what callers of m_v1.1.0 send and read does not fit m_v1.0.0: it does not read z',
    )
  })

  it('replicas that do not return are asked again, and in the end named', () => {
    const deaf = returned(false, 'm_v1.0.0', ['r1 is deaf'])
    const once = run(rolling, deaf)
    expect([once.stage, once.attempts, once.blockedBy]).toEqual(['rolling_back', 1, ['r1 is deaf']])
    expect(run(once, reports.rolled_back).reason).toBe('it is fail')
    const given = run(rolling, deaf, deaf, deaf, deaf, deaf, deaf)
    expect(given).toMatchObject({
      stage: 'ended',
      outcome: 'rolled_back',
      rollbackResult: { acknowledgedMs: 9 },
    })
    expect(given.reason).toMatch(/not acknowledged: r1 is deaf/)
  })

  it('a first version that has become champion cannot be taken back, and the outcome says so', () => {
    const first = run(openingState(firstFacts, 0), reports.qualified, say('approve'), say('approve', 'ben'))
    const late = run(first, say('abort'), returned(true, 'm_v1.1.0'))
    expect(late.outcome).toBe('promoted')
    expect(late.reason).toMatch(/no earlier proven version/)
  })
})

it('every stage and outcome has its sentence', () => {
  for (const sentence of [...Object.values(releaseStages), ...Object.values(releaseOutcomes)])
    expect(sentence).toMatch(/^[A-Z].*\.$/)
})
