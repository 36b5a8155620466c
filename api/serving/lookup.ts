/**
 * Puts looked-up features into the rows of a request, before they are read for whichever version answers. What is at hand costs no
 * wait; what is not is waited for until the deadline of the feature and no longer, and then a stand-in is used, counted, and told
 * in the answer. Models without such features never get here.
 */
import {
  entityKey,
  valueAt,
  type FeatureOrigin,
  type FeatureValue,
  type Missing,
} from '../../domain/feature-view.ts'
import type { Feature, Row } from '../../domain/features.ts'
import type { Answer } from './answer.ts'
import type { Clock } from './clock.ts'
import type { FeatureCache, Found } from './feature-cache.ts'
import { put, reserve, type Ink } from './ink.ts'
import type { Answered, Protocol, Request } from './protocol.ts'
import { parsePredict, type PredictRequest } from './request.ts'
import type { Routing } from './routing.ts'
import { beginSheet, keepRow, type Sheet } from './sheet.ts'
import type { LiveModel } from './table.ts'
import type { LoadedVersion } from './version.ts'

export interface Lookups {
  /** To be told of each version that is loaded: until there is one that looks something up, no request is looked at. */
  knows(loaded: LoadedVersion): void
  /** The same way of answering, with the features of versions that look some up. */
  around(answer: Answer): Answer
  /** Values by view and by what became of them. */
  counts(): ReadonlyMap<string, Readonly<Record<LookupResult, number>>>
}

export type LookupResult = 'found' | Missing

export interface LookupDeps {
  cache: FeatureCache
  clock: Pick<Clock, 'now' | 'wall'>
  routing: Pick<Routing, 'find' | 'loaded'>
  native: Protocol
  mostInstances: number
}

interface LookedUp {
  name: string
  from: FeatureOrigin
  /** Whether the version can read it. */
  fits: (value: FeatureValue) => boolean
}

/** What the versions of one model look up. */
interface Needs {
  all: readonly Pick<LookedUp, 'name' | 'from'>[]
  /** Fields that name an entity for some version, and are no feature of another. */
  fields: ReadonlySet<string>
}

interface Mark {
  instance: number
  feature: string
  why: Missing
}

/** A version's reading of a request. */
interface Reading {
  results: { view: string; result: LookupResult }[]
  marks: Mark[]
}

/** Requests that wait for values at once; beyond, they are answered without. */
const mostWaiting = 1_024

export function createLookups(deps: LookupDeps): Lookups {
  const { cache, clock, routing, native, mostInstances } = deps
  const own = new WeakMap<LoadedVersion, readonly LookedUp[]>()
  const needs = new WeakMap<LiveModel, Needs>()
  const counts = new Map<string, Record<LookupResult, number>>()
  let isUsed = false
  let waiting = 0

  const ownOf = (loaded: LoadedVersion): readonly LookedUp[] => {
    const known = own.get(loaded)
    if (known !== undefined) return known
    const found = Object.entries(loaded.manifest.features).flatMap(([name, feature]): LookedUp[] =>
      feature.from === undefined ? [] : [{ name, from: feature.from, fits: fitOf(feature) }],
    )
    own.set(loaded, found)
    return found
  }
  const needsOf = (live: LiveModel): Needs => {
    const known = needs.get(live)
    if (known !== undefined) return known
    const versions = [...routing.loaded()].filter(({ model }) => model === live.route.model)
    const all = versions.flatMap(ownOf)
    const found = { all, fields: new Set(all.flatMap(({ from }) => from.by)) }
    needs.set(live, found)
    return found
  }
  const count = (view: string, result: LookupResult): void => {
    let of = counts.get(view)
    if (of === undefined) counts.set(view, (of = { found: 0, no_entity: 0, absent: 0, old: 0, late: 0 }))
    of[result]++
  }

  /** A way of asking that reads this one request with what was looked up for it. */
  const reader = (asked: PredictRequest, { fields }: Needs): Protocol => {
    const atMs = clock.wall()
    // Fixed for the request: every version that reads it sees the same.
    const seen = new Map<string, Found | undefined>()
    const readings = new Map<LoadedVersion, Reading>()
    const lookUp = (from: FeatureOrigin, row: Row): { value: FeatureValue; missing?: Missing } => {
      const otherwise = from.otherwise ?? null
      const entity = entityOf(from, row)
      if (entity === undefined) return { value: otherwise, missing: 'no_entity' }
      const key = `${from.digest} ${entity}`
      if (!seen.has(key)) seen.set(key, cache.find({ digest: from.digest, entity }, from.freshMs))
      const found = seen.get(key)
      return found === undefined ? { value: otherwise, missing: 'late' } : valueAt(from, found.known, atMs)
    }
    const rowOf = (loaded: LoadedVersion, instance: Row, index: number, reading: Reading): Row => {
      const { features } = loaded.manifest
      const row: Row = {}
      for (const name in instance)
        if (Object.hasOwn(features, name) || !fields.has(name)) row[name] = instance[name]!
      for (const { name, from, fits } of ownOf(loaded)) {
        // A caller who knows it better sends it.
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
      read(loaded, _body, sheet: Sheet) {
        const { instances, routingKey } = asked
        const { columns } = loaded
        const reading: Reading = { results: [], marks: [] }
        readings.set(loaded, reading)
        beginSheet(sheet, columns, instances.length)
        instances.forEach((instance, index) => {
          const row = isPlain(instance) ? rowOf(loaded, instance, index, reading) : instance
          loaded.read(row, index, sheet.input, index * columns.width)
          keepRow(sheet, columns, row, index)
        })
        sheet.routingKey = routingKey
      },
      write(ink, answered: Answered) {
        native.write(ink, answered)
        const { results, marks } = readings.get(answered.arm.loaded) ?? { results: [], marks: [] }
        for (const { view, result } of results) count(view, result)
        if (marks.length === 0) return
        // In place of the brace that ends the answer.
        ink.at--
        const text = Buffer.from(`,"defaulted":${JSON.stringify(marks)}}`)
        reserve(ink, text.byteLength)
        put(ink, text)
      },
    }
  }
  /** What has to be read first, and how long that is worth waiting for. */
  const missing = (
    { instances }: PredictRequest,
    { all }: Needs,
  ): { work: Promise<void>[]; withinMs: number } => {
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
  const answerLater = async (
    answer: Answer,
    request: Request,
    asked: PredictRequest,
    { of, work, withinMs }: { of: Needs; work: Promise<void>[]; withinMs: number },
  ): Promise<Ink> => {
    const sinceMs = clock.now()
    waiting++
    await within(Math.min(withinMs, request.withinMs ?? Infinity), work).finally(() => waiting--)
    const waitedMs = clock.now() - sinceMs
    const left = request.withinMs === undefined ? undefined : Math.max(1, request.withinMs - waitedMs)
    const ink = answer(reader(asked, of), { ...request, withinMs: left, sinceMs })
    // Whoever is answered next, before this is looked at, writes into the same bytes.
    return ink instanceof Promise ? ink : { ...ink, bytes: Buffer.from(ink.bytes.subarray(0, ink.at)) }
  }
  return {
    counts: () => counts,
    knows(loaded) {
      if (ownOf(loaded).length > 0) isUsed = true
    },
    around(answer) {
      return (protocol, request) => {
        // Other protocols send every feature that they were told of.
        if (!isUsed || protocol !== native) return answer(protocol, request)
        const live = routing.find(request.model)
        const of = live && needsOf(live)
        if (of === undefined || of.all.length === 0) return answer(protocol, request)
        const asked = parsePredict(request.body, mostInstances)
        const { work, withinMs } = missing(asked, of)
        if (work.length === 0 || waiting >= mostWaiting) return answer(reader(asked, of), request)
        return answerLater(answer, request, asked, { of, work, withinMs })
      }
    },
  }
}

const isPlain = (instance: unknown): instance is Row =>
  typeof instance === 'object' && instance !== null && !Array.isArray(instance)

const entityOf = ({ by }: FeatureOrigin, row: Row): string | undefined =>
  entityKey(by.map((field) => (Object.hasOwn(row, field) ? row[field] : undefined)))

/** A value that the reader of the version would refuse would be told to the caller as a mistake of theirs. */
function fitOf(feature: Feature): LookedUp['fits'] {
  if (feature.kind === 'number')
    return (value) => value === null || (typeof value === 'number' && Number.isFinite(Math.fround(value)))
  const values = feature.values === undefined ? undefined : new Set(feature.values)
  return (value) =>
    value === null ||
    (typeof value === 'string' && !value.includes('\0') && (values === undefined || values.has(value)))
}

async function within(ms: number, work: readonly Promise<void>[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))
  await Promise.race([Promise.all(work), late])
  clearTimeout(timer)
}
