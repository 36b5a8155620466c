/** Tests signals that arrive twice, late and in any order: a replay ends the same way, and no release leaves a final state. */
import { describe, expect, it } from 'vitest'
import { advance, type ReleaseEvent } from '../../domain/release/reducer.ts'
import { seededRandom } from '@tenure/sequential'
import { commandNames, type ReleaseState } from '../../domain/release/state.ts'
import {
  stateAt,
  judgedEvent,
  opened,
  stepEvents,
  commandEvent,
  stages,
} from '../support/release/releases.ts'

describe('10,000 random sequences of signals in the reducer', () => {
  const people = ['anna', 'ben', 'olga', 'root']
  const random = seededRandom(21)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const steps = [
    // A row whose end is recorded is never taken for one of a restored backup.
    ...Object.values(stepEvents).filter(({ kind }) => kind !== 'restored'),
    judgedEvent('pass'),
    judgedEvent('fail'),
    judgedEvent('inconclusive'),
  ]
  const draw = (): ReleaseEvent =>
    random() < 0.5
      ? commandEvent(pick(commandNames), pick(people), { atMs: Math.floor(random() * 1_000) })
      : pick(steps)
  /** An event that cannot happen in a stage is a defect of the workflow and changes nothing here. */
  const next = (state: ReleaseState, event: ReleaseEvent): ReleaseState => {
    try {
      return advance(state, event).state
    } catch {
      return state
    }
  }

  it('end the same way when replayed, and count a repeated signal once', () => {
    let divergences = 0
    for (let sequence = 0; sequence < 10_000; sequence++) {
      const events = Array.from({ length: 20 }, draw)
      const states: ReleaseState[] = [pick([opened, ...stages.map((each) => stateAt[each])])]
      for (const event of events) states.push(next(states.at(-1)!, event))
      const again = events.reduce(next, states[0]!)
      if (JSON.stringify(again) !== JSON.stringify(states.at(-1))) divergences++
      for (const [index, event] of events.entries()) {
        const after = states[index + 1]!
        if (event.kind !== 'command' || after === states[index]) continue
        // An identical repetition, before anything else has happened.
        const twice = next(after, event)
        if (JSON.stringify({ ...twice, revision: 0 }) !== JSON.stringify({ ...after, revision: 0 }))
          divergences++
      }
    }
    expect(divergences).toBe(0)
  })

  it('never leave a final state, and never continue after a rollback order', () => {
    let left = 0
    for (let sequence = 0; sequence < 10_000; sequence++) {
      let state = pick([opened, ...stages.map((each) => stateAt[each])])
      for (let step = 0; step < 20; step++) {
        const before = state
        state = next(state, draw())
        if (before.closed && (state.stage !== 'ended' || state.outcome !== before.outcome)) left++
        if (before.stage === 'rolling_back' && !['rolling_back', 'ended'].includes(state.stage)) left++
      }
    }
    expect(left).toBe(0)
  })
})
