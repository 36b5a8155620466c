/**
 * Runs one system under steady load while planned faults are injected and good and bad versions are released, then checks every invariant.
 * Shared by `npm run bench -- chaos` and its sample among the long tests.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { isError } from '../../../domain/errors.ts'
import { seededRandom } from '@tenure/sequential'
import { findChampion } from '../../../store/registry/champions.ts'
import { sumAccounts } from '../../../store/serving/prediction-log.ts'
import { cutRow } from '../../../test/support/fleet/cut.ts'
import { startAsker, type CallerResponse } from '../../../test/support/fleet/callers.ts'
import { stateOf } from '../../../test/support/fleet/fleet-stage.ts'
import { faultKinds, planFaults, strike, type PlannedFault } from './faults.ts'
import { finalIssues, momentaryIssues } from './invariants.ts'
import { driveReleases, driveRetrainings } from './releases.ts'
import { chaosModel, openChaosStage, type ChaosStage } from './stage.ts'

export interface ChaosOptions {
  seed: number
  runMs: number
  /** Requests per second. */
  rate: number
  say?: (line: string) => void
}

export type ChaosReport = Awaited<ReturnType<typeof runChaos>>

/** Pause between a response and the next request of one client. */
const pauseMs = 100

export async function runChaos({ seed, runMs, rate, say = () => {} }: ChaosOptions) {
  const stage = await openChaosStage()
  const from = performance.now()
  const log = (line: string) => say(`${((performance.now() - from) / 1_000).toFixed(1)} s ${line}`)
  const over = new AbortController()
  try {
    const issues: string[] = []
    const forbidden = new Map<string, { why: string; fromMs: number }>()
    const latest = new Map<string, number>()
    const watchAnswer = ({ version, sentMs }: CallerResponse): void => {
      latest.set(version, sentMs)
      const ban = forbidden.get(version)
      if (ban !== undefined && sentMs > ban.fromMs)
        issues.push(`${version} answered ${Math.round(sentMs - ban.fromMs)} ms after ${ban.why}`)
    }
    const options = {
      random: seededRandom(seed + 1),
      until: over.signal,
      say: log,
      forbid(version: string, why: string) {
        log(`${version}: ${why}`)
        forbidden.set(version, { why, fromMs: performance.now() })
      },
    }
    const retrained: Parameters<typeof driveRetrainings>[2] = { retrained: new Map(), issues }
    const driving = driveReleases(stage, options)
    const retraining = driveRetrainings(stage, over.signal, retrained)
    await untilServed(stage)
    const asker = startAsker({
      targets: [stage.sharedUrl],
      each: Math.ceil((rate * pauseMs) / 1_000),
      model: chaosModel,
      row: cutRow,
      pauseMs,
      requestsEach: 50,
      onAnswer: watchAnswer,
    })
    const watching = watch(stage, over.signal, issues)
    const kinds = faultKinds.filter(
      (kind) =>
        (kind !== 'full disk' || stage.disk !== undefined) && (kind !== 'clock' || stage.clocks.size > 0),
    )
    const struck = await strikeAll(stage, planFaults(seed, runMs, kinds), log)
    await pause(Math.max(0, from + runMs - performance.now()))
    over.abort()
    const driven = await driving
    await Promise.all([retraining, watching])
    const champion = (await findChampion(stage.store, chaosModel))?.version ?? ''
    const endMs = performance.now()
    while ((latest.get(champion) ?? 0) < endMs + 1_000 && performance.now() < endMs + 10_000) await pause(50)
    for (const [version, sentMs] of latest)
      if (sentMs > endMs + 200 && version !== champion) issues.push(`${version} answers at the end`)
    await asker.stop()
    issues.push(...driven.issues, ...(await finalIssues(stage, asker.answered)))
    return {
      seed,
      minutes: runMs / 60_000,
      faults: struck,
      releases: driven.ended,
      retrainings: retrained.retrained,
      answered: asker.answered,
      failures: classify(asker.failures, struck),
      log: await sumAccounts(stage.store),
      issues: [...new Set(issues)],
    }
  } catch (error) {
    say(stage.lines.slice(-80).join('\n'))
    throw error
  } finally {
    over.abort()
    await stage.stop()
  }
}

/** A fault with the time until its process served again. */
export type StruckFault = PlannedFault & { fromMs: number; untilMs: number }

/** Injects faults in the order of the plan. A fault ends after its duration, although another one may have begun. */
async function strikeAll(
  stage: ChaosStage,
  plan: readonly PlannedFault[],
  log: (line: string) => void,
): Promise<StruckFault[]> {
  const from = performance.now()
  const struck: StruckFault[] = []
  const healing = plan.map(async (fault) => {
    await pause(fault.atMs)
    const { kind, target, forMs } = fault
    log(`${kind} ${target}${kind === 'kill' || kind === 'garbage' ? '' : ` for ${forMs} ms`}`)
    const each = { ...fault, fromMs: performance.now(), untilMs: Infinity }
    struck.push(each)
    const heal = await strike(stage, fault)
    if (kind !== 'kill' && kind !== 'garbage') await pause(forMs)
    heal()
    if (target.startsWith('api')) await untilReady(stage, target)
    each.untilMs = performance.now()
  })
  await Promise.all(healing)
  log(`the last of ${plan.length} faults is over, ${Math.round((performance.now() - from) / 1_000)} s`)
  return struck
}

async function untilReady({ urls, keys }: ChaosStage, target: string): Promise<void> {
  const url = urls[target.startsWith('api-2') ? 1 : 0]!
  const end = performance.now() + 30_000
  while ((await stateOf(url, keys.admin)).status !== 'ready' && performance.now() < end) await pause(50)
}

async function untilServed({ sharedUrl }: ChaosStage): Promise<void> {
  for (;;) {
    const answer = await fetch(`${sharedUrl}/v1/models/${chaosModel}/predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ instances: [cutRow] }),
    })
    await answer.body?.cancel()
    if (answer.status === 200) return
    await pause(50)
  }
}

/** Checks the invariants of any moment each second, whenever Postgres responds. */
async function watch(stage: ChaosStage, until: AbortSignal, issues: string[]): Promise<void> {
  while (!until.aborted) {
    await momentaryIssues(stage).then(
      (found) => issues.push(...found),
      (error: Error) => {
        if (!isError(error, 'postgres_unavailable')) issues.push(error.message)
      },
    )
    await pause(1_000)
  }
}

export interface FailureCounts {
  /** Failed responses that a bad version was planted to give. */
  planted: number
  /** Requests without a response, because their connection was to a replica that was killed or frozen. */
  onStruckReplica: number
  /** All other failures, by reason. */
  outside: Map<string, number>
}

function classify(
  failures: readonly { why: string; sentMs: number; atMs: number }[],
  struck: readonly StruckFault[],
): FailureCounts {
  const windows = struck.filter(
    ({ kind, target }) => (kind === 'kill' || kind === 'freeze') && target.startsWith('api'),
  )
  const counts: FailureCounts = { planted: 0, onStruckReplica: 0, outside: new Map() }
  for (const { why, sentMs, atMs } of failures) {
    const unanswered = !/^\d{3} /.test(why)
    if (why.includes('output_invalid')) counts.planted++
    else if (unanswered && windows.some(({ fromMs, untilMs }) => sentMs <= untilMs && atMs >= fromMs))
      counts.onStruckReplica++
    else counts.outside.set(why, (counts.outside.get(why) ?? 0) + 1)
  }
  return counts
}
