/**
 * Counts requests at several replicas with the counters of serving, and adds their ticks up as the database does. The balancer in front of
 * them is not sticky: a caller meets every replica.
 */
import { seededRandom } from '@tenure/sequential'
import { createClock } from '../../../api/serving/clock.ts'
import { createCounterRegistry } from '../../../api/serving/counters/arm-counters.ts'
import type { ArmCounts, CanaryTick } from '../../../domain/canary/evidence.ts'
import { defaultAlpha } from '../../../domain/canary/alpha-split.ts'
import { incrementalJudge } from '../../../domain/canary/incremental-judge.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { defaultScoreShift, scoreShift } from '../../../domain/canary/score-shift.ts'
import type { Verdict } from '../../../domain/verdict.ts'
import { countedOnce, type CountedUnits, type TickCounts } from '../../../store/release/evidence.ts'

export interface CountedReplicasOptions {
  replicas: number
  /** The configured share of the canary. */
  shareBp: number
  /** Whether each replica counts by itself, as before units counted once over all replicas. */
  apart?: boolean
  tickMs?: number
}

const yes = new Float32Array([1])
const no = new Float32Array([0])

export type CountedArm = 'canary' | 'champion'

export interface CountedRequest {
  replica: number
  arm: CountedArm
  key: string | undefined
  bad?: 'errors' | 'invalid'
  answer?: boolean
  latencyUs?: number
}

/** The last 95th and 99th percentile of the champion, in microseconds. */
export const [slow95Us, slow99Us] = [1_000, 2_000]

export function countedReplicas({
  replicas,
  shareBp,
  apart = false,
  tickMs = 10_000,
}: CountedReplicasOptions) {
  let wallMs = 1_000_000_000_000
  const clock = createClock(
    () => wallMs,
    () => wallMs,
  )
  const holders = new Map<string, number>()
  const all = Array.from({ length: replicas }, () => {
    const registry = createCounterRegistry(clock)
    const open = (arm: CountedArm) =>
      registry.open({
        model: 'm',
        version: `m_${arm}`,
        arm,
        release: 'rel_1',
        generation: 1,
        lengthMs: tickMs,
        quiet: false,
        slow95Us,
        slow99Us,
        answerBins: 2,
        countAnswer: (counts, outputs) => void counts[outputs[0] === 1 ? 1 : 0]!++,
      })
    return { registry, arms: { canary: open('canary'), champion: open('champion') } }
  })
  /** The first replica that claims a unit holds it. */
  const claim = (
    replica: number,
    { tickMs: at, units = [] }: TickCounts,
    held: Map<CountedUnits, number>,
  ) => {
    for (const list of units) {
      const own = list.units.filter((unit) => {
        const key = `${list.counts === 'failedCallers' ? '' : 'rel_1'} ${unit}`
        const holder = replica + replicas * at
        if (!holders.has(key)) holders.set(key, holder)
        return apart || holders.get(key) === holder
      })
      held.set(list, own.length)
    }
  }
  return {
    count: ({ replica, arm, key, bad, answer = false, latencyUs = 1 }: CountedRequest): void =>
      void all[replica]!.registry.count(all[replica]!.arms[arm], latencyUs, key, bad, answer ? yes : no),
    /** Ends the tick; returns the counts of each version over all replicas, as the database stores them. */
    stored(): TickCounts[] {
      wallMs += tickMs
      return all.flatMap(({ registry }, replica) => {
        registry.closeTick()
        const ticks = registry.closed.splice(0)
        const held = new Map<CountedUnits, number>()
        for (const tick of ticks) claim(replica, tick, held)
        return countedOnce(ticks, held)
      })
    },
    /** Ends the tick; returns it as the judge reads it. */
    tick(): CanaryTick {
      const stored = this.stored()
      const sumOf = (arm: CountedArm): ArmCounts => {
        const of = stored.filter((each) => each.arm === arm)
        const sum = (name: 'requests' | 'errors' | 'invalid' | 'slow95' | 'slow99' | 'keys') =>
          of.reduce((total, each) => total + (each[name] ?? 0), 0)
        return {
          requests: sum('requests'),
          errors: sum('errors'),
          invalid: sum('invalid'),
          slow95: sum('slow95'),
          slow99: sum('slow99'),
          keys: sum('keys'),
          answers: [0, 1].map((bin) => of.reduce((total, { answers }) => total + answers![bin]!, 0)),
        }
      }
      return { startMs: wallMs - tickMs, shareBp, canary: sumOf('canary'), control: sumOf('champion') }
    },
  }
}

type Replicas = Pick<CountedReplicasOptions, 'replicas' | 'apart'>

/**
 * What the score shift makes of two equal versions: 2,000 users, of whom 5 % always get "yes", ask every replica once. A tenth more is
 * asked about, and three times the control's share rolls back.
 */
export function shiftOfEqualVersions(of: Replicas, seed: number): 'none' | 'asked' | 'rolled back' {
  const uniform = seededRandom(seed)
  const share = 0.02
  const counted = countedReplicas({ ...of, shareBp: 10_000 * share })
  const shift = scoreShift(
    { ...defaultScoreShift, tolerance: 0.1, rollbackRatio: 3 },
    defaultAlpha.scoreShift,
  )
  const requests = Array.from({ length: 2_000 }, (_, user) => ({
    key: `user ${user}`,
    arm: uniform() < share ? ('canary' as const) : ('champion' as const),
    answer: uniform() < 0.05,
  }))
    .flatMap((each) => Array.from({ length: of.replicas }, (_, replica) => ({ ...each, replica })))
    .map((each) => ({ each, place: uniform() }))
    .sort((one, other) => one.place - other.place)
  const ticks = 10
  for (let tick = 0; tick < ticks; tick++) {
    const [from, to] = [tick, tick + 1].map((n) => (n * requests.length) / ticks)
    for (const { each } of requests.slice(from, to)) counted.count(each)
    shift.add(counted.tick())
  }
  if (shift.finding(undefined) !== null) return 'rolled back'
  return shift.question(undefined) === null ? 'none' : 'asked'
}

/**
 * The verdict on a good canary of 5 %, at which so many callers fail for a tick, each at every replica. With a seed, one in 200 of the other
 * requests fails, of both versions.
 */
export function verdictOnStorm(of: Replicas, callers: number, seed?: number): Verdict {
  const uniform = seed === undefined ? () => 1 : seededRandom(seed)
  const judge = incrementalJudge({ ...defaultCanaryPolicy, scoreShift: 'off' })
  const counted = countedReplicas({ ...of, shareBp: 500 })
  const requests = 4_000
  for (let tick = 0; tick < 9; tick++) {
    for (let i = 0; i < requests; i++)
      counted.count({
        replica: i % of.replicas,
        arm: i % 20 === 0 ? 'canary' : 'champion',
        key: `user ${tick} ${i}`,
        ...(uniform() < 0.005 && { bad: 'errors' }),
      })
    for (let replica = 0; tick === 6 && replica < of.replicas; replica++)
      for (let i = 0; i < callers; i++)
        counted.count({ replica, arm: 'canary', key: `failing ${i}`, bad: 'errors' })
    judge.add(counted.tick())
  }
  const times = { startedMs: 0, elapsedMs: 1e9, minMs: 0 }
  const stage = { index: 0, shareBp: 500, minRequests: 0, last: false, ...times }
  return judge.judge({ stage, staleMs: 0 })
}
