// @ts-check
// Moves the message and the stack of a failure into a payload, which the codec encrypts. Plain JavaScript, because the Temporal worker
// requires this file by its path.
import { DefaultFailureConverter } from '@temporalio/common'

export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true })
