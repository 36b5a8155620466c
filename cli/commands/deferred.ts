/** Describes commands that are queued because Temporal is unreachable. */

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
