/** Recognizes errors of the SDK by name. `instanceof` would load the SDK, and fails across two copies of it. */

export const isAlreadyStarted = (error: unknown): boolean =>
  nameOf(error) === 'WorkflowExecutionAlreadyStartedError'

export const isNotFound = (error: unknown): boolean => nameOf(error) === 'WorkflowNotFoundError'

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : '')
