/**
 * How people reach a release: by signal, which nobody answers, and by update, which is answered. Both end in one queue
 * and one reducer, in the order in which they came. A message of any shape is survived; a handler that throws on a bad
 * one would stop the release for good.
 */
import {
  ApplicationFailure,
  CancellationScope,
  condition,
  currentUpdateInfo,
  inWorkflowContext,
  log,
  patched,
  setHandler,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow'
import type { Identity } from '../../activities/release/authorize-command.ts'
import type { Advance, CommandEvent } from '../../domain/release/events.ts'
import { commandNames, type ReleaseState } from '../../domain/release/state.ts'
import {
  commandSignals,
  commandUpdates,
  type Command,
  type CommandName,
  type CommandResult,
} from '../messages.ts'
import { messageOf, patient } from './activities.ts'

interface ReleaseHandle {
  /** Undefined until the release is open. */
  state(): ReleaseState | undefined
  dispatch(event: CommandEvent): Advance
  carried?: CarriedCommands | undefined
}

/** What one run hands to the next, so that no signal is lost and none counts twice. */
export interface CarriedCommands {
  pending: Pick<InboxMessage, 'name' | 'command'>[]
  /** The newest answers, by the ids of their commands, from a build that did not ask the store for them. */
  answered?: [string, CommandResult][]
}

interface InboxMessage {
  name: CommandName
  command: Command & { id: string }
  answer?: (result: CommandResult) => void
}

export interface Commands {
  /** Whether the run is about to hand over to the next: what nobody waits for an answer to is left to that one. */
  turning(): boolean
  /** False in the middle of a batch, while somebody waits for an answer, or while more waits than can be carried. */
  canHandOver(): boolean
  /** What the next run has to know. */
  handOver(): CarriedCommands
  /** Answers what is left and takes no more. `refusal` answers for a release that was never opened. */
  close(refusal?: string): Promise<void>
}

const tooLate: CommandResult = { accepted: false, stage: 'ended', message: 'the release has ended' }

/** At most so many are looked up and recorded at once. */
const batch = 100
/** More than this does not fit between two runs; the rest is answered before. */
const mostCharacters = 400_000
/**
 * A run that was told so many things hands over. A worker that takes a run up again hears all of them at once, at half a
 * millisecond each on a free machine, and has ten seconds for it in all.
 */
const mostReceived = 250

export function receiveCommands({ state, dispatch, carried }: ReleaseHandle): Commands {
  const inbox: InboxMessage[] = [...(carried?.pending ?? [])]
  // Of this run; what was answered before it stands in the store, however long ago.
  const answers = new Map<string, CommandResult>(carried?.answered)
  // Looked at after every single signal of a burst, so these are counted and not looked up.
  let characters = inbox.reduce((sum, letter) => sum + lengthOf(letter), 0)
  let awaited = 0
  let received = 0
  let crowded = false
  let busy = false
  let closing = false
  let closed = false
  let refusal: string | undefined

  const enqueue = (letter: InboxMessage) => {
    characters += lengthOf(letter)
    if (letter.answer) awaited++
    inbox.push(letter)
    // Runs of before have gone on for as long as the server let them.
    if (++received === mostReceived) crowded = patched('hands-over-when-crowded')
  }
  const turning = () => crowded || workflowInfo().continueAsNewSuggested
  const canBeCarried = () => characters <= mostCharacters && awaited === 0

  for (const name of commandNames) {
    setHandler(commandSignals[name], (sent) => enqueue({ name, command: read(sent, uuid4()) }))
    setHandler(
      commandUpdates[name],
      (sent) => {
        if (closed) return Promise.resolve(tooLate)
        const command = read(sent, currentUpdateInfo()?.id ?? uuid4())
        return new Promise<CommandResult>((answer) => enqueue({ name, command, answer }))
      },
      { validator: refuseMalformed },
    )
  }

  /** Who has said each of them, or why that cannot be found out: then all of them are refused, and none is left without an answer. */
  const identify = async (
    { model, version, id: release }: ReleaseState,
    letters: readonly InboxMessage[],
  ) => {
    try {
      const identities = await patient.authorize({
        names: [...new Set(letters.map(({ command }) => command.by))],
        model,
        release,
        version,
        commands: letters.map(({ name, command }) => ({ ...command, command: name })),
      })
      // Histories of before know names alone.
      return ({ id, by }: InboxMessage['command']) =>
        identities.find((each) =>
          each.id === undefined ? each.name === by : each.id === id && each.name === by,
        )
    } catch (error) {
      // Not so in histories of before; and a run that is dropped from memory here is none that could answer.
      if (!inWorkflowContext() || !patched('answers-though-nobody-is-known')) throw error
      return `it could not be found out who has said it, so nothing was done: ${messageOf(error)}`
    }
  }

  /** What it does to the release. */
  const applyCommand = ({ name, command }: InboxMessage, who: Identity | undefined): CommandResult => {
    const { by, reason, artifactDigest, evaluationDigest, policyDigest, until } = command
    const { applied, message, state } = dispatch({
      kind: 'command',
      atMs: Date.now(),
      command: name,
      by,
      inScope: who?.inScope ?? false,
      role: who?.role === undefined ? undefined : who.role,
      key: who?.key === undefined ? undefined : who.key,
      rejectedBecause: who?.rejectedBecause === undefined ? undefined : who.rejectedBecause,
      standing: who?.standing === undefined ? undefined : who.standing,
      reason,
      ...(name === 'promoteNow' && !patched('break-glass-is-watched') ? { straight: true as const } : {}),
      ...(artifactDigest === undefined ? {} : { artifactDigest }),
      ...(evaluationDigest === undefined ? {} : { evaluationDigest }),
      ...(policyDigest === undefined ? {} : { policyDigest }),
      ...(until === undefined ? {} : { untilMs: Date.parse(until) }),
    })
    return { accepted: applied, stage: state.stage, message }
  }

  /** Answers one batch: who they are, what it does, what is written down, what is answered. */
  const answerBatch = async (now: ReleaseState) => {
    const letters = inbox.splice(0, batch)
    characters -= letters.reduce((sum, letter) => sum + lengthOf(letter), 0)
    awaited -= letters.filter(({ answer }) => answer !== undefined).length
    const identityOf = await identify(now, letters)
    const { id: release } = now
    const replies: { letter: InboxMessage; result: CommandResult }[] = []
    const records = letters.flatMap((letter) => {
      const { name, command } = letter
      const who = typeof identityOf === 'string' ? undefined : identityOf(command)
      const earlier = answers.get(command.id) ?? who?.answered
      if (earlier) {
        replies.push({ letter, result: earlier })
        return []
      }
      const result =
        typeof identityOf === 'string'
          ? { accepted: false, stage: (state() ?? now).stage, message: identityOf }
          : applyCommand(letter, who)
      answers.set(command.id, result)
      replies.push({ letter, result })
      const { by: actor, reason, signature } = command
      const id = `${release}/${command.id}`
      const signed = signature !== undefined
      return [
        { id, releaseId: release, command: name, actor, signed, ...(reason ? { reason } : {}), ...result },
      ]
    })
    try {
      await patient.recordRelease({ state: state() ?? now, commands: records })
    } catch (error) {
      // What was said has been done. Unanswered, the sender and the end of the release would wait for ever.
      complain(error)
    }
    for (const { letter, result } of replies) letter.answer?.(result)
  }

  const processInbox = async () => {
    for (;;) {
      await condition(
        () => closing || (inbox.length > 0 && state() !== undefined && !(turning() && canBeCarried())),
      )
      const now = state()
      if (inbox.length === 0) {
        closed = true
        return
      }
      if (now === undefined) {
        const result = { accepted: false, stage: 'ended', message: refusal ?? 'it was never opened' } as const
        for (const letter of inbox.splice(0)) letter.answer?.(result)
        awaited = 0
        continue
      }
      busy = true
      try {
        await answerBatch(now)
      } catch (error) {
        complain(error)
      }
      // A run that is dropped from memory in the middle of a batch does the batch again where it is taken up.
      if (!inWorkflowContext()) return
      busy = false
    }
  }
  const done = CancellationScope.nonCancellable(processInbox)

  return {
    turning,
    canHandOver: () => !busy && canBeCarried(),
    handOver: () => ({ pending: inbox.map(({ name, command }) => ({ name, command })) }),
    close(why) {
      refusal = why
      closing = true
      return done
    },
  }
}

/** What is thrown here ends the thread that runs all workflows of a worker. */
function complain(error: unknown): void {
  if (inWorkflowContext()) log.error(`commands were not recorded: ${messageOf(error)}`)
}

const lengthOf = ({ command }: InboxMessage): number => JSON.stringify(command).length

const texts = [
  'by',
  'reason',
  'id',
  'artifactDigest',
  'evaluationDigest',
  'policyDigest',
  'until',
  'signature',
] as const
const longest = {
  by: 200,
  reason: 2_000,
  id: 200,
  artifactDigest: 100,
  evaluationDigest: 100,
  policyDigest: 100,
  until: 40,
  signature: 200,
}

/** A command of any shape as one that can be answered and written down. Postgres holds neither NUL nor half characters. */
function read(sent: unknown, id: string): Command & { id: string } {
  const fields = typeof sent === 'object' && sent !== null ? (sent as Record<string, unknown>) : {}
  const clean = Object.fromEntries(
    texts.flatMap((name) => {
      const value = fields[name]
      if (typeof value !== 'string' || value === '') return []
      return [[name, value.slice(0, longest[name]).replace(/[^\P{Cc}\n\t]|\p{Surrogate}/gu, '\ufffd')]]
    }),
  ) as Partial<Command>
  return { id, by: '(no name)', ...clean }
}

/** Synchronous, as Temporal demands: an asynchronous one would poison the workflow. */
function refuseMalformed(sent: unknown): void {
  const refuse = (what: string) => {
    throw ApplicationFailure.nonRetryable(`a command is {"by", "reason"?, …}: ${what}`, 'invalid_request')
  }
  if (typeof sent !== 'object' || sent === null) return refuse(`this is ${JSON.stringify(sent) ?? 'nothing'}`)
  const fields = sent as Record<string, unknown>
  if (typeof fields['by'] !== 'string' || fields['by'] === '') return refuse('"by" is missing')
  for (const name of texts) {
    const value = fields[name]
    if (value !== undefined && (typeof value !== 'string' || value.length > longest[name]))
      return refuse(`"${name}" is a text of at most ${longest[name]} characters`)
  }
}
