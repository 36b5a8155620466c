/**
 * Begins a release, or lets it wait: while another one of its model is open it gets the place in the queue that its policy and
 * whoever asks give it. Were it only refused, a person would have to sit and try.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError } from '../../domain/errors.ts'
import { queuePolicy } from '../../domain/release/queue-policy.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { issueOfDrills } from '../../store/release/drills.ts'
import { getModel } from '../../store/registry/models.ts'
import { findOpenRelease, findReleasable } from '../../store/release/releases.ts'
import {
  endQueued,
  findQueueEntry,
  insertQueued,
  type QueuedRelease,
} from '../../store/release/release-queue.ts'
import {
  queueWorkflowId,
  releaseIdOf,
  releaseWorkflowId,
  queueChangedSignal,
  type ReleaseRequest,
} from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { RouteResponse, RouteRequest } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { requireModelAccess } from '../auth/authorization.ts'
import { callTimeoutMs, withRequestId } from '../temporal/client.ts'
import { isAlreadyStarted } from '../temporal/errors.ts'

/** Answers 202 with the release, or with what waits for its turn. Throws `drill_stale`, and `release_in_progress` when it may not wait. */
export async function startRelease(
  deps: ApiDeps,
  request: ReleaseRequest,
  { command, recordedAt }: Pick<RouteRequest<unknown, unknown>, 'command' | 'recordedAt'>,
): Promise<RouteResponse> {
  const { store, log } = deps
  const place = `que_${command.replaceAll('-', '')}` as const
  const { model, version, requestedBy } = request
  // Whoever was about to let it wait may have died over it.
  const taken = recordedAt === undefined ? undefined : await findQueueEntry(store, place)
  if (taken !== undefined) return await letWait(deps, taken)
  const policy = request.policy ?? (await getModel(store, model)).definition.release
  const stale = await issueOfDrills(store, { model, policy })
  if (stale !== undefined) throw new DomainError('drill_stale', stale, { model })
  const begun = await begin(deps, request, command)
  if (begun !== undefined) return begun
  const over = queuePolicy({ policy, byPerson: true, hotfix: request.hotfix !== undefined })
  const open = await findOpenRelease(store, model)
  const busy = `${model} is being released already${open ? ` as ${open.state.id}` : ''}`
  // What could not be released anyway must not take the place of what can.
  const hopeless =
    open?.state.version === version ? 'it is this version' : await issueOfCandidate(deps, request)
  if (over === 'refuse' || hopeless !== undefined)
    throw new DomainError(
      'release_in_progress',
      `${busy}, and ${version} cannot wait behind it: ${hopeless ?? 'its policy lets no release wait'}`,
      open && { release: open.state.id },
    )
  const waiting = await store.transaction((database) =>
    insertQueued(database, {
      id: place,
      model,
      version,
      requestedBy,
      preemption: over,
      policy: request.policy,
      hotfixReason: request.hotfix === undefined ? undefined : request.hotfix.reason,
    }),
  )
  const answer = await letWait(deps, waiting, `${busy}; ${version} waits for its turn`)
  log.info({ waiting: waiting.id, model, version, by: requestedBy, over }, 'release waits for its turn')
  return answer
}

async function letWait(
  deps: ApiDeps,
  waiting: QueuedRelease,
  message = waiting.message,
): Promise<RouteResponse> {
  await wakeQueue(deps, waiting.model)
  return { status: 202, json: { ...queuedSummary(waiting), message } }
}

/** A release that has written its end down runs for a moment yet: so long it is waited for here. */
const closing = { tries: 60, pauseMs: 50 }

/** Undefined while another release of the model is open. */
async function begin(
  { temporal, store, log }: ApiDeps,
  request: ReleaseRequest,
  command: string,
): Promise<RouteResponse | undefined> {
  const { model, version, requestedBy } = request
  const workflowId = releaseWorkflowId(model)
  for (let tries = 1; ; tries++) {
    try {
      const handle = await temporal.call(callTimeoutMs, (client) =>
        client.workflow.start('release', {
          workflowId,
          taskQueue: temporal.taskQueue,
          args: [request],
          workflowIdConflictPolicy: 'FAIL',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          ...withRequestId(command),
        }),
      )
      const runId = handle.firstExecutionRunId
      const id = releaseIdOf(runId)
      log.info({ release: id, version, by: requestedBy }, 'release started')
      return { status: 202, json: { id, model, version, workflow_id: workflowId, run_id: runId } }
    } catch (error) {
      if (!isAlreadyStarted(error)) throw error
    }
    const open = await findOpenRelease(store, model)
    const isClosing = open === undefined || open.state.outcome !== undefined
    if (!isClosing || tries === closing.tries) return undefined
    await pause(closing.pauseMs)
  }
}

/** Why a version could not be released whenever its turn came; undefined when it could. */
async function issueOfCandidate(
  { store }: ApiDeps,
  { model, version }: ReleaseRequest,
): Promise<string | undefined> {
  const candidate = await findReleasable(store, version)
  const champion = (await findChampion(store, model))?.version
  if (candidate === undefined) return 'it is not registered'
  if (candidate.drill) return 'it was made for a drill'
  if (candidate.withdrawn) return 'it has been taken back once'
  if ((candidate.evaluatedAgainst ?? undefined) === champion) return undefined
  return `it was compared with ${candidate.evaluatedAgainst ?? 'no champion'}, but ${champion ?? 'nobody'} is champion`
}

/** What waits for its turn is named otherwise than a release, and is nothing that Temporal knows of. */
export const isQueueId = (id: string): boolean => id.startsWith('que_')

/** Gives a place in the queue up, for a person. Throws `release_not_found`, and `command_refused` when it is none any more. */
export async function cancelQueued(
  { store, log }: Pick<ApiDeps, 'store' | 'log'>,
  { id, actor, reason }: { id: string; actor: Actor; reason?: string },
): Promise<RouteResponse> {
  const place = await findQueueEntry(store, id)
  if (place === undefined)
    throw new DomainError('release_not_found', `nothing has waited as ${JSON.stringify(id.slice(0, 100))}`)
  const { model, version } = place
  requireModelAccess(actor, model)
  const message = `aborted by ${actor.name}${reason === undefined ? '' : `: ${reason}`}`
  const ended = await store.transaction(async (database) => {
    const isMine = await endQueued(database, { id, state: 'refused', message })
    if (isMine)
      await appendAudit(database, {
        actor: actor.name,
        action: 'release.abort',
        subject: id,
        model,
        detail: { version, accepted: true, reason: reason ?? null },
      })
    return isMine
  })
  if (!ended) {
    const said = place.message === '' ? '' : `: ${place.message}`
    throw new DomainError(
      'command_refused',
      `${version} waits no more, it is ${place.state}${said}`,
      place.releaseId === undefined ? {} : { release: place.releaseId },
    )
  }
  log.info({ waiting: id, model, version, by: actor.name }, 'a release waits no more')
  return { json: { release: id, accepted: true, stage: 'ended', message } }
}

/** The row is there: whoever comes next finds it, also when nobody can be woken now. */
async function wakeQueue({ temporal }: ApiDeps, model: string): Promise<void> {
  await temporal.call(callTimeoutMs, (client) =>
    client.workflow.signalWithStart('releaseQueue', {
      workflowId: queueWorkflowId(model),
      taskQueue: temporal.taskQueue,
      args: [{ model }],
      signal: queueChangedSignal,
      signalArgs: [],
    }),
  )
}

export const queuedSummary = (waiting: QueuedRelease) => ({
  waiting: waiting.id,
  model: waiting.model,
  version: waiting.version,
  state: waiting.state,
  requested_by: waiting.requestedBy,
  hotfix: waiting.hotfixReason,
  may_replace: waiting.preemption,
  release: waiting.releaseId,
  message: waiting.message,
  at: waiting.at,
  until: waiting.until,
  ended_at: waiting.endedAt,
})
