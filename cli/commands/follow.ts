/** Follows work that the API has started, until it ends. */
import { setTimeout as pause } from 'node:timers/promises'

const pollMs = 500

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
