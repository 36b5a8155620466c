/**
 * Receives the commands of a release by signal and by update, and applies them to the reducer in the order of arrival. Every command
 * gets one result, also when its sender cannot be verified.
 */
import {
  CancellationScope,
  condition,
  currentUpdateInfo,
  inWorkflowContext,
  log,
  setHandler,
  uuid4,
  workflowInfo,
  ApplicationFailure,
} from '@temporalio/workflow'
import type { CommandIdentity } from '../../activities/release/authorize-command.ts'
import type { Advance, CommandEvent } from '../../domain/release/events.ts'
import { commandNames, type ReleaseState } from '../../domain/release/state.ts'
import { commandSignals, commandUpdates, type CommandResult, type Command } from '../messages.ts'
import { messageOf, control } from './activities.ts'
import { createInbox, type CarriedCommands, type InboxMessage } from './inbox.ts'
import { recordOf } from '../input/parse-input.ts'

interface ReleaseHandle {
  /** Undefined until the release is open. */
  state(): ReleaseState | undefined
  dispatch(event: CommandEvent): Advance
  carried?: CarriedCommands
}

export interface Commands {
  /** Whether the run is about to continue as new; commands without a waiting sender are then left to the next run. */
  needsHandOver(): boolean
  /** Waits until the commands that were applied are recorded: a step decides from their rows. */
  recorded(): Promise<void>
  /** False during a batch, while a sender waits for a result, and while more is pending than a run can carry. */
  canHandOver(): boolean
  handOver(): CarriedCommands
  /** Answers the pending commands and accepts no more. `refusal` is the result for a release that was not opened. */
  close(refusal?: string): Promise<void>
}

const tooLate: CommandResult = { accepted: false, stage: 'ended', message: 'the release has ended' }

/** Commands that are authorized and recorded together. */
const maxBatchSize = 100

export function receiveCommands({ state, dispatch, carried }: ReleaseHandle): Commands {
  const inbox = createInbox(carried)
  // Results of this run; the store holds those of earlier runs.
  const answers = new Map<string, Answered>()
  let recording: Promise<void> = Promise.resolve()
  let busy = false
  let closing = false
  let closed = false
  let refusal: string | undefined

  const needsHandOver = () => inbox.isCrowded() || workflowInfo().continueAsNewSuggested

  for (const name of commandNames) {
    setHandler(commandSignals[name], (sent) => inbox.enqueue({ name, command: parseCommand(sent, uuid4()) }))
    setHandler(
      commandUpdates[name],
      (sent) => {
        if (closed) return Promise.resolve(tooLate)
        const command = parseCommand(sent, currentUpdateInfo()?.id ?? uuid4())
        return new Promise<CommandResult>((answer) => inbox.enqueue({ name, command, answer }))
      },
      { validator: requireWellFormed },
    )
  }

  /** Authorizes, applies, records and answers one batch. */
  const processBatch = async (before: ReleaseState) => {
    const messages = inbox.take(maxBatchSize)
    const sendersOrProblem = await findSenders(before, messages)
    const apply = ({ name, command }: InboxMessage, sender: CommandIdentity | undefined): CommandResult => {
      if (typeof sendersOrProblem === 'string')
        return { accepted: false, stage: (state() ?? before).stage, message: sendersOrProblem }
      const { applied, message, state: after } = dispatch(eventOf(name, command, sender))
      return { accepted: applied, stage: after.stage, message }
    }
    const senders = typeof sendersOrProblem === 'string' ? [] : sendersOrProblem
    const { replies, records } = answerBatch(messages, { releaseId: before.id, senders, answers, apply })
    try {
      recording = control.recordRelease({ state: state() ?? before, commands: records })
      await recording
    } catch (error) {
      // The commands are applied. Without results, their senders and the end of the release would wait without limit.
      logError(error)
    }
    for (const { message, result } of replies) message.answer?.(result)
  }

  const processInbox = async () => {
    for (;;) {
      await condition(
        () =>
          closing ||
          (!inbox.isEmpty() && state() !== undefined && !(needsHandOver() && inbox.canBeCarried())),
      )
      const now = state()
      if (inbox.isEmpty()) {
        closed = true
        return
      }
      if (now === undefined) {
        const message = refusal ?? 'the release was not opened'
        for (const { answer } of inbox.take(Infinity)) answer?.({ accepted: false, stage: 'ended', message })
        continue
      }
      busy = true
      try {
        await processBatch(now)
      } catch (error) {
        logError(error)
      }
      // A run that is evicted from the cache during a batch repeats the batch when it is replayed.
      if (!inWorkflowContext()) return
      busy = false
    }
  }
  const done = CancellationScope.nonCancellable(processInbox)

  return {
    needsHandOver,
    canHandOver: () => !busy && inbox.canBeCarried(),
    recorded: () => recording.catch(() => {}),
    handOver: () => ({ pending: inbox.pending() }),
    close(why) {
      refusal = why
      closing = true
      return done
    },
  }
}

/** The senders of the commands, or why they cannot be verified; every command of the batch is then refused with that reason. */
async function findSenders(
  { model, version, id: release }: ReleaseState,
  messages: readonly InboxMessage[],
): Promise<CommandIdentity[] | string> {
  try {
    return await control.authorize({
      model,
      release,
      version,
      commands: messages.map(({ name, command }) => ({ ...command, command: name })),
    })
  } catch (error) {
    // A run that is evicted from the cache here cannot answer.
    if (!inWorkflowContext()) throw error
    return `the sender could not be verified, so the command was not applied: ${messageOf(error)}`
  }
}

interface Answered {
  result: CommandResult
  isForged: boolean
}

interface BatchContext {
  releaseId: string
  /** One for each message, in order; empty when the senders could not be verified. */
  senders: readonly CommandIdentity[]
  /** Results of this run by command id; new ones are added. */
  answers: Map<string, Answered>
  apply(message: InboxMessage, sender: CommandIdentity | undefined): CommandResult
}

/**
 * Applies each command in order and returns its result and its row. A repeated command gets its first result and no second row. A forged
 * command does not use up the id of the command that it imitates.
 */
function answerBatch(
  messages: readonly InboxMessage[],
  { releaseId, senders, answers, apply }: BatchContext,
) {
  const replies: { message: InboxMessage; result: CommandResult }[] = []
  const records: Parameters<typeof control.recordRelease>[0]['commands'] = []
  for (const [place, message] of messages.entries()) {
    const { name, command } = message
    const { id, by: actor, reason, signature } = command
    const sender = senders[place]
    const isForged = sender !== undefined && sender.key === undefined
    const before = answers.get(id)
    const earlier = before?.isForged && !isForged ? undefined : (before?.result ?? sender?.answered)
    if (earlier) {
      replies.push({ message, result: earlier })
      continue
    }
    const result = apply(message, sender)
    answers.set(id, { result, isForged })
    replies.push({ message, result })
    const sent = signature === undefined ? undefined : { ...command, signature }
    const row = `${releaseId}/${isForged ? 'forged/' : ''}${id}`
    records.push({ id: row, releaseId, command: name, actor, sent, reason, ...result })
  }
  return { replies, records }
}

function eventOf(
  name: InboxMessage['name'],
  { by, reason, artifactDigest, evaluationDigest, policyDigest, until }: InboxMessage['command'],
  sender: CommandIdentity | undefined,
): CommandEvent {
  return {
    kind: 'command',
    atMs: Date.now(),
    command: name,
    by,
    inScope: sender?.inScope ?? false,
    role: sender?.role,
    key: sender?.key,
    rejectedBecause: sender?.rejectedBecause,
    basis: sender?.standing,
    reason,
    artifactDigest,
    evaluationDigest,
    policyDigest,
    untilMs: until === undefined ? undefined : Date.parse(until),
  }
}

/** Logs instead of throwing: an error thrown here ends the thread that runs all workflows of a worker. */
function logError(error: unknown): void {
  if (inWorkflowContext()) log.error(`commands were not recorded: ${messageOf(error)}`)
}

// Parses the commands of a release. A signal of any shape becomes a command, because a handler that throws blocks the workflow.

/** Characters per field. */
const maxLengths = {
  by: 200,
  reason: 2_000,
  id: 200,
  artifactDigest: 100,
  evaluationDigest: 100,
  policyDigest: 100,
  until: 40,
  signature: 200,
}
const fieldNames = Object.keys(maxLengths) as (keyof typeof maxLengths)[]

/**
 * Drops invalid fields and cuts long ones. Postgres stores neither NUL nor lone surrogates, so they are replaced; everything else
 * stays as it was signed.
 */
function parseCommand(sent: unknown, id: string): Command & { id: string } {
  const { unreadable, ...fields } = recordOf(sent)
  fields['reason'] ??= unreadable
  const clean = Object.fromEntries(
    fieldNames.flatMap((name) => {
      const value = fields[name]
      if (typeof value !== 'string' || value === '') return []
      return [[name, value.slice(0, maxLengths[name]).replace(/\0|\p{Surrogate}/gu, '\ufffd')]]
    }),
  ) as Partial<Command>
  return { id, by: '(no name)', ...clean }
}

/** Update validator: throws `invalid_request`. Synchronous, because Temporal does not support asynchronous validators. */
function requireWellFormed(sent: unknown): void {
  const refuse = (issue: string) => {
    throw ApplicationFailure.nonRetryable(
      `the command must be {"by", "reason"?, …}: ${issue}`,
      'invalid_request',
    )
  }
  if (typeof sent !== 'object' || sent === null)
    return refuse(`received ${JSON.stringify(sent) ?? 'nothing'}`)
  const fields = recordOf(sent)
  if (typeof fields['unreadable'] === 'string') return refuse(fields['unreadable'])
  if (typeof fields['by'] !== 'string' || fields['by'] === '') return refuse('"by" is missing')
  for (const name of fieldNames) {
    const value = fields[name]
    if (value !== undefined && (typeof value !== 'string' || value.length > maxLengths[name]))
      return refuse(`"${name}" must be a text of at most ${maxLengths[name]} characters`)
  }
}
