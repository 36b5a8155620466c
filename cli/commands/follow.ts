/** Follows work that the API started, until it ends. */
import { setTimeout as pause } from 'node:timers/promises'
import { commandProblemOf, failure } from '../client/client.ts'
import { exitCodeOf, exitCodes, type CommandProblem } from '../exit-codes.ts'
import type { Terminal } from '../terminal.ts'

const pollMs = 500
/** A restart of the API or of Postgres must not end the command, because its caller would start the work again. */
const maxOutageMs = 120_000
/** After this time, a start that is not found was refused by its workflow, which gives the reason. */
const openingMs = 30_000

/**
 * Reads the state every half second until `isOver`. Passes each state to `show`. Continues through an outage of two minutes, and reports it.
 */
export async function follow<State>(
  terminal: Pick<Terminal, 'complain'>,
  read: () => Promise<State>,
  isOver: (state: State) => boolean,
  show: (state: State) => void = () => {},
): Promise<State> {
  let outageSince: number | undefined
  for (;;) {
    const found = await read().then(
      (state) => ({ state }),
      (error: unknown) => {
        const problem = outageOf(error)
        if (outageSince === undefined) terminal.complain(`${problem.detail}. Trying again for 2 min …`)
        outageSince ??= performance.now()
        if (performance.now() - outageSince > maxOutageMs) throw lasting(problem)
      },
    )
    if (found !== undefined) {
      outageSince = undefined
      if (isOver(found.state)) return found.state
      show(found.state)
    }
    await pause(pollMs)
  }
}

/** Throws an error that is not an outage. */
function outageOf(error: unknown): CommandProblem {
  const problem = commandProblemOf(error)
  if (problem === undefined || exitCodeOf(problem) !== exitCodes.unreachable) throw error
  return problem
}

const lasting = ({ remedy = '', ...problem }: CommandProblem): Error =>
  failure({
    ...problem,
    remedy: `Do not start it again: what was started continues, and its page shows its end. ${remedy}`.trim(),
  })

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
