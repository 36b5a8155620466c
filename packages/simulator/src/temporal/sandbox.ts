/**
 * Provides globals that the SDK's code expects and a plain process lacks. Imported before the SDK, which looks for them once, on load. The
 * hooks of Node's async context run only while workflow code runs.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { carried } from '../carried.ts'

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

/** Runs workflow code with the scopes that its promises had when they were last recorded. */
export function withScopes<T>(work: () => T): T {
  for (const scope of scopes) scope.enterWith(undefined)
  try {
    return work()
  } finally {
    for (const scope of scopes) scope.disable()
  }
}
