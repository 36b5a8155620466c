/** Stores the progress of the demo in Postgres, so that a second start continues there and a reset clears both. */
import { readServiceState, writeServiceState } from '../../store/database/key-value.ts'
import type { Store } from '../../store/postgres.ts'

export interface DemoProgress {
  replayedToMs: number
  runs: number
}

/** The dates on which one run retrains. */
export interface Chapter {
  challengerMs: number
  faultyMs: number
}

const name = 'demo'
/** The first retraining date. Three weeks of training data, three days of test data and half a day for late labels precede it. */
const firstDayMs = Date.UTC(2001, 0, 29)

/**
 * Dates at which the data has changed: the share of late flights falls from 24 % in February to 13 % in May. A challenger from another week
 * may be no better and fail the gate.
 */
export const chapters: readonly Chapter[] = [
  { challengerMs: Date.UTC(2001, 1, 26), faultyMs: Date.UTC(2001, 2, 12) },
  { challengerMs: Date.UTC(2001, 4, 21), faultyMs: Date.UTC(2001, 5, 11) },
]

/** Returns the next chapter after a replayed time; undefined at the end of the records. */
export const chapterAfter = (ms: number): Chapter | undefined =>
  chapters.find(({ challengerMs }) => challengerMs > ms)

/** Reads the progress. Starts again with the first flights at the end of the records. */
export async function readProgress(store: Store): Promise<DemoProgress> {
  const found = await readServiceState<DemoProgress>(store, name)
  if (found === undefined) return { replayedToMs: firstDayMs, runs: 0 }
  return chapterAfter(found.replayedToMs) === undefined ? { ...found, replayedToMs: firstDayMs } : found
}

export async function writeProgress(store: Store, progress: DemoProgress): Promise<void> {
  await writeServiceState(store, name, progress)
}
