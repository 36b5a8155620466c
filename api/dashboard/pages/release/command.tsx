/**
 * Takes what a person says to a release on its page. Before it is said, what the page showed is compared with what is so now: a page
 * that was left open over lunch must not approve what has become of the release meanwhile.
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
import { plain, shortDigest } from '../../labels.ts'

const digest = z.string().max(100)
const sent = z.object({
  command: z.enum(commandNames),
  reason: z
    .string()
    .trim()
    .min(1, 'says why: it is kept with your name')
    .max(2_000, 'has at most 2,000 characters'),
  once: z.string().regex(/^[\w-]{1,100}$/),
  artifact: digest,
  evaluation: digest,
  policy: digest,
  champion: z.string().max(300),
  stage: z.string().max(40),
  stage_index: z.string().max(10),
})
type Sent = z.infer<typeof sent>

/** What says yes to what was shown, or goes on with it. Stopping and taking back are never refused for being late. */
const bound: readonly CommandName[] = ['approve', 'reject', 'resume', 'promoteNow']

export async function say(deps: ApiDeps, ask: RouteRequest<unknown, unknown>): Promise<RouteResponse> {
  const actor = ask.actor!
  const id = ask.params['id']!
  const form = parsed(ask.body)
  requireRole(actor, commandRoles[form.command])
  const { state } = await getReleaseInScope(deps.store, actor, id)
  const changes = bound.includes(form.command) ? await changesSince(deps, state, form) : []
  if (changes.length > 0)
    return refusal({ actor, state, token: ask.session?.token, word: form.command, changes, stale: true })
  try {
    const { artifact, evaluation, policy } = form
    const outcome = await sendReleaseCommand(deps, actor, {
      command: form.command,
      release: id,
      reason: form.reason,
      seen: bound.includes(form.command) ? { artifact, evaluation, policy } : {},
      once: form.once,
    })
    if ('deferred' in outcome)
      return await waiting({ actor, state, token: ask.session?.token, word: form.command })
    return { status: 303, headers: { ...pageHeaders, location: `/releases/${state.id}` } }
  } catch (error) {
    if (!isError(error, 'command_refused')) throw error
    const { state: now } = await getReleaseInScope(deps.store, actor, id)
    const changes = [error.message]
    return refusal({
      actor,
      state: now,
      token: ask.session?.token,
      word: form.command,
      changes,
      stale: false,
    })
  }
}

function parsed(body: unknown): Sent {
  const checked = sent.safeParse(body)
  if (checked.success) return checked.data
  const issues = checked.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`)
  throw new DomainError('invalid_request', `the form is not whole: ${issues.join('; ')}`, { issues })
}

/** Each with what was shown and what is so now. */
async function changesSince({ store }: ApiDeps, state: ReleaseState, form: Sent): Promise<string[]> {
  const [now, champion] = await Promise.all([
    findReleasable(store, state.version),
    findChampion(store, state.model),
  ])
  const shown: [string, string, string][] = [
    ['The stage of the release', stageName(form), stageName(state)],
    ['The candidate', form.artifact, now?.artifactDigest ?? state.digests.artifact],
    ['The evaluation', form.evaluation, now?.evaluationDigest ?? state.digests.evaluation],
    ['The policy', form.policy, state.digests.policy],
    ['The champion', form.champion || 'nobody', champion?.version ?? 'nobody'],
  ]
  return shown.flatMap(([what, before, after]) =>
    before === after ? [] : [`${what} was ${readable(before)} and is ${readable(after)} now.`],
  )
}

const stageName = (at: { stage: string; stage_index?: string; stageIndex?: number }): string =>
  at.stage === 'canary' ? `canary, stage ${Number(at.stage_index ?? at.stageIndex) + 1}` : plain(at.stage)

const readable = (value: string): string => (value.startsWith('sha256:') ? shortDigest(value) : value)

interface Told {
  actor: Actor
  state: ReleaseState
  token: string | undefined
  word: CommandName
}

/** Temporal is away. The page of the release would look as if nothing had been said. */
async function waiting({ actor, state, token, word }: Told): Promise<RouteResponse> {
  const title = 'It is recorded'
  const children: PageElement = (
    <section class="card warn narrow" aria-label={title}>
      <h1>{title}</h1>
      <p>
        Temporal does not answer. “{plain(word)}” is {deferredMessage}. What {state.version} then says to it
        stands on the page of the release and in the audit.
      </p>
      <p>
        <a class="button" href={`/releases/${state.id}`}>
          Show the release
        </a>
      </p>
    </section>
  )
  const text = await pageText({ title, path: '/releases', actor, token, children })
  return { status: 202, text, type: html, headers: pageHeaders }
}

interface Refusal extends Told {
  changes: string[]
  /** Whether the page was out of date; else the release itself has refused. */
  stale: boolean
}

async function refusal({ actor, state, token, word, changes, stale }: Refusal): Promise<RouteResponse> {
  const title = stale ? 'The page was out of date' : 'The release has refused this'
  const body: PageElement = (
    <section class="card warn narrow" aria-label={title}>
      <h1>{title}</h1>
      <p>
        “{plain(word)}” was not said to {state.version}
        {stale ? ', because something has changed since the page was made:' : ':'}
      </p>
      <ul>
        {changes.map((change) => (
          <li>{change}</li>
        ))}
      </ul>
      <p>
        <a class="button" href={`/releases/${state.id}`}>
          Show it as it is now
        </a>
      </p>
    </section>
  )
  const text = await pageText({ title, path: '/releases', actor, token, children: body })
  return { status: 409, text, type: html, headers: pageHeaders }
}
