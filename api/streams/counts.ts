/** Counts the records of the streams of this process, as the default metrics are of it. */
export interface StreamCount {
  /** The topic that is read. */
  topic: string
  /** Records with an answer, or stored. */
  done: number
  /** Records in the topic of dead letters. */
  dead: number
  /** Records that the group has not passed, in the part of this process. */
  lag: number
  /** The code of the error that the stream waits for; undefined while it reads. */
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
