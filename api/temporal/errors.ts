/** Recognizes errors of the SDK by name. `instanceof` would load the SDK, and fails across two copies of it. */

export const isAlreadyStarted = (error: unknown): boolean =>
  nameOf(error) === 'WorkflowExecutionAlreadyStartedError'

export const isNotFound = (error: unknown): boolean => nameOf(error) === 'WorkflowNotFoundError'

/** Whether a workflow failed because a time limit passed, its own or that of an activity. */
export const isTimeout = (error: unknown): boolean =>
  nameOf(error) === 'TimeoutFailure' || (error instanceof Error && isTimeout(error.cause))

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : '')
