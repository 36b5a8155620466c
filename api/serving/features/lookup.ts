/**
 * Adds looked-up features to the rows of a request before they are parsed. Cached values need no wait. Other values are awaited until the
 * deadline of the feature, then replaced by a default value, which is counted and reported in the response.
 */
import type { PredictFunction, PredictFunctions } from '../request/predict.ts'
import type { Clock } from '../clock.ts'
import type { FeatureCache, CachedValues } from './feature-cache.ts'
import { type ByteWriter, writeText, reserve } from '../codec/byte-writer.ts'
import { createNeeds, entityOf, type Needs, type NeedsOf } from './lookup-plan.ts'
import type { Protocol, Request } from '../request/protocol.ts'
import type { PredictRequest } from '../codec/instances.ts'
import type { ReplicaRouting } from '../routing/routing.ts'
import { type LoadedVersion, readRow } from '../version/loaded-version.ts'
import {
  valueAt,
  type FeatureOrigin,
  type FeatureValue,
  type Missing,
} from '../../../domain/model/feature-view.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import { resetInput } from '../codec/input-buffer.ts'

export type Lookups = ReturnType<typeof createLookups>

export interface LookupDeps {
  cache: FeatureCache
  clock: Pick<Clock, 'now' | 'wall'>
  routing: Pick<ReplicaRouting, 'find' | 'loaded'>
}

/** The pending reads of a request, and how long to wait for them. */
interface Wait {
  work: Promise<void>[]
  withinMs: number
}

/** A request that waits for looked-up features. */
interface Late extends Wait {
  protocol: Protocol
  asked: PredictRequest
  of: Needs
}

/** The maximum number of requests that wait for values. Further requests are served with default values. */
const maxPendingLookups = 1_024

export function createLookups({ cache, clock, routing }: LookupDeps) {
  const needsOf = createNeeds(routing)
  const counts = new Map<string, Record<LookupResult, number>>()
  let isUsed = false
  let waiting = 0

  const count = (view: string, result: LookupResult): void => {
    let of = counts.get(view)
    if (of === undefined) counts.set(view, (of = { found: 0, no_entity: 0, absent: 0, old: 0, late: 0 }))
    of[result]++
  }
  const reader = (protocol: Protocol, asked: PredictRequest, of: Needs): Protocol =>
    readerOf({ protocol, cache, needsOf, count }, asked, of, clock.wall())
  const waitFor = ({ instances }: PredictRequest, { all }: Needs): Wait => {
    const work = new Set<Promise<void>>()
    let withinMs = 0
    for (const instance of instances) {
      if (!isPlain(instance)) continue
      for (const { name, from } of all) {
        if (Object.hasOwn(instance, name)) continue
        const entity = entityOf(from, instance)
        if (entity === undefined) continue
        const asked = { digest: from.digest, entity }
        if (cache.find(asked, from.freshMs) !== undefined) continue
        const reading = cache.read(asked)
        if (reading === undefined) continue
        work.add(reading)
        withinMs = Math.max(withinMs, from.withinMs)
      }
    }
    return { work: [...work], withinMs }
  }
  /** Returns the protocol that reads the request with its looked-up features, or the pending reads. */
  const examine = (protocol: Protocol, request: Request): Protocol | Late => {
    // Protocols with tensors send every feature.
    if (!isUsed || protocol.rows === undefined) return protocol
    const live = routing.find(request.model)
    if (live === undefined) return protocol
    const of = needsOf.model(live)
    if (of.all.length === 0) return protocol
    const asked = protocol.rows(request.body, live.complete.likeliest.loaded)
    const wait = waitFor(asked, of)
    if (wait.work.length === 0 || waiting >= maxPendingLookups) return reader(protocol, asked, of)
    return { protocol, asked, of, ...wait }
  }
  const predictLater = async (
    predict: PredictFunction,
    request: Request,
    { protocol, asked, of, work, withinMs }: Late,
  ): Promise<ByteWriter> => {
    const sinceMs = clock.now()
    waiting++
    await waitAtMost(Math.min(withinMs, request.withinMs ?? Infinity), work).finally(() => waiting--)
    const waitedMs = clock.now() - sinceMs
    const left = request.withinMs === undefined ? undefined : Math.max(1, request.withinMs - waitedMs)
    const writer = predict(reader(protocol, asked, of), { ...request, withinMs: left, sinceMs })
    // Copies the bytes, because the next request overwrites them before this promise is read.
    return writer instanceof Promise
      ? writer
      : { ...writer, bytes: Buffer.from(writer.bytes.subarray(0, writer.at)) }
  }
  return {
    /** Counts looked-up values by view and by result. */
    counts: (): ReadonlyMap<string, Readonly<Record<LookupResult, number>>> => counts,
    /** Registers a loaded version. Requests are examined only once a version looks up features. */
    knows(loaded: LoadedVersion): void {
      if (needsOf.version(loaded).length > 0) isUsed = true
    },
    /** Returns these functions for rows that lack looked-up features: they are added first when a version needs them. */
    withLookups({ predict, predictRecord }: PredictFunctions): PredictFunctions {
      return {
        predict(protocol, request) {
          const ready = examine(protocol, request)
          return 'work' in ready ? predictLater(predict, request, ready) : predict(ready, request)
        },
        predictRecord(protocol, request, take) {
          const ready = examine(protocol, request)
          return 'work' in ready ? predictLater(predict, request, ready) : predictRecord(ready, request, take)
        },
      }
    },
  }
}

async function waitAtMost(ms: number, work: readonly Promise<void>[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))
  await Promise.race([Promise.all(work), late])
  clearTimeout(timer)
}

// Reads a request with its looked-up features, and reports default values in the response.

type LookupResult = 'found' | Missing

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
function readerOf(
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
const isPlain = (instance: unknown): instance is FeatureRow =>
  typeof instance === 'object' && instance !== null && !Array.isArray(instance)
