/** Counts the records of this process's streams for its metrics. */
export interface StreamCount {
  /** The topic of the records. */
  topic: string
  /** Records that were answered or stored. */
  done: number
  /** Records that were sent to the dead-letter topic. */
  dead: number
  /** Records that the group has not committed, in the partitions of this process. */
  lag: number
  /** The code of the error that blocks the stream; undefined while it reads. */
  waitsFor: string | undefined
}

const counts = new Map<string, StreamCount>()

export function streamCountOf(topic: string): StreamCount {
  const known = counts.get(topic)
  if (known !== undefined) return known
  const fresh = { topic, done: 0, dead: 0, lag: 0, waitsFor: undefined }
  counts.set(topic, fresh)
  return fresh
}

export const listStreamCounts = (): Iterable<StreamCount> => counts.values()
