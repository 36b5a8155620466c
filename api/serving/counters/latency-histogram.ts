/**
 * Counts latencies in buckets an eighth of an octave wide. Quantiles are at most 12.5 % too high, counting takes two shifts, and histograms
 * of replicas and ticks add up exactly.
 */

const fine = 8
/** 8 buckets of one microsecond, then 8 an octave up to 2³⁰ µs (18 minutes). */
export const bucketCount = fine + 27 * fine

export function bucketOf(microseconds: number): number {
  const us = microseconds | 0
  if (us < fine) return us < 0 ? 0 : us
  const octave = 31 - Math.clz32(us)
  const bucket = fine + (octave - 3) * fine + ((us >> (octave - 3)) & 7)
  return bucket < bucketCount ? bucket : bucketCount - 1
}

/** Returns the largest integer of microseconds that falls into the bucket. */
export function upperBoundOf(bucket: number): number {
  if (bucket < fine) return bucket
  const octave = Math.floor(bucket / fine) + 2
  const part = bucket % fine
  return 2 ** octave + (part + 1) * 2 ** (octave - 3) - 1
}

/** Returns the counts of the buckets that are not empty, by their upper bound. */
export function sparse(counts: Uint32Array): Record<string, number> {
  const found: Record<string, number> = {}
  for (let bucket = 0; bucket < counts.length; bucket++)
    if (counts[bucket] !== 0) found[upperBoundOf(bucket)] = counts[bucket]!
  return found
}
