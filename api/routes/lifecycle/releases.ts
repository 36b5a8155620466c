/** `/v1/releases`: starts, lists and shows releases, and sends commands to them. */
import { z } from 'zod'
import { loadText } from '../../../domain/model/load-test.ts'
import { findLoadTest } from '../../../store/registry/load-tests.ts'
import { findRefitText } from '../../../store/registry/versions.ts'
import { pinReason } from '../../../domain/serving/kill-switch.ts'
import { runOfRetraining } from '../../../domain/training/runs.ts'
import { commandRoles, releaseStages, type ReleaseStage } from '../../../domain/release/state.ts'
import { servedBp, warningOf, whyWaiting } from '../../../domain/release/explain.ts'
import * as schema from '../../../domain/schema.ts'
import {
  answeredCommand,
  deferredCommand,
  listCommands,
  listRecorded,
  recordedCommand,
} from '../../../store/commands.ts'
import { findWithdrawals, type Withdrawal } from '../../../store/registry/champions.ts'
import { findAnswerEvidence } from '../../../store/release/evidence.ts'
import { findRunning, listDecisions } from '../../../store/release/decisions.ts'
import { findKillSwitch } from '../../../store/serving/kill-switches.ts'
import { listReleases, type Release } from '../../../store/release/releases.ts'
import type { ServedShares } from '../../../domain/serving/served.ts'
import { readServedShares } from '../../../store/serving/routing.ts'
import { listQueued } from '../../../store/release/release-queue.ts'
import { commandNames, type CommandName } from '../../../workflows/messages.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { idempotencyHeader } from '../../../domain/request-headers.ts'
import { cursorText, decodeCursor, encodeCursor } from '../../http/page-cursor.ts'
import { getRelease, sendReleaseCommand, signReleaseCommand } from '../../services/release-commands.ts'
import { requireRole } from '../../auth/authentication.ts'
import { cancelQueued, isQueueId, queuedRelease, queuedSummary } from '../../services/release-queue.ts'
import { refusedInput, startRetraining } from '../../services/start-retraining.ts'
import { runOrDefer } from '../../services/start-command.ts'
import { startRelease } from '../../services/start-release.ts'
import { whenDeferred, keepDeferred, respondToCommand, respondToStart } from '../command-response.ts'
import {
  booleanFlag,
  limit,
  modelName,
  policyBody,
  reasonText,
  toWire,
  writtenReason,
} from '../../http/schemas.ts'

const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'is not a digest of the form sha256:<64 hexadecimal digits>')
const commandPaths: Readonly<Record<CommandName, readonly [path: string, summary: string]>> = {
  approve: ['/v1/releases/:id/approve', 'Approve a release.'],
  reject: ['/v1/releases/:id/reject', 'Reject a release.'],
  pause: ['/v1/releases/:id/pause', 'Pause a release. Automatic rollback stays on.'],
  resume: ['/v1/releases/:id/resume', 'Resume a paused release, or extend an inconclusive stage.'],
  abort: ['/v1/releases/:id/abort', 'Abort a release, or cancel a queued one. The champion stays.'],
  rollback: ['/v1/releases/:id/rollback', 'Roll back the candidate of a release.'],
  promoteNow: [
    '/v1/releases/:id/promote-now',
    'Promote by break-glass: skip approvals, minimum times and all stages but one. The probation stays. A reason is required. With the id of a retraining whose challenger the gate refused (encode its slashes as %2F), register that challenger and start its release.',
  ],
}

const versionName = z.string().min(1).max(200)
const command = z.strictObject({
  reason: reasonText.optional(),
  artifact_digest: digest.optional(),
  evaluation_digest: digest.optional(),
  policy_digest: digest.optional(),
  /** The version that the caller has seen. A release of another version refuses the command. */
  version: versionName.optional(),
  /** The stage that the caller has seen. A release at another stage refuses the command. */
  stage: z.enum(Object.keys(releaseStages) as [ReleaseStage, ...ReleaseStage[]]).optional(),
})
const commandKey = z.tuple([z.string()])
const start = z.strictObject({
  model: modelName,
  version: versionName,
  policy: policyBody.optional(),
  hotfix: z.strictObject({ reason: writtenReason }).optional(),
})

const brief = schema.record(
  {
    id: schema.text,
    model: schema.text,
    version: schema.text,
    strategy: schema.text,
    stage: schema.text,
    stageIndex: schema.count,
    shareBp: schema.count,
    trafficBp: schema.count,
    paused: schema.flag,
    requestedBy: schema.text,
    artifactDigest: schema.text,
    evaluationDigest: schema.text,
    policyDigest: schema.text,
    why: schema.text,
    startedAt: schema.time,
    updatedAt: schema.time,
  },
  {
    baselineVersion: schema.text,
    hotfix: schema.text,
    drill: schema.text,
    warning: schema.text,
    outcome: schema.text,
    reason: schema.text,
    endedAt: schema.time,
    withdrawnAt: schema.time,
    withdrawnReason: schema.text,
  },
)

export const releaseRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/releases', viewers, {
    summary: 'List releases and the release queue, newest first.',
    answers: { 200: 'The releases' },
    answerSchema: schema.record({ releases: schema.list(brief), waiting: schema.list(queuedRelease) }),
    query: z.strictObject({ model: modelName.optional(), open: booleanFlag.optional(), limit }),
    async handle({ query }) {
      const found = await listReleases(deps.store, query)
      const waiting = await listQueued(deps.store, { ...query, open: query.open || undefined })
      const served = await readServedShares(deps.store, [...new Set(found.map(({ state }) => state.model))])
      const running = await findRunning(
        deps.store,
        found.map(({ state }) => state.id),
      )
      const withdrawals = await findWithdrawals(
        deps.store,
        found.map(({ state }) => state.version),
      )
      return {
        json: {
          releases: found.map((each) => briefOf(each, { served, running, withdrawals })),
          waiting: waiting.map((each) => toWire(queuedSummary(each))),
        },
      }
    },
  }),
  defineRoute('get', '/v1/releases/:id', viewers, {
    summary:
      "Show a release: its state, why it waits, how its answers differ from the champion's, its newest verdicts and commands, and the commands without a response yet.",
    answers: { 200: 'The release, and next_cursor when it has earlier commands' },
    answerSchema: schema.extend(
      brief,
      {
        state: schema.data,
        decisions: schema.list(
          schema.record({
            id: schema.count,
            releaseId: schema.text,
            stage: schema.text,
            stageIndex: schema.count,
          }),
        ),
        commands: schema.list(answeredCommand),
        recorded: schema.list(recordedCommand),
      },
      { pinned: schema.text, nextCursor: schema.text, refit: schema.text, loadTest: schema.text },
    ),
    query: z.strictObject({ cursor: cursorText.optional(), limit }),
    async handle({ params, query }) {
      const release = await getRelease(deps.store, params['id']!)
      const { id, version } = release.state
      const [before] = query.cursor === undefined ? [] : decodeCursor(query.cursor, 'commands', commandKey)
      const [evidence, decisions, found, recorded, flag, served, running, withdrawals, refit, tested] =
        await Promise.all([
          findAnswerEvidence(deps.store, id),
          listDecisions(deps.store, id, query.limit),
          listCommands(deps.store, id, { limit: query.limit + 1, before }),
          listRecorded(deps.store, id, query.limit),
          findKillSwitch(deps.store, release.state.model),
          readServedShares(deps.store, [release.state.model]),
          findRunning(deps.store, [id]),
          findWithdrawals(deps.store, [version]),
          findRefitText(deps.store, version),
          findLoadTest(deps.store, version),
        ])
      const commands = found.slice(-query.limit)
      const first = found.length > query.limit ? commands[0] : undefined
      const brief = briefOf(release, { served, running, withdrawals })
      const pin = brief.outcome === undefined ? pinReason(flag) : undefined
      return {
        json: {
          ...brief,
          ...(pin !== undefined && { why: `${pin}. ${brief.why}`, pinned: pin }),
          refit,
          load_test: tested && loadText(tested),
          state: release.state,
          ...evidence,
          decisions: decisions.map(({ verdict, ...decision }) => toWire({ ...decision, ...verdict })),
          commands: commands.map(toWire),
          recorded: recorded.map(toWire),
          next_cursor: first && encodeCursor('commands', [first.id]),
        },
      }
    },
  }),
  defineRoute('post', '/v1/releases', startRelease.roles, {
    summary:
      'Start the release of a registered version, or queue it behind the open release. A hotfix (by an approver or an admin, with a reason) uses the short policy and supersedes an open release.',
    answers: { 202: `The release has started, or is queued, or ${whenDeferred}` },
    answerSchema: schema.either(
      schema.record(
        { id: schema.text, model: schema.text, version: schema.text, workflowId: schema.text },
        { runId: schema.text },
      ),
      queuedRelease,
      deferredCommand,
    ),
    body: start,
    handle: (request) => respondToStart(deps, startRelease, request, request.body),
  }),
  defineRoute('post', '/v1/releases/:id/sign', commandRoles.abort, {
    summary:
      'Record a command to a release, to be delivered by a signal to its workflow. The caller needs the role of the command. Without the signal, the command is delivered after a minute.',
    answers: {
      200: 'The workflow and its namespace, the name of the signal and its input, which names the recorded command',
    },
    answerSchema: schema.record({
      namespace: schema.text,
      workflowId: schema.text,
      signal: schema.text,
      payload: schema.data,
    }),
    body: command.extend({ command: z.enum(commandNames as [CommandName, ...CommandName[]]) }),
    async handle({ actor, params, body }) {
      const { command: name, ...given } = body
      requireRole(actor!, commandRoles[name])
      const input = { command: name, release: params['id']!, ...commandInput(given) }
      return { json: toWire(await signReleaseCommand(deps, actor!, input)) }
    },
  }),
  ...commandNames.map((name) => {
    const [path, summary] = commandPaths[name]
    return defineRoute('post', path, commandRoles[name], {
      summary,
      answers: { 200: 'The release has accepted the command', 202: `The command ${whenDeferred}` },
      answerSchema: schema.record(
        { release: schema.text, accepted: schema.flag, message: schema.text },
        { stage: schema.text },
      ),
      deferredSchema: deferredCommand,
      body: command,
      async handle({ actor, params, body, header, keep, commandId }) {
        const id = params['id']!
        if (name === 'promoteNow' && runOfRetraining(id) !== undefined) {
          const { reason, digests } = commandInput(body)
          const input = await refusedInput(deps, actor!, { retraining: id, reason, digests })
          const keepAnswer = keepDeferred(keep)
          const done = await runOrDefer(deps, startRetraining, actor!, input, {
            id: commandId,
            keep: keepAnswer,
          })
          if ('deferred' in done) return respondToCommand(done)
          const message = `${done.result.id} registers the challenger of ${id} and starts its release`
          return { json: toWire({ release: id, accepted: true, message }) }
        }
        if (name === 'abort' && isQueueId(id))
          return { json: toWire(await cancelQueued(deps, actor!, { id, reason: body.reason })) }
        const once = header(idempotencyHeader)
        const input = { command: name, release: id, ...commandInput(body), once }
        return respondToCommand(await sendReleaseCommand(deps, actor!, input, keepDeferred(keep)))
      },
    })
  }),
]

function commandInput({ reason, version, stage, ...digests }: z.infer<typeof command>) {
  const { artifact_digest: artifact, evaluation_digest: evaluation, policy_digest: policy } = digests
  return { reason, version, stage, digests: { artifact, evaluation, policy } }
}

function briefOf(
  { state, outcome, reason, startedAt, updatedAt, endedAt }: Release,
  {
    served: servedOf,
    running,
    withdrawals,
  }: {
    served: ReadonlyMap<string, ServedShares>
    running: Awaited<ReturnType<typeof findRunning>>
    withdrawals: ReadonlyMap<string, Withdrawal>
  },
) {
  const withdrawn = outcome === 'promoted' ? withdrawals.get(state.version) : undefined
  const served = servedOf.get(state.model)
  const problem = endedAt === undefined ? warningOf(state, served, running.get(state.id)) : undefined
  return {
    id: state.id,
    model: state.model,
    version: state.version,
    baseline_version: state.baseline,
    strategy: state.strategy,
    stage: state.stage,
    stage_index: state.stageIndex,
    share_bp: state.shareBp,
    // What replicas serve now, because a later release may have replaced a promoted version. Another release of the version may
    // have made it live, after this one was rejected.
    traffic_bp: [undefined, 'promoted'].includes(outcome ?? state.outcome) ? servedBp(state, served) : 0,
    hotfix: state.hotfix?.reason,
    drill: state.drill,
    paused: state.paused,
    requested_by: state.requestedBy,
    artifact_digest: state.digests.artifact,
    evaluation_digest: state.digests.evaluation,
    policy_digest: state.digests.policy,
    why: problem ?? whyWaiting(state),
    warning: problem,
    // The state is updated a moment before the row is closed.
    outcome: outcome ?? state.outcome,
    reason: reason ?? state.reason,
    started_at: startedAt,
    updated_at: updatedAt,
    ended_at: endedAt,
    withdrawn_at: withdrawn?.at,
    withdrawn_reason: withdrawn?.reason,
  }
}
