/** Follows work that the API started, until it ends. */
import { setTimeout as pause } from 'node:timers/promises'
import { commandProblemOf, failure } from '../client/client.ts'
import { exitCodeOf, exitCodes } from '../exit-codes.ts'

const pollMs = 500
/** A restart of the API or of Postgres must not end the command, because its caller would start the work again. */
const maxOutageMs = 120_000
/** After this time, a start that is not found was refused by its workflow, which gives the reason. */
const openingMs = 30_000

/** Reads the state every half second until `isOver`. Passes each state to `show`. Continues through an outage of two minutes. */
export async function follow<State>(
  read: () => Promise<State>,
  isOver: (state: State) => boolean,
  show: (state: State) => void = () => {},
): Promise<State> {
  let outageSince: number | undefined
  for (;;) {
    const state = await read().catch((error: unknown) => {
      outageSince ??= performance.now()
      return continueAfter(error, performance.now() - outageSince)
    })
    if (state !== undefined) {
      outageSince = undefined
      if (isOver(state)) return state
      show(state)
    }
    await pause(pollMs)
  }
}

/** Throws an error that is not an outage, or that has lasted too long. */
function continueAfter(error: unknown, outageMs: number): undefined {
  const problem = commandProblemOf(error)
  if (problem === undefined || exitCodeOf(problem) !== exitCodes.unreachable) throw error
  if (outageMs <= maxOutageMs) return
  const { remedy = '' } = problem
  throw failure({
    ...problem,
    remedy: `Do not start it again: what was started continues, and its page shows its end. ${remedy}`.trim(),
  })
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
