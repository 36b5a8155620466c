/**
 * Converts failures as Temporal does by default. Where payloads are encrypted, their messages and stacks are payloads too: the worker sets
 * `encodesFailures` in the sandbox, which has no configuration (activities/worker/create-worker.ts).
 */
import { DefaultFailureConverter, type FailureConverter } from '@temporalio/common'

const { encodesFailures = false } = globalThis as { encodesFailures?: boolean }

export const failureConverter: FailureConverter = new DefaultFailureConverter({
  encodeCommonAttributes: encodesFailures,
})
