/**
 * Reads the body of a request from Node's HTTP server. Limits the bytes of one body and of all incomplete bodies, because a thousand slow
 * senders of the largest body would otherwise fill the memory.
 */
import type { IncomingMessage } from 'node:http'
import { DomainError } from '../../domain/errors.ts'

export interface BodyReader {
  /** Calls back once, with the body or the error; never when the client disconnects first. */
  collect(
    request: IncomingMessage,
    onBody: (body: Buffer) => void,
    onRefusal: (refusal: DomainError) => void,
  ): void
}

export interface BodyLimits {
  maxBytes: number
  /** The limit on the bytes of all incomplete bodies together. */
  maxHeldBytes: number
}

export function createBodyReader({ maxBytes, maxHeldBytes }: BodyLimits): BodyReader {
  let heldBytes = 0
  return {
    collect(request, onBody, onRefusal) {
      const totalBytes = Number(request.headers['content-length'])
      if (totalBytes > maxBytes) return onRefusal(tooLarge(maxBytes))
      let pieces: Buffer[] = []
      let bytes = 0
      let held = 0
      let over = false
      const release = (): void => {
        heldBytes -= held
        held = 0
      }
      const refuse = (refusal: DomainError): void => {
        // The rest is read and discarded: closing the connection within a body would hide the response.
        over = true
        pieces = []
        release()
        onRefusal(refusal)
      }
      request.on('data', (chunk: Buffer) => {
        if (over) return
        bytes += chunk.byteLength
        if (bytes > maxBytes) return refuse(tooLarge(maxBytes))
        pieces.push(chunk)
        // Most bodies arrive in one chunk; they are served in the same turn and are not counted.
        if (held === 0 && bytes === totalBytes) return
        if (held === 0) request.on('close', release)
        heldBytes += bytes - held
        held = bytes
        if (heldBytes > maxHeldBytes) refuse(overloaded(maxHeldBytes))
      })
      request.on('end', () => {
        if (over) return
        release()
        onBody(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, bytes))
      })
    },
  }
}

const tooLarge = (limit: number): DomainError =>
  new DomainError('body_too_large', `the body has more than ${limit} bytes`, { limit })

const overloaded = (limit: number): DomainError =>
  new DomainError('overloaded', `incomplete requests hold more than ${limit} bytes already`)
