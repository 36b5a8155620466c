/** `/v1/releases`: starts a release, shows where it stands, and takes what people say to it. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { pinReason } from '../../../domain/serving/kill-switch.ts'
import { issuesOfPolicy, issuesOfReplacement, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { commandRoles, hotfixRoles } from '../../../domain/release/state.ts'
import type { Role } from '../../../domain/roles.ts'
import { whyWaiting } from '../../../domain/release/explain.ts'
import { listRecorded } from '../../../store/release/command-outbox.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { findFlag } from '../../../store/serving/kill-switches.ts'
import { getModel } from '../../../store/registry/models.ts'
import { listCommands, listReleases, type Release } from '../../../store/release/releases.ts'
import { findShares } from '../../../store/serving/routing.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { listQueued } from '../../../store/release/release-queue.ts'
import { commandNames, type ReleaseRequest } from '../../../workflows/messages.ts'
import { operators, defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { idempotencyHeader } from '../../http/idempotency.ts'
import { isDeferred } from '../../services/deferred-commands.ts'
import { getReleaseInScope, sendReleaseCommand } from '../../services/release-commands.ts'
import { requireModelAccess, modelFilter } from '../../auth/authorization.ts'
import { cancelQueued, queuedSummary, isQueueId, startRelease } from '../../services/start-release.ts'
import { flag, limit, modelName, toWire } from '../../http/schemas.ts'

const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'is no digest of the form sha256:<64 hexadecimal digits>')
const command = z.strictObject({
  reason: z.string().max(2_000).optional(),
  artifact_digest: digest.optional(),
  evaluation_digest: digest.optional(),
  policy_digest: digest.optional(),
})
/** A policy in a body; `expectSound` says whether it may be used. */
export const policyBody = z.custom<ReleasePolicy>((value) => typeof value === 'object' && value !== null)
const start = z.strictObject({
  model: modelName,
  version: z.string().min(1).max(200),
  policy: policyBody.optional(),
  hotfix: z.strictObject({ reason: z.string().trim().min(1).max(2_000) }).optional(),
})

/** Operators start releases; approvers may as well, because a hotfix is theirs to mark. Nobody approves what they have started. */
const starters: readonly Role[] = [...operators, 'approver']

export const releaseRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute({
    method: 'get',
    path: '/v1/releases',
    allow: viewers,
    summary: 'Lists releases and those that have waited for their turn, the newest first.',
    answers: { 200: 'The releases' },
    query: z.strictObject({ model: modelName.optional(), open: flag.optional(), limit }),
    async handle({ actor, query }) {
      const { model, open } = query
      const found = await listReleases(deps.store, {
        ...modelFilter(actor),
        limit: query.limit,
        ...(model === undefined ? {} : { model }),
        ...(open === undefined ? {} : { open }),
      })
      const waiting = await listQueued(deps.store, {
        ...modelFilter(actor),
        limit: query.limit,
        ...(model === undefined ? {} : { model }),
        ...(open === true ? { open } : {}),
      })
      const shares = await findShares(deps.store)
      return {
        json: {
          releases: found.map((each) => briefOf(each, shares)),
          waiting: waiting.map(queuedSummary),
        },
      }
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/releases/:id',
    allow: viewers,
    summary:
      'Shows a release: its state, why it waits, its verdicts, what people have said to it, and what of that it has not answered yet.',
    answers: { 200: 'The release' },
    async handle({ actor, params }) {
      const release = await getReleaseInScope(deps.store, actor, params['id']!)
      const [decisions, commands, recorded, flag] = await Promise.all([
        listDecisions(deps.store, release.state.id),
        listCommands(deps.store, release.state.id),
        listRecorded(deps.store, release.state.id),
        findFlag(deps.store, release.state.model),
      ])
      const brief = briefOf(release, await findShares(deps.store))
      const pin = brief.outcome === undefined ? pinReason(flag) : undefined
      return {
        json: {
          ...brief,
          ...(pin === undefined ? {} : { why: `${pin}. ${brief.why}`, pinned: pin }),
          state: release.state,
          decisions: decisions.map(({ verdict, ...decision }) => toWire({ ...decision, ...verdict })),
          commands: commands.map(toWire),
          recorded: recorded.map(toWire),
        },
      }
    },
  }),
  defineRoute({
    method: 'post',
    path: '/v1/releases',
    allow: starters,
    summary:
      'Starts the release of a registered version, or lets it wait behind the one that is open. Marked as a hotfix, by an approver or an admin and with a reason, it takes the shorter way of its policy and the place of an open one.',
    answers: { 202: `The release has begun, or waits for its turn, or ${isDeferred}` },
    body: start,
    startsWorkflow: 'release',
    async handle(ask) {
      const { actor, body } = ask
      requireModelAccess(actor, body.model)
      if (body.hotfix !== undefined && !hotfixRoles.includes(actor!.role))
        throw new DomainError(
          'forbidden',
          `a hotfix is marked by ${hotfixRoles.join(' or ')}, not by ${actor!.role}`,
        )
      const { model } = await getVersion(deps.store, body.version)
      if (model !== body.model)
        throw new DomainError(
          'version_not_found',
          `${body.version} is a version of ${model}, not of ${body.model}`,
        )
      if (body.policy !== undefined)
        expectSound(body.policy, (await getModel(deps.store, model)).definition.release)
      const request: ReleaseRequest = {
        model,
        version: body.version,
        requestedBy: actor!.name,
        policy: body.policy,
        hotfix: body.hotfix,
      }
      return startRelease(deps, request, ask)
    },
  }),
  ...commandNames.map((name) =>
    defineRoute({
      method: 'post',
      path: `/v1/releases/:id/${name === 'promoteNow' ? 'promote-now' : name}`,
      allow: commandRoles[name],
      summary: `Says "${name}" to a release. With an idempotency-key header a repetition changes nothing. While Temporal does not answer it is written down, and GET /v1/commands/:id tells what becomes of it.`,
      answers: {
        200: 'It was accepted',
        202: `It ${isDeferred}`,
      },
      body: command,
      async handle({ actor, params, body, header, keep }) {
        const { artifact_digest: artifact, evaluation_digest: evaluation, policy_digest: policy } = body
        const once = header(idempotencyHeader)
        const said = {
          id: params['id']!,
          actor: actor!,
          reason: body.reason,
        }
        if (name === 'abort' && isQueueId(said.id)) return cancelQueued(deps, said)
        return sendReleaseCommand(deps, {
          ...said,
          name,
          seen: { artifact, evaluation, policy },
          ...(once === undefined ? {} : { once }),
          keep,
        })
      },
    }),
  ),
]

/** Throws `invalid_policy` with everything that is wrong with it, also as a replacement of the model's own. */
export function expectSound(policy: ReleasePolicy, own: ReleasePolicy): void {
  let issues: string[]
  try {
    issues = [...issuesOfPolicy(policy), ...issuesOfReplacement(policy, own)]
  } catch {
    issues = ['it lacks fields; GET /v1/models/{model} shows one that is whole']
  }
  if (issues.length > 0)
    throw new DomainError('invalid_policy', `the policy is refused: ${issues.join('; ')}`, { issues })
}

function briefOf(
  { state, outcome, reason, startedAt, updatedAt, endedAt }: Release,
  shares: ReadonlyMap<string, number>,
) {
  return {
    id: state.id,
    model: state.model,
    version: state.version,
    baseline_version: state.baseline,
    strategy: state.strategy,
    stage: state.stage,
    stage_index: state.stageIndex,
    share_bp: state.shareBp,
    // Of the callers, now: what was promoted may have been followed by another since.
    serves_bp: shares.get(state.version) ?? 0,
    hotfix: state.hotfix?.reason,
    drill: state.drill,
    paused: state.paused,
    requested_by: state.requestedBy,
    artifact_digest: state.digests.artifact,
    evaluation_digest: state.digests.evaluation,
    policy_digest: state.digests.policy,
    why: whyWaiting(state),
    // The state knows a moment before the row is closed.
    outcome: outcome ?? state.outcome,
    reason: reason ?? state.reason,
    started_at: startedAt,
    updated_at: updatedAt,
    ended_at: endedAt,
  }
}
