/** The state machine: every pair of stage and event, the rules for people, and what must hold in every order of events. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { advance, legalSteps } from '../../domain/advance.ts'
import { defaultCanaryPolicy } from '../../domain/canary-policy.ts'
import { commandStages } from '../../domain/commands.ts'
import { isError } from '../../domain/errors.ts'
import { nextEffect, routePlan } from '../../domain/next-effect.ts'
import { defaultWatch, type ReleasePolicy } from '../../domain/policy.ts'
import type { CommandEvent, ReleaseEvent, StepEvent } from '../../domain/release-events.ts'
import {
  commandNames,
  issuesOfOpening,
  openingState,
  releaseOutcomes,
  releaseStages,
  type CommandName,
  type ReleaseFacts,
  type ReleaseStage,
  type ReleaseState,
} from '../../domain/release.ts'
import { issuesOfRoute } from '../../domain/route.ts'
import { whyWaiting } from '../../domain/why-waiting.ts'

const stage = { minMs: 100, minRequests: 10, deadlineMs: 1_000 }
const policy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 2, withinMs: 5_000 },
  shadow: { ...stage, shareBp: 10_000 },
  stages: [
    { ...stage, shareBp: 100 },
    { ...stage, shareBp: 2_500 },
  ],
  probation: { ...stage, holdbackBp: 500 },
  watch: defaultWatch,
  limits: defaultCanaryPolicy,
}
const facts: ReleaseFacts = {
  id: 'rel_1',
  model: 'm',
  version: 'm_v1.1.0',
  baseline: 'm_v1.0.0',
  requestedBy: 'olga',
  policy,
  digests: { artifact: 'a', evaluation: 'e', policy: 'p' },
  epoch: 1,
  generation: 3,
}
const { baseline: _baseline, ...firstFacts } = facts

const say = (command: CommandName, by = 'anna', more: Partial<CommandEvent> = {}): CommandEvent => ({
  kind: 'command',
  atMs: 10,
  command,
  by,
  role: 'admin',
  inScope: true,
  reason: 'because',
  ...more,
})
const reports: Record<StepEvent['kind'], StepEvent> = {
  qualified: { kind: 'qualified', atMs: 10 },
  disqualified: { kind: 'disqualified', atMs: 10, reason: 'its weights are not finite' },
  routed: { kind: 'routed', atMs: 10, epoch: 1, generation: 4, startedMs: 9 },
  unacknowledged: { kind: 'unacknowledged', atMs: 10, epoch: 1, generation: 4, problems: ['r1 is deaf'] },
  outdated: { kind: 'outdated', atMs: 10, reason: 'the champion has changed' },
  judged: { kind: 'judged', atMs: 10, verdict: 'pass', reason: 'all well', due: false },
  promoted: { kind: 'promoted', atMs: 10, epoch: 1, generation: 5 },
  refused: { kind: 'refused', atMs: 10, reason: 'the last verdict is fail' },
  taken_back: { kind: 'taken_back', atMs: 10, champion: 'm_v1.0.0', wasChampion: false },
  closed: { kind: 'closed', atMs: 10 },
  timed_out: { kind: 'timed_out', atMs: 10 },
  step_failed: { kind: 'step_failed', atMs: 10, step: 'route', message: 'no such table' },
  cancelled: { kind: 'cancelled', atMs: 10 },
}
const judged = (verdict: 'pass' | 'fail' | 'inconclusive' | 'no_data' | 'error', due = true): StepEvent => ({
  kind: 'judged',
  atMs: 10,
  verdict,
  reason: `it is ${verdict}`,
  due,
})
const run = (state: ReleaseState, ...events: ReleaseEvent[]): ReleaseState =>
  events.reduce((now, event) => advance(now, event).state, state)

const opened = openingState(facts, 0)
const waiting = run(opened, reports.qualified)
const shadow = run(waiting, say('approve'), say('approve', 'ben'))
const shadowed = run(shadow, reports.routed)
const canary = run(shadowed, judged('pass'))
const canaried = run(canary, reports.routed)
const second = run(canaried, judged('pass'), reports.routed)
const undecided = run(canaried, judged('inconclusive'))
const promoting = run(second, judged('pass'))
const probation = run(promoting, reports.promoted)
const probated = run(probation, reports.routed)
const rolling = run(canaried, judged('fail'))
const ended = run(probated, judged('pass'))
const at: Record<ReleaseStage, ReleaseState> = {
  qualifying: opened,
  awaiting_approval: waiting,
  shadow: shadowed,
  canary: canaried,
  awaiting_decision: undecided,
  promoting,
  probation: probated,
  rolling_back: rolling,
  ended,
}
const stages = Object.keys(releaseStages) as ReleaseStage[]

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
      { ...rolling, takeBack: undefined } as unknown as ReleaseState,
      reports.taken_back,
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

  it('may not be opened for the champion itself, or by replica', () => {
    expect(issuesOfOpening({ ...facts, version: 'm_v1.0.0' })).toEqual(['m_v1.0.0 is champion already'])
    expect(issuesOfOpening({ ...facts, policy: { ...policy, strategy: 'rolling' } })).toHaveLength(1)
  })

  it('of blue_green goes straight to probation, of shadow to a person', () => {
    const blue = openingState({ ...facts, policy: { ...policy, strategy: 'blue_green' } }, 0)
    expect(run(blue, reports.qualified, say('approve'), say('approve', 'ben')).stage).toBe('promoting')
    const dark = openingState({ ...facts, policy: { ...policy, strategy: 'shadow' } }, 0)
    const seen = run(
      dark,
      reports.qualified,
      say('approve'),
      say('approve', 'ben'),
      reports.routed,
      judged('pass'),
    )
    expect([seen.stage, seen.undecided]).toEqual(['awaiting_decision', 'shadow'])
    expect(run(seen, say('approve', 'carl')).stage).toBe('promoting')
  })
})

describe('what speaks against a candidate', () => {
  it.each(['shadow', 'canary', 'awaiting_decision', 'probation'] as const)(
    'in %s, also while paused, takes it back and withdraws it',
    (where) => {
      for (const state of [at[where], run(at[where], say('pause'))]) {
        const back = run(state, judged('fail', false))
        expect(back.takeBack).toEqual({ outcome: 'rolled_back', reason: 'it is fail', withdraw: true })
        const done = run(back, { ...reports.taken_back, wasChampion: state.promoted } as StepEvent)
        expect([done.stage, done.outcome, done.shareBp]).toEqual(['ended', 'rolled_back', 0])
      }
    },
  )

  it('no data and unreadable evidence take it back at the deadline, with their own reason, and only then', () => {
    for (const verdict of ['no_data', 'error'] as const) {
      expect(advance(canaried, judged(verdict, false)).applied).toBe(false)
      const back = run(canaried, judged(verdict))
      expect(back.takeBack).toMatchObject({ outcome: 'rolled_back', withdraw: false })
      expect(back.takeBack?.reason).toMatch(verdict === 'no_data' ? /no data/ : /could not be read/)
    }
  })

  it('too little evidence at the deadline asks a person, whose silence takes it back', () => {
    expect(undecided.undecided).toBe('canary')
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
    expect(run(undecided, say('reject')).takeBack?.outcome).toBe('rolled_back')
    expect(run(undecided, reports.timed_out).takeBack?.reason).toMatch(/nobody decided/)
    const last = run(probated, judged('inconclusive'))
    expect(last.undecided).toBe('probation')
    expect(advance(last, say('promoteNow')).applied).toBe(false)
    expect(run(last, say('approve', 'carl')).outcome).toBe('promoted')
  })

  it('a replica that cannot follow blocks the stage by name, until the deadline', () => {
    const blocked = run(canary, reports.unacknowledged)
    expect(blocked).toMatchObject({ stage: 'canary', blockedBy: ['r1 is deaf'], attempts: 1, generation: 4 })
    expect(whyWaiting(blocked)).toContain('r1 is deaf')
    expect(nextEffect(blocked).key).not.toBe(nextEffect(canary).key)
    const late = run(blocked, { ...reports.unacknowledged, atMs: canary.enteredMs + 1_000 } as StepEvent)
    expect(late.takeBack?.reason).toContain('r1 is deaf')
  })

  it('a changed champion supersedes it; a step that cannot be done fails it', () => {
    expect(run(promoting, reports.outdated, reports.taken_back).outcome).toBe('superseded')
    expect(run(canaried, reports.step_failed, reports.taken_back).outcome).toBe('failed')
    expect(run(opened, reports.step_failed).outcome).toBe('failed')
    expect(run(opened, reports.disqualified).outcome).toBe('failed')
    const again = run(rolling, reports.step_failed)
    expect([again.stage, again.attempts]).toEqual(['rolling_back', 1])
  })

  it('a first version that has become champion cannot be taken back, and the outcome says so', () => {
    const first = run(openingState(firstFacts, 0), reports.qualified, say('approve'), say('approve', 'ben'))
    const late = run(first, say('abort'), { ...reports.taken_back, champion: 'm_v1.1.0' } as StepEvent)
    expect(late.outcome).toBe('promoted')
    expect(late.reason).toMatch(/no earlier proven version/)
  })
})

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
    expect(run(paused, reports.timed_out).takeBack?.reason).toMatch(/paused by anna/)
    const unrouted = run(canary, say('pause'))
    const late = { ...reports.unacknowledged, atMs: 1e9 } as StepEvent
    expect(run(unrouted, late).stage).toBe('canary')
  })

  it('break-glass goes to promotion and never past a verdict against it', () => {
    for (const where of commandStages.promoteNow)
      expect(run(at[where], say('promoteNow'))).toMatchObject({
        stage: 'promoting',
        breakGlass: { by: 'anna' },
      })
    const bad = { ...canaried, lastVerdict: { kind: 'fail' as const, reason: 'bad', atMs: 1 } }
    expect(advance(bad, say('promoteNow')).applied).toBe(false)
    expect(run(promoting, reports.refused).takeBack?.outcome).toBe('rolled_back')
  })

  it('abort before promotion is aborted, rollback is rolled_back, and both return the baseline after it', () => {
    expect(run(opened, say('rollback')).outcome).toBe('aborted')
    expect(run(canaried, say('abort'), reports.taken_back).outcome).toBe('aborted')
    expect(run(canaried, say('rollback'), reports.taken_back).outcome).toBe('rolled_back')
    const wasChampion = { ...reports.taken_back, wasChampion: true } as StepEvent
    for (const name of ['abort', 'rollback'] as const)
      expect(run(probated, say(name), wasChampion).outcome).toBe('rolled_back')
    expect(run(promoting, say('abort'), wasChampion).outcome).toBe('rolled_back')
    expect(run(canaried, reports.cancelled, reports.taken_back).outcome).toBe('aborted')
    expect(run(waiting, reports.cancelled).outcome).toBe('aborted')
  })
})

describe('in every order of events', () => {
  const verdicts = fc.constantFrom('pass', 'fail', 'inconclusive', 'no_data', 'error')
  const person = fc.record({
    kind: fc.constant('command' as const),
    atMs: fc.nat(10_000),
    command: fc.constantFrom(...commandNames),
    by: fc.constantFrom('anna', 'ben', 'olga', 'nobody'),
    role: fc.constantFrom('approver', 'operator', 'admin', 'viewer'),
    inScope: fc.constant(true),
    reason: fc.constant('because'),
  }) as fc.Arbitrary<CommandEvent>
  const report = fc.oneof(
    fc.constantFrom(...Object.values(reports)),
    fc.record({
      kind: fc.constant('judged' as const),
      atMs: fc.nat(10_000),
      verdict: verdicts,
      reason: fc.constant('so it is'),
      due: fc.boolean(),
    }) as fc.Arbitrary<StepEvent>,
  )
  // Reports of a stage are more often possible ones, so that the runs get far.
  const events = fc.array(fc.oneof({ weight: 1, arbitrary: person }, { weight: 3, arbitrary: report }), {
    maxLength: 60,
  })
  const first = fc.boolean()

  const follow = (
    isFirst: boolean,
    list: ReleaseEvent[],
    look: (now: ReleaseState, before: ReleaseState) => void,
  ) => {
    let state = openingState(isFirst ? firstFacts : facts, 0)
    for (const event of list) {
      const before = state
      try {
        state = advance(state, event).state
      } catch (error) {
        if (!isError(error, 'invalid_transition') || event.kind === 'command') throw error
        continue
      }
      look(state, before)
    }
    return state
  }

  it('no share falls before promotion, and no candidate is promoted without its approvals and verdicts', () => {
    fc.assert(
      fc.property(first, events, (isFirst, list) => {
        follow(isFirst, list, (now, before) => {
          if (now.stage === 'canary' && before.stage === 'canary')
            expect(now.shareBp).toBeGreaterThanOrEqual(before.shareBp)
          if (now.promoted && now.stage !== 'ended' && !now.breakGlass) {
            expect(new Set(now.approvals.map(({ by }) => by)).size).toBeGreaterThanOrEqual(2)
            expect(now.approvals.some(({ by }) => by === 'olga')).toBe(false)
            if (!isFirst)
              expect(now.routings.map((each) => each.stage)).toEqual(
                expect.arrayContaining(['shadow', 'canary']),
              )
          }
          if (before.stage === 'ended')
            expect([now.outcome, now.reason]).toEqual([before.outcome, before.reason])
          if (before.stage === 'rolling_back') expect(['rolling_back', 'ended']).toContain(now.stage)
        })
      }),
      { numRuns: 2_000 },
    )
  })

  it('an abort or a rollback ends it whatever came before', () => {
    fc.assert(
      fc.property(
        first,
        events,
        fc.constantFrom('abort' as const, 'rollback' as const),
        (isFirst, list, name) => {
          const state = follow(isFirst, list, () => {})
          const { state: after } = advance(state, say(name))
          expect(['rolling_back', 'ended']).toContain(after.stage)
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('every state is plain data, has its next effect, a sentence and a valid route, and every wait an end', () => {
    fc.assert(
      fc.property(first, events, (isFirst, list) => {
        follow(isFirst, list, (now) => {
          expect(JSON.parse(JSON.stringify(now))).toEqual(now)
          expect(whyWaiting(now)).toMatch(/\.$|\w$/)
          const effect = nextEffect(now)
          if (effect.kind === 'wait') expect(Number.isFinite(effect.untilMs)).toBe(true)
          if (effect.kind === 'watch') {
            expect(effect.deadlineMs).toBeGreaterThan(0)
            if (effect.hold) expect(Number.isFinite(effect.untilMs)).toBe(true)
          }
          const plan = routePlan(now)
          if (plan)
            expect(issuesOfRoute({ model: 'm', epoch: 1, generation: 1, salt: now.id, ...plan })).toEqual([])
          if ((now.outcome === undefined) !== (now.stage !== 'ended'))
            throw new Error('an outcome without an end')
        })
      }),
      { numRuns: 500 },
    )
  })
})

it('every stage and outcome has its sentence', () => {
  for (const sentence of [...Object.values(releaseStages), ...Object.values(releaseOutcomes)])
    expect(sentence).toMatch(/^[A-Z].*\.$/)
})
