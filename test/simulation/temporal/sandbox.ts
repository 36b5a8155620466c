/**
 * What code finds around itself and a plain process does not give. Imported before anything of the SDK, which looks for it
 * once, when it is loaded.
 *
 * Whose code runs is known in Node by hooks on every promise, a tenth of the time of a run. Here an event belongs to one
 * activity at most, so the event carries it; the hooks are for workflow code alone, and only while it runs.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

/** Of the activity whose event is being carried out. */
export const carried: { context: unknown } = { context: undefined }

const scopes: AsyncLocalStorage<unknown>[] = []

Object.assign(globalThis, {
  AsyncLocalStorage: function () {
    const scope = new AsyncLocalStorage<unknown>()
    scopes.push(scope)
    return scope
  },
  [Symbol.for('__temporal_activity_context_storage__')]: {
    getStore: () => carried.context,
    run(context: unknown, work: () => unknown) {
      carried.context = context
      return work()
    },
  },
})

/** Lets workflow code run with the scopes that its promises have kept since they were last known. */
export function withScopes<T>(work: () => T): T {
  for (const scope of scopes) scope.enterWith(undefined)
  try {
    return work()
  } finally {
    for (const scope of scopes) scope.disable()
  }
}
