/**
 * Cuts one replica off from Postgres while a canary serves half of the traffic. The replica must drop the candidate by itself, and
 * must not serve it again after a rollback was acknowledged without it.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { insertModel, type Registry } from '../release/candidates.ts'
import { lostRequests, startAsker } from './callers.ts'
import type { ProxyLine } from './proxy.ts'
import { startedBy } from '../servers/started.ts'
import { sayTo, stateOf, untilFollowed, untilHolds, type FleetStage } from './fleet-stage.ts'

export const cutRow = { x: 1, y: 1 }

/** A canary that stays at 50 % of the traffic. */
const policy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 600_000 },
  stages: [{ shareBp: 5_000, minMs: 1_200_000, minRequests: 100, deadlineMs: 2_400_000 }],
  watch: { tickMs: 1_000, everyMs: 500, exposureMs: 15_000, acknowledgeMs: 20_000, decisionMs: 600_000 },
  limits: { ...defaultCanaryPolicy, maxStaleMs: 20_000, promotion: 'off', srm: 'off' },
}

export interface Played {
  registry: Registry
  champion: string
}

/** Releases the first version of a model. */
export async function playChampion(stage: FleetStage, model: string): Promise<Played> {
  const { store, artifactRoot } = stage
  const registry = await insertModel(store, { model, policy, artifactRoot })
  const champion = await registry.register()
  const release = await startCanary(stage, model, champion)
  await untilRelease(stage, release, ({ stage: now }) => now === 'ended')
  await untilFollowed(stage, 1, model)
  return { registry, champion }
}

/** Starts a release of the next version and waits until every replica follows its canary. */
export async function playCanary(stage: FleetStage, { registry, champion }: Played): Promise<Canary> {
  const candidate = await registry.register(champion)
  const release = await startCanary(stage, registry.model, candidate)
  await untilRelease(stage, release, (told) => told.stage === 'canary' && told.state?.routed === true)
  return { model: registry.model, champion, candidate, release }
}

export interface Canary {
  model: string
  champion: string
  candidate: string
  release: string
}

/** Starts a release and approves it by another key. */
export async function startCanary(stage: FleetStage, model: string, version: string): Promise<string> {
  const { urls, key, approverKey } = stage
  const say = sayTo(urls[0]!, key)
  const answer = await say<{ id: string }>('POST', '/v1/releases', { model, version })
  const { id } = await startedBy(answer, (path) => say('GET', path))
  await untilRelease(stage, id, ({ stage: now }) => now === 'awaiting_approval')
  await sayTo(urls[0]!, approverKey)('POST', `/v1/releases/${id}/approve`, { reason: 'bench' })
  return id
}

interface ReleaseReport {
  stage?: string
  why?: string
  reason?: string
  outcome?: string
  state?: { routed?: boolean; blockedBy?: string[] }
}

/** Waits until the release reports so. */
export const untilRelease = (
  { urls, key }: FleetStage,
  release: string,
  holds: (report: ReleaseReport) => boolean,
): Promise<ReleaseReport> =>
  untilHolds(
    () => sayTo(urls[0]!, key)<ReleaseReport>('GET', `/v1/releases/${release}`),
    (report) => {
      const isSo = holds(report)
      if (!isSo && report.stage === 'ended')
        throw new Error(`the release has ended: ${report.reason ?? report.why}`)
      return isSo
    },
    { what: `release ${release}` },
  )

export interface CutOptions {
  directions: { requests: boolean; replies: boolean }
  /** Roll back the release while the replica is cut off. */
  rollsBack: boolean
  /** Duration of the cut. */
  forMs: number
}

/** The last replica is behind the proxy. */
export async function measureCut(stage: FleetStage, line: ProxyLine, played: Canary, options: CutOptions) {
  const { urls, key } = stage
  const { model, champion, candidate, release } = played
  const place = urls.length - 1
  const seen = { lastCandidateMs: 0, champions: 0, others: new Set<string>(), healthyCandidates: 0 }
  let cutMs = Infinity
  let healedMs = Infinity
  let backMs = Infinity
  let acknowledgedMs = Infinity
  let afterAcknowledged = 0
  let checked = 0
  const asker = startAsker({
    targets: urls,
    each: 4,
    model,
    row: cutRow,
    pauseMs: 1,
    onAnswer({ version, target, sentMs }) {
      checked++
      if (version === candidate && sentMs >= acknowledgedMs) afterAcknowledged++
      if (target !== place) {
        if (version === candidate && sentMs > cutMs && sentMs < healedMs) seen.healthyCandidates++
        return
      }
      if (version === candidate) {
        if (sentMs > healedMs) backMs = Math.min(backMs, sentMs)
        else seen.lastCandidateMs = Math.max(seen.lastCandidateMs, sentMs)
      } else if (sentMs > cutMs && sentMs < healedMs) {
        if (version === champion) seen.champions++
        else seen.others.add(version)
      }
    },
  })
  await pause(1_500)
  cutMs = performance.now()
  line.cut(options.directions)
  if (options.rollsBack) {
    const reason = { reason: 'the bench takes it back' }
    await sayTo(urls[0]!, key)('POST', `/v1/releases/${release}/rollback`, reason)
    // The release ends when every live replica has acknowledged; the lease of the cut one must expire first.
    await untilRelease(stage, release, ({ outcome }) => outcome !== undefined)
    acknowledgedMs = performance.now()
  }
  await pause(Math.max(0, options.forMs - (performance.now() - cutMs)))
  healedMs = performance.now()
  line.heal()
  const convergedMs = await convergence(
    stage,
    place,
    model,
    options.rollsBack ? undefined : () => backMs,
    healedMs,
  )
  await pause(500)
  await asker.stop()
  return {
    ...options,
    checked,
    exposedForMs: Math.round(seen.lastCandidateMs - cutMs),
    championAnswersWhileCut: seen.champions,
    otherAnswersWhileCut: [...seen.others],
    candidateAnswersOfTheOthers: seen.healthyCandidates,
    ...(options.rollsBack
      ? {
          orderToAcknowledgedMs: Math.round(acknowledgedMs - cutMs),
          candidateAnswersAfterAcknowledged: afterAcknowledged,
        }
      : {}),
    convergedMs: Math.round(convergedMs),
    failures: lostRequests(asker).length,
  }
}

/** Waits until the replica serves the candidate again or, after a rollback, follows the newest route without a mark. */
async function convergence(
  { urls, key }: FleetStage,
  place: number,
  model: string,
  backMs: (() => number) | undefined,
  healedMs: number,
): Promise<number> {
  const generationOf = async (url: string) => {
    const { stale, models } = await stateOf(url, key)
    return { stale, generation: models?.find((each) => each.model === model)?.generation }
  }
  const wanted = (await generationOf(urls[0]!)).generation
  for (;;) {
    if (backMs !== undefined && backMs() < Infinity) return backMs() - healedMs
    const now = await generationOf(urls[place]!)
    if (backMs === undefined && now.generation === wanted && now.stale === false)
      return performance.now() - healedMs
    await pause(10)
  }
}
