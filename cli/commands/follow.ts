/** Follows work that the API started, until it ends. */
import { setTimeout as pause } from 'node:timers/promises'
import { commandProblemOf } from '../client/client.ts'

const pollMs = 500
/** After this time, a start that is not found was refused by its workflow, which gives the reason. */
const openingMs = 30_000

/** Reads the state every half second until `isOver`. Passes each state to `show`. */
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

/**
 * Returns a reader of what a start has begun. The reader returns `opening` until the first activity of the workflow has written the row.
 */
export function readOpening<State>(read: () => Promise<State>, opening: State): () => Promise<State> {
  const startedAt = performance.now()
  return () =>
    read().catch((error: unknown) => {
      if (commandProblemOf(error)?.status === 404 && performance.now() - startedAt < openingMs) return opening
      throw error
    })
}
