/**
 * Sends a command from the form of a release page. First compares the state shown on the page with the current state, so that an outdated
 * page never approves another state.
 */
import { z } from 'zod'
import { isError } from '../../../../domain/errors.ts'
import {
  commandNames,
  commandRoles,
  commandTerms,
  type CommandName,
  type ReleaseState,
} from '../../../../domain/release/state.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { findReleasable } from '../../../../store/release/releases.ts'
import { requireRole } from '../../../auth/authentication.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { deferredMessage } from '../../../../store/commands.ts'
import { getRelease, sendReleaseCommand } from '../../../services/release-commands.ts'
import { navOf, pageText } from '../../render-page.tsx'
import type { PageFrame } from '../../layout.tsx'
import { zoneOf } from '../../clock.ts'
import type { PageElement, PageEntry } from '../../page.ts'
import { html, pageHeaders } from '../../security-headers.ts'
import { checkEntry, checkInput, writtenReason } from '../../../http/schemas.ts'
import { plain, shortDigest } from '../../labels.ts'
import { givenReason, reasonFields } from '../../components/reason.tsx'
import { commandWord } from './command-form.tsx'

const digest = z.string().max(100)
const sent = z.object({
  command: z.enum(commandNames),
  ...reasonFields,
  /** Of a rollback: the version may be released again, as after an abort. */
  again: z.literal('yes').optional(),
  once: z.string().regex(/^[\w-]{1,100}$/),
  artifact: digest,
  evaluation: digest,
  policy: digest,
  champion: z.string().max(300),
  stage: z.string().max(40),
  stage_index: z.string().max(10),
})
type Sent = z.infer<typeof sent>

export async function submitReleaseCommand(
  deps: ApiDeps,
  ask: RouteRequest<unknown, unknown>,
  places: readonly PageEntry[],
): Promise<RouteResponse> {
  const actor = ask.actor!
  const id = ask.params['id']!
  const form = checkInput(sent, ask.body, 'the form')
  const { once, artifact, evaluation, policy } = form
  const typed = givenReason(form)
  const command = form.command === 'rollback' && form.again !== undefined ? 'abort' : form.command
  requireRole(actor, commandRoles[command])
  const { state } = await getRelease(deps.store, id)
  const frame = { actor, nav: navOf(places, actor), token: ask.session?.token, zone: zoneOf(ask.header) }
  const result = { frame, state, command, typed }
  const terms = commandTerms[command]
  const isUnexplained = terms.reason === 'optional' && typed.trim() === ''
  const reason = isUnexplained ? { data: undefined } : checkEntry(writtenReason, typed)
  if ('issue' in reason)
    return refusal(result, { title: 'Invalid reason', status: 400, issues: [`The reason ${reason.issue}`] })
  const changes = terms.isBound ? await changesSince(deps, state, form) : []
  if (changes.length > 0) return refusal(result, { title: 'Page out of date', issues: changes })
  try {
    const digests = terms.isBound ? { artifact, evaluation, policy } : {}
    const order = { command, release: id, reason: reason.data, digests, once }
    const outcome = await sendReleaseCommand(deps, actor, order)
    if ('deferred' in outcome) return await deferredPage(result)
    return { status: 303, headers: { ...pageHeaders, location: `/releases/${state.id}` } }
  } catch (error) {
    if (!isError(error, 'command_refused')) throw error
    const { state: now } = await getRelease(deps.store, id)
    return refusal({ ...result, state: now }, { title: 'Not done', issues: [error.message] })
  }
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
  frame: Pick<PageFrame, 'actor' | 'nav' | 'token' | 'zone'>
  state: ReleaseState
  command: CommandName
  /** The reason as it was typed. */
  typed: string
}

/** Confirms a deferred command, because the release page shows it only after Temporal is reachable again. */
const deferredPage = (result: CommandResult): Promise<RouteResponse> =>
  resultPage(
    result,
    { title: 'Queued', status: 202 },
    <p>
      Temporal is unreachable; your action runs when it is back. “{commandWord(result.command)}” is{' '}
      {deferredMessage}. The release page of {result.state.version} and the audit will show the result.
    </p>,
  )

interface Refusal {
  title: string
  status?: number
  /** Why the command was not applied, or what has changed since the page was loaded. */
  issues: string[]
}

/** Explains why a command was not applied, and shows the typed reason, so that it can be sent again. */
const refusal = (result: CommandResult, { title, status = 409, issues }: Refusal): Promise<RouteResponse> =>
  resultPage(
    result,
    { title, status },
    <>
      <p>
        “{commandWord(result.command)}” was not applied to {result.state.version}
        {title === 'Page out of date' ? '. Changed since the page was loaded:' : ':'}
      </p>
      <ul>
        {issues.map((issue) => (
          <li>{issue}</li>
        ))}
      </ul>
      {result.typed.trim() !== '' && (
        <>
          <label for="typed">Your reason, to copy</label>
          <textarea id="typed" rows={3} readonly>
            {result.typed}
          </textarea>
        </>
      )}
    </>,
  )

async function resultPage(
  { frame, state }: CommandResult,
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
  const text = await pageText({ title, path: '/releases', ...frame, children })
  return { status, text, type: html, headers: pageHeaders }
}
