/**
 * Half a year of a model's life, unattended: the first version is approved by a person, and from then on nobody touches anything.
 * The monitor asks, the gate judges, releases go through or do not.
 */
import { rm } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import type { Deps } from '../../activities/deps.ts'
import { openEvents } from '../../cli/demo/events.ts'
import { loadModel } from '../../models/index.ts'
import { openArtifacts } from '../../store/artifacts.ts'
import { findChampion, listChampionHistory, type ChampionChange } from '../../store/champions.ts'
import { listMonitorWindows, type MonitorWindow } from '../../store/monitor-windows.ts'
import { findOpenRelease, type Release } from '../../store/releases.ts'
import { listRetrainings, type Retraining } from '../../store/retrainings.ts'
import { getVersion } from '../../store/versions.ts'
import { answersOf, qualityOf, trainAsOf, type Quality } from './baselines.ts'
import { createClock, type Clock } from './clock.ts'
import { modelName, writeModel } from './model.ts'
import { startSystem, type System } from './system.ts'
import { startTraffic, type Traffic, type Week } from './traffic.ts'
import { readVitals, type Vitals } from './vitals.ts'

export interface Plan {
  /** How long a recorded week takes. */
  weekMs: number
  weeks: number
  everyNth: number
  together: number
  trainRows: number
  testRows: number
  /** Whether the versions of the others are trained and asked too. */
  compare: boolean
}

export interface WeekReport {
  /** The recorded day on which it begins. */
  fromMs: number
  rows: number
  lateShare: number
  tenure: Quality
  never: Quality | undefined
  weekly: Quality | undefined
  versions: [version: string, flights: number][]
  requests: number
  failures: Record<string, number>
}

export interface HalfYear {
  plan: Plan
  clock: Clock
  weeks: WeekReport[]
  windows: MonitorWindow[]
  retrainings: Retraining[]
  releases: {
    version: string
    outcome: string
    reason: string
    startedMs: number
    endedMs: number | undefined
  }[]
  champions: ChampionChange[]
  alerts: { kind: string; open: boolean; count: number }[]
  /** How many versions "retrained weekly" trained. */
  weeklyTrainings: number
  outcomes: number
  worstLagMs: number
  vitals: Vitals[]
  /** What is unfinished or unacknowledged when the traffic has ended, by what it is; all of it should be 0. */
  left: Record<string, number>
  /** Warnings of the processes. */
  complaints: string[]
  liveMs: number
}

/** Three weeks to train on, three days to be tested on and half a day for late outcomes lie before it. */
export const firstDayMs = Date.UTC(2001, 0, 29)
/** The first version is trained in this time: what it may learn from is known already, and a request may lie so far ahead. */
const headStartMs = 45_000

export async function liveThrough(plan: Plan, say: (line: string) => void): Promise<HalfYear> {
  const wallMs = Date.now() + headStartMs
  const clock = createClock({ recordedMs: firstDayMs, wallMs, weekMs: plan.weekMs })
  const models = await writeModel(clock, plan)
  const { definition } = await loadModel(modelName, models)
  const system = await startSystem(models)
  const deps = depsOf(system)
  const events = await openEvents({
    definition,
    routingKey: `origin || '-' || destination`,
    // Each is read with the two days that its features look back on, so that short ones would be read twice.
    windowMs: plan.weekMs,
  })
  try {
    // The first ones are read while the first version is trained; those that nobody could have answered are passed over.
    const flights = readAhead(events.from(wallMs))
    const first = await seatFirst(system, wallMs, say)
    const fromMs = Math.max(wallMs, Date.now())
    const untilMs = wallMs + plan.weeks * plan.weekMs
    say(`${first} is champion; the traffic begins on ${day(clock.recordedOf(fromMs))}`)
    const traffic = startTraffic({
      url: system.url,
      model: modelName,
      events: flights,
      clock,
      fromMs: wallMs,
      untilMs,
      ...plan,
    })
    const vitals = await watch(system, { traffic, clock, say })
    const liveMs = Date.now() - fromMs
    const champions = await listChampionHistory(system.store, modelName)
    const found = {
      windows: (await listMonitorWindows(system.store, { model: modelName, limit: 10_000 })).reverse(),
      retrainings: (await listRetrainings(system.store, { model: modelName, limit: 10_000 })).reverse(),
      releases: await readReleases(system),
      champions: champions.reverse(),
      alerts: await system.store.query<{ kind: string; open: boolean; count: number }>(sql`
        select kind, resolved_at is null as open, count(*)::int as count from alerts group by 1, 2 order by 1, 2`),
    }
    const left = await readLeft(system)
    // Nothing of what was asked for may still go on while others are trained.
    await system.temporal.workflow.getHandle(`monitor/${modelName}`).terminate('the half-year is over')
    const { weeks, weeklyTrainings } = await compare(deps, {
      plan,
      clock,
      models,
      first,
      traffic,
      wallMs,
      say,
    })
    return {
      plan,
      clock,
      weeks,
      weeklyTrainings,
      ...found,
      outcomes: traffic.outcomes,
      worstLagMs: traffic.worstLagMs,
      vitals,
      left,
      complaints: system.complaints,
      liveMs,
    }
  } finally {
    await events.close()
    await system.stop()
    await rm(models, { recursive: true })
  }
}

/** Begins to read at once, and not when the first is wanted. */
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

function depsOf({ config, store }: System): Deps {
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  return { config, store, artifacts: openArtifacts(config.artifactRoot), log }
}

/** Asks for the first version and approves it: there is no champion to beat, so a person answers for it. */
async function seatFirst(system: System, asOfMs: number, say: (line: string) => void): Promise<string> {
  const { store, operator, approver } = system
  const { definition } = (
    await store.query<{ definition: { release: object & { approval: object } } }>(
      sql`select definition from models where name = ${modelName}`,
    )
  )[0]!
  const { release } = definition
  await operator.post(`/v1/models/${modelName}/retrainings`, {
    as_of: new Date(asOfMs).toISOString(),
    reason: 'the first version',
    policy: { ...release, approval: { approvers: 1, withinMs: 120_000 } },
  })
  const deadline = Date.now() + 180_000
  let approved = false
  for (;;) {
    const champion = await findChampion(store, modelName)
    if (champion !== undefined && (await findOpenRelease(store, modelName)) === undefined)
      return champion.version
    const [last] = await listRetrainings(store, { model: modelName, limit: 1 })
    if (last?.outcome !== undefined && last.outcome !== 'released')
      throw new Error(`the first version was not released: ${last.outcome}, ${last.message}`)
    const open = await findOpenRelease(store, modelName)
    if (!approved && open?.state.stage === 'awaiting_approval') {
      await approve(approver, open)
      approved = true
      say(`${open.state.version} is approved by a person, as every first version is`)
    }
    if (Date.now() > deadline) throw new Error('there is no first champion after three minutes')
    await pause(200)
  }
}

async function approve(approver: System['approver'], { state }: Release): Promise<void> {
  await approver.post(`/v1/releases/${state.id}/approve`, {
    reason: 'floors met',
    artifact_digest: state.digests.artifact,
    evaluation_digest: state.digests.evaluation,
    policy_digest: state.digests.policy,
  })
}

/** Tells each week what has happened, and reads the vital signs twice a week. */
async function watch(
  system: System,
  { traffic, clock, say }: { traffic: Traffic; clock: Clock; say: (line: string) => void },
): Promise<Vitals[]> {
  const vitals: Vitals[] = []
  let ended = false
  const end = traffic.ended.finally(() => (ended = true))
  let told = 0
  while (!ended) {
    await Promise.race([end, pause(clock.weekMs / 2)])
    const seen = await readVitals(system, system.processes).catch(() => undefined)
    if (seen === undefined) continue
    vitals.push(seen)
    const week = traffic.weeks.length - 1
    if (week <= told) continue
    told = week
    const [window] = await listMonitorWindows(system.store, { model: modelName, limit: 1 })
    const [retraining] = await listRetrainings(system.store, { model: modelName, limit: 1 })
    const champion = await findChampion(system.store, modelName)
    const quality = window?.findings['quality'] as { value?: number; level?: string } | undefined
    say(
      `week ${week} (${day(clock.recordedOf(Date.now()))}): ${champion?.version}, quality ${quality?.value?.toFixed(4) ?? '–'} ${quality?.level ?? ''}; ` +
        `last retraining ${retraining?.reason} ${retraining?.outcome ?? 'runs'}; lag ${Math.round(traffic.worstLagMs)} ms`,
    )
  }
  await end
  return vitals
}

async function readReleases({ store }: System): Promise<HalfYear['releases']> {
  const rows = await store.query<{
    version: string
    outcome: string | null
    reason: string | null
    started_at: Date
    ended_at: Date | null
  }>(sql`
    select state->>'version' as version, outcome, reason, started_at, ended_at from releases
    where model = ${modelName} order by started_at`)
  return rows.map((row) => ({
    version: row.version,
    outcome: row.outcome ?? 'runs',
    reason: row.reason ?? '',
    startedMs: row.started_at.getTime(),
    endedMs: row.ended_at?.getTime(),
  }))
}

/** Waits until what is under way has come to its end, for as long as a release may take, and counts what has not. */
async function readLeft({ store }: System): Promise<Record<string, number>> {
  const deadline = Date.now() + 180_000
  for (;;) {
    const [row] = await store.query<{ [what: string]: number }>(sql`
      select
        (select count(*)::int from retrainings where ended_at is null
          and started_at < now() - interval '2 minutes') as "retrainings that began more than two minutes ago and run",
        (select count(*)::int from releases where ended_at is null
          and started_at < now() - interval '2 minutes') as "releases that began more than two minutes ago and run",
        (select count(*)::int from routing join replicas on lease_until > clock_timestamp()
          left join acknowledgements on replica_id = id and acknowledgements.model = routing.model
          where (acknowledgements.epoch, acknowledgements.generation) is distinct from (routing.epoch, routing.generation))
          as "routes that a live replica has not acknowledged",
        (select count(*)::int from alert_messages where next_at is not null) as "messages to people that wait",
        (select count(*)::int from outcomes where not exists (select from predictions where id = request_id))
          as "outcomes without their prediction"`)
    if (row === undefined) return {}
    if (Object.values(row).every((count) => count === 0) || Date.now() > deadline) return row
    await pause(2_000)
  }
}

/** How right each of the three was, week by week, on the same flights. */
async function compare(
  deps: Deps,
  options: {
    plan: Plan
    clock: Clock
    models: string
    first: string
    traffic: Traffic
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
    never = await answersOf(deps, (await getVersion(deps.store, first)).artifactDigest, played)
    for (const [index, week] of played.entries()) {
      const id = `trn_weekly${index}`
      const digest = await trainAsOf(deps, { model: modelName, models, asOfMs: week.beganMs, id })
      weekly.push((await answersOf(deps, digest, [week]))[0]!)
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
      lateShare: week.outcomes.reduce((sum, late) => sum + late, 0) / week.outcomes.length,
      tenure: qualityOf(week.outcomes, week.answers),
      never: of(never[index], week),
      weekly: of(weekly[index], week),
      versions: [...week.versions],
      requests: week.requests,
      failures: week.failures,
    })),
  }
}

export const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
