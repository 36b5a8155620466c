/**
 * Admits a call by its metadata, before its message flows, and limits the bytes and the time of a message that is not complete. grpc-js
 * gathers a message in memory before it calls the handler, so a handler alone would ask for the key too late.
 */
import { constants, type ServerHttp2Stream } from 'node:http2'
import {
  ServerInterceptingCall,
  type Metadata,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js'
import { requireRole, type Actor } from '../auth/authentication.ts'
import type { ApiDeps } from '../deps.ts'
import { bodyMs, keylessBytes, tooSlow, type HeldBody, type Sender } from '../http/body-budget.ts'
import type { Problem } from '../http/problem.ts'
import { tooLarge } from '../http/read-body.ts'
import { predictBytes, predictors } from '../http/route.ts'
import { headerOf, refusalOf } from './status.ts'

export interface Admission {
  interceptor: ServerInterceptor
  /** Returns the admitted caller of a call, once; undefined for later messages of a stream, whose key is checked again. */
  take(metadata: Metadata): Actor | undefined
}

type AdmissionDeps = Pick<ApiDeps, 'authentication' | 'bodies' | 'log'>

interface AdmissionOptions {
  /** The paths of the methods that need no key. */
  keyless: ReadonlySet<string>
  onRefusal: (path: string, problem: Problem) => void
  /** The time limit of a message, in milliseconds. */
  withinMs?: number | undefined
}

export function createAdmission(
  { authentication, bodies, log }: AdmissionDeps,
  { keyless, onRefusal, withinMs = bodyMs }: AdmissionOptions,
): Admission {
  const admitted = new WeakMap<Metadata, Actor>()
  const senderOf = (metadata: Metadata, stream: ServerHttp2Stream, isKeyless: boolean): Sender => {
    if (isKeyless) return { address: stream.session?.socket.remoteAddress }
    const actor = authentication.callerOf(headerOf(metadata, 'authorization'))
    requireRole(actor, predictors)
    admitted.set(metadata, actor)
    return { keyId: actor.id }
  }
  return {
    take(metadata) {
      const actor = admitted.get(metadata)
      admitted.delete(metadata)
      return actor
    },
    interceptor(method, call) {
      const stream = streamOf(call)
      const isKeyless = keyless.has(method.path)
      let messages: MessageWatch | undefined
      return new ServerInterceptingCall(call, {
        start(next) {
          next({
            onReceiveMetadata(metadata, forward) {
              const refuse = (error: unknown): void => {
                const isUnanswered = !stream.headersSent
                const { problem, ...status } = refusalOf(error, metadata, log)
                onRefusal(method.path, problem)
                call.sendStatus(status)
                closeStream(stream, isUnanswered)
              }
              try {
                const sender = senderOf(metadata, stream, isKeyless)
                messages = watchMessages(stream, {
                  open: () => bodies.open(sender),
                  maxBytes: isKeyless ? keylessBytes : predictBytes,
                  withinMs,
                  isStream: method.requestStream,
                  refuse,
                })
              } catch (error) {
                return refuse(error)
              }
              forward(metadata)
            },
            onReceiveMessage(message, forward) {
              messages?.taken()
              forward(message)
            },
            onReceiveHalfClose(forward) {
              messages?.ended()
              forward()
            },
          })
        },
      })
    },
  }
}

/**
 * Returns the HTTP/2 stream of a call, which is private in grpc-js: only the stream can be reset, and shows a message while it arrives.
 * Throws where a later grpc-js has none, so that no call is served without its limits.
 */
function streamOf(call: ServerInterceptingCallInterface): ServerHttp2Stream {
  const { stream } = call as unknown as { stream?: ServerHttp2Stream }
  if (stream === undefined) throw new Error('this version of grpc-js does not keep the stream of a call')
  return stream
}

/** How long a refused client may take to receive the status of a call that was answered in part, in milliseconds. */
const trailerMs = 1_000

/** Closes a refused stream after its status, so that the rest of the message is neither sent nor kept. */
function closeStream(stream: ServerHttp2Stream, isUnanswered: boolean): void {
  const { NGHTTP2_NO_ERROR, NGHTTP2_CANCEL } = constants
  if (isUnanswered) stream.close(NGHTTP2_NO_ERROR)
  else setTimeout(() => stream.close(NGHTTP2_CANCEL), trailerMs).unref()
}

interface MessageWatch {
  /** The next message was handed to the handler. */
  taken(): void
  /** The client sends no more. */
  ended(): void
}

interface WatchOptions {
  open: () => HeldBody
  maxBytes: number
  withinMs: number
  isStream: boolean
  refuse: (error: unknown) => void
}

/** The bytes before each message: whether it is compressed, and its length. */
const prefixBytes = 5
/** The most that deflate expands: https://zlib.net/zlib_tech.html */
const maxExpansion = 1_032

/**
 * Counts messages while they arrive, until the handler has them. A unary call is handled when the client has sent everything, and is counted
 * until then. A compressed message counts as what it may expand to, because grpc-js expands it in another thread.
 */
function watchMessages(
  stream: ServerHttp2Stream,
  { open, maxBytes, withinMs, isStream, refuse }: WatchOptions,
): MessageWatch {
  const prefix = Buffer.alloc(prefixBytes)
  let prefixAt = 0
  let missing = 0
  let arriving: HeldBody | undefined
  let waiting: HeldBody[] = []
  let timer: NodeJS.Timeout | undefined
  let isOver = false
  const end = (error: unknown): void => {
    isOver = true
    clearTimeout(timer)
    refuse(error)
  }
  const startTimer = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      // A stream is paused while an earlier message of it is served.
      if (stream.isPaused()) startTimer()
      else end(tooSlow())
    }, withinMs)
  }
  const stopTimer = (): void => {
    clearTimeout(timer)
    timer = undefined
  }
  const release = (): void => {
    stopTimer()
    arriving?.release()
    for (const held of waiting) held.release()
    arriving = undefined
    waiting = []
  }
  const complete = (): void => {
    if (prefix[0] === 1) arriving!.add(Math.min(predictBytes, prefix.readUInt32BE(1) * maxExpansion))
    waiting.push(arriving!)
    arriving = undefined
    prefixAt = 0
    if (isStream) stopTimer()
  }
  const count = (chunk: Buffer): void => {
    for (let at = 0; at < chunk.byteLength;) {
      arriving ??= open()
      startTimer()
      const isPrefix = prefixAt < prefixBytes
      const bytes = Math.min(isPrefix ? prefixBytes - prefixAt : missing, chunk.byteLength - at)
      arriving.add(bytes)
      if (isPrefix) {
        chunk.copy(prefix, prefixAt, at, at + bytes)
        prefixAt += bytes
        if (prefixAt === prefixBytes) missing = prefix.readUInt32BE(1)
        // grpc-js refuses a message of a keyed method that is too large with its own text.
        if (prefixAt === prefixBytes && missing > maxBytes && maxBytes < predictBytes)
          throw tooLarge(maxBytes, '', 'the message')
      } else missing -= bytes
      at += bytes
      if (prefixAt === prefixBytes && missing === 0) complete()
    }
  }
  stream.on('data', (chunk: Buffer) => {
    if (isOver) return
    try {
      count(chunk)
    } catch (error) {
      end(error)
    }
  })
  stream.once('close', release)
  if (!isStream) startTimer()
  return {
    taken: () => void (isStream && waiting.shift()?.release()),
    ended() {
      if (isStream) stopTimer()
      else release()
    },
  }
}
