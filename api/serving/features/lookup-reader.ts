/** Reads a request with its looked-up features, and reports default values in the response. */
import {
  valueAt,
  type FeatureOrigin,
  type FeatureValue,
  type Missing,
} from '../../../domain/model/feature-view.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import type { FeatureCache, CachedValues } from './feature-cache.ts'
import { writeText, reserve } from '../codec/byte-writer.ts'
import { entityOf, type Needs, type NeedsOf } from './lookup-plan.ts'
import type { Protocol } from '../request/protocol.ts'
import type { PredictRequest } from '../codec/instances.ts'
import { resetInput } from '../codec/input-buffer.ts'
import { readRow, type LoadedVersion } from '../version/loaded-version.ts'

export type LookupResult = 'found' | Missing

interface Mark {
  instance: number
  feature: string
  why: Missing
}

/** The rows of a request as one version reads them. */
interface Reading {
  results: { view: string; result: LookupResult }[]
  marks: Mark[]
}

export interface ReaderDeps {
  protocol: Pick<Protocol, 'write'>
  cache: FeatureCache
  needsOf: NeedsOf
  count: (view: string, result: LookupResult) => void
}

/** Returns a protocol for this one request. Every version that reads the request sees the same values. */
export function readerOf(
  { protocol, cache, needsOf, count }: ReaderDeps,
  { instances, routingKey, reference }: PredictRequest,
  { fields }: Needs,
  atMs: number,
): Protocol {
  const seen = new Map<string, CachedValues | undefined>()
  const readings = new Map<LoadedVersion, Reading>()
  const lookUp = (from: FeatureOrigin, row: FeatureRow): { value: FeatureValue; missing?: Missing } => {
    const otherwise = from.otherwise ?? null
    const entity = entityOf(from, row)
    if (entity === undefined) return { value: otherwise, missing: 'no_entity' }
    const key = `${from.digest} ${entity}`
    if (!seen.has(key)) seen.set(key, cache.find({ digest: from.digest, entity }, from.freshMs))
    const found = seen.get(key)
    return found === undefined ? { value: otherwise, missing: 'late' } : valueAt(from, found.known, atMs)
  }
  const rowOf = (
    loaded: LoadedVersion,
    instance: FeatureRow,
    index: number,
    reading: Reading,
  ): FeatureRow => {
    const { features } = loaded.manifest
    const row: FeatureRow = {}
    for (const name in instance)
      if (Object.hasOwn(features, name) || !fields.has(name)) row[name] = instance[name]!
    for (const { name, from, fits } of needsOf.version(loaded)) {
      // A value that the caller sends takes precedence.
      if (Object.hasOwn(instance, name)) continue
      let { value, missing } = lookUp(from, instance)
      if (!fits(value)) [value, missing] = [from.otherwise ?? null, 'absent']
      row[name] = value
      reading.results.push({ view: from.view, result: missing ?? 'found' })
      if (missing !== undefined) reading.marks.push({ instance: index, feature: name, why: missing })
    }
    return row
  }
  return {
    read(loaded, _body, input) {
      const reading: Reading = { results: [], marks: [] }
      readings.set(loaded, reading)
      resetInput(input, loaded.columns, instances.length)
      instances.forEach((instance, index) => {
        const row = isPlain(instance) ? rowOf(loaded, instance, index, reading) : instance
        readRow(loaded, row, index, input)
      })
      input.routingKey = routingKey
      input.reference = reference
    },
    write(writer, answered) {
      protocol.write(writer, answered)
      const { results, marks } = readings.get(answered.arm.loaded) ?? { results: [], marks: [] }
      for (const { view, result } of results) count(view, result)
      if (marks.length === 0) return
      // Overwrites the closing brace of the response.
      writer.at--
      const text = Buffer.from(`,"defaulted":${JSON.stringify(marks)}}`)
      reserve(writer, text.byteLength)
      writeText(writer, text)
    },
  }
}

/** Whether a row is an object. The row reader of the version reports any other value. */
export const isPlain = (instance: unknown): instance is FeatureRow =>
  typeof instance === 'object' && instance !== null && !Array.isArray(instance)
