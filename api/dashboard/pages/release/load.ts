/** Reads all data of a release page with a fixed number of statements. */
import { pinReason } from '../../../../domain/serving/kill-switch.ts'
import { servingProblem, unansweredText } from '../../../../domain/release/explain.ts'
import type { Traffic } from '../../../../domain/serving/gateway.ts'
import type { ServedShares } from '../../../../domain/serving/served.ts'
import { readServedShares } from '../../../../store/serving/routing.ts'
import { findGateway } from '../../../../store/serving/gateways.ts'
import { laggingReplicas, listReplicaProgress } from '../../../../store/serving/replicas.ts'
import {
  findChampion,
  findWithdrawals,
  type Champion,
  type Withdrawal,
} from '../../../../store/registry/champions.ts'
import { findKillSwitch } from '../../../../store/serving/kill-switches.ts'
import { readRequestRate, type RequestRate } from '../../../../store/dashboard/overview.ts'
import {
  findCandidate,
  lastDrift,
  listWatches,
  recentCommands,
  sampleVerdicts,
  sumArms,
  type ArmTotal,
  type Candidate,
  type ShownCommand,
  type ShownDrift,
  type ShownVerdict,
  type StageWatch,
} from '../../../../store/dashboard/release-detail.ts'
import { findAnswerEvidence, type AnswerEvidence } from '../../../../store/release/evidence.ts'
import { listFailedRequests, type VersionFailure } from '../../../../store/review/failed-requests.ts'
import type { Database } from '../../../../store/postgres.ts'
import type { Release } from '../../../../store/release/releases.ts'
import { getRelease } from '../../../services/release-commands.ts'
import { shownFailedRequests } from '../../components/failed-requests.tsx'

export interface ReleaseSubject {
  release: Release
  candidate?: Candidate
  verdicts: ShownVerdict[]
  commands: ShownCommand[]
  arms: ArmTotal[]
  watches: StageWatch[]
  /** The last judgement of each version; of an ended release, those of its time. */
  drift: ShownDrift[]
  answers: AnswerEvidence
  /** The newest requests that the candidate failed in this release. */
  failed: VersionFailure[]
  /** The champion now; absent once the release has ended. */
  champion?: Champion
  /** The rollback of the version after this release had promoted it. */
  withdrawal?: Withdrawal
  /** What the replicas serve now; absent before the first route, and once the release has ended. */
  served?: ServedShares
  /** Why the candidate does not serve as its stage says. */
  problem?: string
  /** The replicas that have not applied the route, each with its reason. */
  behind: string[]
  /** The reason of a kill switch that keeps traffic from the candidate. */
  pinned?: string
  /** The gateway that the callers of the model ask. */
  gateway?: Traffic
  /** The requests of the model; absent once the release has ended. */
  rate?: RequestRate
  nowMs: number
}

const maxVerdicts = 150
const maxCommands = 50

/** Reads the release. Throws `release_not_found`. */
export async function readSubject(store: Database, id: string): Promise<ReleaseSubject> {
  const release = await getRelease(store, id)
  const { model, version, baseline } = release.state
  const isOpen = release.endedAt === undefined
  const [candidate, answers, failed, verdicts, commands, arms, watches, drift, champion, ...now] =
    await Promise.all([
      findCandidate(store, version),
      findAnswerEvidence(store, id),
      listFailedRequests(store, { model, version, release: id, limit: shownFailedRequests }),
      sampleVerdicts(store, { release: id, most: maxVerdicts }),
      recentCommands(store, { release: id, limit: maxCommands }),
      sumArms(store, { model, release: id }),
      listWatches(store, id),
      lastDrift(store, {
        model,
        versions: baseline === undefined ? [version] : [version, baseline],
        until: release.endedAt,
      }),
      isOpen ? findChampion(store, model) : undefined,
      isOpen ? readServedShares(store, [model]) : undefined,
      isOpen ? listReplicaProgress(store, model) : [],
      isOpen ? undefined : findGateway(store, model),
      findKillSwitch(store, model),
      release.outcome === 'promoted' ? findWithdrawals(store, [version]) : undefined,
      isOpen ? readRequestRate(store, model) : undefined,
    ])
  const [servedOf, followers, gateway, flag, withdrawals, rate] = now
  const served = servedOf?.get(model)
  return {
    release,
    candidate,
    answers,
    failed,
    verdicts,
    commands,
    arms,
    watches,
    drift,
    champion,
    withdrawal: withdrawals?.get(version),
    served,
    problem: isOpen
      ? (unansweredText(commands.find(({ accepted }) => accepted === undefined)) ??
        servingProblem(release.state, served))
      : undefined,
    behind: served === undefined ? [] : laggingReplicas(followers, served.route),
    gateway: gateway?.traffic ?? followers.find(({ traffic }) => traffic)?.traffic,
    rate,
    pinned: isOpen ? pinReason(flag) : undefined,
    nowMs: Date.now(),
  }
}
