/**
 * Where the story is, so that a second start goes on from there. It lives in Postgres beside what it tells of: kept in
 * a file, it would survive a reset of the one and not of the other.
 */
import { readServiceState, writeServiceState } from '../../store/database/key-value.ts'
import type { Store } from '../../store/postgres.ts'

export interface DemoProgress {
  /** The replayed moment. */
  replayedToMs: number
  /** How often the story has been told to its end. */
  told: number
}

/** The days on which a telling retrains. */
export interface Chapter {
  challengerMs: number
  faultyMs: number
}

const name = 'demo'
/** Three weeks to train on, three days to test on and half a day for late labels lie before it. */
const firstDayMs = Date.UTC(2001, 0, 29)

/**
 * Days on which there is something new to learn: the share of late flights moves from 24 % in February to 13 % in May.
 * A challenger of any other week may be no better, and is then kept out; that is the gate's work and no failure.
 */
export const chapters: readonly Chapter[] = [
  { challengerMs: Date.UTC(2001, 1, 26), faultyMs: Date.UTC(2001, 2, 12) },
  { challengerMs: Date.UTC(2001, 4, 21), faultyMs: Date.UTC(2001, 5, 11) },
]

/** The next chapter after a replayed moment; nothing when the recorded flights are used up. */
export const chapterAfter = (ms: number): Chapter | undefined =>
  chapters.find(({ challengerMs }) => challengerMs > ms)

/** Begins again with the first flights when they are used up. */
export async function readProgress(store: Store): Promise<DemoProgress> {
  const found = await readServiceState<DemoProgress>(store, name)
  if (found === undefined) return { replayedToMs: firstDayMs, told: 0 }
  return chapterAfter(found.replayedToMs) === undefined ? { ...found, replayedToMs: firstDayMs } : found
}

export async function writeProgress(store: Store, place: DemoProgress): Promise<void> {
  await writeServiceState(store, name, place)
}
