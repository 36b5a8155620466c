/** Measures several processes on one port: a rolling restart, kills, and the distribution of connections. */
import { setTimeout as pause } from 'node:timers/promises'
import { replicaName, restartReplicas } from '../../../cli/supervisor/rolling-restart.ts'
import type { RealSystem } from '../servers/system-fixture.ts'
import { quantileOf, sumBy } from '../figures.ts'
import { lostRequests, startAsker } from './callers.ts'
import { metricsOf } from './fleet-stage.ts'

export interface PortOptions {
  system: Pick<RealSystem, 'supervision' | 'urls' | 'sharedUrl' | 'signal'>
  model: string
  row: object
  callers: number
}

/** Restarts every replica in turn under load. */
export async function measureRolls(
  { system, model, row, callers }: PortOptions,
  { rounds, answers }: { rounds: number; answers: number },
) {
  const { supervision, urls, sharedUrl } = system
  const asker = startAsker({ targets: [sharedUrl], each: callers, model, row })
  const tookMs: number[] = []
  for (let round = 0; round < rounds; round++) {
    const from = performance.now()
    const lines: string[] = []
    if (!(await restartReplicas({ supervision, urls, say: (line) => lines.push(line) })))
      throw new Error(lines.join('; '))
    tookMs.push(Math.round(performance.now() - from))
  }
  while (asker.answered < answers) await pause(20)
  await asker.stop()
  const failures = lostRequests(asker)
  const refused = asker.failures.length - failures.length
  return {
    rounds,
    answered: asker.answered,
    refused,
    failed: failures.length,
    failures: failures.slice(0, 5),
    tookMs,
  }
}

/** Kills one replica after another with kill -9. */
export async function measureKills(
  { system, model, row, callers }: PortOptions,
  { kills, settleMs }: { kills: number; settleMs: number },
) {
  const { urls, sharedUrl } = system
  const asker = startAsker({ targets: [sharedUrl], each: callers, model, row })
  const failed: number[] = []
  const readyMs: number[] = []
  let late = 0
  await pause(settleMs)
  const beganMs = performance.now()
  for (let i = 0; i < kills; i++) {
    const place = i % urls.length
    asker.failures.length = 0
    const killedMs = performance.now()
    const endedMs = await killReplica(system, replicaName(place))
    await untilBack(urls[place]!)
    readyMs.push(Math.round(performance.now() - killedMs))
    await pause(settleMs)
    const lost = lostRequests(asker)
    failed.push(lost.length)
    late += lost.filter(({ sentMs }) => sentMs > endedMs).length
  }
  const tookS = (performance.now() - beganMs) / 1_000
  await asker.stop()
  const sum = sumBy(failed, Number)
  return {
    kills,
    answered: asker.answered,
    failed: sum,
    /** Failed requests sent after the killed process had ended. */
    late,
    mostOfOneKill: Math.max(...failed),
    availability: asker.answered / (asker.answered + sum),
    perSecond: Math.round(asker.answered / tookS),
    readyMs: { p50: quantileOf(readyMs, 0.5), max: Math.max(...readyMs) },
  }
}

/** Responses per second, and the share of each replica in percent. */
export async function measureTakings(
  { system, model, row, callers }: PortOptions,
  { forMs, key }: { forMs: number; key: string },
) {
  const { urls, sharedUrl } = system
  const countsOf = async (url: string): Promise<number> => {
    const lines = (await metricsOf(url, key)).matchAll(
      /^tenure_predictions_total\{.*result="answered"\} (\d+)/gm,
    )
    return [...lines].reduce((sum, [, count]) => sum + Number(count), 0)
  }
  const asker = startAsker({ targets: [sharedUrl], each: callers, model, row })
  await pause(1_000)
  const before = await Promise.all(urls.map(countsOf))
  const [answered, fromMs] = [asker.answered, performance.now()]
  await pause(forMs)
  const perSecond = Math.round((asker.answered - answered) / ((performance.now() - fromMs) / 1_000))
  const after = await Promise.all(urls.map(countsOf))
  await asker.stop()
  const counts = after.map((count, index) => count - before[index]!)
  const sum = sumBy(counts, Number)
  return { perSecond, percentOfEach: counts.map((count) => Math.round((100 * count) / sum)) }
}

/** Answers when the process had ended: a busy machine lets it accept connections for a while after the signal. */
async function killReplica(
  { supervision, signal }: Pick<RealSystem, 'supervision' | 'signal'>,
  name: string,
): Promise<number> {
  const pid = supervision.pidOf(name)
  signal(name, 'SIGKILL')
  while (supervision.pidOf(name) === pid) await pause(1)
  return performance.now()
}

const attemptMs = 1_000

/** Resolves when a killed replica is ready again. */
export async function untilBack(url: string): Promise<void> {
  // The socket of a killed process may still accept for a moment.
  let away = false
  const until = performance.now() + 200_000
  while (performance.now() < until) {
    const status = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(attemptMs) })
      .then(async (answer) => (await answer.arrayBuffer(), answer.status))
      .catch(() => 0)
    if (status === 0) away = true
    if (away && status === 200) return
    await pause(10)
  }
  throw new Error(`${url} did not become ready again`)
}
