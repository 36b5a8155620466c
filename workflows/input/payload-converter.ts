/**
 * Converts payloads as Temporal does by default, but turns an unreadable payload into a value that every handler refuses. An error here
 * would fail the workflow task, and Temporal would retry that task without end.
 */
import { defaultPayloadConverter, type PayloadConverter } from '@temporalio/workflow'

/** Replaces a payload that has an unknown encoding or is not JSON. */
export interface UnreadablePayload {
  unreadable: string
}

export const payloadConverter: PayloadConverter = {
  toPayload: (value) => defaultPayloadConverter.toPayload(value),
  fromPayload<T>(payload: Parameters<PayloadConverter['fromPayload']>[0]): T {
    try {
      return defaultPayloadConverter.fromPayload<T>(payload)
    } catch (error) {
      const unreadable = `the payload cannot be read: ${error instanceof Error ? error.message : String(error)}`
      return { unreadable } satisfies UnreadablePayload as T
    }
  },
}
