/** Follows work that the API has started, until it ends. */
import { setTimeout as pause } from 'node:timers/promises'
import { commandProblemOf } from '../client/client.ts'

const pollMs = 500
/** When a start that is not found by then was refused before it began, and its workflow says why. */
const openingMs = 30_000

/** Reads every half second until `isOver`; `show` draws each state before. */
export async function follow<State>(
  read: () => Promise<State>,
  isOver: (state: State) => boolean,
  show: (state: State) => void = () => {},
): Promise<State> {
  for (;;) {
    const state = await read()
    if (isOver(state)) return state
    show(state)
    await pause(pollMs)
  }
}

/** Reads what a start has begun; `opening` is the answer until the first activity of its workflow has written the row. */
export function readOpening<State>(read: () => Promise<State>, opening: State): () => Promise<State> {
  const startedAt = performance.now()
  return () =>
    read().catch((error: unknown) => {
      if (commandProblemOf(error)?.status === 404 && performance.now() - startedAt < openingMs) return opening
      throw error
    })
}
