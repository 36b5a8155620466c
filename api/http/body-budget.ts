/**
 * Counts the bytes of requests that a replica holds, of all protocols together: bodies that are not complete, commands until they are
 * answered, and queued predictions. Without a common limit, a few hundred slow senders would fill the memory.
 */
import { DomainError } from '../../domain/errors.ts'

export interface BodyBudget {
  /** Starts to count a body of this sender. */
  open(sender: Sender): HeldBody
  /** The bytes that are held now. */
  heldBytes(): number
  /** The most bytes that were held at a time. */
  peakBytes(): number
}

/** The id of the caller's key; or, on what needs no key, the address of the peer. */
export type Sender = { keyId: string } | { address: string | undefined }

export interface HeldBody {
  /** Counts more bytes. Throws `overloaded`, and counts none, beyond the share of the sender or the budget. */
  add(bytes: number): void
  /** Counts the body no longer. */
  release(): void
}

export interface BudgetLimits {
  maxHeldBytes: number
  /** The share of one key. Not less than the largest upload, which has 80 MiB. */
  maxKeyBytes: number
  /** The share of one address without a key. */
  maxAddressBytes: number
}

/** A quarter of the memory of the smallest replica, because a body is in memory twice while its parts are joined. */
export const defaultBudget: BudgetLimits = {
  maxHeldBytes: 268_435_456,
  maxKeyBytes: 100_663_296,
  maxAddressBytes: 1_048_576,
}

/** The largest body of what needs no key: signed orders, health checks, sign-in, clicks in Slack. */
export const keylessBytes = 16_384

/** The time limit of a body, and the longest pause of an upload or a stream, in milliseconds. */
export const bodyMs = 10_000

export function createBodyBudget(limits: BudgetLimits = defaultBudget): BodyBudget {
  const { maxHeldBytes, maxKeyBytes, maxAddressBytes } = limits
  let heldBytes = 0
  let peakBytes = 0
  const shares = new Map<string, number>()
  return {
    open(sender) {
      const [name, maxShareBytes] =
        'keyId' in sender
          ? [`key ${sender.keyId}`, maxKeyBytes]
          : [`address ${sender.address ?? ''}`, maxAddressBytes]
      let held = 0
      return {
        add(bytes) {
          const share = (shares.get(name) ?? 0) + bytes
          if (share > maxShareBytes)
            throw new DomainError(
              'overloaded',
              `the requests of this caller hold more than ${maxShareBytes} bytes`,
            )
          if (heldBytes + bytes > maxHeldBytes)
            throw new DomainError('overloaded', `the requests hold more than ${maxHeldBytes} bytes`)
          shares.set(name, share)
          heldBytes += bytes
          peakBytes = Math.max(peakBytes, heldBytes)
          held += bytes
        },
        release() {
          if (held === 0) return
          const share = shares.get(name)! - held
          if (share === 0) shares.delete(name)
          else shares.set(name, share)
          heldBytes -= held
          held = 0
        },
      }
    },
    heldBytes: () => heldBytes,
    peakBytes: () => peakBytes,
  }
}

/** Returns the error for a body that is not complete in time. */
export const tooSlow = (): DomainError =>
  new DomainError('request_timeout', `the request is not complete after ${bodyMs / 1_000} s`)
