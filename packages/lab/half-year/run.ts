/** Runs a model for half a year: an approver approves the first version, and no operator acts afterwards. */
import { rm } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import type { Deps } from '../../../activities/deps.ts'
import { openEvents } from '../../../cli/demo/world.ts'
import { loadModel } from '../../../models/index.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { findChampion, listChampionHistory } from '../../../store/registry/champions.ts'
import { listMonitorWindows } from '../../../store/monitoring/monitor-windows.ts'
import { listRetrainings } from '../../../store/training/retrainings.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { sumBy } from '../../../test/support/figures.ts'
import { baselineProbabilities, qualityOf, trainAsOf } from './baselines.ts'
import { createSteppedClock, type SteppedClock } from './clock.ts'
import { seatFirst } from './first-version.ts'
import { readLeft } from './unfinished-work.ts'
import { halfYearModel, writeModel } from './model.ts'
import type { HalfYearPlan, WeekReport } from './settings.ts'
import { startHalfYearSystem, type HalfYearSystem } from './system.ts'
import { startTraffic, type HalfYearTraffic, type Week } from './traffic.ts'
import { readVitals, type Vitals } from './resource-usage.ts'

/** Preceded by three weeks of training data, three days of test data and half a day for late outcomes. */
export const firstDayMs = Date.UTC(2001, 0, 29)
/** Lead time in which the first version is trained. */
const headStartMs = 45_000

export type HalfYear = Awaited<ReturnType<typeof runHalfYear>>

export async function runHalfYear(plan: HalfYearPlan, say: (line: string) => void) {
  const wallMs = Date.now() + headStartMs
  const clock = createSteppedClock({ recordedMs: firstDayMs, wallMs, weekMs: plan.weekMs })
  const models = await writeModel(clock, plan)
  const { definition } = await loadModel(halfYearModel, models)
  const system = await startHalfYearSystem(models)
  const deps = depsOf(system)
  const events = await openEvents({
    definition,
    routingKey: `origin || '-' || destination`,
    // Each window is read with its two days of lookback, so short windows would be read twice.
    windowMs: plan.weekMs,
  })
  try {
    // Read ahead while the first version is trained; flights before its release are skipped.
    const flights = readAhead(events.from(wallMs))
    const first = await seatFirst(system, wallMs, say)
    const fromMs = Math.max(wallMs, Date.now())
    const untilMs = wallMs + plan.weeks * plan.weekMs
    say(`${first} is champion; the traffic begins on ${dayText(clock.recordedOf(fromMs))}`)
    const traffic = startTraffic({
      url: system.url,
      model: halfYearModel,
      events: flights,
      clock,
      fromMs: wallMs,
      untilMs,
      ...plan,
    })
    const vitals = await watch(system, { traffic, clock, say })
    const liveMs = Date.now() - fromMs
    const found = {
      windows: (await listMonitorWindows(system.store, { model: halfYearModel, limit: 10_000 })).reverse(),
      retrainings: (await listRetrainings(system.store, { model: halfYearModel, limit: 10_000 })).reverse(),
      releases: await readReleases(system),
      champions: (await listChampionHistory(system.store, halfYearModel)).reverse(),
      alerts: await system.store.query<{ kind: string; open: boolean; count: number }>(sql`
        select kind, resolved_at is null as open, count(*)::int as count from alerts group by 1, 2 order by 1, 2`),
    }
    const left = await readLeft(system)
    // All work must have ended before the baselines are trained.
    await system.client.workflow.getHandle(`monitor/${halfYearModel}`).terminate('the half-year is over')
    return {
      plan,
      clock,
      ...(await compare(deps, { plan, clock, models, first, traffic, wallMs, say })),
      ...found,
      outcomes: traffic.outcomes,
      worstLagMs: traffic.worstLagMs,
      vitals,
      /** Unfinished or unacknowledged work after the traffic, by kind; expected 0. */
      left,
      /** Warnings of the processes. */
      complaints: system.complaints,
      liveMs,
    }
  } finally {
    await events.close()
    await system.stop()
    await rm(models, { recursive: true })
  }
}

/** Prefetches the first window. */
function readAhead<T>(source: AsyncGenerator<T>): AsyncIterable<T> {
  let next = source.next()
  next.catch(() => {})
  return (async function* () {
    for (;;) {
      const { done, value } = await next
      if (done === true) return
      next = source.next()
      next.catch(() => {})
      yield value
    }
  })()
}

function depsOf({ config, store }: HalfYearSystem): Deps {
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  return { config, store, artifacts: openArtifacts(config.artifactRoot), log }
}

/** Reports each week, and samples resources twice a week. */
async function watch(
  system: HalfYearSystem,
  { traffic, clock, say }: { traffic: HalfYearTraffic; clock: SteppedClock; say: (line: string) => void },
): Promise<Vitals[]> {
  const vitals: Vitals[] = []
  let ended = false
  const end = traffic.ended.finally(() => (ended = true))
  let told = 0
  while (!ended) {
    await Promise.race([end, pause(clock.weekMs / 2)])
    const seen = await readVitals(system).catch(() => undefined)
    if (seen === undefined) continue
    vitals.push(seen)
    const week = traffic.weeks.length - 1
    if (week <= told) continue
    told = week
    const [window] = await listMonitorWindows(system.store, { model: halfYearModel, limit: 1 })
    const [retraining] = await listRetrainings(system.store, { model: halfYearModel, limit: 1 })
    const champion = await findChampion(system.store, halfYearModel)
    const quality = window?.findings['quality'] as { value?: number; level?: string } | undefined
    say(
      `week ${week} (${dayText(clock.recordedOf(Date.now()))}): ${champion?.version}, quality ${quality?.value?.toFixed(4) ?? '–'} ${quality?.level ?? ''}; ` +
        `last retraining ${retraining?.reason} ${retraining?.outcome ?? 'runs'}; lag ${Math.round(traffic.worstLagMs)} ms`,
    )
  }
  await end
  return vitals
}

async function readReleases({ store }: HalfYearSystem) {
  const rows = await store.query<{
    version: string
    outcome: string
    reason: string
    startedMs: number
    endedMs: number | null
  }>(sql`
    select state->>'version' as version, coalesce(outcome, 'runs') as outcome, coalesce(reason, '') as reason,
      floor(extract(epoch from started_at) * 1000)::float8 as "startedMs", floor(extract(epoch from ended_at) * 1000)::float8 as "endedMs"
    from releases where model = ${halfYearModel} order by started_at`)
  return rows.map(({ endedMs, ...row }) => ({ ...row, endedMs: endedMs ?? undefined }))
}

/** Quality of each model by week, on the same flights. */
async function compare(
  deps: Deps,
  options: {
    plan: HalfYearPlan
    clock: SteppedClock
    models: string
    first: string
    traffic: HalfYearTraffic
    wallMs: number
    say: (line: string) => void
  },
): Promise<{ weeks: WeekReport[]; weeklyTrainings: number }> {
  const { plan, clock, models, first, traffic, wallMs, say } = options
  const played = traffic.weeks.flatMap((week, place) =>
    week.outcomes.length === 0 ? [] : [{ ...week, beganMs: wallMs + place * plan.weekMs }],
  )
  let never: (number | null)[][] = []
  const weekly: (number | null)[][] = []
  if (plan.compare) {
    say('the first version is asked about all flights')
    never = await baselineProbabilities(deps, (await getVersion(deps.store, first)).artifactDigest, played)
    for (const [index, week] of played.entries()) {
      const id = `trn_weekly${index}`
      const digest = await trainAsOf(deps, { model: halfYearModel, models, asOfMs: week.beganMs, id })
      weekly.push((await baselineProbabilities(deps, digest, [week]))[0]!)
      say(`the version of week ${index} is trained and asked`)
    }
  }
  const of = (answers: readonly (number | null)[] | undefined, { outcomes }: Week) =>
    answers === undefined ? undefined : qualityOf(outcomes, answers)
  return {
    weeklyTrainings: weekly.length,
    weeks: played.map((week, index) => ({
      fromMs: clock.recordedOf(week.beganMs),
      rows: week.outcomes.length,
      lateShare: sumBy(week.outcomes, Number) / week.outcomes.length,
      tenure: qualityOf(week.outcomes, week.answers),
      never: of(never[index], week),
      weekly: of(weekly[index], week),
      versions: [...week.versions],
      requests: week.requests,
      failures: week.failures,
    })),
  }
}

export const dayText = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
