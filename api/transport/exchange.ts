/** Describes a prediction request with its body and the way to respond, whichever parser has read it. */
import type { Exchange } from '@tenure/http-front'
import { traceparentHeader, tracestateHeader } from '../../domain/tracing/trace-context.ts'
import type { Actor } from '../auth/authentication.ts'
import { lengthHeader } from '../inference/handler.ts'
import { deadlineHeader, idempotencyHeader, requestIdHeader } from '../../domain/request-headers.ts'

/** The headers that a prediction depends on; all others are ignored. */
export const readHeaders = [
  'authorization',
  'content-type',
  'content-encoding',
  deadlineHeader,
  idempotencyHeader,
  requestIdHeader,
  lengthHeader,
  traceparentHeader,
  tracestateHeader,
] as const

export type PredictionExchange = Exchange<(typeof readHeaders)[number]>

/** An exchange of a request that may share its connection with other requests; `socket` is then absent. */
export type SharedExchange = Omit<PredictionExchange, 'socket'> &
  Partial<Pick<PredictionExchange, 'socket'>> & {
    /** The caller, where its key was checked before the message was read. */
    actor?: Actor | undefined
    /** Replaces `send` for a response with status 200 that needs no text. The bytes are valid until it returns. */
    sendBytes?(bytes: Buffer, requestId: string): void
  }
