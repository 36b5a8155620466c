/** Checks the properties of every state on the page about states. */
import { expect, it } from 'vitest'
import { advance } from '../../domain/release/reducer.ts'
import { explore } from '../support/docs/reachable-states.ts'
import { commandEvent } from '../support/release/releases.ts'

it('abort and rollback win from every reachable state', () => {
  const { states } = explore()
  expect(states.length).toBeGreaterThan(1_000)
  const losing = states.flatMap((state) =>
    (['abort', 'rollback'] as const).filter((name) => {
      const { state: after, applied } = advance(state, commandEvent(name, 'olga', { role: 'operator' }))
      // Only a rollback still decides an end that no user has ordered and that is not recorded.
      const isOver =
        name === 'rollback'
          ? state.closed ||
            !['promoted', 'superseded', 'failed'].includes(
              (state.stage === 'ended' ? state.outcome : state.rollbackOrder?.outcome) ?? 'superseded',
            )
          : state.stage === 'rolling_back' || state.stage === 'ended'
      return (
        !['rolling_back', 'ended'].includes(after.stage) ||
        applied === isOver ||
        (after.outcome === 'promoted' && !isOver)
      )
    }),
  )
  expect(losing).toEqual([])
})
