/** Counts the records of this process's streams for its metrics. */
export interface StreamCount {
  /** The topic of the records. */
  topic: string
  /** Records that were answered or stored, or events that were sent. */
  done: number
  /** Records that were sent to the dead-letter topic. */
  dead: number
  /** Records that the group has not committed, in the partitions of this process; undefined while it is not known. */
  lag: number | undefined
  /** The code of the error that blocks the stream, `broker` for a lost connection; undefined while records pass. */
  waitsFor: string | undefined
}

const counts = new Map<string, StreamCount>()

export function streamCountOf(topic: string): StreamCount {
  const known = counts.get(topic)
  if (known !== undefined) return known
  const fresh = { topic, done: 0, dead: 0, lag: undefined, waitsFor: undefined }
  counts.set(topic, fresh)
  return fresh
}

export const listStreamCounts = (): Iterable<StreamCount> => counts.values()
