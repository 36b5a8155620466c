/**
 * Kills replicas, workers, Temporal and Postgres at once under load and during a canary. Restarting processes must not overload the
 * servers, and the release must continue.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { replicaName } from '../../../cli/supervisor/rolling-restart.ts'
import { maxConnectionsOf } from '../../../store/database/connection-budget.ts'
import { familyOf } from '../servers/freeze.ts'
import type { LinkedShow, NamedLink } from './linked-fleet.ts'
import { startCallers } from '../servers/system-fixture.ts'
import { releaseStatus } from '../../../workflows/messages.ts'
import { isFollowed } from './links.ts'

const timeoutMs = 600_000
/** A failure within this time after the apparent recovery extends the outage. */
const calmMs = 1_000

export async function restartAll(show: LinkedShow) {
  const { system, links, model } = show
  const { release } = await show.approved()
  await release.reaches('canary', 0)
  const replicas = system.urls.map((_, index) => replicaName(index))
  const workers = [...new Set(links.map((link) => link.process))].filter((name) => !replicas.includes(name))
  const callers = startCallers(system.urls, model)
  try {
    const pids = ['postgres', 'temporal', ...workers, ...replicas].flatMap((name) =>
      familyOf(system.supervision.pidOf(name)!),
    )
    const killedMs = performance.now()
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    callers.reset()
    let answeredMs: number | undefined
    const isSteady = async (): Promise<boolean> => {
      if (callers.answered.size > 0) answeredMs ??= performance.now() - killedMs
      const failed = callers.failures.length
      const answers = await Promise.race([
        release.handle.query(releaseStatus).then(() => true),
        pause(calmMs, false),
      ]).catch(() => false)
      return answers && (await isFollowed(show).catch(() => false)) && callers.failures.length === failed
    }
    let steadyMs = Infinity
    while (steadyMs === Infinity) {
      if (performance.now() - killedMs > timeoutMs)
        throw new Error(`nothing was steady within ${timeoutMs} ms`)
      if (!(await isSteady())) {
        await pause(100)
        continue
      }
      const seemsMs = performance.now() - killedMs
      const failed = callers.failures.length
      await pause(calmMs)
      if (callers.failures.length === failed) steadyMs = seemsMs
    }
    const crowdOf = (to: NamedLink['to'], mayHold: number) => {
      const opened = links
        .filter((link) => link.to === to)
        .flatMap((link) => link.opened.filter((atMs) => atMs >= killedMs && atMs <= killedMs + steadyMs))
      return {
        opened: opened.length,
        /** Maximum within 100 ms. */
        atOnce: mostAtOnce(opened),
        /** Configured maximum of all processes. */
        mayHold,
      }
    }
    const connections =
      replicas.length * maxConnectionsOf('api') + workers.length * maxConnectionsOf('control')
    const { outcome } = await release.result()
    return {
      /** From the kill until all processes are ready, replicas follow, the release responds and requests succeed. */
      steadyMs: Math.round(steadyMs),
      /** Until the first successful prediction. */
      answeredMs: Math.round(answeredMs ?? Infinity),
      outcome,
      /** Connections requested from the kill until recovery. */
      postgres: crowdOf('postgres', connections),
      temporal: crowdOf('temporal', replicas.length + workers.length),
    }
  } finally {
    await callers.stop()
  }
}

/** Maximum number of times within 100 ms. */
function mostAtOnce(momentsMs: readonly number[]): number {
  const sorted = momentsMs.toSorted((a, b) => a - b)
  return Math.max(0, ...sorted.map((from) => sorted.filter((at) => at >= from && at < from + 100).length))
}
