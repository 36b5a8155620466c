/** `tenure commands`, and the description of commands that are queued because Temporal is unreachable. */
import { path } from '../client/client.ts'
import type { RecordedAnswer } from '../client/responses.ts'
import type { CommandGroup } from '../program.ts'

/** The result of a command, or its queue entry if Temporal is unreachable. */
export interface CommandReply {
  message: string
  accepted?: boolean
  stage?: string
  /** Id of the queue entry. */
  id?: string
  state?: string
}

/** Describes a queue entry; returns undefined for a command that was executed. */
export const deferredText = (
  subject: string,
  { id, state, message = '' }: Partial<CommandReply>,
): string | undefined =>
  id === undefined || state !== 'waiting'
    ? undefined
    : `${subject}: ${message}. Check it: \`tenure commands show ${id}\``

export const commandsGroup: CommandGroup = {
  name: 'commands',
  summary: 'Show commands that were queued while Temporal was unreachable',
  commands: [
    {
      name: 'show <id>',
      summary: 'Show whether a queued command was delivered',
      examples: ['commands show cmd_01h…', 'commands show cmd_01h… --json'],
      async run({ terminal, api }, { args }) {
        const answer = await api().get<RecordedAnswer>(path`/v1/commands/${args[0]}`)
        const { state, command, model, release = model, message, recorded_at: at } = answer
        terminal.answer(answer, `${state}: ${command} of ${at} to ${release}: ${message}`)
      },
    },
  ],
}
