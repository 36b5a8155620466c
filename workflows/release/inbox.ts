/** Holds the commands that a release has received and not yet answered, and tells when the run must continue as new. */
import type { Command, CommandName, CommandResult } from '../messages.ts'

export interface InboxMessage {
  name: CommandName
  command: Command & { id: string }
  /** Present on an update, whose sender waits for the result. */
  answer?: (result: CommandResult) => void
}

/** Signals that one run hands to the next, so that none is lost and none is applied twice. */
export interface CarriedCommands {
  pending: Pick<InboxMessage, 'name' | 'command'>[]
}

export interface Inbox {
  enqueue(message: InboxMessage): void
  take(count: number): InboxMessage[]
  isEmpty(): boolean
  /** True after so many commands that the run must continue as new. */
  isCrowded(): boolean
  /** False while a sender waits for a result, or while the pending commands exceed the input limit of a run. */
  canBeCarried(): boolean
  pending(): CarriedCommands['pending']
}

/** More than this does not fit into the input of a run. */
const maxCarriedCharacters = 400_000
/**
 * Commands per run. A worker that replays a run receives all of them at once, at half a millisecond each on an idle machine, and has
 * ten seconds for the whole replay.
 */
const maxReceived = 250

export function createInbox(carried: CarriedCommands | undefined): Inbox {
  const messages: InboxMessage[] = [...(carried?.pending ?? [])]
  // Read after every signal of a burst, so these are counters and not searches.
  let characters = totalLength(messages)
  let awaited = 0
  let received = 0
  return {
    enqueue(message) {
      characters += lengthOf(message)
      if (message.answer) awaited++
      received++
      messages.push(message)
    },
    take(count) {
      const taken = messages.splice(0, count)
      characters -= totalLength(taken)
      awaited -= taken.filter(({ answer }) => answer !== undefined).length
      return taken
    },
    isEmpty: () => messages.length === 0,
    isCrowded: () => received >= maxReceived,
    canBeCarried: () => characters <= maxCarriedCharacters && awaited === 0,
    pending: () => messages.map(({ name, command }) => ({ name, command })),
  }
}

const lengthOf = ({ command }: InboxMessage): number => JSON.stringify(command).length
const totalLength = (messages: readonly InboxMessage[]): number =>
  messages.reduce((sum, message) => sum + lengthOf(message), 0)
