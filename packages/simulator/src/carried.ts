/**
 * Carries the context of an activity with its events. Async context in Node uses hooks on every promise, which takes a tenth of a run's time.
 * Here an event belongs to at most one activity, so the event carries the context.
 */

/** The context of the activity whose event is being executed. */
export const carried: { context: unknown } = { context: undefined }
