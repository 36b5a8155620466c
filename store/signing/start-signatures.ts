/**
 * Signs requests to start a workflow, so that its first activity can tell a start that was authorised from one of any client of Temporal.
 * A signature covers the whole request and what its user meant by it, and opens one run.
 */
import { randomUUID } from 'node:crypto'
import type { Authorisation, StartBasis, StartType } from '../../domain/roles.ts'
import { signClaim, verifyClaim } from './signed-claim.ts'
import type { Signer, Verifier } from './signing-key.ts'

interface Start {
  type: StartType
  request: object
}

/** How long a start may wait for a worker. */
const validMs = 15 * 60_000
const kind = 'tenure-start@1'

export function signStart(
  signer: Pick<Signer, 'sign'>,
  start: Start & { basis: StartBasis },
  { keyId, nowMs, id = randomUUID() }: { keyId: string; nowMs: number; id?: string },
): Authorisation {
  const { basis } = start
  return { id, basis, signature: signClaim(signer, kind, { ...start, id }, { keyId, nowMs, validMs }) }
}

/** The key that has authorised it, and until when it may open a run; undefined when none has. `signedMs` is when it arrived. */
export const verifyStart = (
  verifier: Verifier,
  { type, request }: Start,
  { id, basis, signature }: Authorisation,
  signedMs: number,
): { keyId: string; untilMs: number } | undefined =>
  verifyClaim(verifier, kind, { type, request, basis, id }, { signature, signedMs })
