/**
 * Sends a command from the form of a release page. First compares the state shown on the page with the current state, so that an outdated
 * page never approves another state.
 */
import { z } from 'zod'
import { DomainError, isError } from '../../../../domain/errors.ts'
import {
  commandNames,
  commandRoles,
  type CommandName,
  type ReleaseState,
} from '../../../../domain/release/state.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { findReleasable } from '../../../../store/release/releases.ts'
import { requireRole, type Actor } from '../../../auth/authentication.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { deferredMessage } from '../../../services/deferred-commands.ts'
import { getReleaseInScope, sendReleaseCommand } from '../../../services/release-commands.ts'
import { pageText } from '../../render-page.tsx'
import type { PageElement } from '../../page.ts'
import { html, pageHeaders } from '../../security-headers.ts'
import { reasonText, writtenReason } from '../../../http/schemas.ts'
import { plain, shortDigest } from '../../labels.ts'

/** Commands that need no reason, as in the API. */
const unexplained: readonly CommandName[] = ['approve', 'pause', 'resume']

const digest = z.string().max(100)
const sent = z.object({
  command: z.enum(commandNames),
  reason: reasonText.optional(),
  once: z.string().regex(/^[\w-]{1,100}$/),
  artifact: digest,
  evaluation: digest,
  policy: digest,
  champion: z.string().max(300),
  stage: z.string().max(40),
  stage_index: z.string().max(10),
})
type Sent = z.infer<typeof sent>

/** Commands that apply only to the shown state. Pause, rollback and abort are also accepted from an outdated page. */
const bound: readonly CommandName[] = ['approve', 'reject', 'resume', 'promoteNow']

export async function submitReleaseCommand(
  deps: ApiDeps,
  ask: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const actor = ask.actor!
  const id = ask.params['id']!
  const form = parsed(ask.body)
  const { command, once, artifact, evaluation, policy } = form
  requireRole(actor, commandRoles[command])
  const { state } = await getReleaseInScope(deps.store, actor, id)
  const result = { actor, state, token: ask.session?.token, command }
  const isBound = bound.includes(command)
  const changes = isBound ? await changesSince(deps, state, form) : []
  if (changes.length > 0) return refusal(result, changes, true)
  try {
    const { reason } = form
    const seen = isBound ? { artifact, evaluation, policy } : {}
    const outcome = await sendReleaseCommand(deps, actor, { command, release: id, reason, seen, once })
    if ('deferred' in outcome) return await deferredPage(result)
    return { status: 303, headers: { ...pageHeaders, location: `/releases/${state.id}` } }
  } catch (error) {
    if (!isError(error, 'command_refused')) throw error
    const { state: now } = await getReleaseInScope(deps.store, actor, id)
    return refusal({ ...result, state: now }, [error.message], false)
  }
}

function parsed(body: unknown): Sent {
  const checked = sent.safeParse(body)
  if (checked.success) {
    const { command, reason = '' } = checked.data
    const given =
      unexplained.includes(command) && reason.trim() === '' ? undefined : writtenReason.safeParse(reason)
    if (given === undefined || given.success) return { ...checked.data, reason: given?.data }
    throw new DomainError('invalid_request', `invalid form: reason ${given.error.issues[0]?.message}`)
  }
  const issues = checked.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`)
  throw new DomainError('invalid_request', `invalid form: ${issues.join('; ')}`, { issues })
}

/** Returns the differences between the shown state and the current one. */
async function changesSince({ store }: ApiDeps, state: ReleaseState, form: Sent): Promise<string[]> {
  const [now, champion] = await Promise.all([
    findReleasable(store, state.version),
    findChampion(store, state.model),
  ])
  const shown: [string, string, string][] = [
    ['Stage', stageName(form), stageName(state)],
    ['Candidate', form.artifact, now?.artifactDigest ?? state.digests.artifact],
    ['Evaluation', form.evaluation, now?.evaluationDigest ?? state.digests.evaluation],
    ['Policy', form.policy, state.digests.policy],
    ['Champion', form.champion || '—', champion?.version ?? '—'],
  ]
  return shown.flatMap(([name, before, after]) =>
    before === after ? [] : [`${name}: ${readable(before)} → ${readable(after)}`],
  )
}

const stageName = (at: { stage: string; stage_index?: string; stageIndex?: number }): string =>
  at.stage === 'canary' ? `canary, stage ${Number(at.stage_index ?? at.stageIndex) + 1}` : plain(at.stage)

const readable = (value: string): string => (value.startsWith('sha256:') ? shortDigest(value) : value)

interface CommandResult {
  actor: Actor
  state: ReleaseState
  token: string | undefined
  command: CommandName
}

/** Confirms a deferred command, because the release page shows it only after Temporal is reachable again. */
const deferredPage = (result: CommandResult): Promise<RouteResponse> =>
  resultPage(
    result,
    { title: 'Queued', status: 202 },
    <p>
      Temporal is unreachable; your action runs when it is back. “{plain(result.command)}” is{' '}
      {deferredMessage}. The release page of {result.state.version} and the audit will show the result.
    </p>,
  )

/** Explains why a command was refused. `stale`: the page was out of date; otherwise the release refused. */
const refusal = (result: CommandResult, changes: string[], stale: boolean): Promise<RouteResponse> =>
  resultPage(
    result,
    { title: stale ? 'Page out of date' : 'Action not allowed', status: 409 },
    <>
      <p>
        “{plain(result.command)}” was not applied to {result.state.version}
        {stale ? '. Changed since the page was loaded:' : ':'}
      </p>
      <ul>
        {changes.map((change) => (
          <li>{change}</li>
        ))}
      </ul>
    </>,
  )

async function resultPage(
  { actor, state, token }: CommandResult,
  { title, status }: { title: string; status: number },
  message: PageElement,
): Promise<RouteResponse> {
  const children = (
    <section class="card warn narrow" aria-label={title}>
      <h1>{title}</h1>
      {message}
      <p>
        <a class="button" href={`/releases/${state.id}`}>
          View release
        </a>
      </p>
    </section>
  )
  const text = await pageText({ title, path: '/releases', actor, token, children })
  return { status, text, type: html, headers: pageHeaders }
}
