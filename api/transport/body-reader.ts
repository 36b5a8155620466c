/**
 * Collects the body of a request on the bare HTTP server. One request's bytes are bounded, and those that all unfinished ones
 * hold together: a thousand slow senders of the largest body would otherwise fill the memory.
 */
import type { IncomingMessage } from 'node:http'
import { DomainError } from '../../domain/errors.ts'

export interface BodyReader {
  /** Calls back once, with the body or with why it is not taken; never when the sender goes away before the end. */
  collect(
    request: IncomingMessage,
    onBody: (body: Buffer) => void,
    onRefusal: (refusal: DomainError) => void,
  ): void
}

export function createBodyReader({
  maxBytes,
  maxHeldBytes,
}: {
  maxBytes: number
  maxHeldBytes: number
}): BodyReader {
  let heldBytes = 0
  return {
    collect(request, onBody, onRefusal) {
      const totalBytes = Number(request.headers['content-length'])
      let pieces: Buffer[] = []
      let bytes = 0
      let held = 0
      let over = false
      const giveBack = (): void => {
        heldBytes -= held
        held = 0
      }
      const refuse = (refusal: DomainError): void => {
        // The rest is read and forgotten, so that the answer arrives; a connection cut off in the middle hides it.
        over = true
        pieces = []
        giveBack()
        onRefusal(refusal)
      }
      request.on('data', (chunk: Buffer) => {
        if (over) return
        bytes += chunk.byteLength
        if (bytes > maxBytes) return refuse(tooLarge(maxBytes))
        pieces.push(chunk)
        // Most bodies are whole at once; they are answered in the same turn and held by nobody.
        if (held === 0 && bytes === totalBytes) return
        if (held === 0) request.on('close', giveBack)
        heldBytes += bytes - held
        held = bytes
        if (heldBytes > maxHeldBytes) refuse(overloaded(maxHeldBytes))
      })
      request.on('end', () => {
        if (over) return
        giveBack()
        onBody(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, bytes))
      })
    },
  }
}

const tooLarge = (limit: number): DomainError =>
  new DomainError('body_too_large', `the body has more than ${limit} bytes`, { limit })

const overloaded = (limit: number): DomainError =>
  new DomainError('overloaded', `unfinished requests hold more than ${limit} bytes already`)
