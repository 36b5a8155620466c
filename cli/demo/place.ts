/**
 * Where the story is, so that a second start goes on from there. It lives in Postgres beside what it tells of: kept in
 * a file, it would survive a reset of the one and not of the other.
 */
import type { Store } from '../../store/postgres.ts'
import { readServiceState, writeServiceState } from '../../store/service-state.ts'

export interface Place {
  /** The replayed moment. */
  replayedToMs: number
  /** How often the story has been told to its end. */
  told: number
}

const name = 'demo'
/** Three weeks to train on, three days to test on and half a day for late labels lie before it. */
const firstDayMs = Date.UTC(2001, 0, 29)
/** The story needs about five weeks of flights. */
const roomMs = 35 * 86_400_000

/** Begins again with the first flights when the records would not last for the story. */
export async function readPlace(store: Store, span: { lastMs: number }): Promise<Place> {
  const found = await readServiceState<Place>(store, name)
  if (found === undefined) return { replayedToMs: firstDayMs, told: 0 }
  return found.replayedToMs + roomMs > span.lastMs ? { ...found, replayedToMs: firstDayMs } : found
}

export async function writePlace(store: Store, place: Place): Promise<void> {
  await writeServiceState(store, name, place)
}
