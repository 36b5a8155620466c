/** Names of request headers that the API, its routes of predictions and the command line share. */

/** The caller's id of a request, repeated in its response and in the log. */
export const requestIdHeader = 'x-request-id'

/** The caller's key of a command or a prediction, under which a repetition gets the first response again. */
export const idempotencyHeader = 'idempotency-key'

/** How long the caller waits, in milliseconds. A response that would come later is not computed. */
export const deadlineHeader = 'x-deadline-ms'
