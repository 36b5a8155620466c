/** Tests the invariants of the release reducer in thousands of random orders of events. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  advance,
  type CommandEvent,
  type ReleaseEvent,
  type StepEvent,
} from '../../../domain/release/reducer.ts'
import { isError } from '../../../domain/errors.ts'
import { nextEffect, routePlan } from '../../../domain/release/next-effect.ts'
import { commandNames, openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { issuesOfRoute } from '../../../domain/serving/route.ts'
import { whyWaiting } from '../../../domain/release/explain.ts'
import { releaseFacts, firstFacts, stepEvents, commandEvent } from '../../support/release/releases.ts'

describe('for every order of events', () => {
  const verdicts = fc.constantFrom('pass', 'fail', 'inconclusive', 'no_data', 'error')
  const person = fc.record({
    kind: fc.constant('command' as const),
    atMs: fc.nat(10_000),
    command: fc.constantFrom(...commandNames),
    by: fc.constantFrom('anna', 'ben', 'olga', 'unknown'),
    role: fc.constantFrom('approver', 'operator', 'admin', 'viewer'),
    inScope: fc.constant(true),
    reason: fc.constant('because'),
  }) as fc.Arbitrary<CommandEvent>
  const report = fc.oneof(
    fc.constantFrom(...Object.values(stepEvents)),
    fc.record({
      kind: fc.constant('judged' as const),
      atMs: fc.nat(10_000),
      verdict: verdicts,
      reason: fc.constant('so it is'),
      due: fc.boolean(),
    }) as fc.Arbitrary<StepEvent>,
  )
  // Possible reports of a stage are more frequent, so that the runs reach late stages.
  const events = fc.array(fc.oneof({ weight: 1, arbitrary: person }, { weight: 3, arbitrary: report }), {
    maxLength: 60,
  })
  const first = fc.boolean()

  const follow = (
    isFirst: boolean,
    list: ReleaseEvent[],
    look: (now: ReleaseState, before: ReleaseState, event: ReleaseEvent) => void,
  ) => {
    let state = openingState(isFirst ? firstFacts : releaseFacts, 0)
    for (const event of list) {
      const before = state
      try {
        state = advance(state, event).state
      } catch (error) {
        if (!isError(error, 'invalid_transition') || event.kind === 'command') throw error
        continue
      }
      look(state, before, event)
    }
    return state
  }

  it('no share falls before promotion, and no candidate is promoted without its approvals and verdicts', () => {
    fc.assert(
      fc.property(first, events, (isFirst, list) => {
        follow(isFirst, list, (now, before, event) => {
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
          if (now.promoted && now.breakGlass)
            expect(now.routings.map((each) => each.stage)).toContain('canary')
          // Until its end is recorded, a user can still roll it back.
          const isRollback = event.kind === 'command' && event.command === 'rollback'
          if (before.stage === 'ended' && (before.closed || !isRollback))
            expect([now.outcome, now.reason]).toEqual([before.outcome, before.reason])
          if (before.stage === 'rolling_back') expect(['rolling_back', 'ended']).toContain(now.stage)
        })
      }),
      { numRuns: 2_000 },
    )
  })

  it('an abort or a rollback ends the release after any earlier event', () => {
    fc.assert(
      fc.property(
        first,
        events,
        fc.constantFrom('abort' as const, 'rollback' as const),
        (isFirst, list, name) => {
          const state = follow(isFirst, list, () => {})
          const { state: after } = advance(state, commandEvent(name))
          expect(['rolling_back', 'ended']).toContain(after.stage)
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('every state is plain data, has its next effect, a description and a valid route, and every wait a deadline', () => {
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
