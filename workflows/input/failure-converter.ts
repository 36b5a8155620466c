/**
 * Converts failures as Temporal does by default. With encrypted payloads, it encrypts failure messages and stack traces too. The workflow
 * sandbox has no configuration, so the worker passes `encodesFailures` as a global (activities/worker/payload-options.ts).
 */
import { DefaultFailureConverter, type FailureConverter } from '@temporalio/common'

const { encodesFailures = false } = globalThis as { encodesFailures?: boolean }

export const failureConverter: FailureConverter = new DefaultFailureConverter({
  encodeCommonAttributes: encodesFailures,
})
