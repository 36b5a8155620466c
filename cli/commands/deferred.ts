/** Describes commands that are queued because Temporal is unreachable. */

/** The result of a command, or its queue entry while Temporal is unreachable. */
export interface CommandReply {
  message: string
  accepted?: boolean
  stage?: string
  /** Id of the queue entry. */
  id?: string
  state?: string
}

export const isDeferredAnswer = ({ id, state }: Partial<CommandReply>): boolean =>
  id !== undefined && state === 'waiting'

export const deferredText = (subject: string, { id = '', message = '' }: Partial<CommandReply>): string =>
  `${subject}: ${message}. Check it: \`tenure commands show ${id}\``
