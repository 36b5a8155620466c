/**
 * Starts the release of a version, or queues it behind the open release of its model when the queue policy allows, so that the caller
 * need not retry.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError } from '../../domain/errors.ts'
import { gateWarnings } from '../../domain/evaluation/reasons.ts'
import { refitText } from '../../domain/training/refit.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../../domain/release/policy.ts'
import type { Output } from '../../domain/tasks/output.ts'
import { issuesOfReplacement } from '../../domain/release/rules/replacement.ts'
import { queuePolicy } from '../../domain/release/queue-policy.ts'
import { hotfixRoles, releaseIdOf } from '../../domain/release/state.ts'
import { startRoles } from '../../domain/roles.ts'
import { getModel } from '../../store/registry/models.ts'
import { commandOfAnother } from '../../domain/registry/version.ts'
import { getVersion, listTwins, type Version } from '../../store/registry/versions.ts'
import { findCandidate, findOpenRelease } from '../../store/release/releases.ts'
import { issueOfDrills } from '../../store/release/drills.ts'
import { findQueueEntry, insertQueued } from '../../store/release/release-queue.ts'
import { findEvaluation } from '../../store/training/evaluations.ts'
import type { ReleaseStart } from '../../domain/starts.ts'
import { releaseWorkflowId } from '../../workflows/messages.ts'
import type { CommandDeps } from '../deps.ts'
import type { Actor } from '../auth/authentication.ts'
import { startUnlessOpen } from '../temporal/start-workflow.ts'
import { recordStart, type StartCommand } from './start-command.ts'
import { queuedSummary, wakeQueue, type QueuedSummary } from './release-queue.ts'

export interface StartedRelease {
  id: string
  model: string
  version: string
  workflowId: string
  runId: string
  /** A note for the requester. */
  message?: string
}

/** Starts or queues a release. Throws `drill_stale`, and `release_in_progress` when a release is open and the version may not be queued. */
export const startRelease: StartCommand<ReleaseStart, StartedRelease | QueuedSummary> = {
  kind: 'release',
  roles: startRoles.release,
  async run(deps, actor, input, command) {
    const { store, log } = deps
    const { request, candidate, policy } = await requestOf(deps, actor, input)
    const { model, version } = request
    const queueId = `que_${command.id.replaceAll('-', '')}` as const
    // An earlier attempt may have queued this release, and the release may have started since.
    const queued = await findQueueEntry(store, queueId)
    if (queued !== undefined) {
      await wakeQueue(deps, model)
      return queuedSummary(queued)
    }
    // A redelivered start may have been accepted before the rollback, or have opened the release that changed the champion.
    if (command.recordedAt === undefined) {
      requireNotRolledBack(candidate)
      await requireReleasable(deps, request, candidate)
    }
    const stale = await issueOfDrills(store, { model, policy })
    if (stale !== undefined) throw new DomainError('drill_stale', stale, { model })
    const started = await startUnlessBusy(deps, actor, request, command.id)
    const notes = [
      ...(await notesOfTwin(deps, candidate)),
      ...[refitText(candidate.lineage) ?? []].flat(),
      ...(await notesOfGate(deps, candidate)),
    ]
    if (started !== undefined)
      return notes.length === 0
        ? started
        : { ...started, message: `Releasing ${version} as ${started.id}: ${notes.join('; ')}` }
    const preemption = queuePolicy({ policy, byPerson: true, hotfix: request.hotfix !== undefined })
    const open = await findOpenRelease(store, model)
    const busy = `${model} is being released already${open ? ` as ${open.state.id}` : ''}`
    // A version that can never be released must not supersede a queued version that can.
    const issue =
      open?.state.version === version
        ? 'the open release is of this version'
        : (await findCandidate(store, request)).issue
    if (preemption === 'refuse' || issue !== undefined)
      throw new DomainError(
        'release_in_progress',
        `${busy}, and ${version} cannot queue behind it: ${issue ?? 'its policy does not queue releases'}`,
        open && { release: open.state.id },
      )
    const entry = {
      ...request,
      id: queueId,
      requestedBy: actor.name,
      preemption,
      hotfixReason: request.hotfix?.reason,
    }
    const { replaced, ...waiting } = await store.transaction((database) => insertQueued(database, entry))
    const replacing =
      replaced === undefined
        ? []
        : [`it replaces ${replaced.version}, which ${replaced.requestedBy} had queued`]
    await wakeQueue(deps, model)
    log.info({ queued: waiting.id, model, version, by: actor.name, preemption }, 'release queued')
    return {
      ...queuedSummary(waiting),
      message: [`${busy}; ${version} is queued`, ...replacing, ...notes].join('; '),
    }
  },
}

/** Throws `command_refused` for a version that was rolled back. */
function requireNotRolledBack({ version, model, lineage, rolledBackAt }: Version): void {
  if (rolledBackAt !== undefined)
    throw new DomainError(
      'command_refused',
      `${version} was rolled back at ${rolledBackAt} and cannot be released again`,
      { model, remedy: `Make another after the fix: \`${commandOfAnother(model, lineage)}\`.` },
    )
}

/**
 * Throws `command_refused` for a version that cannot be released beside the present champion. While a release is open, its end decides.
 */
async function requireReleasable(
  { store }: CommandDeps,
  request: ReleaseStart,
  { lineage }: Version,
): Promise<void> {
  const { model, version } = request
  const { issue } = await findCandidate(store, request)
  if (issue === undefined || (await findOpenRelease(store, model)) !== undefined) return
  throw new DomainError('command_refused', `${version} cannot be released: ${issue}`, {
    model,
    remedy: `Make another, which is compared with the present champion: \`${commandOfAnother(model, lineage)}\`; or roll back to a known good version.`,
  })
}

/**
 * Returns a note when the same artifact is already champion or was rolled back: the release would change nothing, or repeat a known
 * failure.
 */
async function notesOfTwin(
  { store }: CommandDeps,
  { model, version, artifactDigest }: Version,
): Promise<string[]> {
  const [twin] = await listTwins(store, { model, artifactDigest })
  if (twin === undefined) return []
  const whose = twin.version === version ? 'this version' : `its artifact is that of ${twin.version}, which`
  return twin.rolledBackAt === undefined
    ? [`${whose} is the champion`]
    : [`${whose} was rolled back at ${twin.rolledBackAt}`]
}

/** What the gate has found that a person has to weigh, such as an implausibly large gain. */
async function notesOfGate({ store }: CommandDeps, { evaluationId }: Version): Promise<string[]> {
  const evaluation = await findEvaluation(store, evaluationId)
  return gateWarnings(evaluation?.report)
}

async function requestOf(
  { store }: CommandDeps,
  actor: Actor,
  { model, version, policy, hotfix }: ReleaseStart,
): Promise<{ request: ReleaseStart; candidate: Version; policy: ReleasePolicy }> {
  if (hotfix !== undefined && !hotfixRoles.includes(actor.role))
    throw new DomainError(
      'forbidden',
      `only ${hotfixRoles.join(' or ')} may mark a hotfix; the key ${actor.name} is ${actor.role}`,
    )
  const candidate = await getVersion(store, version)
  if (candidate.model !== model)
    throw new DomainError(
      'version_not_found',
      `${version} is a version of ${candidate.model}, not of ${model}`,
    )
  const own = (await getModel(store, model)).definition.release
  if (policy !== undefined) requireSoundPolicy(policy, own, candidate.manifest.output)
  const request = { model, version, policy, hotfix }
  return { request, candidate, policy: policy ?? own }
}

/** Throws `invalid_policy` with every issue of the policy, and of using it instead of the model's own. */
export function requireSoundPolicy(policy: ReleasePolicy, own: ReleasePolicy, output: Output): void {
  let issues: string[]
  try {
    issues = [...issuesOfPolicy(policy, output), ...issuesOfReplacement(policy, own)]
  } catch {
    issues = ['a field is missing or has another type; GET /v1/models/{model} shows a complete policy']
  }
  if (issues.length > 0)
    throw new DomainError('invalid_policy', `the policy is invalid: ${issues.join('; ')}`, { issues })
}

/** A workflow run ends a moment after its release; a start waits this long for it. */
const closing = { tries: 60, pauseMs: 50 }

/** Starts the release; undefined while another release of the model is open. */
async function startUnlessBusy(
  deps: CommandDeps,
  actor: Actor,
  input: ReleaseStart,
  requestId: string,
): Promise<StartedRelease | undefined> {
  const { temporal, store, log } = deps
  const { model, version } = input
  const workflowId = releaseWorkflowId(model)
  for (let tries = 1; ; tries++) {
    // Recorded for each attempt, because the closing release may change the champion.
    const order = await recordStart(deps, actor, { kind: 'release', request: requestId, input })
    const request = { model, order }
    const runId = await startUnlessOpen(temporal, { type: 'release', workflowId, request, requestId: order })
    if (runId !== undefined) {
      const id = releaseIdOf(runId)
      log.info({ release: id, version, by: actor.name }, 'release started')
      return { id, model, version, workflowId, runId }
    }
    const open = await findOpenRelease(store, model)
    const isClosing = open === undefined || open.state.outcome !== undefined
    if (!isClosing || tries === closing.tries) return undefined
    await pause(closing.pauseMs)
  }
}
