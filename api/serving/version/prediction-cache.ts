/**
 * Caches the outputs of models in the worker thread by exact row, because a row takes half a millisecond there. A compiled network takes 1
 * µs (4-16-16-3) to 11 µs (32-128-64-1) and a lookup 5 to 9 µs, so a cache would pay only from about 80,000 weights on. Cached outputs are
 * assigned, counted and logged like others. The cache belongs to one loaded version.
 */
import type { Predictor } from '@tenure/predictors'

export type PredictionCache = ReturnType<typeof createPredictionCache>

const defaultBytes = 67_108_864
/** The bytes of an entry in addition to its row and its outputs. */
const entryBytes = 160

export function createPredictionCache(limits: { entries: number; bytes?: number }) {
  const { entries: maxEntries, bytes: maxBytes = defaultBytes } = limits
  /** The outputs by row, in the order of their last use. */
  const known = new Map<string, Float32Array>()
  const counts = { hits: 0, misses: 0 }
  let bytes = 0
  let owners = 0

  const costOf = (key: string, outputs: Float32Array): number => key.length + outputs.byteLength + entryBytes
  const forget = (key: string, outputs: Float32Array): void => {
    known.delete(key)
    bytes -= costOf(key, outputs)
  }
  const find = (key: string): Float32Array | undefined => {
    const found = known.get(key)
    if (found === undefined) {
      counts.misses++
      return undefined
    }
    counts.hits++
    known.delete(key)
    known.set(key, found)
    return found
  }
  const keep = (key: string, outputs: Float32Array): void => {
    const before = known.get(key)
    if (before !== undefined) forget(key, before)
    known.set(key, outputs)
    bytes += costOf(key, outputs)
    for (const [oldest, held] of known) {
      if (known.size <= maxEntries && bytes <= maxBytes) break
      forget(oldest, held)
    }
  }

  return {
    counts: () => ({ ...counts, entries: known.size, bytes }),
    /** Returns the same predictor with a cache. */
    cached(predictor: Predictor): Predictor {
      const owner = `${owners++} `
      const { inputs, outputs: width } = predictor
      let isClosed = false
      const keysOf = (input: Float64Array, rows: number): string[] => {
        const rowBytes = inputs * 8
        const all = Buffer.from(input.buffer, input.byteOffset, rows * rowBytes)
        return Array.from(
          { length: rows },
          (_, row) => owner + all.toString('latin1', row * rowBytes, (row + 1) * rowBytes),
        )
      }
      const compute = async (
        keys: readonly string[],
        missing: readonly number[],
        ask: Parameters<Predictor['run']>,
      ) => {
        const [input, rows, output, order] = ask
        const isWhole = missing.length === rows
        const some = isWhole ? input : new Float64Array(missing.length * inputs)
        const given = isWhole ? output : new Float32Array(missing.length * width)
        if (!isWhole)
          missing.forEach((row, place) =>
            some.set(input.subarray(row * inputs, (row + 1) * inputs), place * inputs),
          )
        await predictor.run(some, missing.length, given, order)
        // A cancelled run has no outputs.
        if (isClosed || order?.cancelled === true) return
        missing.forEach((row, place) => {
          const outputs = given.slice(place * width, (place + 1) * width)
          output.set(outputs, row * width)
          keep(keys[row]!, outputs)
        })
      }
      return {
        ...predictor,
        run(input, rows, output, order) {
          // The latency of a shadow candidate is measured, so its outputs are not cached.
          if (order?.background === true) return predictor.run(input, rows, output, order)
          const keys = keysOf(input, rows)
          const missing: number[] = []
          keys.forEach((key, row) => {
            const found = find(key)
            if (found === undefined) missing.push(row)
            else output.set(found, row * width)
          })
          return missing.length === 0 ? undefined : compute(keys, missing, [input, rows, output, order])
        },
        close() {
          isClosed = true
          for (const [key, outputs] of known) if (key.startsWith(owner)) forget(key, outputs)
          predictor.close?.()
        },
      }
    },
  }
}
