/** Opens the row of a release. */
import { DomainError, isError, reasonOf } from '../../domain/errors.ts'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { basisIssues } from '../../domain/release/basis.ts'
import { hotfixPolicy } from '../../domain/release/derived-policy.ts'
import { issuesOfPolicy } from '../../domain/release/policy.ts'
import { issuesOfReplacement } from '../../domain/release/rules/replacement.ts'
import {
  issuesOfOpening,
  hotfixRoles,
  openingState,
  type Statement,
  type ReleaseFacts,
  type ReleaseId,
  type ReleaseState,
} from '../../domain/release/state.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import {
  releaseBasisOf,
  findReleasable,
  findOpenRelease,
  findRelease,
  insertRelease,
  refusalKeyOf,
} from '../../store/release/releases.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { findLabelTime } from '../../store/monitoring/monitor-windows.ts'
import { findLatency } from '../../store/release/evidence.ts'
import { findDrillOrder, issueOfDrills, type DrillOrder } from '../../store/release/drills.ts'
import { findActiveKeys, type ActiveKey } from '../../store/access/api-keys.ts'
import type { Database, Store } from '../../store/postgres.ts'
import { findRoutingPlace, firstEpoch } from '../../store/serving/routing.ts'
import {
  endQueued,
  findQueueEntry,
  rejectQueued,
  type QueuedRelease,
} from '../../store/release/release-queue.ts'
import type { ReleaseRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { endInterrupted } from '../../store/release/close-release.ts'
import { rowsOfEndedRuns } from '../runtime/find-run.ts'
import { requireStart } from '../runtime/claim-start.ts'
import { findRetrained } from '../../store/training/retrainings.ts'
import { recordFailure } from '../../store/training/runs.ts'

export interface Opening extends ReleaseRequest {
  id: ReleaseId
  workflowId: string
  runId: string
  /** On the workflow's clock. */
  atMs: number
}

/** The period, and the minimum number of requests, for measuring the champion's latency. */
const latencyWindowMs = 24 * 3_600_000
const latencyRequests = 200
/** Below this, latency differences reflect JIT compilation and not the model. */
const noticeableUs = 1_000

/** Freezes the facts of a release into its first state, or returns why it cannot open. */
export const openRelease =
  (deps: Deps) =>
  async (opening: Opening): Promise<{ state: ReleaseState } | { refused: string }> => {
    const { store, log } = deps
    // Outside the transaction, because a start is used up even when the release is refused.
    const opened = await requireOrdered(deps, opening)
      .then(() => endOrphan(store, opening))
      .then(() => store.transaction((database) => open(database, opening)))
      .catch((error: unknown) => {
        if (isError(error, 'release_in_progress')) return { refused: error.message }
        if (isError(error, 'forbidden')) return { refused: error.message, isOrdered: false }
        // A malformed request that no check foresaw fails again at every retry.
        if (error instanceof TypeError || error instanceof RangeError)
          return { refused: `the request is malformed: ${error.message}` }
        throw error
      })
    log.info({ release: opening.id, refused: 'refused' in opened }, 'release opened')
    if (!('refused' in opened)) return opened
    // A forged request must not reject the queue entry that it names, nor raise alerts; a refused command has raised its alert.
    if (!('isOrdered' in opened)) await recordRefusal(store, opening, opened.refused)
    return { refused: opened.refused }
  }

/** Records why a release cannot open. No caller waits for the answer, so an alert reports it; a drill has its own row. */
async function recordRefusal(
  store: Store,
  { id, turn, drill, model, version }: Opening,
  refused: string,
): Promise<void> {
  const what =
    turn === undefined
      ? `${version} could not be released as ${id}`
      : `${version} was queued and could not be released when its turn came`
  await store.transaction(async (database) => {
    await rejectQueued(database, { releaseId: id, turn, message: refused })
    if (drill !== undefined) await recordFailure(database, drill.id, { message: refused })
    else
      await upsertAlert(database, {
        dedupeKey: turn === undefined ? refusalKeyOf(id) : `release-queue/${turn}`,
        model,
        kind: 'release_failed',
        severity: 'warning',
        message: `${what}: ${refused}`,
        // Names no release, whose page an alert would link to: it has none.
        evidence: { version, queued: turn, reason: refused },
      })
  })
}

/** Ends an open release of an ended run of this workflow, which would otherwise refuse the new one. */
async function endOrphan(store: Store, { id, model, workflowId }: Opening): Promise<void> {
  const other = await findOpenRelease(store, model)
  if (other === undefined || other.state.id === id || other.workflowId !== workflowId) return
  for (const { state } of await rowsOfEndedRuns([other]))
    await store.transaction((database) => endInterrupted(database, state))
}

async function open(
  database: Database,
  opening: Opening,
): Promise<{ state: ReleaseState } | { refused: string }> {
  const earlier = await findRelease(database, opening.id)
  if (earlier) return { state: earlier.state }
  const facts = await gather(database, opening)
  if ('refused' in facts) return facts
  const issues = issuesOf(facts)
  if (issues.length > 0) return { refused: `the release cannot open: ${issues.join('; ')}` }
  const state = openingState(facts, opening.atMs)
  await insertRelease(database, { state, workflowId: opening.workflowId, runId: opening.runId })
  if (opening.turn !== undefined) await takeTurn(database, opening.id, opening.turn)
  await appendAudit(database, {
    actor: opening.requestedBy,
    action: 'release.opened',
    subject: opening.id,
    model: opening.model,
    detail: { version: facts.version, baseline: facts.baseline ?? null, digests: facts.digests },
  })
  return { state }
}

/** Ends the queue entry of a release. A refused release rejects the entry instead. */
async function takeTurn(database: Database, releaseId: ReleaseId, turn: string): Promise<void> {
  const message = 'the release has started'
  if (!(await endQueued(database, { id: turn, state: 'started', message, releaseId }))) return
  const {
    model,
    version,
    requestedBy: actor,
    hotfixReason: hotfix = null,
  } = (await findQueueEntry(database, turn))!
  const detail = { waiting: turn, version, hotfix }
  await appendAudit(database, { actor, action: 'release.turn', subject: releaseId, model, detail })
}

/** Requires a stored request for the release (a queue entry, a drill or a retraining) or the command of a user. Throws `forbidden`. */
async function requireOrdered(deps: Deps, opening: Opening): Promise<void> {
  const database = deps.store
  const { id, workflowId: _workflow, runId: _run, atMs: _at, ...order } = opening
  const { turn, drill, retraining } = order
  if ((await findRelease(database, id)) !== undefined) return
  if (turn === undefined && drill === undefined && retraining === undefined)
    return requireStart(database, { kind: 'release', given: order })
  const asked = { id, order }
  const rows = [
    turn === undefined || isQueued(await findQueueEntry(database, turn), asked),
    drill === undefined || isDrilled(await findDrillOrder(database, drill), asked),
    retraining === undefined ||
      (order.hotfix === undefined && (await findRetrained(database, { ...order, retraining })) === false),
  ]
  if (rows.includes(false))
    throw new DomainError(
      'forbidden',
      'the release cannot open: no stored row requests it with this version, requester and policy',
    )
}

interface Asked {
  /** The id of the release to open. */
  id: string
  order: Ordered
}

type Ordered = Pick<ReleaseRequest, 'model' | 'version' | 'requestedBy' | 'policy' | 'hotfix'>

const isOrder = (row: Ordered | undefined, order: Ordered): boolean =>
  row !== undefined && canonicalJson(orderedBy(row)) === canonicalJson(orderedBy(order))

const orderedBy = ({ model, version, requestedBy, policy, hotfix }: Ordered): Ordered => ({
  model,
  version,
  requestedBy,
  policy,
  hotfix,
})

/** The queue workflow may already have marked the entry as started. */
function isQueued(row: QueuedRelease | undefined, { id, order }: Asked): boolean {
  const isDue = row?.state === 'waiting' || (row?.state === 'started' && row.releaseId === id)
  const hotfix = row?.hotfixReason === undefined ? undefined : { reason: row.hotfixReason }
  return isDue && isOrder({ ...row, hotfix }, order)
}

/** A drill has one release. */
const isDrilled = (row: DrillOrder | undefined, { id, order }: Asked): boolean =>
  isOrder(row, order) && (row?.releaseId === undefined || row.releaseId === id)

/** A policy from a request may have any shape. */
function issuesOf(facts: ReleaseFacts): string[] {
  try {
    return [...issuesOfPolicy(facts.policy), ...issuesOfOpening(facts)]
  } catch (error) {
    return [`the policy is malformed: ${reasonOf(error)}`]
  }
}

async function gather(database: Database, opening: Opening): Promise<ReleaseFacts | { refused: string }> {
  const { id, model, version, requestedBy } = opening
  const candidate = await findReleasable(database, version)
  if (candidate === undefined || candidate.model !== model)
    return { refused: `${model} has no version ${version}` }
  if (candidate.drill !== (opening.drill !== undefined))
    return {
      refused: candidate.drill
        ? `${version} was built for a drill and can only be released by it`
        : `${version} was not built for a drill`,
    }
  const baseline = (await findChampion(database, model))?.version
  const expected = { version, champion: baseline }
  // The candidate of a drill is built from the present champion and shares its evaluation.
  const issue = basisIssues(expected, releaseBasisOf(candidate, baseline)).find(
    ({ kind }) => kind !== 'comparison' || opening.drill === undefined,
  )
  if (issue !== undefined) return { refused: issue.message }
  const whole = opening.policy ?? candidate.policy
  // A malformed replacement policy is reported with the other issues.
  const isReplaced = opening.drill === undefined && opening.policy?.approval !== undefined
  const taken = isReplaced ? issuesOfReplacement(whole, candidate.policy) : []
  if (taken.length > 0) return { refused: `the release cannot open: ${taken.join('; ')}` }
  const requester = (await findActiveKeys(database)).find(({ name }) => name === requestedBy)
  const hotfix = hotfixOf(opening, requester)
  if (hotfix !== undefined && 'refused' in hotfix) return hotfix
  const policy = hotfix === undefined ? whole : hotfixPolicy(whole)
  const stale = opening.drill === undefined ? await issueOfDrills(database, { model, policy }) : undefined
  if (stale !== undefined) return { refused: stale }
  const place = await findRoutingPlace(database, model)
  const latency =
    baseline === undefined
      ? undefined
      : await findLatency(database, { model, version: baseline, windowMs: latencyWindowMs })
  return {
    id,
    model,
    version,
    baseline,
    requestedBy,
    hotfix,
    drill: opening.drill?.kind,
    requestedByKey: requester?.id,
    policy,
    digests: {
      artifact: candidate.artifactDigest,
      evaluation: candidate.evaluationDigest,
      policy: digestOfJson(policy),
    },
    ...(latency && latency.requests >= latencyRequests
      ? { latencyUs: { p95: Math.max(latency.p95, noticeableUs), p99: Math.max(latency.p99, noticeableUs) } }
      : {}),
    labelsMs: policy.probation?.coverLabels === true ? await findLabelTime(database, model) : undefined,
    epoch: place?.epoch ?? firstEpoch,
    generation: place?.generation ?? 0,
  }
}

/** Checks the requester of a hotfix like the sender of a command. Undefined without a hotfix. */
function hotfixOf(
  { hotfix, requestedBy, model, atMs }: Opening,
  key: ActiveKey | undefined,
): Statement | { refused: string } | undefined {
  if (hotfix === undefined) return undefined
  const reason = String(hotfix.reason ?? '').trim()
  if (reason === '') return { refused: 'a hotfix needs a reason' }
  if (key === undefined || !hotfixRoles.includes(key.role) || (key.models && !key.models.includes(model)))
    return { refused: `${requestedBy} cannot start a hotfix: it needs the role ${hotfixRoles.join(' or ')}` }
  return { by: requestedBy, atMs, reason }
}
