/** The beginning and the end of a release as rows, and everything that is said to it in between. */
import { isError } from '../../domain/errors.ts'
import { basisIssues } from '../../domain/release/basis.ts'
import {
  hotfixPolicy,
  issuesOfPolicy,
  issuesOfReplacement,
  type ReleasePolicy,
} from '../../domain/release/policy.ts'
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
import { releaseBasisOf } from '../../store/release/basis.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { findLatency } from '../../store/release/tick-counters.ts'
import { issueOfDrills } from '../../store/release/drills.ts'
import { findActiveKeys } from '../../store/access/api-keys.ts'
import type { Database } from '../../store/postgres.ts'
import {
  findReleasable,
  findOpenRelease,
  findRelease,
  insertCommand,
  insertRelease,
  saveRelease,
  type ReleaseCommand,
} from '../../store/release/releases.ts'
import { findRouting } from '../../store/serving/routing.ts'
import { rejectQueued } from '../../store/release/release-queue.ts'
import type { ReleaseRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { close, endInterrupted } from './close-release.ts'
import { awaitAcknowledgements } from './await-replicas.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'

export interface Opening {
  id: ReleaseId
  model: string
  version: string
  requestedBy: string
  policy?: ReleasePolicy
  hotfix?: ReleaseRequest['hotfix']
  drill?: ReleaseRequest['drill']
  turn?: ReleaseRequest['turn']
  workflowId: string
  runId: string
  /** On the workflow's clock. */
  atMs: number
}

/** The champion's latency is taken from this long before the release, and from at least so many requests. */
const latencyWindowMs = 24 * 3_600_000
const latencyRequests = 200
/** Nobody notices less, but the replica does: below it the judge would find out whose code was compiled first. */
const noticeableUs = 1_000

/** Freezes everything a release is about into its first state, or says why there is none. */
export const openRelease =
  ({ store, log }: Deps) =>
  async (opening: Opening): Promise<{ state: ReleaseState } | { refused: string }> => {
    const opened = await store
      .transaction((database) => open(database, opening))
      .catch((error: unknown) => {
        if (isError(error, 'release_in_progress')) return { refused: error.message }
        throw error
      })
    if ('refused' in opened)
      await rejectQueued(store, { releaseId: opening.id, turn: opening.turn, message: opened.refused })
    log.info(
      { release: opening.id, version: opening.version, refused: 'refused' in opened },
      'release opened',
    )
    return opened
  }

async function open(
  database: Database,
  opening: Opening,
): Promise<{ state: ReleaseState } | { refused: string }> {
  const earlier = await findRelease(database, opening.id)
  if (earlier) return { state: earlier.state }
  // Only one workflow of this id runs at a time, and it is this one: what another run has left open is orphaned.
  const orphan = await findOpenRelease(database, opening.model)
  if (orphan?.workflowId === opening.workflowId) await endInterrupted(database, orphan.state)
  const facts = await gather(database, opening)
  if ('refused' in facts) return facts
  const issues = issuesOf(facts)
  if (issues.length > 0) return { refused: `it cannot be released: ${issues.join('; ')}` }
  const state = openingState(facts, opening.atMs)
  await insertRelease(database, { state, workflowId: opening.workflowId, runId: opening.runId })
  await appendAudit(database, {
    actor: opening.requestedBy,
    action: 'release.opened',
    subject: opening.id,
    model: opening.model,
    detail: { version: facts.version, baseline: facts.baseline ?? null, digests: facts.digests },
  })
  return { state }
}

/** One of no shape is refused with the rest of what is wrong with it. */
function replacementIssues(policy: ReleasePolicy | undefined, own: ReleasePolicy): string[] {
  return policy?.approval === undefined ? [] : issuesOfReplacement(policy, own)
}

/** A policy that came by hand may be of any shape. */
function issuesOf(facts: ReleaseFacts): string[] {
  try {
    return [...issuesOfPolicy(facts.policy), ...issuesOfOpening(facts)]
  } catch (error) {
    return [`its policy cannot be read: ${error instanceof Error ? error.message : String(error)}`]
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
        ? `${version} was made for a drill and is released by nothing else`
        : `${version} was not made for a drill`,
    }
  const baseline = (await findChampion(database, model))?.version
  const expected = { version, champion: baseline }
  // The candidate of a drill is built from the present champion and shares its evaluation.
  const issue = basisIssues(expected, releaseBasisOf(candidate, baseline)).find(
    ({ kind }) => kind !== 'comparison' || opening.drill === undefined,
  )
  if (issue !== undefined) return { refused: issue.message }
  const whole = opening.policy ?? candidate.policy
  const taken = opening.drill === undefined ? replacementIssues(opening.policy, candidate.policy) : []
  if (taken.length > 0) return { refused: `it cannot be released: ${taken.join('; ')}` }
  const hotfix = await hotfixOf(database, opening)
  if (hotfix !== undefined && 'refused' in hotfix) return hotfix
  const policy = hotfix === undefined ? whole : hotfixPolicy(whole)
  const stale = opening.drill === undefined ? await issueOfDrills(database, { model, policy }) : undefined
  if (stale !== undefined) return { refused: stale }
  const requester = (await findActiveKeys(database)).find(({ name }) => name === requestedBy)
  const routing = await findRouting(database, model)
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
    drill: opening.drill === undefined ? undefined : opening.drill.kind,
    requestedByKey: requester === undefined ? undefined : requester.id,
    policy,
    digests: {
      artifact: candidate.artifactDigest,
      evaluation: candidate.evaluationDigest,
      policy: digestOfJson(policy),
    },
    ...(latency && latency.requests >= latencyRequests
      ? { latencyUs: { p95: Math.max(latency.p95, noticeableUs), p99: Math.max(latency.p99, noticeableUs) } }
      : {}),
    epoch: routing?.route.epoch ?? 0,
    generation: routing?.route.generation ?? 0,
  }
}

/** Who says that it is one, when it is: a name that anybody can send is looked up as in every command. */
async function hotfixOf(
  database: Database,
  { hotfix, requestedBy, model, atMs }: Opening,
): Promise<Statement | { refused: string } | undefined> {
  if (hotfix === undefined) return undefined
  const reason = String(hotfix.reason ?? '').trim()
  if (reason === '') return { refused: 'a hotfix needs a reason' }
  const key = (await findActiveKeys(database)).find(({ name }) => name === requestedBy)
  if (key === undefined || !hotfixRoles.includes(key.role) || (key.models && !key.models.includes(model)))
    return {
      refused: `${requestedBy} may not mark a release as a hotfix: it needs ${hotfixRoles.join(' or ')}`,
    }
  return { by: requestedBy, atMs, reason }
}

/** Writes the state, and what was said with the answers. Written twice, it stands there once. */
export const recordRelease =
  ({ store, log }: Deps) =>
  async ({ state, commands }: { state: ReleaseState; commands: ReleaseCommand[] }): Promise<void> => {
    await store.transaction(async (database) => {
      await saveRelease(database, state)
      for (const command of commands) {
        if (!(await insertCommand(database, command))) continue
        const { id, releaseId, actor, reason, accepted, message, stage, signed = null } = command
        await appendAudit(database, {
          actor,
          action: `release.${command.command}`,
          subject: releaseId,
          model: state.model,
          // Of one that is not signed only the name is known: whoever reaches Temporal may have written it.
          detail: {
            id,
            accepted,
            message,
            stage,
            signed,
            reason: reason ?? null,
            ...boundTo(state, command),
          },
        })
        if (command.command === 'promoteNow' && accepted) await alertBreakGlass(database, state, command)
      }
    })
    for (const { command, actor, accepted, message } of commands)
      log.info({ release: state.id, command, actor, accepted, stage: state.stage }, message)
  }

/** What an approval or a denial was given to, and by which key; the state keeps the last word of each person. */
function boundTo({ approvals, rejections, breakGlass, digests }: ReleaseState, command: ReleaseCommand) {
  const { actor, accepted } = command
  if (!accepted || !['approve', 'reject', 'promoteNow'].includes(command.command)) return { digests }
  const said = [...approvals, ...rejections, ...(breakGlass ? [breakGlass] : [])].filter(
    ({ by }) => by === actor,
  )
  const { key, digests: given } = said.at(-1) ?? {}
  return { digests: given ?? digests, key: key ?? null }
}

/** Somebody has skipped what protects the callers; others should know at once. */
async function alertBreakGlass(
  database: Database,
  { id, model, version, breakGlass }: ReleaseState,
  { actor, reason }: ReleaseCommand,
): Promise<void> {
  await upsertAlert(database, {
    dedupeKey: `break_glass/${id}`,
    model,
    severity: 'critical',
    kind: 'break_glass',
    message: `${actor} has broken the glass for ${version}: ${reason ?? ''}`,
    evidence: { release: id, version, breakGlass: breakGlass ?? null },
  })
}

/** Writes the end: what is proven is marked so, and the routing belongs to no release any more. */
export const closeReleaseRow =
  (deps: Deps) =>
  async (state: ReleaseState): Promise<void> =>
    withHeartbeat(async (beat) => {
      await deps.store.transaction((database) => close(database, state))
      const now = await findRouting(deps.store, state.model)
      if (now && state.outcome === 'promoted')
        await awaitAcknowledgements(deps, beat, now.route, {
          withinMs: state.policy.watch.acknowledgeMs,
          atLeastOne: false,
        })
      const { id, version, outcome, reason } = state
      deps.log.info({ release: id, version, outcome }, `release ended: ${reason ?? ''}`)
    })
