/** What is said of a command that is written down, because Temporal is away. */

/** The answer to a command, or, while Temporal is away, what is written down of it. */
export interface Answered {
  message: string
  accepted?: boolean
  stage?: string
  /** Of what is written down. */
  id?: string
  state?: string
}

/** What has a place in the queue waits as well, and is asked for by that. */
export const isDeferredAnswer = ({ id, state }: Partial<Answered>): boolean =>
  id !== undefined && state === 'waiting'

export const deferredText = (subject: string, { id = '', message = '' }: Partial<Answered>): string =>
  `${subject}: ${message} (\`tenure release command ${id}\` tells what has become of it)`
