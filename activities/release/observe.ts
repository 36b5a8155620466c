/** Reads the counters of a release: the only effect of a look. Judging is pure. */
import { scoreRanges } from '../../domain/model/reference-profile.ts'
import { outputWidth } from '../../domain/model/features.ts'
import { isAbMetric, type AbCohort } from '../../domain/canary/ab-test.ts'
import { cohortsOf } from '../../domain/canary/ab-cohorts.ts'
import { answerBins } from '../../domain/model/answer-bins.ts'
import type { BreakerCounts } from '../../domain/serving/circuit-breaker.ts'
import { holdbackEvidence, type HoldbackEvidence } from '../../domain/canary/holdback.ts'
import type { CountedTick, Observation } from '../../domain/release/evidence-builder.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { hasHoldbackOutcome, listReleaseAnswers } from '../../store/release/ab-answers.ts'
import { findTicks } from '../../store/release/tick-counters.ts'
import { countPairs, type PairCounts } from '../../store/release/shadow-pairs.ts'
import { prepared } from '../../store/database/prepared.ts'
import type { Database } from '../../store/postgres.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { businessReader } from './evidence/business-events.ts'
import type { ExternalReader } from './evidence/external-metrics.ts'
import { differenceReader } from './evidence/shadow-differences.ts'

/** Older ticks count as complete, so that a long release is not read in full at every look. */
const settleTicks = 60
/** Every so many looks reads all ticks, for those that a disconnected replica delivered late. */
const freshEvery = 100

/** Returns a reader that re-reads only recent ticks. `whole` also reads all pairs of the shadow and all users, which are read sparingly otherwise. */
export function createObserver(
  { store }: Pick<Deps, 'store'>,
  state: ReleaseState,
  readExternal?: ExternalReader,
): (whole?: boolean) => Promise<Omit<Observation, 'watchedMs'>> {
  const { id, model, policy } = state
  let settled: CountedTick[] = []
  let settledMs: number | undefined
  let looks = 0
  const pairs = pairReader({ store }, state)
  const cohorts = cohortReader({ store }, state)
  const holdbacks = holdbackReader({ store }, state)
  const reader = differenceReader(store, state)
  const users = businessReader(store, state)
  const business = users && sparingly(() => users.next())
  const differences = reader && sparingly(() => reader.next())
  let answers: Awaited<ReturnType<typeof answersOf>> | undefined
  return async (whole = false) => {
    if (looks++ % freshEvery === 0) {
      settled = []
      settledMs = undefined
    }
    const [recent, { staleMs, breakers }, paired, matured, disagreement, holdback, done] = await Promise.all([
      findTicks(store, id, { model, sinceMs: settledMs }),
      findReports(store, state),
      pairs(),
      cohorts?.(),
      whole ? reader?.rest() : differences?.(),
      holdbacks?.(),
      whole ? users?.rest() : business?.(),
    ])
    const counted = [...settled, ...recent]
    const horizonMs = (recent.at(-1)?.tickMs ?? 0) - settleTicks * policy.watch.tickMs
    settled = counted.filter((row) => row.tickMs < horizonMs)
    settledMs = settled.length === 0 ? undefined : horizonMs
    const isPaired = paired.b + paired.c + paired.same > 0
    if (recent.some((row) => (row.answers ?? []).length > 0)) answers ??= await answersOf(store, state)
    const pairedCounts = isPaired ? paired : undefined
    const read = { counted, staleMs, breakers, paired: pairedCounts, cohorts: matured, disagreement }
    const external = await readExternal?.(counted)
    return { ...read, holdback, business: done, external, ...answers }
  }
}

/** The names of the answers, as the champion fixes them, and how many of them a key counts for. */
async function answersOf(
  database: Database,
  { baseline }: ReleaseState,
): Promise<Pick<Observation, 'answerNames' | 'answersPerKey'>> {
  if (baseline === undefined) return { answerNames: [] }
  const { manifest } = await getVersion(database, baseline)
  // The row of an older version may lack its manifest.
  const { output, profile } = manifest as Partial<typeof manifest>
  const bins = output && answerBins(output, profile)
  if (bins === undefined) return { answerNames: [] }
  const { names, perAnswer } = bins
  return { answerNames: names, ...(perAnswer > 1 && { answersPerKey: perAnswer }) }
}

/** Upper share of time spent on a reading. */
const readShare = 0.05

/** Reads again only when reading is cheap compared with the time passed. */
function sparingly<T>(read: () => Promise<T>): () => Promise<T> {
  let last: T | undefined
  let dueAt = 0
  return async () => {
    const from = performance.now()
    if (last !== undefined && from < dueAt) return last
    last = await read()
    const to = performance.now()
    dueAt = to + (to - from) / readShare
    return last
  }
}

/** The shadow pairs with a known outcome. */
function pairReader(
  { store }: Pick<Deps, 'store'>,
  { id: release, version, baseline, policy }: ReleaseState,
): () => Promise<PairCounts> {
  if (baseline === undefined) return () => Promise.resolve({ b: 0, c: 0, same: 0 })
  return sparingly(async () => {
    const pairs = await countPairs(store, { release, served: baseline, shadow: version })
    if (policy.probation?.shadowBp === undefined) return pairs
    // In probation the previous champion is in the shadow, so the sides of a pair swap.
    const { b, c, same } = await countPairs(store, { release, served: version, shadow: baseline })
    return { b: pairs.b + c, c: pairs.c + b, same: pairs.same + same }
  })
}

/** The matured outcomes of both arms of an A/B release. */
function cohortReader(
  { store }: Pick<Deps, 'store'>,
  { id: release, model, version, baseline, strategy, policy }: ReleaseState,
): (() => Promise<AbCohort[]>) | undefined {
  const { ab } = policy
  const [split] = policy.stages
  if (strategy !== 'ab' || ab === undefined || split === undefined) return undefined
  const { metric } = ab
  if (metric === 'errors' || !isAbMetric(metric)) return undefined
  const spanMs = Math.max(policy.watch.tickMs, Math.round(split.deadlineMs / 100))
  return sparingly(async () => {
    const { output } = (await getVersion(store, version)).manifest
    const { nowMs, rows } = await listReleaseAnswers(store, { release, model, width: outputWidth(output) })
    const answered = rows.flatMap(({ version: by, ...row }) => {
      const arm = by === version ? 'canary' : by === baseline ? 'control' : undefined
      return arm === undefined ? [] : [{ ...row, arm } as const]
    })
    return cohortsOf(answered, { metric, output, nowMs, spanMs })
  })
}

/** The matured outcomes of the new champion and of the previous one beside it, since the probation began. */
function holdbackReader(
  { store }: Pick<Deps, 'store'>,
  { id: release, model, version, baseline, stage, policy, routings }: ReleaseState,
): (() => Promise<HoldbackEvidence | undefined>) | undefined {
  const { probation, limits } = policy
  const since = routings.find((each) => each.stage === 'probation')
  if (stage !== 'probation' || !probation || !since || baseline === undefined) return undefined
  if (limits.alpha.quality === undefined) return undefined
  const { holdbackBp } = probation
  // One user of the hold-back is compared with as many of the champion as the shares give.
  const block = Math.max(1, Math.floor((10_000 - holdbackBp) / holdbackBp))
  const fromMs = since.startedMs
  return sparingly(async () => {
    if (!(await hasHoldbackOutcome(store, { model, release, baseline, fromMs }))) return undefined
    const { output } = (await getVersion(store, version)).manifest
    const width = outputWidth(output)
    const { nowMs, rows } = await listReleaseAnswers(store, { release, model, width, fromMs })
    const answered = rows.flatMap(({ version: by, ...row }) => {
      const arm = by === version ? 'canary' : by === baseline ? 'control' : undefined
      return arm === undefined ? [] : [{ ...row, arm } as const]
    })
    return holdbackEvidence(answered, { output, scales: await scalesOf(store, baseline), nowMs, block })
  })
}

/** The range of each number between its 10th and 90th percentile in the training of the previous champion. */
async function scalesOf(database: Database, baseline: string): Promise<number[]> {
  return scoreRanges((await getVersion(database, baseline)).manifest.profile)
}

/**
 * What the live replicas report: the age of the counters of the most silent one, measured at the earliest from its start and from the last
 * route, because a live and silent replica may hide failures, and null without a live replica; and how many have dropped the candidate.
 */
async function findReports(
  database: Database,
  { id, model }: Pick<ReleaseState, 'id' | 'model'>,
): Promise<{ staleMs: number | null; breakers: BreakerCounts }> {
  const [row] = await database.query<{ silence_ms: number | null } & BreakerCounts>(prepared`
    select max(extract(epoch from clock_timestamp() - greatest(started_at, routed.at, written.at)) * 1000)::float8
        as silence_ms,
      count(*) filter (where written.candidate)::integer as replicas,
      count(*) filter (where written.open)::integer as open
    from replicas
      cross join (select max(updated_at) as at from routing where model = ${model}) as routed
      left join lateral (
        select max(flushed_at) as at, bool_or(arm in ('canary', 'targeted')) as candidate, bool_or(breaker_open) as open
        from tick_counters
        where tick_counters.model = ${model} and release_id = ${id} and replica_id = replicas.id) as written on true
    where lease_until > clock_timestamp()`)
  const { silence_ms: silence = null, open = 0, replicas = 0 } = row ?? {}
  return { staleMs: silence === null ? null : Math.max(0, silence), breakers: { open, replicas } }
}
