/** Reads what the replicas have counted for a release: the only effect of a look. Judging is left to pure functions. */
import sql from 'sql-template-tag'
import type { AbCohort } from '../../domain/canary/ab-test.ts'
import { cohortsOf } from '../../domain/canary/ab-cohorts.ts'
import type { CountedTick, Observation } from '../../domain/release/evidence-builder.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { listReleaseAnswers } from '../../store/release/ab-answers.ts'
import { findTicks } from '../../store/release/tick-counters.ts'
import { countPairs, type PairCounts } from '../../store/release/shadow-pairs.ts'
import type { Database } from '../../store/postgres.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { outputsOf } from '../data/rows.ts'

/** Ticks this much older than the newest are taken as complete: a release of weeks is not read anew at every look. */
const settleTicks = 60
/** … but for every so manieth look, which also sees what a replica that was cut off has handed in late. */
const freshEvery = 100

/** Reads all counts of a release at each call, most of them once. */
export function createObserver(
  { store }: Pick<Deps, 'store'>,
  state: ReleaseState,
): () => Promise<Omit<Observation, 'watchedMs'>> {
  const { id, model, policy } = state
  let settled: CountedTick[] = []
  let settledMs: number | undefined
  let looks = 0
  const pairs = pairReader({ store }, state)
  const cohorts = cohortReader({ store }, state)
  return async () => {
    if (looks++ % freshEvery === 0) {
      settled = []
      settledMs = undefined
    }
    const since = settledMs === undefined ? {} : { sinceMs: settledMs }
    const [recent, staleMs, paired, matured] = await Promise.all([
      findTicks(store, id, { model, ...since }),
      findSilence(store, state),
      pairs(),
      cohorts?.(),
    ])
    const counted = [...settled, ...recent]
    const horizonMs = (recent.at(-1)?.tickMs ?? 0) - settleTicks * policy.watch.tickMs
    settled = counted.filter((row) => row.tickMs < horizonMs)
    settledMs = settled.length === 0 ? undefined : horizonMs
    return {
      counted,
      staleMs,
      ...(paired.b + paired.c + paired.same === 0 ? {} : { paired }),
      ...(matured === undefined ? {} : { cohorts: matured }),
    }
  }
}

/** Counting all pairs again takes this share of the time at most. */
const pairShare = 0.05

/** The pairs of the release with a known outcome; counted again when counting costs little beside the time that has passed. */
function pairReader(
  { store }: Pick<Deps, 'store'>,
  { id, version, baseline, policy }: ReleaseState,
): () => Promise<PairCounts> {
  let last: PairCounts = { b: 0, c: 0, same: 0 }
  let dueAt = 0
  return async () => {
    const from = performance.now()
    if (baseline === undefined || from < dueAt) return last
    last = await countPairs(store, { release: id, served: baseline, shadow: version })
    if (policy.probation?.shadowBp !== undefined) {
      // In probation it is the previous champion that is shown the requests: who was right changes sides.
      const { b, c, same } = await countPairs(store, { release: id, served: version, shadow: baseline })
      last = { b: last.b + c, c: last.c + b, same: last.same + same }
    }
    const to = performance.now()
    dueAt = to + (to - from) / pairShare
    return last
  }
}

/** The matured outcomes of both arms, where an A/B release is decided by them; read again as sparingly as pairs are counted. */
function cohortReader(
  { store }: Pick<Deps, 'store'>,
  { id, model, version, baseline, strategy, policy }: ReleaseState,
): (() => Promise<AbCohort[]>) | undefined {
  const { ab } = policy
  const [split] = policy.stages
  if (strategy !== 'ab' || ab === undefined || split === undefined || ab.metric === 'errors') return undefined
  const { metric } = ab
  const spanMs = Math.max(policy.watch.tickMs, Math.round(split.deadlineMs / 100))
  let last: AbCohort[] = []
  let dueAt = 0
  return async () => {
    const from = performance.now()
    if (from < dueAt) return last
    const { output } = (await getVersion(store, version)).manifest
    const { nowMs, rows } = await listReleaseAnswers(store, { release: id, model, width: outputsOf(output) })
    const answered = rows.flatMap(({ version: by, ...row }) => {
      const arm = by === version ? 'canary' : by === baseline ? 'control' : undefined
      return arm === undefined ? [] : [{ ...row, arm } as const]
    })
    last = cohortsOf(answered, { metric, output, nowMs, spanMs })
    const to = performance.now()
    dueAt = to + (to - from) / pairShare
    return last
  }
}

/**
 * How long the most silent live replica has written no counters for this release. A replica is given time from its own
 * start and from the last change of routing; one that is live and silent may hide a canary that fails. Null when no
 * replica is live.
 */
async function findSilence(
  database: Database,
  { id, model }: Pick<ReleaseState, 'id' | 'model'>,
): Promise<number | null> {
  const [row] = await database.query<{ silence_ms: number | null }>(sql`
    select max(extract(epoch from clock_timestamp() - greatest(started_at, routed.at, written.at)) * 1000)::float8
      as silence_ms
    from replicas
      cross join (select max(updated_at) as at from routing where model = ${model}) as routed
      left join lateral (
        select max(flushed_at) as at from tick_counters
        where tick_counters.model = ${model} and release_id = ${id} and replica_id = replicas.id) as written on true
    where lease_until > clock_timestamp()`)
  const silence = row?.silence_ms ?? null
  return silence === null ? null : Math.max(0, silence)
}
