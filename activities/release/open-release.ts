/** Opens the row of a release. */
import { Context } from '@temporalio/activity'
import { DomainError, isError, reasonOf } from '../../domain/errors.ts'
import { compressedPolicy, hotfixPolicy } from '../../domain/release/derived-policy.ts'
import type { DrillKind } from '../../domain/drill.ts'
import { issueOfLosses } from '../../domain/canary/holdback.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../../domain/release/policy.ts'
import type { ReleaseStart } from '../../domain/starts.ts'
import { issuesOfReplacement } from '../../domain/release/rules/replacement.ts'
import {
  issuesOfOpening,
  hotfixRoles,
  openingState,
  type Statement,
  type ReleaseFacts,
  type ReleaseId,
  type ReleaseState,
  releaseIdOf,
} from '../../domain/release/state.ts'
import { decisionNames } from '../../domain/tasks/tasks.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { readNow } from '../../store/database/clock.ts'
import {
  findCandidate,
  findOpenRelease,
  findRelease,
  insertRelease,
  refusalKeyOf,
  type Releasable,
} from '../../store/release/releases.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { findLabelTime } from '../../store/monitoring/monitor-windows.ts'
import { findLatency } from '../../store/release/evidence.ts'
import { takeDrillOrder, issueOfDrills } from '../../store/release/drills.ts'
import { findActiveKeys, type ActiveKey } from '../../store/access/api-keys.ts'
import type { Database, Store } from '../../store/postgres.ts'
import { findRoutingPlace, firstEpoch } from '../../store/serving/routing.ts'
import { endQueued, findQueueEntry, rejectQueued } from '../../store/release/release-queue.ts'
import type { ReleaseRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { endInterrupted } from '../../store/release/end-release.ts'
import { rowsOfEndedRuns } from '../runtime/find-run.ts'
import { takeStart } from '../runtime/take-start.ts'
import { findRetrained } from '../../store/training/retrainings.ts'
import { findEvaluation } from '../../store/training/evaluations.ts'
import { recordFailure } from '../../store/training/runs.ts'

export interface OpenInput extends ReleaseRequest {
  id: ReleaseId
}

interface Opening extends OpenInput {
  workflowId: string
  runId: string
  /** On the clock of the database. */
  atMs: number
}

/** The release that a row asks for. A drill's release is never promoted. */
type Ordered = ReleaseStart & { requestedBy: string; drill?: DrillKind }

/** The period, and the minimum number of requests, for measuring the champion's latency. */
const latencyWindowMs = 24 * 3_600_000
const latencyRequests = 200
/** Below this, latency differences reflect JIT compilation and not the model. */
const noticeableUs = 1_000

/** Freezes the facts of a release into its first state, or returns why it cannot open. */
export const openRelease =
  (deps: Pick<Deps, 'store' | 'log'>) =>
  async (input: OpenInput): Promise<{ state: ReleaseState } | { refused: string; version?: string }> => {
    const { store, log } = deps
    const { workflowId, runId } = Context.current().info.workflowExecution!
    const opening = { ...input, workflowId, runId, atMs: Math.floor(await readNow(store)) }
    const opened = await open(store, opening).catch((error: unknown) => {
      // A forged request must not reject the queue entry that it names, nor raise alerts; a refused command has raised its alert.
      if (isError(error, 'forbidden')) return { refused: error.message }
      throw error
    })
    log.info({ release: opening.id, refused: 'refused' in opened }, 'release opened')
    return opened
  }

async function open(
  store: Store,
  opening: Opening,
): Promise<{ state: ReleaseState } | { refused: string; version: string }> {
  const earlier = await findRelease(store, opening.id)
  if (earlier) return { state: earlier.state }
  // Outside the transaction, because a start is used up even when the release is refused.
  const ordered = await readReleaseOrder(store, opening)
  const opened = isContinued(opening)
    ? { refused: 'its row is gone: an older backup was restored' }
    : await openFirst(store, opening, ordered)
  if ('state' in opened) return opened
  await recordRefusal(store, opening, { ...ordered, refused: opened.refused })
  return { refused: opened.refused, version: ordered.version }
}

/**
 * Whether another run opened the release and was continued by this one. What became of the release since then, perhaps a rollback that a
 * user was promised, is then lost together with its row.
 */
const isContinued = ({ id, runId }: Opening): boolean => releaseIdOf(runId) !== id

async function openFirst(
  store: Store,
  opening: Opening,
  ordered: Ordered,
): Promise<{ state: ReleaseState } | { refused: string }> {
  await endOrphan(store, opening)
  return store
    .transaction((database) => insert(database, opening, ordered))
    .catch((error: unknown) => {
      if (isError(error, 'release_in_progress')) return { refused: error.message }
      // A malformed request that no check foresaw fails again at every retry.
      if (error instanceof TypeError || error instanceof RangeError)
        return { refused: `the request is malformed: ${error.message}` }
      throw error
    })
}

/** Records why a release cannot open. No caller waits for the answer, so an alert reports it; a drill has its own row. */
async function recordRefusal(
  store: Store,
  { id, order }: Opening,
  { refused, drill, model, version }: Ordered & { refused: string },
): Promise<void> {
  const turn = order.startsWith('que_') ? order : undefined
  const what =
    turn === undefined
      ? `${version} could not be released as ${id}`
      : `${version} was queued and could not be released when its turn came`
  await store.transaction(async (database) => {
    await rejectQueued(database, { releaseId: id, turn, message: refused })
    if (drill !== undefined) await recordFailure(database, order, { message: refused })
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
    await store.transaction((database) => endInterrupted(database, state.id))
}

async function insert(
  database: Database,
  opening: Opening,
  ordered: Ordered,
): Promise<{ state: ReleaseState } | { refused: string }> {
  const facts = await gather(database, opening, ordered)
  if ('refused' in facts) return facts
  const issues = issuesOf(facts)
  if (issues.length > 0) return { refused: `the release cannot open: ${issues.join('; ')}` }
  const state = openingState(facts, opening.atMs)
  await insertRelease(database, { state, workflowId: opening.workflowId, runId: opening.runId })
  if (opening.order.startsWith('que_')) await takeTurn(database, opening.id, opening.order)
  await appendAudit(database, {
    actor: ordered.requestedBy,
    action: 'release.opened',
    subject: opening.id,
    model: ordered.model,
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

/** By the first word of the id of a row. Any other row is the command of a user. */
const orders: Record<string, (database: Database, opening: Opening) => Promise<Ordered | undefined>> = {
  que: orderOfTurn,
  drl: orderOfDrill,
  retrain: orderOfRetraining,
}

/** Reads what the row that the release names asks for: a queue entry, a drill, a retraining or the command of a user. Throws `forbidden`. */
async function readReleaseOrder(database: Database, opening: Opening): Promise<Ordered> {
  const { model, order } = opening
  const find = orders[/^[a-z]+/.exec(order)?.[0] ?? '']
  if (find === undefined) return takeStart(database, { kind: 'release', order, subject: model })
  const ordered = await find(database, opening)
  if (ordered?.model !== model)
    throw new DomainError('forbidden', `the release cannot open: no row asks for it as ${order}`)
  return ordered
}

/** The queue workflow may already have marked the entry as started. */
async function orderOfTurn(database: Database, { id, order }: Opening): Promise<Ordered | undefined> {
  const row = await findQueueEntry(database, order)
  const isDue = row?.state === 'waiting' || (row?.state === 'started' && row.releaseId === id)
  if (row === undefined || !isDue) return undefined
  const { hotfixReason: reason } = row
  return { ...row, hotfix: reason === undefined ? undefined : { reason } }
}

/** A drill has one release. */
async function orderOfDrill(database: Database, { id, model, order }: Opening): Promise<Ordered | undefined> {
  // Its row is not there yet, so only the form of the id shows that it is no text of a client of Temporal.
  if (!/^rel_[0-9a-f]{32}$/.test(id)) return undefined
  const row = await takeDrillOrder(database, { id: order, model, releaseId: id })
  return row && { ...row, drill: row.kind }
}

async function orderOfRetraining(database: Database, { order }: Opening): Promise<Ordered | undefined> {
  const row = await findRetrained(database, order)
  return row?.isOpened === false ? row : undefined
}

/** A policy from a request may have any shape. */
function issuesOf(facts: ReleaseFacts): string[] {
  try {
    return [...issuesOfPolicy(facts.policy), ...issuesOfOpening(facts)]
  } catch (error) {
    return [`the policy is malformed: ${reasonOf(error)}`]
  }
}

async function gather(
  database: Database,
  { id, atMs }: Opening,
  ordered: Ordered,
): Promise<ReleaseFacts | { refused: string }> {
  const { model, version, requestedBy, drill } = ordered
  const found = await findCandidate(database, { model, version, isOfDrill: drill !== undefined })
  if (found.issue !== undefined) return { refused: found.issue }
  const { candidate, champion: baseline } = found
  const whole = ordered.policy ?? (await defaultPolicy(database, candidate, baseline))
  // A malformed replacement policy is reported with the other issues.
  const isReplaced = drill === undefined && ordered.policy?.approval !== undefined
  const taken = isReplaced ? issuesOfReplacement(whole, candidate.policy) : []
  if (taken.length > 0) return { refused: `the release cannot open: ${taken.join('; ')}` }
  const requester = (await findActiveKeys(database)).find(({ name }) => name === requestedBy)
  const hotfix = hotfixOf(ordered, requester, atMs)
  if (hotfix !== undefined && 'refused' in hotfix) return hotfix
  const policy = hotfix === undefined ? whole : hotfixPolicy(whole)
  const stale = drill === undefined ? await issueOfDrills(database, { model, policy }) : undefined
  if (stale !== undefined) return { refused: stale }
  const readsLosses = policy.limits.nonInferiority !== undefined || policy.ab?.metric === 'loss'
  const unjudged =
    baseline !== undefined && readsLosses ? await issueOfVersions(database, version, baseline) : undefined
  if (unjudged !== undefined) return { refused: `the release cannot open: ${unjudged}` }
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
    drill,
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

/** The policy of the model; for a compressed version the one that is derived from it, with the limits of its comparison with its parent. */
async function defaultPolicy(
  database: Database,
  { version, lineage, policy }: Releasable,
  champion: string | undefined,
): Promise<ReleasePolicy> {
  if (lineage.compression === undefined) return policy
  if (lineage.compression.version !== champion) return compressedPolicy(policy)
  const { evaluationId, manifest } = await getVersion(database, version)
  const limits = (await findEvaluation(database, evaluationId))?.report.compression?.fidelity.policy
  return compressedPolicy(policy, decisionNames(manifest.output).length > 0 ? limits?.flips : limits?.epsilon)
}

async function issueOfVersions(
  database: Database,
  version: string,
  baseline: string,
): Promise<string | undefined> {
  const [candidate, champion] = [await getVersion(database, version), await getVersion(database, baseline)]
  return issueOfLosses(candidate.manifest.output, champion.manifest)
}

/** Checks the requester of a hotfix like the sender of a command. Undefined without a hotfix. */
function hotfixOf(
  { hotfix, requestedBy, model }: Ordered,
  key: ActiveKey | undefined,
  atMs: number,
): Statement | { refused: string } | undefined {
  if (hotfix === undefined) return undefined
  const reason = String(hotfix.reason ?? '').trim()
  if (reason === '') return { refused: 'a hotfix needs a reason' }
  if (key === undefined || !hotfixRoles.includes(key.role) || (key.models && !key.models.includes(model)))
    return { refused: `${requestedBy} cannot start a hotfix: it needs the role ${hotfixRoles.join(' or ')}` }
  return { by: requestedBy, atMs, reason }
}
