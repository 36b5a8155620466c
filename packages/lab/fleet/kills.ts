/**
 * Kills one replica after another with kill -9 under twice the peak load. Requests come at a constant rate with a deadline; only
 * those in flight at the killed replica may be lost.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { replicaName } from '../../../cli/supervisor/rolling-restart.ts'
import { nextRoute, registerFixtureVersion } from '../../../test/support/serving/registration.ts'
import { quantileOf, sumBy } from '../../../test/support/figures.ts'
import { openLoad } from '../serving/measure.ts'
import { deepSpec, inferBody } from '../serving/networks.ts'
import type { OpenPlan, OpenLoadResult } from '../../../test/support/serving/open-load.ts'
import { untilBack } from '../../../test/support/fleet/port.ts'
import { untilFollowed, type FleetStage } from '../../../test/support/fleet/fleet-stage.ts'

export interface KillOptions {
  kills: number
  /** Time between kills. A process that dies again within 30 s restarts after a growing delay. */
  everyS: number
}

const peakS = 5
const deadlineMs = 500
/** Connections of all clients: an upper bound of the requests in flight at a killed replica. */
const mostConnections = 128
/** Window of the reported availability. */
const windowS = 60

export async function measureKillsAtTwicePeak(stage: FleetStage, { kills, everyS }: KillOptions) {
  const { store, artifactRoot, sharedUrl, urls, key } = stage
  const spec = deepSpec()
  const proven = await registerFixtureVersion(store, artifactRoot, spec)
  const { generation } = await nextRoute(store, spec.model, { proven })
  await untilFollowed(stage, generation, spec.model)
  const root = mkdtempSync(join(tmpdir(), 'tenure-kills-'))
  const body = join(root, 'body.json')
  writeFileSync(body, inferBody('wide', 1))
  const plan = (phases: OpenPlan['phases']): OpenPlan => ({
    url: `${sharedUrl}/v2/models/${spec.model}/infer`,
    body,
    authorization: `Bearer ${key}`,
    deadlineMs,
    mostConnections,
    phases,
  })
  const readyMs: number[] = []
  const kill = async (place: number): Promise<void> => {
    // Not at the boundary of two load phases.
    await pause(1_000)
    const killedMs = performance.now()
    stage.signal(replicaName(place), 'SIGKILL')
    await untilBack(urls[place]!)
    readyMs.push(Math.round(performance.now() - killedMs))
  }
  try {
    const [, closed] = await openLoad(
      plan([
        { name: 'warm', seconds: 2 },
        { name: 'peak', seconds: peakS },
      ]),
    )
    const peak = closed!.good / peakS
    const phases = Array.from({ length: kills }, (_, index) => ({
      name: `kill ${index + 1}`,
      rate: 2 * peak,
      seconds: everyS,
    }))
    const calm = await openLoad(plan([{ name: 'calm', rate: 2 * peak, seconds: everyS }]))
    const killed: Promise<void>[] = [kill(0)]
    const found = await openLoad(plan(phases), (_result, index) => {
      if (index < kills) killed.push(kill(index % urls.length))
    })
    await Promise.all(killed)
    const inWindow = Math.max(1, Math.round(windowS / everyS))
    const windows = found.flatMap((_, from) =>
      from + inWindow <= found.length ? [partsOf(found.slice(from, from + inWindow))] : [],
    )
    const whole = partsOf(found)
    return {
      kills,
      everyS,
      peakPerSecond: Math.round(peak),
      offeredPerSecond: Math.round(2 * peak),
      /** The same rate without kills. */
      calm: partsOf(calm),
      whole,
      /** Availability of the worst minute, or of the whole run if shorter. */
      worstMinute: Math.min(whole.availability, ...windows.map(({ availability }) => availability)),
      brokenOfEachKill: found.map(({ failed }) => failed),
      readyMs: { p50: quantileOf(readyMs, 0.5), max: Math.max(...readyMs) },
    }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

/** Results of the sent requests. */
function partsOf(results: readonly OpenLoadResult[]) {
  const sent = sumBy(results, ({ offered, unsent }) => offered - unsent)
  const good = sumBy(results, (result) => result.good)
  const refused = sumBy(results, (result) => result.refused)
  const late = sumBy(results, (result) => result.late)
  return {
    sent,
    good,
    refused,
    /** Served after their deadline. */
    late,
    unanswered: sumBy(results, (result) => result.unanswered),
    /** Broken connections and wrong responses. */
    broken: sumBy(results, (result) => result.failed),
    /** Any response in time, including an overload refusal. */
    availability: (good + refused + late) / sent,
    inTime: (good + refused) / sent,
  }
}
