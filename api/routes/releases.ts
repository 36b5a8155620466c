/** `/v1/releases`: starts a release, shows where it stands, and takes what people say to it. */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { DomainError } from '../../domain/errors.ts'
import { pinReason } from '../../domain/flag.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../../domain/policy.ts'
import { commandRoles } from '../../domain/release.ts'
import { whyWaiting } from '../../domain/why-waiting.ts'
import { listDecisions } from '../../store/decisions.ts'
import { findFlag } from '../../store/flags.ts'
import {
  findOpenRelease,
  findRelease,
  listCommands,
  listReleases,
  type Release,
} from '../../store/releases.ts'
import { getVersion } from '../../store/versions.ts'
import {
  commandNames,
  commandUpdates,
  releaseIdOf,
  releaseWorkflowId,
  type Command,
  type CommandName,
  type ReleaseRequest,
} from '../../workflows/contract.ts'
import { operators, route, viewers, type Ask, type Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { expectInScope, visible } from '../scope.ts'
import { answerMs } from '../temporal.ts'
import { flag, limit, modelName, toWire } from '../wire.ts'
import { isAlreadyStarted, isNotFound } from '../workflow-errors.ts'

/** How long a command waits for the workflow's answer. */
const commandMs = 8_000

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
})

export const releaseRoutes = (deps: ApiDeps): Route[] => [
  route({
    method: 'get',
    path: '/v1/releases',
    allow: viewers,
    summary: 'Lists releases, the newest first.',
    answers: { 200: 'The releases' },
    query: z.strictObject({ model: modelName.optional(), open: flag.optional(), limit }),
    async handle({ actor, query }) {
      const { model, open } = query
      const found = await listReleases(deps.store, {
        limit: query.limit,
        ...(model === undefined ? {} : { model }),
        ...(open === undefined ? {} : { open }),
      })
      return { json: { releases: visible(actor, found, ({ state }) => state.model).map(briefOf) } }
    },
  }),
  route({
    method: 'get',
    path: '/v1/releases/:id',
    allow: viewers,
    summary: 'Shows a release: its state, why it waits, its verdicts and what people have said to it.',
    answers: { 200: 'The release' },
    async handle({ actor, params }) {
      const release = await getRelease(deps, actor, params['id']!)
      const [decisions, commands, flag] = await Promise.all([
        listDecisions(deps.store, release.state.id),
        listCommands(deps.store, release.state.id),
        findFlag(deps.store, release.state.model),
      ])
      const brief = briefOf(release)
      const pin = brief.outcome === undefined ? pinReason(flag) : undefined
      return {
        json: {
          ...brief,
          ...(pin === undefined ? {} : { why: `${pin}. ${brief.why}`, pinned: pin }),
          state: release.state,
          decisions: decisions.map(({ verdict, ...decision }) => toWire({ ...decision, ...verdict })),
          commands: commands.map(toWire),
        },
      }
    },
  }),
  route({
    method: 'post',
    path: '/v1/releases',
    allow: operators,
    summary: 'Starts the release of a registered version.',
    answers: { 202: 'The release has begun' },
    body: start,
    async handle({ actor, body }) {
      expectInScope(actor, body.model)
      const { model } = await getVersion(deps.store, body.version)
      if (model !== body.model)
        throw new DomainError(
          'version_not_found',
          `${body.version} is a version of ${model}, not of ${body.model}`,
        )
      if (body.policy !== undefined) expectSound(body.policy)
      return startRelease(deps, {
        model,
        version: body.version,
        requestedBy: actor!.name,
        ...(body.policy === undefined ? {} : { policy: body.policy }),
      })
    },
  }),
  ...commandNames.map((name) =>
    route({
      method: 'post',
      path: `/v1/releases/:id/${name === 'promoteNow' ? 'promote-now' : name}`,
      allow: commandRoles[name],
      summary: `Says "${name}" to a release. With an idempotency-key header a repetition changes nothing.`,
      answers: { 200: 'It was accepted' },
      body: command,
      handle: (ask) => say(deps, name, ask),
    }),
  ),
]

async function startRelease({ temporal, store, log }: ApiDeps, request: ReleaseRequest) {
  const workflowId = releaseWorkflowId(request.model)
  const { taskQueue } = temporal
  try {
    const handle = await temporal.call(answerMs, (client) =>
      client.workflow.start('release', {
        workflowId,
        taskQueue,
        args: [request],
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      }),
    )
    const id = releaseIdOf(handle.firstExecutionRunId)
    log.info({ release: id, version: request.version, by: request.requestedBy }, 'release started')
    return {
      status: 202,
      json: {
        id,
        model: request.model,
        version: request.version,
        workflow_id: workflowId,
        run_id: handle.firstExecutionRunId,
      },
    }
  } catch (error) {
    if (!isAlreadyStarted(error)) throw error
    const open = await findOpenRelease(store, request.model)
    throw new DomainError(
      'release_in_progress',
      `${request.model} is being released already`,
      open && { release: open.state.id },
    )
  }
}

async function say(deps: ApiDeps, name: CommandName, ask: Ask<z.infer<typeof command>, undefined>) {
  const { actor, body, params } = ask
  const { state, workflowId, runId } = await getRelease(deps, actor, params['id']!)
  if (state.stage === 'ended') throw refused(`the release has ended: ${state.outcome}`, state.stage)
  const id = ask.header('idempotency-key') ?? randomUUID()
  const said: Command = {
    id,
    by: actor!.name,
    ...(body.reason === undefined ? {} : { reason: body.reason }),
    ...(body.artifact_digest === undefined ? {} : { artifactDigest: body.artifact_digest }),
    ...(body.evaluation_digest === undefined ? {} : { evaluationDigest: body.evaluation_digest }),
    ...(body.policy_digest === undefined ? {} : { policyDigest: body.policy_digest }),
  }
  try {
    const result = await deps.temporal.command(commandMs, (client) =>
      client.workflow
        .getHandle(workflowId, runId)
        .executeUpdate(commandUpdates[name], { args: [said], updateId: id }),
    )
    deps.log.info({ release: state.id, command: name, by: said.by, ...result }, 'command')
    if (!result.accepted) throw refused(result.message, result.stage)
    return { json: { release: state.id, ...result } }
  } catch (error) {
    if (isNotFound(error)) throw refused('the release has ended', 'ended')
    throw error
  }
}

async function getRelease(
  { store }: ApiDeps,
  actor: Ask<unknown, unknown>['actor'],
  id: string,
): Promise<Release> {
  const release = await findRelease(store, id)
  if (release === undefined)
    throw new DomainError('release_not_found', `there is no release ${JSON.stringify(id.slice(0, 100))}`)
  expectInScope(actor, release.state.model)
  return release
}

/** Throws `invalid_policy` with everything that is wrong with it. */
export function expectSound(policy: ReleasePolicy): void {
  let issues: string[]
  try {
    issues = issuesOfPolicy(policy)
  } catch {
    issues = ['it lacks fields; GET /v1/models/{model} shows one that is whole']
  }
  if (issues.length > 0)
    throw new DomainError('invalid_policy', `the policy is refused: ${issues.join('; ')}`, { issues })
}

const refused = (message: string, stage: string): DomainError =>
  new DomainError('command_refused', message, { stage })

function briefOf({ state, outcome, reason, startedAt, updatedAt, endedAt }: Release) {
  return {
    id: state.id,
    model: state.model,
    version: state.version,
    baseline_version: state.baseline,
    strategy: state.strategy,
    stage: state.stage,
    stage_index: state.stageIndex,
    share_bp: state.shareBp,
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
