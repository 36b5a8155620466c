/**
 * Counts the responses of each arm in ticks, which are stored when they end. The canary judge sees only these counts. An arm of a release
 * also writes empty ticks, so that silence differs from idleness.
 */
import { watchTickMs } from '../../../domain/monitoring/champion-watch.ts'
import type { AnswerCounter } from '../../../domain/tasks/answer-bins.ts'
import type { CountedUnits, TickCounts } from '../../../store/release/evidence.ts'
import type { Clock } from '../clock.ts'
import { bucketCount, bucketOf, sparse } from './latency-histogram.ts'
import { hash32, hash53 } from '../../../domain/serving/route.ts'

/** The counts of one arm of one route in the current tick. */
export interface ArmCounters extends Omit<
  TickCounts,
  'latency' | 'keys' | 'answers' | 'units' | 'breakerOpen'
> {
  failedCallers: number
  repeats: number
  /** Responses slower than this, in microseconds, count as slow. */
  readonly slow95Us: number
  readonly slow99Us: number
  /** Whether ticks without requests are left out, because the arm serves only after an expiry. */
  readonly quiet: boolean
  /** Whether the circuit breaker of the arm is open; absent without one. */
  readonly isDropped?: () => boolean
  /** The counts of a tick that has not ended, stored at once because the breaker has opened; those of the whole tick replace them. */
  early?: TickCounts
  /** Counts the answer of a row in its bins; absent when the answers of the arms cannot be compared. */
  readonly countAnswer?: AnswerCounter
  readonly answerBins: number
  keys: number
  answers: number[]
  /** The units with their first event at this replica in the tick, by what each of them adds to the counts. */
  units: Map<string, CountedUnits>
  readonly firstKeys: FirstKeys
  /** The seed of the hashes of the arm's keys in the stage. */
  readonly unitSeed: number
  latency: Uint32Array
  readonly totals: ArmTotals
}

/** The parameters that open the counters of an arm. */
export type CountedArmOf = Omit<
  ArmCounters,
  | 'tickMs'
  | Badness
  | 'requests'
  | 'failedCallers'
  | 'repeats'
  | 'latency'
  | 'totals'
  | 'keys'
  | 'answers'
  | 'units'
  | 'firstKeys'
  | 'unitSeed'
  | 'early'
>

type CountedFor = Pick<ArmCounters, 'model' | 'version' | 'arm'>

/** The counts of a version and arm since the process started. */
export interface ArmTotals extends CountedFor {
  answered: number
  errors: number
  invalid: number
  latency: Uint32Array
  latencyUs: number
}

export const emptyTotals = (of: CountedFor): ArmTotals => ({
  ...of,
  answered: 0,
  errors: 0,
  invalid: 0,
  latency: new Uint32Array(bucketCount),
  latencyUs: 0,
})

export type Badness = 'errors' | 'invalid' | 'slow95' | 'slow99'

export type CounterRegistry = ReturnType<typeof createCounterRegistry>

/**
 * Routing keys remembered per release, of failed and of slow responses, and for all together; beyond either, every bad response counts.
 */
const maxBadKeys = 50_000
const maxAllBadKeys = 800_000
/** How long the failures of one caller count once for the watch of champions, and the callers remembered in that time. */
const callerMs = watchTickMs
const maxFailedCallers = 50_000
/** Of those, the callers that count once over all replicas: an outage must not write a row for each of its callers. */
const maxUnitedCallers = 1_000
/** Closed ticks kept while the database is unavailable: a day of three arms with ticks of ten seconds. */
const maxClosed = 26_000

export function createCounterRegistry(clock: Clock) {
  const open = new Map<string, ArmCounters>()
  const isFirst = createBadKeys(open)
  const failedCallers = createFailedCallers(clock)
  const closed: TickCounts[] = []
  const totals = new Map<string, ArmTotals>()
  let dropped = 0

  const pushTick = (counters: ArmCounters): void => {
    if (counters.requests === 0 && (counters.quiet || counters.release === undefined)) return
    // One statement stores each tick once.
    const early = counters.early === undefined ? -1 : closed.indexOf(counters.early)
    if (early >= 0) closed.splice(early, 1)
    closed.push(tickOf(counters))
    if (closed.length > maxClosed) {
      closed.shift()
      dropped++
    }
  }
  const totalsOf = ({ model, version, arm }: CountedFor): ArmTotals => {
    const key = `${model} ${version} ${arm}`
    const found = totals.get(key) ?? emptyTotals({ model, version, arm })
    totals.set(key, found)
    return found
  }
  const begin = (lengthMs: number): number => Math.floor(clock.wall() / lengthMs) * lengthMs

  return {
    /** Closed ticks not yet stored, oldest first. */
    closed,
    /** Closed ticks that were dropped because they could not be stored for too long. */
    dropped: () => dropped,
    totals: (): Iterable<ArmTotals> => totals.values(),
    /** Returns the counters of an arm, shared by all tables of its route. */
    open(arm: CountedArmOf): ArmCounters {
      const key = `${arm.model} ${arm.generation} ${arm.arm} ${arm.version} ${arm.release ?? ''}`
      const found = open.get(key)
      if (found !== undefined) return found
      const beside = [...open.values()].find(
        (each) =>
          each.release === arm.release && each.model === arm.model && each.generation === arm.generation,
      )
      const firstKeys = createFirstKeys(beside?.firstKeys.sample)
      const fresh = emptyCounters(arm, { tickMs: begin(arm.lengthMs), totals: totalsOf(arm), firstKeys })
      open.set(key, fresh)
      return fresh
    },
    /**
     * Counts a response and, for the first request of a routing key in a release, its answer. A request without a key is a unit of its
     * own. Returns whether the response counts as bad: a second bad response to the same routing key does not.
     */
    count(
      counters: ArmCounters,
      latencyUs: number,
      routingKey: string | undefined,
      bad?: 'errors' | 'invalid',
      outputs?: Float32Array,
    ): boolean {
      const bucket = bucketOf(latencyUs)
      const { totals: sum } = counters
      counters.requests++
      counters.latency[bucket]!++
      sum.latency[bucket]!++
      sum.latencyUs += latencyUs
      sum[bad ?? 'answered']++
      const counted = bad !== undefined && isFirst(counters, bad, routingKey)
      if (counted) counters[bad]++
      if (failedCallers.has(counters, routingKey)) counters.repeats++
      else if (bad !== undefined) {
        failedCallers.add(counters, routingKey)
        counters.failedCallers++
      }
      if (counters.release !== undefined && counters.firstKeys.isFirst(routingKey))
        countFirst(counters, routingKey, bad === undefined ? outputs : undefined)
      if (latencyUs > counters.slow95Us && isFirst(counters, 'slow95', routingKey)) counters.slow95++
      if (latencyUs > counters.slow99Us && isFirst(counters, 'slow99', routingKey)) counters.slow99++
      return counted
    },
    /** Counts requests that a gateway has passed to the version. Their callers and times are not known: each is another caller. */
    add(counters: ArmCounters, { requests, failures }: { requests: number; failures: number }): void {
      counters.requests += requests
      counters.errors += failures
      counters.failedCallers += failures
    },
    /** Closes the ticks of a model whose route is replaced. */
    close(model: string): void {
      for (const [key, counters] of open) {
        if (counters.model !== model) continue
        pushTick(counters)
        open.delete(key)
      }
    },
    /** Closes every tick that has ended, or all ticks, and copies the tick in which a circuit breaker has opened. */
    closeTick(everything = false): void {
      const now = clock.wall()
      for (const counters of open.values()) {
        if (!everything && now < counters.tickMs + counters.lengthMs) {
          if (counters.early === undefined && counters.isDropped?.() === true) {
            pushTick(counters)
            counters.early = closed.at(-1)
          }
          continue
        }
        pushTick(counters)
        counters.tickMs = begin(counters.lengthMs)
        counters.requests = counters.errors = counters.invalid = counters.slow95 = counters.slow99 = 0
        counters.failedCallers = counters.repeats = 0
        counters.keys = 0
        counters.answers.fill(0)
        counters.units.clear()
        counters.latency.fill(0)
      }
    },
  }
}

const emptyCounters = (
  arm: CountedArmOf,
  of: Pick<ArmCounters, 'tickMs' | 'totals' | 'firstKeys'>,
): ArmCounters => ({
  ...arm,
  ...of,
  requests: 0,
  errors: 0,
  invalid: 0,
  slow95: 0,
  slow99: 0,
  failedCallers: 0,
  repeats: 0,
  keys: 0,
  answers: Array.from({ length: arm.answerBins }, () => 0),
  units: new Map(),
  unitSeed: hash32(`${arm.generation} ${arm.arm} ${arm.version}`),
  latency: new Uint32Array(bucketCount),
})

/** Notes what the first event of a unit at this replica has added, so that it is taken out again if another replica was first. */
function note(
  counters: ArmCounters,
  counts: CountedUnits['counts'],
  unit: number,
  bins: number[] = [],
): void {
  const added = `${counts} ${bins.join(' ')}`
  const noted = counters.units.get(added)
  if (noted === undefined) counters.units.set(added, { counts, bins, units: [unit] })
  else noted.units.push(unit)
}

/** Counts a routing key and the answer to its first request. */
function countFirst(
  counters: ArmCounters,
  routingKey: string | undefined,
  outputs: Float32Array | undefined,
): void {
  const { answers, countAnswer } = counters
  counters.keys++
  const before = routingKey === undefined ? answers : answers.slice()
  // Only the first row: the rows of one request are not independent.
  if (outputs !== undefined) countAnswer?.(answers, outputs, 0)
  if (routingKey === undefined) return
  const bins: number[] = []
  for (let bin = 0; bin < answers.length; bin++) if (answers[bin] !== before[bin]) bins.push(bin)
  note(counters, 'keys', hash53(routingKey, counters.unitSeed), bins)
}

function tickOf(counters: ArmCounters): TickCounts {
  const { model, release, version, arm, generation, tickMs, lengthMs } = counters
  const { requests, errors, invalid, slow95, slow99, failedCallers, repeats, keys, answers, units } = counters
  return {
    model,
    release,
    version,
    arm,
    generation,
    tickMs,
    lengthMs,
    requests,
    errors,
    invalid,
    slow95,
    slow99,
    failedCallers,
    repeats,
    ...(release !== undefined && { keys, answers: [...answers] }),
    units: Array.from(units.values(), (each) => ({ ...each, units: [...each.units] })),
    breakerOpen: counters.isDropped?.(),
    latency: sparse(counters.latency),
  }
}

/** The callers that have failed in the last ten seconds. A request without a routing key is a caller of its own. */
function createFailedCallers(clock: Clock) {
  let seen = new Set<string>()
  let windowAt = 0
  const keyOf = ({ model, version }: ArmCounters, routingKey: string) => `${model} ${version} ${routingKey}`
  return {
    has(counters: ArmCounters, routingKey: string | undefined): boolean {
      if (seen.size === 0 || routingKey === undefined) return false
      if (Math.floor(clock.wall() / callerMs) === windowAt) return seen.has(keyOf(counters, routingKey))
      seen = new Set()
      return false
    },
    add(counters: ArmCounters, routingKey: string | undefined): void {
      if (routingKey === undefined || seen.size === maxFailedCallers) return
      if (seen.size === 0) windowAt = Math.floor(clock.wall() / callerMs)
      const key = keyOf(counters, routingKey)
      seen.add(key)
      // The watch of champions reads no shadow.
      if (counters.arm !== 'shadow' && seen.size <= maxUnitedCallers)
        note(counters, 'failedCallers', hash53(`${windowAt} ${key}`))
    },
  }
}

/** At most one bad event counts per routing key, metric and release, so that retries of one caller do not add up. */
function createBadKeys(open: ReadonlyMap<string, ArmCounters>) {
  const badKeys = new Map<string, Set<string>>()
  return (counters: ArmCounters, metric: Badness, routingKey: string | undefined): boolean => {
    const { release, arm } = counters
    if (release === undefined || routingKey === undefined) return true
    // Slow responses are many: they must not use up the memory for failures.
    const kind = metric === 'errors' || metric === 'invalid' ? 'failed' : 'slow'
    const group = `${release} ${kind}`
    let seen = badKeys.get(group)
    if (seen === undefined) {
      const current = new Set([...open.values()].map((each) => each.release))
      for (const each of badKeys.keys()) if (!current.has(each.split(' ')[0])) badKeys.delete(each)
      badKeys.set(group, (seen = new Set()))
    }
    // A user may send some requests with the header of a target and some without it, and the shadow gets copies of answered requests.
    const key = `${arm === 'targeted' || arm === 'shadow' ? arm : ''} ${metric} ${routingKey}`
    if (seen.has(key)) return false
    if (seen.size < Math.min(maxBadKeys, maxAllBadKeys / badKeys.size)) {
      seen.add(key)
      note(counters, metric, hash53(key))
    }
    return true
  }
}

// Recognises the first request of each routing key by 32 bits of its hash, so that the requests of one user count as one draw. The table
// only spares the database units that this replica has sent already; what counts once over all replicas is decided there.

/** Keys remembered per arm, in 4 MB. Beyond, the keys of the stage are sampled by their hash: one in two, in four, … */
const maxKeys = 1 << 19
/** The bits of the hash that tell whether a key is sampled; the others are its place in the table. */
const sampleShift = 20
const maxLevel = 32 - sampleShift

/** One key in 2^level counts. All arms of a stage share it, because an arm that counts fewer keys would look like fewer users. */
export interface KeySample {
  level: number
}

interface FirstKeys {
  readonly sample: KeySample
  /** Returns whether the key is new and sampled; it is known afterwards. A request without a key is always new. */
  isFirst(routingKey: string | undefined): boolean
}

export function createFirstKeys(sample: KeySample = { level: 0 }): FirstKeys {
  let table = new Uint32Array(1 << 10)
  let keys = 0
  /** Returns the place of the hash, or the free one for it. */
  const placeOf = (hash: number): number => {
    let place = hash & (table.length - 1)
    while (table[place] !== 0 && table[place] !== hash) place = (place + 1) & (table.length - 1)
    return place
  }
  const grow = (): void => {
    const before = table
    table = new Uint32Array(2 * before.length)
    for (const hash of before) if (hash !== 0) table[placeOf(hash)] = hash
  }
  return {
    sample,
    isFirst(routingKey) {
      const { level } = sample
      if (routingKey === undefined) return level === 0 || Math.random() < 2 ** -level
      const hash = hash32(routingKey, 0x5eed) || 1
      if (((hash >>> sampleShift) & ((1 << level) - 1)) !== 0) return false
      const place = placeOf(hash)
      if (table[place] === hash) return false
      table[place] = hash
      keys++
      if (keys >= maxKeys) {
        sample.level = Math.min(maxLevel, level + 1)
        table.fill(0)
        keys = 0
      } else if (2 * keys > table.length) grow()
      return true
    },
  }
}
