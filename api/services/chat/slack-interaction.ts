/**
 * Carries out the command of a button on a Slack card. Uses the API key that the channel assigns to the Slack user, and the digests of the
 * card. The release refuses other digests, and everything else that it refuses over HTTP.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { DomainError, reasonOf } from '../../../domain/errors.ts'
import type { ChannelTarget } from '../../../domain/monitoring/alert-escalation.ts'
import { slackActions } from '../../../activities/alerts/delivery/channels/slack-card.ts'
import { commandRoles } from '../../../domain/release/state.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import { readChannels } from '../../../store/monitoring/alert-channels.ts'
import { outgoingFetch } from '../../../store/outgoing-fetch.ts'
import type { Store } from '../../../store/postgres.ts'
import { actorOfKey, requireRole, type Actor } from '../../auth/authentication.ts'
import { depsOf } from '../../auth/authorization.ts'
import type { CommandDeps } from '../../deps.ts'
import { checkInput } from '../../http/schemas.ts'
import { sendReleaseCommand } from '../release-commands.ts'

type SlackTarget = Extract<ChannelTarget, { kind: 'slack' }>

/** The release compares the digests. */
const digest = z.string().min(1).max(200)
const card = z.strictObject({
  release: z.string().min(1).max(100),
  digests: z.strictObject({ artifact: digest, evaluation: digest, policy: digest }),
})
const commands = slackActions.map(({ command }) => command)
const interaction = z.object({
  type: z.literal('block_actions'),
  user: z.object({ id: z.string().min(1).max(30) }),
  response_url: z.url().max(1_000),
  actions: z
    .array(
      z.object({
        action_id: z.enum(commands as [(typeof commands)[number], ...typeof commands]),
        action_ts: z.string().min(1).max(40),
        value: z.string().max(2_000),
      }),
    )
    .length(1),
})

export interface SlackDeps extends CommandDeps {
  /** The file of the alert channels. */
  alertChannels: string
  nowMs(): number
}

const answerMs = 5_000

/** Checks the click and returns a function that carries it out. Slack waits only three seconds, and gets the result afterwards. */
export async function acceptClick(deps: SlackDeps, request: SlackRequest): Promise<() => Promise<void>> {
  const targets = (await readChannels(deps.alertChannels)).flatMap(({ name, target }) =>
    target.kind === 'slack' && target.signingSecret !== undefined
      ? [{ name, target, secret: target.signingSecret }]
      : [],
  )
  const signer = signerOfRequest(request, targets, deps.nowMs())
  const found = targets.find(({ name }) => name === signer)
  if (found === undefined)
    throw new DomainError(
      'unauthenticated',
      'the signature matches no signing secret of a Slack channel, or the request is older than 5 minutes',
    )
  const sent = new URLSearchParams(request.body.toString('utf8')).get('payload') ?? ''
  const clicked = checkInput(interaction, parsed(sent), 'the payload')
  // The channels of one Slack app share its signing secret.
  const ofApp = targets.filter(({ secret }) => secret === found.secret)
  const { target } = ofApp.find((each) => each.target.users?.[clicked.user.id] !== undefined) ?? found
  // Slack signs the address. It is compared all the same, so that a leaked secret reaches no other host.
  if (new URL(clicked.response_url).origin !== new URL(target.url).origin)
    throw new DomainError('invalid_request', 'response_url is not an address of the channel')
  return async () => {
    const text = await execute(deps, target, clicked).catch((error: unknown) => `Refused: ${reasonOf(error)}`)
    await respond(clicked.response_url, text).catch((error: unknown) =>
      deps.log.warn({ problem: reasonOf(error) }, 'the result was not sent to Slack'),
    )
  }
}

async function execute(
  deps: SlackDeps,
  target: SlackTarget,
  { user, actions }: z.infer<typeof interaction>,
): Promise<string> {
  const [{ action_id: command, action_ts: once, value }] = actions as [(typeof actions)[number]]
  const { release, digests } = checkInput(card, parsed(value), 'the button')
  const actor = await actorOfUser(deps.store, target, user.id)
  const own = depsOf(deps, actor)
  requireRole(actor, commandRoles[command])
  // Another approver may have answered the card, and the release may now wait for a decision on a stage.
  const stage = 'awaiting_approval' as const
  const input = { command, release, digests, stage, reason: 'decided in Slack', once: `slack/${once}` }
  const done = await sendReleaseCommand(own, actor, input)
  if ('deferred' in done) return `Recorded for ${actor.name}; it is delivered as soon as Temporal answers.`
  return `${actor.name}: ${done.result.message}`
}

/** Returns the actor of the key that the channel assigns to a Slack user, with its present role and models. */
async function actorOfUser(store: Store, { users = {} }: SlackTarget, user: string): Promise<Actor> {
  const name = users[user]
  if (name === undefined)
    throw new DomainError('forbidden', `the channel names no key for the Slack user ${user}`)
  const key = (await findActiveKeys(store)).find((each) => each.name === name)
  if (key === undefined) throw new DomainError('forbidden', `no active key is named ${name}`)
  return actorOfKey(key)
}

/** Posts the result of a click. */
export async function respond(url: string, text: string): Promise<void> {
  const answer = await outgoingFetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ response_type: 'in_channel', replace_original: false, text }),
    // Its origin is that of a channel in the file of this machine.
    privateHosts: 'all',
    maxBytes: 0,
    maxMs: answerMs,
  })
  await answer.discard()
  if (!answer.ok) throw new Error(`Slack responded ${answer.status}`)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new DomainError('invalid_request', 'the payload is not valid JSON')
  }
}

// Verifies that a request comes from Slack: https://docs.slack.dev/authentication/verifying-requests-from-slack.

interface SlackRequest {
  body: Buffer
  timestamp: string | undefined
  signature: string | undefined
}

/** An older request is rejected, because it may be a replay. */
const windowMs = 300_000

/** Returns the name of the first secret that signed the request; undefined when none did. */
function signerOfRequest(
  { body, timestamp, signature }: SlackRequest,
  secrets: readonly { name: string; secret: string }[],
  nowMs: number,
): string | undefined {
  if (timestamp === undefined || signature === undefined || !/^\d{1,12}$/.test(timestamp)) return undefined
  if (Math.abs(nowMs - Number(timestamp) * 1_000) > windowMs) return undefined
  const given = Buffer.from(signature)
  return secrets.find(({ secret }) => {
    const digest = createHmac('sha256', secret).update(`v0:${timestamp}:`).update(body).digest('hex')
    const expected = Buffer.from(`v0=${digest}`)
    return given.length === expected.length && timingSafeEqual(given, expected)
  })?.name
}
